// Large JPEGs at a quarter or an eighth of their size, in about half of libjpeg's time: of each block only the
// frequencies that are left are decoded, and the codes of the others are skipped several at a look. Two threads read.
//
// Only the plain kind is taken (see headers.h), and only while all is as it should be. What is refused goes to Pillow,
// which decodes it or says what is wrong with it.

#include <new>

#include "ahead.h"
#include "headers.h"
#include "transform.h"

namespace {

// What becomes of one component's blocks.
struct Plane {
    int across, down;  // blocks in an MCU
    int width, height;  // pixels of a block
    Basis by_row{}, by_column{};
    Transform inverse;
    float factors[16];
    uint8_t *pixels;
};

// The image as it comes out: MCU by MCU into planes, then row by row as RGB.
struct Picture {
    int width, height, left, top;  // in pixels; `left` and `top` of them at both ends are not wanted
    int columns, mcu_width, mcu_height;
    size_t stride;
    Plane planes[3] = {};

    bool wants(int mcu) const {
        const int row = mcu / columns, column = mcu % columns;
        return row >= top / mcu_height && row <= (height - top - 1) / mcu_height && column >= left / mcu_width &&
               column <= (width - left - 1) / mcu_width;
    }

    void paint(int mcu, const int16_t *coefficients) {
        const int row = mcu / columns, column = mcu % columns;
        for (int i = 0; i < 3; ++i) {
            const Plane &it = planes[i];
            for (int y = 0; y < it.down; ++y)
                for (int x = 0; x < it.across; ++x, coefficients += it.width * it.height) {
                    const size_t from_top = static_cast<size_t>((row * it.down + y) * it.height);
                    const size_t from_left = static_cast<size_t>((column * it.across + x) * it.width);
                    it.inverse(coefficients, it.factors, it.by_column, it.by_row, it.pixels + from_top * stride + from_left,
                               stride);
                }
        }
    }

    void write(uint8_t *rgb) const {
        for (int row = top; row < height - top; ++row) {
            const size_t from = static_cast<size_t>(row) * stride;
            to_rgb(planes[0].pixels + from, planes[1].pixels + from, planes[2].pixels + from, width,
                   rgb + 3 * static_cast<size_t>(row) * static_cast<size_t>(width));
        }
    }
};

// All `mcus` of `scan` into `picture`. False if something is wrong with them.
bool decode(const Scan &scan, int mcus, Picture &picture) {
    int16_t coefficients[6 * 16 + 1];
    Ahead ahead(scan, mcus);
    Reader reader(scan, 0, 0);
    int mcu = 0, met = -1;
    for (; mcu < mcus && (met = ahead.met(reader, mcu)) < 0; ++mcu) {
        const bool wanted = picture.wants(mcu);
        if (!reader.read(wanted, coefficients)) return false;
        if (wanted) picture.paint(mcu, coefficients);
    }
    if (met < 0) return reader.ended();
    ahead.take_over(reader, met, mcus - mcu);
    for (; mcu < mcus; ++mcu, ++met) {
        const int16_t *taken = ahead.take(met);
        if (!taken) return false;
        if (picture.wants(mcu)) picture.paint(mcu, taken);
    }
    return ahead.ended();
}

}  // namespace

// The JPEG in the `size` bytes of `file`, of `width` by `height` pixels, at `eighths` (2 or 1) of its size, both sides
// rounded up, into `rgb`. Only what is at least `left` from the left and right sides of the result, and `top` from the
// upper and lower ones, has to be right. Returns 0, or anything else for a file that is not decoded.
extern "C" __attribute__((visibility("default"))) int decode_reduced(const uint8_t *file, size_t size, int width, int height,
                                                                     int eighths, int left, int top, uint8_t *rgb) {
    Memory memory[4];
    Headers *headers = memory[0].take<Headers>(1);
    if (!headers) return 1;
    new (headers) Headers;
    if (!headers->read(file, file + size) || headers->width != width || headers->height != height) return 1;

    const int across = headers->channels[0].across, down = headers->channels[0].down;
    const int columns = (width + 8 * across - 1) / (8 * across), rows = (height + 8 * down - 1) / (8 * down);
    const int mcus = columns * rows, interval = headers->interval ? headers->interval : mcus;
    const size_t parts = static_cast<size_t>((mcus + interval - 1) / interval);
    const size_t rest = static_cast<size_t>(file + size - headers->scan);
    uint8_t *bytes = memory[1].take<uint8_t>(rest + MAX_BLOCK + 32);
    size_t *ends = memory[2].take<size_t>(parts);
    if (!bytes || !ends || !unstuff(headers->scan, file + size, bytes, ends, parts)) return 1;
    memset(bytes + ends[parts - 1], 0, MAX_BLOCK + 32);

    Picture picture{(width * eighths + 7) / 8, (height * eighths + 7) / 8, left, top, columns, across * eighths, down * eighths,
                    static_cast<size_t>(columns * across * eighths)};
    const size_t area = picture.stride * static_cast<size_t>(rows * down * eighths);
    uint8_t *pixels = memory[3].take<uint8_t>(3 * area);
    if (!pixels) return 1;
    Scan scan{bytes, ends, parts, interval, {}};
    for (int i = 0; i < 3; ++i) {
        const Channel &channel = headers->channels[i];
        Plane &plane = picture.planes[i];
        plane.across = channel.across;
        plane.down = channel.down;
        plane.width = eighths * across / channel.across;  // all planes come out in the same size
        plane.height = eighths * down / channel.down;
        plane.by_row = Basis(plane.width);
        plane.by_column = Basis(plane.height);
        plane.inverse = transform(plane.height, plane.width);
        plane.pixels = pixels + static_cast<size_t>(i) * area;
        Component &component = scan.components[i];
        component = Component(&headers->dc[channel.dc], &headers->ac[channel.ac], channel.across * channel.down,
                              plane.width, plane.height);
        for (int k = 0; k <= component.last; ++k)
            if (component.places[k] < component.counting)
                plane.factors[component.places[k]] = headers->quantizations[channel.quantization][k];
    }
    if (!decode(scan, mcus, picture)) return 1;
    picture.write(rgb);
    return 0;
}

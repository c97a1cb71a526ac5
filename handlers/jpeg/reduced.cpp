// Large JPEGs at a quarter or an eighth of their size, in about a third of libjpeg's time: of each block only the
// frequencies that are left are decoded, and the codes of the others are skipped several at a look. Two threads read.
//
// Only the plain kind is taken (see headers.h), and only while all is as it should be. What is refused goes to Pillow,
// which decodes it or says what is wrong with it.

#include <new>

#include "ahead.h"
#include "headers.h"
#include "transform.h"

namespace {

// The image as it comes out, MCU by MCU.
struct Picture {
    int mcu_height, mcu_width, columns;
    uint32_t *pixels;
    size_t stride;
    Paint painter;
    int first_row, last_row, first_column, last_column;  // of the MCUs that are wanted
    Matrix matrices[3] = {};
    int row = 0, column = 0;  // of the next MCU

    bool wants() const {
        return row >= first_row && row <= last_row && column >= first_column && column <= last_column;
    }
    void paint(const int16_t *coefficients) const {
        const size_t above = static_cast<size_t>(row * mcu_height), before = static_cast<size_t>(column * mcu_width);
        painter(coefficients, matrices, pixels + above * stride + before, stride);
    }
    void advance() {
        if (++column == columns) ++row, column = 0;
    }
};

// All `mcus` of `scan` into `picture`. False if something is wrong with them.
bool decode(const Scan &scan, int mcus, Picture &picture) {
    int16_t coefficients[3 * MOST + SLACK];
    Ahead ahead(scan, mcus);
    Reader reader(scan, 0, 0);
    int mcu = 0, met = -1;
    for (; mcu < mcus && (met = ahead.met(reader, mcu)) < 0; ++mcu, picture.advance()) {
        const bool wanted = picture.wants();
        if (!reader.read(wanted, coefficients)) return false;
        if (wanted) picture.paint(coefficients);
    }
    if (met < 0) return reader.ended();
    ahead.take_over(reader, met, mcus - mcu);
    for (; mcu < mcus; ++mcu, ++met, picture.advance()) {
        const int16_t *taken = ahead.take(met);
        if (!taken) return false;
        if (picture.wants()) picture.paint(taken);
    }
    return ahead.ended();
}

}  // namespace

// The JPEG in the `size` bytes of `file`, of `width` by `height` pixels, at `eighths` (2 or 1) of its size, both sides
// rounded up, into `pixels`, where there is room for both sides rounded up to multiples of four: red, green, blue and a byte
// that means nothing. Only what is at least `left` from the left and right sides of the result, and `top` from the upper and
// lower ones, has to be right. Returns 0, or anything else for a file that is not decoded.
extern "C" __attribute__((visibility("default"))) int decode_reduced(const uint8_t *file, size_t size, int width, int height,
                                                                     int eighths, int left, int top, uint32_t *pixels) {
    Memory memory[3];
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

    const int mcu_height = down * eighths, mcu_width = across * eighths;
    const int bottom = (height * eighths + 7) / 8 - 1, right = (width * eighths + 7) / 8 - 1;
    const size_t stride = static_cast<size_t>(right / 4 * 4 + 4);
    Picture picture{mcu_height, mcu_width, columns, pixels, stride, painter(mcu_height, mcu_width), top / mcu_height,
                    (bottom - top) / mcu_height, left / mcu_width, (right - left) / mcu_width};
    Scan scan{bytes, ends, parts, interval, {}};
    for (int i = 0; i < 3; ++i) {
        const Channel &channel = headers->channels[i];
        const int block_height = mcu_height / channel.down, block_width = mcu_width / channel.across;
        Component &component = scan.components[i];
        component = Component(&headers->dc[channel.dc], &headers->ac[channel.ac], channel.down * channel.across, block_height,
                              block_width);
        fill(picture.matrices[i], channel.down, channel.across, block_height, block_width, component.places,
             headers->quantizations[channel.quantization]);
    }
    return !decode(scan, mcus, picture);
}

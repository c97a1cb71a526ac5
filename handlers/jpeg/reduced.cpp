// Large JPEGs at a quarter or an eighth of their size, in about half of libjpeg's time: of each block only the
// frequencies that are left are decoded, and the codes of the others are skipped several at a look.
//
// Only the plain kind is taken (see headers.h), and only while all is as it should be. What is refused goes to Pillow,
// which decodes it or says what is wrong with it.

#include <cstdlib>
#include <new>

#include "headers.h"
#include "transform.h"

namespace {

constexpr uint8_t ZIGZAG[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                                41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                                30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

constexpr int NOWHERE = 64;

struct Component {
    const Huffman *dc, *ac;
    int across, down;  // blocks in an MCU
    int width, height;  // pixels of a block
    Basis by_row, by_column;
    Transform inverse;
    int last = 0;  // of the coefficients, in zigzag order, the last one that counts
    uint8_t places[64];  // where each goes, which for those that don't count is NOWHERE
    float factors[64];
    int previous = 0;  // first coefficient
    uint8_t *plane;
};

struct Freed {  // memory for as long as a decoding takes
    void *memory = nullptr;
    ~Freed() { free(memory); }
    uint8_t *take(size_t size) { return static_cast<uint8_t *>(memory = malloc(size)); }
};

// The scan from `at` on without its stuffing. `ends` gets the end of each of the `parts` that restart markers make of it.
// False unless the file's end comes in the right place.
bool unstuff(const uint8_t *at, const uint8_t *end, uint8_t *out, size_t *ends, size_t parts) {
    const uint8_t *start = out;
    for (size_t part = 0;;) {
        const uint8_t *found = static_cast<const uint8_t *>(memchr(at, 0xFF, static_cast<size_t>(end - at)));
        if (!found || end - found < 2) return false;
        memcpy(out, at, static_cast<size_t>(found - at));
        out += found - at;
        at = found + 2;
        const int marker = found[1];
        if (!marker) {
            *out++ = 0xFF;
            continue;
        }
        ends[part] = static_cast<size_t>(out - start);
        if (++part == parts) return marker == 0xD9;
        if (marker != 0xD0 + static_cast<int>((part - 1) % 8)) return false;
    }
}

// Whether the part of the scan that ends at `end` has been read, to its last byte.
bool ended(const Bits &bits, const uint8_t *scan, size_t end) {
    const ptrdiff_t over = 8 * static_cast<ptrdiff_t>(end) - bits.from(scan);
    return over >= 0 && over < 8;
}

// The next block: its coefficients up to `last` into `out`, the others passed over. False if its codes make no sense.
bool read_block(Bits &bits, Component &component, int last, float *out) {
    const Huffman &ac = *component.ac;
    bits.refill();
    const int size = component.dc->symbol(bits);
    if (size < 0) return false;
    if (size) {
        component.previous += extended(static_cast<int>(bits.peek(size)), size);
        bits.drop(size);
        if (component.previous < -32768 || component.previous > 32767) return false;
    }
    memset(out, 0, static_cast<size_t>(component.width * component.height) * sizeof *out);
    out[0] = static_cast<float>(component.previous) * component.factors[0];
    for (int k = 1; k < 64;) {
        bits.refill();
        if (k > last) {
            Skip skip;
            for (int looks = 56 / WINDOW - 2; (skip = ac.skips[bits.peek(WINDOW)]).coefficients + k < 64 && looks; --looks) {
                bits.drop(skip.bits);
                k += skip.coefficients;
            }
            if (skip.coefficients + k < 64) continue;
            if (skip.coefficients >= ENDS && skip.coefficients - ENDS + k < 64) {
                bits.drop(skip.bits);
                return true;
            }
            bits.refill();
        }
        const uint32_t window = bits.peek(WINDOW);
        int number, place;
        const Coefficient quick = ac.coefficients[window];
        if (quick.bits) {
            bits.drop(quick.bits);
            number = quick.value;
            place = k + quick.run;
        } else {
            const int code = ac.symbol(bits), length = code & 15;
            if (code < 0) return false;
            if (!length) {
                if (code != 0xF0) return true;
                k += 16;
                continue;
            }
            number = extended(static_cast<int>(bits.peek(length)), length);
            bits.drop(length);
            place = k + (code >> 4);
        }
        if (place > 63) return false;
        if (place <= last) out[component.places[place]] = static_cast<float>(number) * component.factors[place];
        k = place + 1;
    }
    return true;
}

}  // namespace

// The JPEG in the `size` bytes of `file`, of `width` by `height` pixels, at `eighths` (2 or 1) of its size, both sides
// rounded up, into `rgb`. Only what is at least `left` from the left and right sides of the result, and `top` from the
// upper and lower ones, has to be right. Returns 0, or anything else for a file that is not decoded.
extern "C" int decode_reduced(const uint8_t *file, size_t size, int width, int height, int eighths, int left, int top,
                              uint8_t *rgb) {
    Freed memory[4];
    uint8_t *place = memory[0].take(sizeof(Headers));
    if (!place) return 1;
    Headers *headers = new (place) Headers;
    if (!headers->read(file, file + size) || headers->width != width || headers->height != height) return 1;

    const int across = headers->channels[0].across, down = headers->channels[0].down;
    const int columns = (width + 8 * across - 1) / (8 * across), rows = (height + 8 * down - 1) / (8 * down);
    const size_t stride = static_cast<size_t>(columns) * static_cast<size_t>(across * eighths);
    const size_t area = stride * static_cast<size_t>(rows) * static_cast<size_t>(down * eighths);
    uint8_t *planes = memory[1].take(3 * area);
    const size_t rest = static_cast<size_t>(file + size - headers->scan);
    uint8_t *scan = memory[2].take(rest + MAX_BLOCK + 32);
    const int mcus = columns * rows, interval = headers->interval ? headers->interval : mcus;
    const size_t parts = static_cast<size_t>((mcus + interval - 1) / interval);
    size_t *ends = reinterpret_cast<size_t *>(memory[3].take(parts * sizeof(size_t)));
    if (!planes || !scan || !ends || !unstuff(headers->scan, file + size, scan, ends, parts)) return 1;
    memset(scan + ends[parts - 1], 0, MAX_BLOCK + 32);

    Component components[3];
    for (int i = 0; i < 3; ++i) {
        const Channel &channel = headers->channels[i];
        Component &it = components[i];
        it.dc = &headers->dc[channel.dc];
        it.ac = &headers->ac[channel.ac];
        it.across = channel.across;
        it.down = channel.down;
        it.width = eighths * across / channel.across;  // all planes come out in the same size
        it.height = eighths * down / channel.down;
        it.by_row = Basis(it.width);
        it.by_column = Basis(it.height);
        it.inverse = transform(it.height, it.width);
        it.plane = planes + static_cast<size_t>(i) * area;
        for (int k = 0; k < 64; ++k) {
            const int row = ZIGZAG[k] / 8, column = ZIGZAG[k] % 8;
            const bool counts = row < it.height && column < it.width;
            it.places[k] = static_cast<uint8_t>(counts ? row * it.width + column : NOWHERE);
            it.factors[k] = counts ? headers->quantizations[channel.quantization][k] : 0;
            if (counts) it.last = k;
        }
    }
    // In MCUs, what of the result is wanted.
    const int out_width = (width * eighths + 7) / 8, out_height = (height * eighths + 7) / 8;
    const int mcu_width = across * eighths, mcu_height = down * eighths;
    const int first_column = left / mcu_width, last_column = (out_width - left - 1) / mcu_width;
    const int first_row = top / mcu_height, last_row = (out_height - top - 1) / mcu_height;

    Bits bits{scan};
    size_t part = 0;
    int left_in_part = interval;
    for (int row = 0; row < rows; ++row)
        for (int column = 0; column < columns; ++column, --left_in_part) {
            if (!left_in_part) {
                if (!ended(bits, scan, ends[part])) return 1;
                bits = Bits{scan + ends[part++]};
                left_in_part = interval;
                for (Component &it : components) it.previous = 0;
            }
            const bool wanted = row >= first_row && row <= last_row && column >= first_column && column <= last_column;
            for (Component &it : components)
                for (int y = 0; y < it.down; ++y)
                    for (int x = 0; x < it.across; ++x) {
                        float block[65];
                        if (bits.from(scan) > 8 * static_cast<ptrdiff_t>(ends[parts - 1])) return 1;
                        if (!read_block(bits, it, wanted ? it.last : 0, block)) return 1;
                        if (!wanted) continue;
                        const size_t from_top = static_cast<size_t>((row * it.down + y) * it.height);
                        const size_t from_left = static_cast<size_t>((column * it.across + x) * it.width);
                        it.inverse(block, it.by_column, it.by_row, it.plane + from_top * stride + from_left, stride);
                    }
        }
    if (!ended(bits, scan, ends[part])) return 1;

    for (int row = top; row < out_height - top; ++row) {
        const uint8_t *it = planes + static_cast<size_t>(row) * stride;
        to_rgb(it, it + area, it + 2 * area, out_width, rgb + 3 * static_cast<size_t>(row) * static_cast<size_t>(out_width));
    }
    return 0;
}

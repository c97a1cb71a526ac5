// The entropy-coded part of a JPEG, and what is wanted of it.
#pragma once

#include "huffman.h"

constexpr uint8_t ZIGZAG[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                                41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                                30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

constexpr int MOST = 16;  // coefficients of a block that count, and pixels that an MCU becomes

struct Component {
    const Huffman *dc, *ac;
    int blocks;  // in an MCU
    int counting;  // how many coefficients of a block count
    int last = 0;  // the last of those in zigzag order
    uint8_t places[64];  // where each goes; those that don't count to one past the others, where the next are written

    Component() = default;
    // Of each block, the lowest `height` by `width` frequencies count.
    Component(const Huffman *dc, const Huffman *ac, int blocks, int height, int width)
        : dc(dc), ac(ac), blocks(blocks), counting(width * height) {
        for (int k = 0; k < 64; ++k) {
            const int row = ZIGZAG[k] / 8, column = ZIGZAG[k] % 8;
            const bool counts = row < height && column < width;
            places[k] = static_cast<uint8_t>(counts ? row * width + column : counting);
            if (counts) last = k;
        }
    }
};

struct Scan {
    const uint8_t *bytes;  // without their stuffing; MAX_BLOCK + 32 zeros follow
    const size_t *ends;  // of each part
    size_t parts;  // which restart markers make of it
    int interval;  // MCUs of a part
    Component components[3];

    int counting() const {  // coefficients of an MCU
        int sum = 0;
        for (const Component &it : components) sum += it.blocks * it.counting;
        return sum;
    }
};

// The scan from `at` on without its stuffing. `ends` gets the end of each of the `parts` that restart markers make of it.
// False unless the file's end comes in the right place.
inline bool unstuff(const uint8_t *at, const uint8_t *end, uint8_t *out, size_t *ends, size_t parts) {
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

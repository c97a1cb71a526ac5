// The entropy-coded part of a baseline JPEG: bits, and Huffman codes by table (ITU-T T.81, annexes C and F).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bits are read eight bytes at a time");

constexpr int WINDOW = 12;  // bits that one look at a table covers
constexpr int MAX_BLOCK = 256;  // bytes that a block can take at most: 64 codes of 16 bits with 15 more each

// Reads from the first bit of `at` on. The caller sees to it that MAX_BLOCK + 16 bytes may be read past any block.
struct Bits {
    const uint8_t *at;
    uint64_t buffer = 0;  // the next bits, the first of them on top
    int count = 0;

    void refill() {  // to 56 bits at least, without a branch
        uint64_t next;
        memcpy(&next, at, sizeof next);
        buffer |= __builtin_bswap64(next) >> count;
        at += (63 - count) >> 3;
        count |= 56;
    }
    uint32_t peek(int bits) const { return static_cast<uint32_t>(buffer >> (64 - bits)); }
    void drop(int bits) {
        buffer <<= bits;
        count -= bits;
    }
    // Bits from `start` to the next one.
    ptrdiff_t from(const uint8_t *start) const { return (at - start) * 8 - count; }
};

// The number that `size` bits stand for (T.81, table F.1).
inline int extended(int bits, int size) { return size && bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits; }

// What the next WINDOW bits begin with; 0 `bits` where that is longer than they are.
struct Symbol {
    uint8_t bits, value;
};
struct Coefficient {  // a code and its number; `run` zeros come before it, or ENDS if the block does
    int16_t value;
    uint8_t run, bits;
};
struct Skip {  // as many codes with their numbers as there are whole ones
    uint8_t bits;
    uint8_t coefficients;  // ENDS more if the last of them is the end of the block
};
constexpr int ENDS = 128;  // more than a block and a Skip hold together

struct Huffman {
    bool defined = false;
    uint8_t values[256];
    int32_t end[17], offset[17];  // for each length: one past its last code, and from a code to its place in `values`
    Symbol symbols[1 << WINDOW];
    Coefficient coefficients[1 << WINDOW];
    Skip skips[1 << WINDOW];

    // From the segment's 16 counts and `total` values; false if they make no code.
    bool build(const uint8_t *counts, const uint8_t *given, int total, bool dc) {
        memset(values, 0, sizeof values);
        memcpy(values, given, static_cast<size_t>(total));
        memset(symbols, 0, sizeof symbols);
        int32_t code = 0, place = 0;
        for (int length = 1; length <= 16; ++length) {
            offset[length] = place - code;
            end[length] = counts[length - 1] ? code + counts[length - 1] : 0;
            for (int i = 0; i < counts[length - 1]; ++i, ++code, ++place) {
                if (code >= 1 << length) return false;
                if (dc && values[place] > 11) return false;
                if (length > WINDOW) continue;
                const int rest = WINDOW - length;
                for (int j = 0; j < 1 << rest; ++j)
                    symbols[(code << rest) + j] = {static_cast<uint8_t>(length), values[place]};
            }
            code <<= 1;
        }
        look_ahead(dc);
        return defined = true;
    }

    // The next code's value, or -1 if there is no such code. 16 bits have to be there.
    int symbol(Bits &bits) const {
        const Symbol found = symbols[bits.peek(WINDOW)];
        if (found.bits) {
            bits.drop(found.bits);
            return found.value;
        }
        for (int length = WINDOW + 1; length <= 16; ++length) {
            const int32_t code = static_cast<int32_t>(bits.peek(length));
            if (code < end[length]) {
                bits.drop(length);
                return values[(offset[length] + code) & 255];
            }
        }
        return -1;
    }

  private:
    void look_ahead(bool dc) {
        memset(coefficients, 0, sizeof coefficients);
        for (int window = 0; window < 1 << WINDOW; ++window) {
            int used = 0, passed = 0, end = 0;
            while (!end) {
                const int rest = (window << used) & ((1 << WINDOW) - 1);
                const Symbol code = symbols[rest];
                const int size = code.value & 15, run = code.value >> 4, bits = code.bits + size;
                if (!code.bits || used + bits > WINDOW) break;
                const bool ends = !dc && !size && run != 15, number = dc || size;
                if (!used && (number || ends)) {
                    const int value = extended((rest >> (WINDOW - bits)) & ((1 << size) - 1), size);
                    coefficients[window] = {static_cast<int16_t>(value), static_cast<uint8_t>(ends ? ENDS : run),
                                            static_cast<uint8_t>(bits)};
                }
                if (dc) break;
                if (ends)
                    end = ENDS;
                else if (passed + run + 1 < 64)
                    passed += run + 1;
                else
                    break;
                used += bits;
            }
            skips[window] = {static_cast<uint8_t>(used), static_cast<uint8_t>(passed + end)};
        }
    }
};

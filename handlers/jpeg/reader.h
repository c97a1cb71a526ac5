// From the entropy-coded part of a JPEG to the coefficients that count.
#pragma once

#include "scan.h"

// Stands before an MCU.
struct Reader {
    const Scan &scan;
    ptrdiff_t end;  // of the scan, in bits
    size_t part;
    Bits bits;
    int left;  // MCUs of this part
    int16_t previous[3] = {};  // first coefficient of each component; wraps, as libjpeg's do

    Reader(const Scan &scan, size_t part, size_t byte)
        : scan(scan), end(8 * static_cast<ptrdiff_t>(scan.ends[scan.parts - 1])), part(part), bits{scan.bytes + byte},
          left(scan.interval) {}

    ptrdiff_t position() const { return bits.from(scan.bytes); }
    bool over() const { return position() > end; }  // more has been read than there is
    // Whether the part has been read, to its last byte.
    bool ended() const {
        const ptrdiff_t rest = 8 * static_cast<ptrdiff_t>(scan.ends[part]) - position();
        return rest >= 0 && rest < 8;
    }

    // Goes on at the first MCU of another part, or what is taken for one.
    void jump(size_t to_part, size_t byte) {
        part = to_part;
        bits = Bits{scan.bytes + byte};
        left = scan.interval;
        memset(previous, 0, sizeof previous);
    }

    // The next MCU's coefficients into `out`, where there is room for one more; only the first of each block if no more
    // are `wanted`. False if its codes make no sense.
    bool read(bool wanted, int16_t *out) {
        Bits ours = bits;  // a copy stays in registers
        for (int i = 0; i < 3; ++i) {
            const Component &component = scan.components[i];
            const int last = wanted ? component.last : 0;
            for (int block = 0; block < component.blocks; ++block, out += component.counting)
                if (ours.from(scan.bytes) > end || !read_block(ours, component, previous[i], last, out)) return false;
        }
        bits = ours;
        if (--left || part + 1 == scan.parts) return true;
        if (!ended()) return false;
        jump(part + 1, scan.ends[part]);
        return true;
    }

  private:
    static bool read_block(Bits &bits, const Component &component, int16_t &first, int last, int16_t *out) {
        const Huffman &ac = *component.ac;
        bits.refill();
        const int size = component.dc->symbol(bits);
        if (size < 0) return false;
        if (size) {
            first = static_cast<int16_t>(first + extended(static_cast<int>(bits.peek(size)), size));
            bits.drop(size);
        }
        memset(out, 0, static_cast<size_t>(component.counting) * sizeof *out);
        out[0] = first;
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
            if (place <= last) out[component.places[place]] = static_cast<int16_t>(number);
            k = place + 1;
        }
        return true;
    }
};

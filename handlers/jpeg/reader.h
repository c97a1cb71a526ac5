// From the entropy-coded part of a JPEG to the coefficients that count.
#pragma once

#include "scan.h"

constexpr int LOOKS = 4;  // at a table, for as many bits as there are after a refill
constexpr int SLACK = MOST;  // room that an MCU's coefficients need behind them

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

    // The next MCU's coefficients into `out`, where there is room for SLACK more; only the first of each block if no more
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
        if (!read_first(bits, *component.dc, first)) return false;
        memset(out, 0, MOST * sizeof *out);  // of the next blocks, too: a size that is known takes two instructions
        out[0] = first;
        int k = 1;
        while (k <= last) {
            bits.refill();
            const Coefficient quick = component.ac->coefficients[bits.peek(WINDOW)];
            if (!quick.bits) {
                if (!read_one(bits, component, k, out)) return false;
                continue;
            }
            bits.drop(quick.bits);
            if (quick.run == ENDS) return true;
            out[component.places[k + quick.run]] = quick.value;
            k += quick.run + 1;
        }
        return skip(bits, component, k, out);
    }

    static bool read_first(Bits &bits, const Huffman &dc, int16_t &first) {
        bits.refill();
        const Coefficient quick = dc.coefficients[bits.peek(WINDOW)];
        if (quick.bits) {
            bits.drop(quick.bits);
            first = static_cast<int16_t>(first + quick.value);
            return true;
        }
        const int size = dc.symbol(bits);
        if (size < 0) return false;
        if (size) {
            first = static_cast<int16_t>(first + extended(static_cast<int>(bits.peek(size)), size));
            bits.drop(size);
        }
        return true;
    }

    // Passes the coefficients from the `k`th on, none of which count.
    static bool skip(Bits &bits, const Component &component, int k, int16_t *out) {
        while (k < 64) {
            bits.refill();
            const Bits before = bits;
            const int from = k;
            Skip found;
            for (int look = 0; look < LOOKS; ++look) {  // without a branch: nobody could foretell it
                const bool within = k < 64;
                found = component.ac->skips[bits.peek(WINDOW)];
                bits.drop(within ? found.bits : 0);
                k += within ? found.coefficients : 0;
            }
            if (k >= ENDS && k < ENDS + 64) return true;
            if (k < 64) {
                if (found.bits) continue;
                bits.refill();
                if (!read_one(bits, component, k, out)) return false;
            } else {  // it is full, which nothing says, and what was passed may be of the next block
                bits = before;
                for (k = from; k < 64; bits.refill())
                    if (!read_one(bits, component, k, out)) return false;
            }
        }
        return true;
    }

    // One code, of which all bits have to be there, and its coefficient; past 63 after the last.
    static bool read_one(Bits &bits, const Component &component, int &k, int16_t *out) {
        const int code = component.ac->symbol(bits), size = code & 15, run = code >> 4;
        if (code < 0) return false;
        if (!size) {
            k = run == 15 ? k + 16 : ENDS;
            return true;
        }
        k += run;
        if (k > 63) return false;
        out[component.places[k++]] = static_cast<int16_t>(extended(static_cast<int>(bits.peek(size)), size));
        bits.drop(size);
        return true;
    }
};

// What comes before the entropy-coded part of a JPEG (T.81, annex B).
#pragma once

#include "huffman.h"

struct Channel {
    int id, across, down;  // sampling factors
    int quantization, dc, ac;  // which tables
};

// Of the plain kind: baseline, 8 bits, Y'CbCr, its three components in one scan. `read` is false for any other.
struct Headers {
    int width = 0, height = 0, interval = 0;  // of the restart markers, in MCUs; 0: there are none
    Channel channels[3];
    uint16_t quantizations[4][64];  // in zigzag order
    bool quantized[4] = {};
    Huffman dc[4], ac[4];
    const uint8_t *scan = nullptr;  // where the entropy-coded part begins

    bool read(const uint8_t *at, const uint8_t *end) {
        if (end - at < 4 || at[0] != 0xFF || at[1] != 0xD8) return false;
        at += 2;
        for (;;) {
            if (end - at < 4 || at[0] != 0xFF) return false;
            const int marker = at[1], length = at[2] << 8 | at[3];
            if (length < 2 || end - at - 2 < length) return false;
            const uint8_t *body = at + 4;
            const int size = length - 2;
            at += 2 + length;
            switch (marker) {
                case 0xC0: if (!frame(body, size)) return false; break;
                case 0xC4: if (!codes(body, size)) return false; break;
                case 0xDA: scan = at; return begin(body, size);
                case 0xDB: if (!quantization(body, size)) return false; break;
                case 0xDD:
                    if (size != 2) return false;
                    interval = body[0] << 8 | body[1];
                    break;
                case 0xE0: if (size >= 14 && !memcmp(body, "JFIF", 5)) jfif = true; break;
                case 0xEE: if (size >= 12 && !memcmp(body, "Adobe", 5)) adobe = body[11]; break;
                default:
                    if ((marker < 0xE0 || marker > 0xEF) && marker != 0xFE) return false;
            }
        }
    }

  private:
    bool jfif = false;
    int adobe = -1;  // the colour transform that Adobe's segment names

    bool frame(const uint8_t *body, int size) {
        if (width || size != 15 || body[0] != 8 || body[5] != 3) return false;
        height = body[1] << 8 | body[2];
        width = body[3] << 8 | body[4];
        for (int i = 0; i < 3; ++i) {
            const uint8_t *it = body + 6 + 3 * i;
            channels[i] = {it[0], it[1] >> 4, it[1] & 15, it[2], 0, 0};
            if (it[2] > 3) return false;
        }
        const Channel &luma = channels[0];
        if (luma.across < 1 || luma.across > 2 || luma.down < 1 || luma.down > 2) return false;
        for (int i = 1; i < 3; ++i)
            if (channels[i].across != 1 || channels[i].down != 1) return false;
        return width && height;
    }

    bool codes(const uint8_t *body, int size) {
        while (size) {
            if (size < 17) return false;
            const int which = body[0] & 15, kind = body[0] >> 4;
            int total = 0;
            for (int i = 1; i <= 16; ++i) total += body[i];
            if (which > 3 || kind > 1 || total > 256 || size < 17 + total) return false;
            if (!(kind ? ac : dc)[which].build(body + 1, body + 17, total, !kind)) return false;
            body += 17 + total;
            size -= 17 + total;
        }
        return true;
    }

    bool quantization(const uint8_t *body, int size) {
        while (size) {
            const int which = body[0] & 15, wide = body[0] >> 4, length = 1 + 64 * (1 + wide);
            if (which > 3 || wide > 1 || size < length) return false;
            for (int i = 0; i < 64; ++i)
                quantizations[which][i] =
                    static_cast<uint16_t>(wide ? body[1 + 2 * i] << 8 | body[2 + 2 * i] : body[1 + i]);
            quantized[which] = true;
            body += length;
            size -= length;
        }
        return true;
    }

    bool begin(const uint8_t *body, int size) {
        if (!width || size != 10 || body[0] != 3 || body[7] != 0 || body[8] != 63 || body[9] != 0) return false;
        for (int i = 0; i < 3; ++i) {
            Channel &channel = channels[i];
            if (body[1 + 2 * i] != channel.id) return false;
            channel.dc = body[2 + 2 * i] >> 4;
            channel.ac = body[2 + 2 * i] & 15;
            if (channel.dc > 3 || channel.ac > 3 || !dc[channel.dc].defined || !ac[channel.ac].defined) return false;
            if (!quantized[channel.quantization]) return false;
        }
        // The colours are found as libjpeg finds them.
        if (jfif) return true;
        if (adobe >= 0) return adobe == 1;
        return channels[0].id == 1 && channels[1].id == 2 && channels[2].id == 3;
    }
};

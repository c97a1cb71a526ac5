// From the low frequencies of 8 by 8 blocks to fewer pixels.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "scan.h"

using Floats = float __attribute__((vector_size(16)));
using Ints = int32_t __attribute__((vector_size(16)));

inline Floats four(float value) { return Floats{value, value, value, value}; }
// To whole numbers: beyond 2^23 a float has no fraction.
inline Floats rounded(Floats values) { return values + 0x1.8p23f - 0x1.8p23f; }

// From a component's coefficients in an MCU to its samples at the MCU's pixels, which are as many: [coefficient][pixel].
using Matrix = float[MOST][MOST];

// The inverse cosine transform of `size` points whose first coefficient is that of eight.
inline double cosine(int frequency, int point, int size) {
    return (frequency ? 0.5 : std::sqrt(0.125)) * std::cos((2 * point + 1) * frequency * M_PI / (2 * size));
}

// Into `matrix`, which is all zeros: for `down` by `across` blocks of `height` by `width` pixels each, whose coefficients lie
// at `places` of their blocks and are to be multiplied with `factors`, both in zigzag order.
inline void fill(Matrix &matrix, int down, int across, int height, int width, const uint8_t *places,
                 const uint16_t *factors) {
    const int size = height * width, row = across * width;
    for (int k = 0; k < 64; ++k) {
        if (places[k] == size) continue;
        const int v = places[k] / width, u = places[k] % width;
        for (int block = 0; block < down * across; ++block) {
            float *pixels = matrix[block * size + places[k]] + block / across * height * row + block % across * width;
            for (int y = 0; y < height; ++y)
                for (int x = 0; x < width; ++x)
                    pixels[y * row + x] = static_cast<float>(factors[k] * cosine(v, y, height) * cosine(u, x, width));
        }
    }
}

using Paint = void (*)(const int16_t *, const Matrix *, uint32_t *, size_t);

// The coefficients of an MCU, Y' then Cb then Cr, to HEIGHT by WIDTH pixels at `out`: red, green, blue (JFIF 1.02) and a byte
// that means nothing.
template <int HEIGHT, int WIDTH>
void paint(const int16_t *coefficients, const Matrix *matrices, uint32_t *out, size_t stride) {
    constexpr int SIZE = HEIGHT * WIDTH, FOURS = (SIZE + 3) / 4;
    Floats samples[3][FOURS] = {};
    for (int i = 0; i < 3; ++i)
        for (int k = 0; k < SIZE; ++k) {
            const Floats coefficient = four(coefficients[i * SIZE + k]);
            for (int j = 0; j < FOURS; ++j) {
                Floats cosines;
                memcpy(&cosines, matrices[i][k] + 4 * j, sizeof cosines);
                samples[i][j] += coefficient * cosines;
            }
        }
    uint32_t pixels[4 * FOURS];
    for (int j = 0; j < FOURS; ++j) {
        const Floats luma = rounded(samples[0][j]) + 128.5f, b = rounded(samples[1][j]), r = rounded(samples[2][j]);
        const Floats colours[3] = {luma + 1.402f * r, luma - 0.344136f * b - 0.714136f * r, luma + 1.772f * b};
        Ints found = {};
        for (int i = 0; i < 3; ++i) {
            const Floats positive = colours[i] < 0 ? four(0) : colours[i];
            found |= __builtin_convertvector(positive > 255 ? four(255) : positive, Ints) << (8 * i);
        }
        memcpy(pixels + 4 * j, &found, sizeof found);
    }
    for (int y = 0; y < HEIGHT; ++y, out += stride) memcpy(out, pixels + y * WIDTH, WIDTH * sizeof *out);
}

// The one for 1, 2 or 4 rows and columns.
inline Paint painter(int height, int width) {
    static constexpr Paint all[3][3] = {
        {paint<1, 1>, paint<1, 2>, paint<1, 4>},
        {paint<2, 1>, paint<2, 2>, paint<2, 4>},
        {paint<4, 1>, paint<4, 2>, paint<4, 4>},
    };
    return all[height >> 1][width >> 1];
}

// From the low frequencies of 8 by 8 blocks to fewer pixels.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

// The inverse cosine transform of `size` points whose first coefficient is that of eight: [frequency][point].
struct Basis {
    float value[4][4];

    explicit Basis(int size = 1) {
        for (int u = 0; u < size; ++u)
            for (int x = 0; x < size; ++x)
                value[u][x] = static_cast<float>((u ? 0.5 : std::sqrt(0.125)) * std::cos((2 * x + 1) * u * M_PI / (2 * size)));
    }
};

inline uint8_t clamped(float value) {
    const int rounded = static_cast<int>(value + 0.5f);
    return static_cast<uint8_t>(rounded < 0 ? 0 : rounded > 255 ? 255 : rounded);
}

using Transform = void (*)(const int16_t *, const float *, const Basis &, const Basis &, uint8_t *, size_t);

// HEIGHT by WIDTH coefficients, each to be multiplied with its factor, to as many pixels at `out`.
template <int HEIGHT, int WIDTH>
void inverse(const int16_t *coefficients, const float *factors, const Basis &down, const Basis &across, uint8_t *out,
             size_t stride) {
    float rows[HEIGHT][WIDTH] = {};
    for (int v = 0; v < HEIGHT; ++v)
        for (int u = 0; u < WIDTH; ++u)
            for (int x = 0; x < WIDTH; ++x)
                rows[v][x] +=
                    static_cast<float>(coefficients[v * WIDTH + u]) * factors[v * WIDTH + u] * across.value[u][x];
    for (int y = 0; y < HEIGHT; ++y) {
        float sums[WIDTH];
        for (int x = 0; x < WIDTH; ++x) sums[x] = 128;
        for (int v = 0; v < HEIGHT; ++v)
            for (int x = 0; x < WIDTH; ++x) sums[x] += rows[v][x] * down.value[v][y];
        for (int x = 0; x < WIDTH; ++x) out[static_cast<size_t>(y) * stride + static_cast<size_t>(x)] = clamped(sums[x]);
    }
}

// The one for 1, 2 or 4 rows and columns.
inline Transform transform(int height, int width) {
    static constexpr Transform all[3][3] = {
        {inverse<1, 1>, inverse<1, 2>, inverse<1, 4>},
        {inverse<2, 1>, inverse<2, 2>, inverse<2, 4>},
        {inverse<4, 1>, inverse<4, 2>, inverse<4, 4>},
    };
    return all[height >> 1][width >> 1];
}

// A row of Y'CbCr as RGB (JFIF 1.02).
inline void to_rgb(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int width, uint8_t *rgb) {
    constexpr int CHUNK = 16;  // so that the arithmetic is vectorized
    for (int start = 0; start < width; start += CHUNK) {
        uint8_t red[CHUNK], green[CHUNK], blue[CHUNK];
        const int count = width - start < CHUNK ? width - start : CHUNK;
        for (int i = 0; i < count; ++i) {
            const float luma = y[start + i], b = static_cast<float>(cb[start + i] - 128),
                        r = static_cast<float>(cr[start + i] - 128);
            red[i] = clamped(luma + 1.402f * r);
            green[i] = clamped(luma - 0.344136f * b - 0.714136f * r);
            blue[i] = clamped(luma + 1.772f * b);
        }
        for (int i = 0; i < count; ++i, rgb += 3) rgb[0] = red[i], rgb[1] = green[i], rgb[2] = blue[i];
    }
}

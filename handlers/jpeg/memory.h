// Memory for as long as its owner lives.
#pragma once

#include <cstddef>
#include <cstdlib>

struct Memory {
    void *memory = nullptr;

    Memory() = default;
    Memory(const Memory &) = delete;
    ~Memory() { free(memory); }
    template <typename T>
    T *take(size_t count) {  // null if there is none
        return static_cast<T *>(memory = malloc(count * sizeof(T)));
    }
};

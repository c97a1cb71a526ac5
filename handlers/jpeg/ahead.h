// A second reader of a scan, in a thread of its own. It begins near the middle: after a restart marker, or where there is
// none as if an MCU began there. Huffman codes fall into step with themselves (Klein and Wiseman, Parallel Huffman decoding
// with applications to JPEG files, 2003), so that the first reader comes to where one of its MCUs begins, and may take over
// what it has read from there on.
#pragma once

#include <atomic>
#include <pthread.h>

#include "memory.h"
#include "reader.h"

class Ahead {
  public:
    Ahead(const Scan &scan, int mcus)
        : scan(scan), mcus(mcus), counting(scan.counting()), part(scan.parts == 1 ? 0 : 1 + (scan.parts - 2) * 3 / 8),
          byte(part ? scan.ends[part - 1] : scan.ends[0] * 3 / 8),  // before the middle: the first has more to do
          next(8 * static_cast<ptrdiff_t>(byte)) {
        const size_t count = static_cast<size_t>(mcus) + 1;
        starts = starts_memory.take<Start>(count);
        coefficients = coefficients_memory.take<int16_t>(count * static_cast<size_t>(counting) + SLACK);
        running = starts && coefficients && !pthread_create(&thread, nullptr, run, this);
    }
    ~Ahead() { join(0); }

    // Which of its MCUs begins where `reader`, that has read `before` of them, stands; -1 if none does.
    int met(const Reader &reader, int before) {
        const ptrdiff_t position = reader.position();
        if (position < next) return -1;  // without a look at what the other thread writes, which costs either a while
        known = begun.load(std::memory_order_acquire);
        while (seen < known && starts[seen].position < position) ++seen;
        if (seen == known || seen > before) return -1;
        next = starts[seen].position;
        return next == position ? seen : -1;
    }

    // Takes over what it has read of `count` MCUs from `from` on, where `reader` stands.
    void take_over(const Reader &reader, int from, int count) {
        until = from + count;
        limit.store(until, std::memory_order_relaxed);
        for (int i = 0; i < 3; ++i)  // its first coefficients began from nothing
            offsets[i] = static_cast<int16_t>(reader.previous[i] - starts[from].previous[i]);
    }

    // The coefficients of one of them, once it has been read; at most once each. Null if it is not sound.
    const int16_t *take(int index) {
        if (known <= index + 1) known = begun.load(std::memory_order_acquire);
        if (known <= index + 1) join(until);
        if (known <= index + 1 || !starts[index].sound) return nullptr;
        int16_t *mcu = coefficients + static_cast<ptrdiff_t>(index) * counting, *block = mcu;
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < scan.components[i].blocks; ++j, block += scan.components[i].counting)
                *block = static_cast<int16_t>(*block + offsets[i]);
        return mcu;
    }

    // Whether the scan ends with the last of them.
    bool ended() {
        join(until);
        return known > until && starts[until].last;
    }

  private:
    struct Start {
        ptrdiff_t position;
        int16_t previous[3];
        bool last;  // nothing but padding follows
        bool sound;  // its MCU could be read
    };

    static void *run(void *self) {
        static_cast<Ahead *>(self)->read();
        return nullptr;
    }

    void read() {
        Reader reader(scan, part, byte);
        for (int i = 0;; ++i) {
            Start &start = starts[i];
            start.position = reader.position();
            memcpy(start.previous, reader.previous, sizeof start.previous);
            start.last = reader.part + 1 == scan.parts && reader.ended();
            begun.store(i + 1, std::memory_order_release);
            if (i >= limit.load(std::memory_order_relaxed) || reader.over()) return;
            start.sound = reader.read(true, coefficients + static_cast<ptrdiff_t>(i) * counting);
            if (!start.sound) reader.jump(reader.part, static_cast<size_t>(start.position / 8 + 1));
        }
    }

    void join(int enough) {
        limit.store(enough, std::memory_order_relaxed);
        if (running) pthread_join(thread, nullptr);
        running = false;
        known = begun.load(std::memory_order_relaxed);
    }

    const Scan &scan;
    const int mcus, counting;
    Memory starts_memory, coefficients_memory;
    Start *starts;
    int16_t *coefficients;  // of its MCUs
    // What one thread writes and the other reads, each in a cache line of its own (two on some machines): in one with what
    // either writes for itself, both would wait for it all the time.
    alignas(128) std::atomic<int> begun{0};
    alignas(128) std::atomic<int> limit{mcus};
    alignas(128) int16_t offsets[3];
    int known = 0;  // how many had begun at the last look
    int until = 0;  // the one after those that are taken over
    const size_t part, byte;  // where it begins
    ptrdiff_t next;  // the place of its MCU `seen`, as far as that was last known
    int seen = 0;  // MCUs that begin before the first reader's place
    pthread_t thread;
    bool running;
};

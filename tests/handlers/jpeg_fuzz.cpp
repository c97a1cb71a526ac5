// Damages good JPEGs in every way a file can be damaged, and has them decoded: jpeg_fuzz CASES SEED FILE...
// Prints how many could be, a number that all that was decided and decoded goes into, and how many times the first reader
// took over what the second had read.
// Built with sanitizers, which end it at the first wrong step. The second reader's thread is a real one, or with READER=1
// cannot be had, or with READER=2 reads all that it can before the first reader begins.

#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <vector>

static int taken_over;
#ifdef READER
static int started(void *(*function)(void *), void *argument) { return READER == 1 ? 1 : (function(argument), 0); }
#define pthread_create(thread, attributes, function, argument) started(function, argument)
#define pthread_join(thread, result) (taken_over += enough > 0)
#else
#define pthread_join(thread, result) (taken_over += enough > 0, pthread_join(thread, result))
#endif
#include "../../handlers/jpeg/reduced.cpp"

static uint64_t state;
static uint32_t chance(uint32_t below) {  // xorshift64
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<uint32_t>(state >> 20) % below;
}

int main(int count, char **arguments) {
    const int cases = atoi(arguments[1]);
    state = 0x9E3779B97F4A7C15u + static_cast<uint64_t>(atoi(arguments[2]));
    std::vector<std::vector<uint8_t>> files;
    for (int i = 3; i < count; ++i) {
        FILE *file = fopen(arguments[i], "rb");
        std::vector<uint8_t> content;
        for (int byte; (byte = fgetc(file)) != EOF;) content.push_back(static_cast<uint8_t>(byte));
        fclose(file);
        files.push_back(content);
    }
    int decoded = 0;
    uint32_t all = 0;
    for (int i = 0; i < cases; ++i) {
        std::vector<uint8_t> file = files[chance(static_cast<uint32_t>(files.size()))];
        const uint32_t near = chance(2) ? 700 : static_cast<uint32_t>(file.size());  // the tables as often as all the rest
        for (uint32_t damages = chance(4); damages; --damages) {
            const uint32_t size = static_cast<uint32_t>(file.size());
            if (!size) break;
            const uint32_t at = chance(size < near ? size : near);
            switch (chance(6)) {
                case 0: file[at] ^= static_cast<uint8_t>(1u << chance(8)); break;
                case 1: file[at] = static_cast<uint8_t>(chance(256)); break;
                case 2: file[at] = 0xFF; break;
                case 3: file.resize(at); break;
                case 4: file.insert(file.begin() + at, static_cast<uint8_t>(chance(256))); break;
                default: file.erase(file.begin() + at);
            }
        }
        // What Pillow would say of the size, which is what the file says.
        int width = 0, height = 0;
        for (size_t at = 0; at + 9 < file.size(); ++at)
            if (file[at] == 0xFF && file[at + 1] == 0xC0) {
                height = file[at + 5] << 8 | file[at + 6], width = file[at + 7] << 8 | file[at + 8];
                break;
            }
        if (static_cast<int64_t>(width) * height > 4000000) continue;
        const int eighths = 1 + static_cast<int>(chance(2));
        const int out_width = (width * eighths + 7) / 8, out_height = (height * eighths + 7) / 8;
        const int stride = (out_width + 3) / 4 * 4;
        std::vector<uint32_t> pixels(static_cast<size_t>(stride * ((out_height + 3) / 4 * 4)));
        const int left = static_cast<int>(chance(static_cast<uint32_t>(out_width / 2 + 1)));
        const int top = static_cast<int>(chance(static_cast<uint32_t>(out_height / 2 + 1)));
        file.shrink_to_fit();
        const bool sound = !decode_reduced(file.data(), file.size(), width, height, eighths, left, top, pixels.data());
        decoded += sound;
        all = all * 31 + sound;
        for (int y = top; sound && y < out_height - top; ++y)
            for (int x = left; x < out_width - left; ++x) all = all * 31 + pixels[static_cast<size_t>(stride * y + x)];
    }
    printf("%d %u %d\n", decoded, all, taken_over);
}

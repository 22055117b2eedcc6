// Dropout in one pass over memory: the mask is drawn where it is used, and drawn again from its seed for the gradient.
//
// Every block of elements has a generator of its own, so that what is drawn depends neither on the number of threads nor
// on the processor.

#include <algorithm>
#include <cstdint>

namespace {

constexpr int kLanes = 16;
constexpr int64_t kBlock = 1 << 13;

// xoshiro128++ (Blackman and Vigna) in every lane, seeded by splitmix64.
class Generator {
 public:
  Generator(uint64_t seed, int64_t block) {
    uint64_t state = seed ^ mixed(uint64_t(block) + 1);
    for (auto& word : words_)
      for (int i = 0; i < kLanes; i += 2) {
        const uint64_t drawn = mixed(state += 0x9e3779b97f4a7c15);
        word[i] = uint32_t(drawn);
        word[i + 1] = uint32_t(drawn >> 32);
      }
  }

  void draw(uint32_t* out) {
    auto& [a, b, c, d] = words_;
    for (int i = 0; i < kLanes; ++i) {
      out[i] = turned(a[i] + d[i], 7) + a[i];
      const uint32_t t = b[i] << 9;
      c[i] ^= a[i];
      d[i] ^= b[i];
      b[i] ^= c[i];
      a[i] ^= d[i];
      c[i] ^= t;
      d[i] = turned(d[i], 11);
    }
  }

 private:
  static uint64_t mixed(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  }
  static uint32_t turned(uint32_t x, int by) { return x << by | x >> (32 - by); }

  uint32_t words_[4][kLanes];
};

}  // namespace

// `out` is `in` times `scale`, and 0 where the number drawn is below `dropped`.
extern "C" void maeum_dropout(const float* in, float* out, int64_t count, uint64_t seed, uint32_t dropped, float scale,
                              int32_t threads) {
  const int64_t blocks = (count + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(threads) schedule(static) if (blocks > 4)
  for (int64_t block = 0; block < blocks; ++block) {
    Generator generator(seed, block);
    uint32_t drawn[kLanes];
    const int64_t end = std::min(count, (block + 1) * kBlock);
    int64_t at = block * kBlock;
    for (; at + kLanes <= end; at += kLanes) {
      generator.draw(drawn);
      for (int i = 0; i < kLanes; ++i) out[at + i] = drawn[i] >= dropped ? in[at + i] * scale : 0.0f;
    }
    generator.draw(drawn);
    for (int i = 0; at + i < end; ++i) out[at + i] = drawn[i] >= dropped ? in[at + i] * scale : 0.0f;
  }
}

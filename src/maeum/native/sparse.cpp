// The sparse operators of MESM on a CPU: attention, nucleus, submanifold 3x3 convolution, max-pooling.
//
// Features are rows of channels; `index` (n, height, width) says in which row a position's features lie, -1 where none
// do. A convolution looks at tiles of 2x2 positions. Where most of a tile's neighbourhood is active, it is computed by
// Winograd's F(2x2, 3x3) (16 products for what takes 36), with all tiles of a block side by side; the positions of the
// other tiles are computed pair by pair of active neighbours. Both end in one micro-kernel, whose sums stay in registers.
// How a position is computed depends on its own neighbourhood alone: neither on its batch nor on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define MAEUM_BF16 1
#endif

namespace {

// As wide as the processor's own: the compiler keeps wider ones in memory.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kVectors = 4;
#elif defined(__AVX__)
constexpr int kLanes = 8, kVectors = 2;
#else
constexpr int kLanes = 4, kVectors = 2;
#endif
typedef float Vector __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

// Rows and vectors of output channels that the micro-kernel sums up at a time: as many as registers hold.
constexpr int kRows = 6;
constexpr int kPanel = kVectors * kLanes;
// Positions and tiles that are held at a time, and the bytes of the latter: they should stay in the second-level cache.
constexpr int kBlock = 192, kTiles = 96;
constexpr int64_t kTileBytes = 640 << 10;

inline Vector load(const float* at) { return *reinterpret_cast<const Vector*>(at); }
inline void store(float* at, Vector x) { *reinterpret_cast<Vector*>(at) = x; }

inline uint16_t rounded(float x) {  // to the nearest bf16, ties to even
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t(bits >> 16 | 64);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// An element type: how a vector of them is read and written, and how words of them (two bf16 or one float) are multiplied.
struct Float {
  typedef float Element;
  typedef float Word;
  typedef Vector Words;
  static constexpr int kPer = 1;
  static Element one(float x) { return x; }
  static void join(Word* at, Vector x, Vector) { store(at, x); }  // words of these elements
  static Vector read(const Element* at) { return load(at); }
  static void write(Element* at, Vector x) { store(at, x); }
  static Words words(const Word* at) { return load(at); }
  static Vector madd(Vector sum, Word a, Words b) { return sum + a * b; }
};

#ifdef MAEUM_BF16
struct Brain {
  typedef uint16_t Element;
  typedef uint32_t Word;
  typedef __m512i Words;
  static constexpr int kPer = 2;
  static Element one(float x) { return rounded(x); }
  static void join(Word* at, Vector low, Vector high) {
    const __m512i a = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)low));
    const __m512i b = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)high));
    _mm512_storeu_si512(at, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
  }
  static Vector read(const Element* at) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
  }
  static void write(Element* at, Vector x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), (__m256i)_mm512_cvtneps_pbh((__m512)x));
  }
  static Words words(const Word* at) { return _mm512_loadu_si512(at); }
  static Vector madd(Vector sum, Word a, Words b) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(int(a)), (__m512bh)b);
  }
};
#endif

// Memory that a thread keeps from call to call.
class Scratch {
 public:
  ~Scratch() { std::free(at_); }
  template <class T>
  T* get(int64_t count) {
    const size_t bytes = (size_t(count) * sizeof(T) + 63) / 64 * 64;
    if (bytes > size_) {
      std::free(at_);
      at_ = std::aligned_alloc(64, bytes);
      size_ = at_ ? bytes : 0;
      if (!at_) std::abort();
    }
    return static_cast<T*>(at_);
  }

 private:
  void* at_ = nullptr;
  size_t size_ = 0;
};

// c[p] (V vectors) += the product of a[p] (k words) with b (k, V vectors); `add`: else c is overwritten.
template <class E, int V, int P>
inline void products(const typename E::Word* const* a, int k, const typename E::Word* b, float* const* c, bool add) {
  typedef typename E::Word Word;
  typedef typename E::Words Words;
  Vector sums[P][V];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sums[p][v] = add ? load(c[p] + v * kLanes) : Vector{};
  }
  const Word* rows[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) rows[p] = a[p];
  for (int i = 0; i < k; ++i, b += V * kLanes) {
    Words w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = E::words(b + v * kLanes);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const Word value = rows[p][i];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[p][v] = E::madd(sums[p][v], value, w[v]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(c[p] + v * kLanes, sums[p][v]);
  }
}

template <class E, int V, int P>
inline void products_of(const typename E::Word* const* a, int count, int k, const typename E::Word* b, float* const* c,
                        bool add) {
  if constexpr (P > 1) {
    if (count < P) return products_of<E, V, P - 1>(a, count, k, b, c, add);
  }
  products<E, V, P>(a, k, b, c, add);
}

// The same for any number of rows and up to kVectors vectors.
template <class E, int V = kVectors>
inline void multiply(const typename E::Word* const* a, int count, int k, const typename E::Word* b, int vectors,
                     float* const* c, bool add) {
  if constexpr (V > 1) {
    if (vectors < V) return multiply<E, V - 1>(a, count, k, b, vectors, c, add);
  }
  for (int at = 0; at < count; at += kRows) {
    products_of<E, V, kRows>(a + at, std::min(kRows, count - at), k, b, c + at, add);
  }
}

struct Grid {
  const int32_t* index;  // (n, height, width)
  int32_t n, height, width;

  int tall() const { return (height + 1) / 2; }
  int wide() const { return (width + 1) / 2; }
  int32_t at(int sample, int y, int x) const {
    if (unsigned(y) >= unsigned(height) || unsigned(x) >= unsigned(width)) return -1;
    return index[(int64_t(sample) * height + y) * width + x];
  }
};

struct Place {
  int sample, y, x;
};

inline Place place(int64_t number, int height, int width) {
  const int x = int(number % width);
  number /= width;
  return {int(number / height), int(number % height), x};
}

struct Conv {
  Grid grid;
  const void* in;          // rows of `channels_in`
  const void* near;        // weights by offset: (panels, 9, words of channels_in, panel)
  const void* tiled;       // weights of tiles: (panels, 16, words of channels_in, panel)
  const float* bias;       // (channels_out), or null
  void* out;               // rows of `channels_out`
  const int32_t* placed;   // (n, height, width): the row of `out`; null: as in `index`
  const int32_t* tiles;    // numbers of the tiles to compute as such
  const int32_t* sites;    // numbers of the other active positions
  int32_t tile_count, site_count, channels_in, channels_out, relu, threads;

  int64_t row(int sample, int y, int x) const {
    return (placed ? placed : grid.index)[(int64_t(sample) * grid.height + y) * grid.width + x];
  }
};

template <class E>
inline void finish(const Conv& conv, int64_t row, int channel, Vector x) {
  if (conv.bias) x += load(conv.bias + channel);
  if (conv.relu) x = x > 0.0f ? x : Vector{};
  E::write(static_cast<typename E::Element*>(conv.out) + row * conv.channels_out + channel, x);
}

// B' d B for the 4x4 rows d around a tile: 16 rows of channels, `apart` from each other.
template <class From, class To>
void look(const Grid& grid, Place tile, const typename From::Element* in, const typename From::Element* zero,
          int channels, typename To::Element* out, int64_t apart) {
  const typename From::Element* d[4][4];
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int32_t row = grid.at(tile.sample, 2 * tile.y + i - 1, 2 * tile.x + j - 1);
      d[i][j] = row < 0 ? zero : in + int64_t(row) * channels;
    }
  }
  for (int c = 0; c < channels; c += kLanes) {
    Vector half[4][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Vector d0 = From::read(d[0][j] + c), d1 = From::read(d[1][j] + c);
      const Vector d2 = From::read(d[2][j] + c), d3 = From::read(d[3][j] + c);
      half[0][j] = d0 - d2, half[1][j] = d1 + d2, half[2][j] = d2 - d1, half[3][j] = d1 - d3;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      typename To::Element* at = out + 4 * i * apart + c;
      To::write(at, half[i][0] - half[i][2]);
      To::write(at + apart, half[i][1] + half[i][2]);
      To::write(at + 2 * apart, half[i][2] - half[i][1]);
      To::write(at + 3 * apart, half[i][1] - half[i][3]);
    }
  }
}

// Tiles [first, first + count), panels [from, to).
template <class E>
void tiles(const Conv& conv, int first, int count, int from, int to) {
  typedef typename E::Word Word;
  typedef typename E::Element Element;
  static thread_local Scratch scratch_in, scratch_sums, scratch_zero;
  const int channels = conv.channels_in, k = channels / E::kPer;
  // One more cache line, so that the 16 values of a tile do not all fall into the same set.
  const int64_t apart_in = int64_t(count) * channels + 32, apart_out = int64_t(count) * kPanel + kLanes;
  Element* v = scratch_in.get<Element>(16 * apart_in);
  float* m = scratch_sums.get<float>(16 * apart_out);
  Element* zero = scratch_zero.get<Element>(channels);
  std::memset(zero, 0, channels * sizeof(Element));
  for (int t = 0; t < count; ++t) {
    const Place tile = place(conv.tiles[first + t], conv.grid.tall(), conv.grid.wide());
    look<E, E>(conv.grid, tile, static_cast<const Element*>(conv.in), zero, channels, v + int64_t(t) * channels, apart_in);
  }
  for (int panel = from; panel < to; ++panel) {
    const int vectors = std::min(kVectors, conv.channels_out / kLanes - panel * kVectors);
    const Word* weights = static_cast<const Word*>(conv.tiled) + int64_t(panel) * kPanel * 16 * k;
    for (int at = 0; at < 16; ++at, weights += int64_t(k) * vectors * kLanes) {
      const Word* rows = reinterpret_cast<const Word*>(v + at * apart_in);
      float* sums = m + at * apart_out;
      for (int t = 0; t < count; t += kRows) {
        const int some = std::min(kRows, count - t);
        const Word* a[kRows];
        float* c[kRows];
        for (int p = 0; p < some; ++p) a[p] = rows + int64_t(t + p) * k, c[p] = sums + int64_t(t + p) * kPanel;
        multiply<E>(a, some, k, weights, vectors, c, false);
      }
    }
    for (int t = 0; t < count; ++t) {
      const Place tile = place(conv.tiles[first + t], conv.grid.tall(), conv.grid.wide());
      const int y = 2 * tile.y, x = 2 * tile.x;
      int64_t row[2][2];
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 2; ++j) {
          row[i][j] = conv.grid.at(tile.sample, y + i, x + j) < 0 ? -1 : conv.row(tile.sample, y + i, x + j);
        }
      }
      for (int vector = 0; vector < vectors; ++vector) {
        const float* at = m + int64_t(t) * kPanel + vector * kLanes;
        Vector half[2][4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const Vector m0 = load(at + j * apart_out), m1 = load(at + (4 + j) * apart_out);
          const Vector m2 = load(at + (8 + j) * apart_out), m3 = load(at + (12 + j) * apart_out);
          half[0][j] = m0 + m1 + m2, half[1][j] = m1 - m2 - m3;
        }
        const int channel = panel * kPanel + vector * kLanes;
        for (int i = 0; i < 2; ++i) {
          if (row[i][0] >= 0) finish<E>(conv, row[i][0], channel, half[i][0] + half[i][1] + half[i][2]);
          if (row[i][1] >= 0) finish<E>(conv, row[i][1], channel, half[i][1] - half[i][2] - half[i][3]);
        }
      }
    }
  }
}

// Active positions [first, first + count) by pairs of neighbours, panels [from, to).
template <class E>
void sites(const Conv& conv, int first, int count, int from, int to) {
  typedef typename E::Word Word;
  static thread_local Scratch scratch_sums, scratch_from, scratch_to;
  const int k = conv.channels_in / E::kPer;
  float* sums = scratch_sums.get<float>(int64_t(count) * kPanel);
  const Word** a = scratch_from.get<const Word*>(9 * count);
  float** c = scratch_to.get<float*>(9 * count);
  int pairs[9] = {};
  for (int s = 0; s < count; ++s) {
    const Place site = place(conv.sites[first + s], conv.grid.height, conv.grid.width);
    for (int offset = 0; offset < 9; ++offset) {
      const int32_t row = conv.grid.at(site.sample, site.y + offset / 3 - 1, site.x + offset % 3 - 1);
      if (row < 0) continue;
      const int at = offset * count + pairs[offset]++;
      a[at] = static_cast<const Word*>(conv.in) + int64_t(row) * k;
      c[at] = sums + int64_t(s) * kPanel;
    }
  }
  for (int panel = from; panel < to; ++panel) {
    const int vectors = std::min(kVectors, conv.channels_out / kLanes - panel * kVectors);
    const Word* weights = static_cast<const Word*>(conv.near) + int64_t(panel) * kPanel * 9 * k;
    std::memset(sums, 0, int64_t(count) * kPanel * sizeof(float));
    for (int offset = 0; offset < 9; ++offset, weights += int64_t(k) * vectors * kLanes) {
      multiply<E>(a + offset * count, pairs[offset], k, weights, vectors, c + offset * count, true);
    }
    for (int s = 0; s < count; ++s) {
      const Place site = place(conv.sites[first + s], conv.grid.height, conv.grid.width);
      const int64_t row = conv.row(site.sample, site.y, site.x);
      for (int vector = 0; vector < vectors; ++vector) {
        finish<E>(conv, row, panel * kPanel + vector * kLanes, load(sums + int64_t(s) * kPanel + vector * kLanes));
      }
    }
  }
}

// Work is cut into blocks of tiles or positions, and where these are few, by output channels too.
template <class E>
void convolve(const Conv& conv) {
  const int panels = (conv.channels_out / kLanes + kVectors - 1) / kVectors;
  const int64_t bytes = 16 * int64_t(conv.channels_in) * sizeof(typename E::Element);
  const int most = int(std::max<int64_t>(kTileBytes / bytes / 12, 1) * 12);
  const int per_tiles = std::min(most, kTiles), per_sites = kBlock;
  const int tile_blocks = (conv.tile_count + per_tiles - 1) / per_tiles;
  const int site_blocks = (conv.site_count + per_sites - 1) / per_sites;
  const int blocks = tile_blocks + site_blocks;
  const int shares = blocks >= 4 * conv.threads ? 1 : std::min(panels, conv.threads);
#pragma omp parallel for schedule(dynamic) num_threads(conv.threads)
  for (int unit = 0; unit < blocks * shares; ++unit) {
    const int block = unit / shares, share = unit % shares;
    const int from = panels * share / shares, to = panels * (share + 1) / shares;
    if (block < tile_blocks) {
      // Evenly, so that the last block is not a small one.
      const int first = int(int64_t(conv.tile_count) * block / tile_blocks);
      tiles<E>(conv, first, int(int64_t(conv.tile_count) * (block + 1) / tile_blocks) - first, from, to);
    } else {
      const int at = block - tile_blocks, first = int(int64_t(conv.site_count) * at / site_blocks);
      sites<E>(conv, first, int(int64_t(conv.site_count) * (at + 1) / site_blocks) - first, from, to);
    }
  }
}

struct First {
  const float* in;      // (n, channels_in, height, width)
  const void* weights;  // (panels, kernel, words of kernel * channels_in, panel)
  const float* bias;    // (channels_out)
  void* out;            // (n, height / 2, width / 2, channels_out)
  int32_t n, channels_in, height, width, kernel, channels_out, threads;
};

// The four positions of a pooling window at x, summed up in registers: their largest, with bias and ReLU, to out.
template <class E, int V>
inline void window(const typename E::Element* x, int64_t row, int channels, int kernel, int words,
                   const typename E::Word* weights, const float* bias, typename E::Element* out) {
  typedef typename E::Words Words;
  Vector sums[4][V] = {};
  for (int ky = 0; ky < kernel; ++ky, x += row) {
    const typename E::Element* at[4] = {x, x + channels, x + row, x + row + channels};
    for (int i = 0; i < words; ++i, weights += V * kLanes) {
      Words w[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) w[v] = E::words(weights + v * kLanes);
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) {
        typename E::Word value;
        std::memcpy(&value, at[p] + i * E::kPer, sizeof(value));
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sums[p][v] = E::madd(sums[p][v], value, w[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    Vector most = sums[0][v];
#pragma GCC unroll 4
    for (int p = 1; p < 4; ++p) most = sums[p][v] > most ? sums[p][v] : most;
    most += load(bias + v * kLanes);
    E::write(out + v * kLanes, most > 0.0f ? most : Vector{});
  }
}

template <class E, int V = kVectors>
inline void window_of(int vectors, const typename E::Element* x, int64_t row, int channels, int kernel, int words,
                      const typename E::Word* weights, const float* bias, typename E::Element* out) {
  if constexpr (V > 1) {
    if (vectors < V) return window_of<E, V - 1>(vectors, x, row, channels, kernel, words, weights, bias, out);
  }
  window<E, V>(x, row, channels, kernel, words, weights, bias, out);
}

// The convolution of maps of few channels, with padding to their own size, then ReLU and max-pool 2x2.
template <class E>
void first(const First& task) {
  typedef typename E::Element Element;
  const int border = task.kernel / 2, channels = task.channels_in;
  const int words = (task.kernel * channels + E::kPer - 1) / E::kPer;
  const int64_t row = int64_t(task.width + 2 * border) * channels;
  const int64_t size = row * (task.height + 2 * border);
  const int panels = (task.channels_out / kLanes + kVectors - 1) / kVectors;
#pragma omp parallel for schedule(dynamic) num_threads(task.threads)
  for (int sample = 0; sample < task.n; ++sample) {
    static thread_local Scratch scratch;
    Element* padded = scratch.get<Element>(size + E::kPer);  // an odd row of a window is read one further
    std::memset(padded, 0, (size + E::kPer) * sizeof(Element));
    const float* in = task.in + int64_t(sample) * channels * task.height * task.width;
    for (int c = 0; c < channels; ++c) {
      for (int y = 0; y < task.height; ++y) {
        Element* to = padded + (y + border) * row + border * channels + c;
        for (int x = 0; x < task.width; ++x, ++in, to += channels) *to = E::one(*in);
      }
    }
    Element* out = static_cast<Element*>(task.out) +
                   int64_t(sample) * (task.height / 2) * (task.width / 2) * task.channels_out;
    for (int y = 0; y < task.height / 2; ++y) {
      for (int x = 0; x < task.width / 2; ++x, out += task.channels_out) {
        for (int panel = 0; panel < panels; ++panel) {
          const int at = panel * kPanel;
          window_of<E>(std::min(kVectors, task.channels_out / kLanes - panel * kVectors),
                       padded + 2 * y * row + 2 * x * channels, row, channels, task.kernel, words,
                       static_cast<const typename E::Word*>(task.weights) + int64_t(at) * task.kernel * words,
                       task.bias + at, out + at);
        }
      }
    }
  }
}

struct Gradient {
  Grid grid;
  const float* in;       // rows of `channels_in`
  const float* out;      // rows of `channels_out`: the gradient of the convolution's output
  const int32_t* tiles;  // as in Conv
  const int32_t* sites;
  float* weights;        // the gradient: (channels_out, channels_in, 3, 3)
  float* near;           // (9, channels_in, channels_out), to be used
  float* tiled;          // (16, channels_in, channels_out), to be used
  int32_t tile_count, site_count, channels_in, channels_out, threads;
};

// c[p] (V vectors, `apart` from each other) += (`add`: else =) the sum of a[i][p] * b[i] (V vectors) over i < count.
template <int V, int P>
inline void outer(const float* const* a, const float* const* b, int count, int from, int to, float* c, int64_t apart,
                  bool add) {
  Vector sums[P][V];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sums[p][v] = add ? load(c + p * apart + v * kLanes) : Vector{};
  }
  for (int i = 0; i < count; ++i) {
    const float *x = a[i] + from, *y = b[i] + to;
    Vector w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = load(y + v * kLanes);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const float value = x[p];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[p][v] += w[v] * value;
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(c + p * apart + v * kLanes, sums[p][v]);
  }
}

template <int V, int P>
inline void outer_of(const float* const* a, const float* const* b, int count, int from, int rows, int to, float* c,
                     int64_t apart, bool add) {
  if constexpr (P > 1) {
    if (rows < P) return outer_of<V, P - 1>(a, b, count, from, rows, to, c, apart, add);
  }
  outer<V, P>(a, b, count, from, to, c, apart, add);
}

// sums (channels_in, channels_out) += (`add`: else =) the outer products of a[i] and b[i], in one panel of the latter.
template <int V = kVectors>
void add_products(const float* const* a, const float* const* b, int count, int channels_in, int channels_out, int panel,
                  float* sums, bool add) {
  if constexpr (V > 1) {
    if (channels_out / kLanes - panel * kVectors < V) {
      return add_products<V - 1>(a, b, count, channels_in, channels_out, panel, sums, add);
    }
  }
  for (int from = 0; from < channels_in; from += kRows) {
    outer_of<V, kRows>(a, b, count, from, channels_in - from, panel * kPanel,
                       sums + int64_t(from) * channels_out + panel * kPanel, channels_out, add);
  }
}

// A g A' for the 2x2 rows g of a tile's gradient, as `look`.
void look_back(const Grid& grid, Place tile, const float* out, const float* zero, int channels, float* made,
               int64_t apart) {
  const float* g[2][2];
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      const int32_t row = grid.at(tile.sample, 2 * tile.y + i, 2 * tile.x + j);
      g[i][j] = row < 0 ? zero : out + int64_t(row) * channels;
    }
  }
  for (int c = 0; c < channels; c += kLanes) {
    Vector half[4][2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const Vector g0 = load(g[0][j] + c), g1 = load(g[1][j] + c);
      half[0][j] = g0, half[1][j] = g0 + g1, half[2][j] = g0 - g1, half[3][j] = -g1;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      float* at = made + 4 * i * apart + c;
      store(at, half[i][0]);
      store(at + apart, half[i][0] + half[i][1]);
      store(at + 2 * apart, half[i][0] - half[i][1]);
      store(at + 3 * apart, -half[i][1]);
    }
  }
}

// The gradient of a convolution's weights. Sums run over blocks in their order, whatever the number of threads.
void gradient(const Gradient& task) {
  static thread_local Scratch scratch_in, scratch_out, scratch_from, scratch_to, scratch_zero;
  const int in = task.channels_in, out = task.channels_out;
  const int panels = (out / kLanes + kVectors - 1) / kVectors;
  const int64_t size = int64_t(in) * out;
  const int block = int(std::min<int64_t>(std::max<int64_t>((4 << 20) / (64 * (in + out)), 48), 512));
  const int64_t apart_in = int64_t(block) * in + kLanes, apart_out = int64_t(block) * out + kLanes;
  float* v = scratch_in.get<float>(16 * apart_in);
  float* m = scratch_out.get<float>(16 * apart_out);
  const int most = std::max(16 * block, 9 * kBlock);
  const float** a = scratch_from.get<const float*>(most);
  const float** b = scratch_to.get<const float*>(most);
  float* zero = scratch_zero.get<float>(std::max(in, out));
  std::memset(zero, 0, std::max(in, out) * sizeof(float));
  int pairs[9];
#pragma omp parallel num_threads(task.threads)
  {
    for (int first = 0; first < task.tile_count; first += block) {
      const int count = std::min(block, task.tile_count - first);
#pragma omp for schedule(dynamic, 8)
      for (int t = 0; t < count; ++t) {
        const Place tile = place(task.tiles[first + t], task.grid.tall(), task.grid.wide());
        look<Float, Float>(task.grid, tile, task.in, zero, in, v + int64_t(t) * in, apart_in);
        look_back(task.grid, tile, task.out, zero, out, m + int64_t(t) * out, apart_out);
        for (int at = 0; at < 16; ++at) {
          a[at * block + t] = v + at * apart_in + int64_t(t) * in;
          b[at * block + t] = m + at * apart_out + int64_t(t) * out;
        }
      }
#pragma omp for schedule(dynamic)
      for (int unit = 0; unit < 16 * panels; ++unit) {
        const int at = unit / panels;
        add_products(a + at * block, b + at * block, count, in, out, unit % panels, task.tiled + at * size, first > 0);
      }
    }
    for (int first = 0; first < task.site_count; first += kBlock) {
      const int count = std::min(kBlock, task.site_count - first);
#pragma omp single
      {
        std::fill(pairs, pairs + 9, 0);
        for (int s = 0; s < count; ++s) {
          const Place site = place(task.sites[first + s], task.grid.height, task.grid.width);
          const float* to = task.out + int64_t(task.grid.at(site.sample, site.y, site.x)) * out;
          for (int offset = 0; offset < 9; ++offset) {
            const int32_t row = task.grid.at(site.sample, site.y + offset / 3 - 1, site.x + offset % 3 - 1);
            if (row < 0) continue;
            const int at = offset * kBlock + pairs[offset]++;
            a[at] = task.in + int64_t(row) * in, b[at] = to;
          }
        }
      }
#pragma omp for schedule(dynamic)
      for (int unit = 0; unit < 9 * panels; ++unit) {
        const int at = unit / panels;
        add_products(a + at * kBlock, b + at * kBlock, pairs[at], in, out, unit % panels, task.near + at * size,
                     first > 0);
      }
    }
    // Both parts together, G' u G + w, turned to (out, in, 3, 3).
#pragma omp for
    for (int o = 0; o < out; o += kLanes) {
      for (int c = 0; c < in; ++c) {
        const float *tiled = task.tiled + int64_t(c) * out + o, *near = task.near + int64_t(c) * out + o;
        Vector made[9] = {};
        if (task.tile_count) {
          Vector half[3][4];
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) {
            const Vector u0 = load(tiled + j * size), u1 = load(tiled + (4 + j) * size);
            const Vector u2 = load(tiled + (8 + j) * size), u3 = load(tiled + (12 + j) * size);
            half[0][j] = u0 + (u1 + u2) * 0.5f, half[1][j] = (u1 - u2) * 0.5f, half[2][j] = (u1 + u2) * 0.5f + u3;
          }
#pragma GCC unroll 3
          for (int i = 0; i < 3; ++i) {
            const Vector* u = half[i];
            made[3 * i] = u[0] + (u[1] + u[2]) * 0.5f;
            made[3 * i + 1] = (u[1] - u[2]) * 0.5f;
            made[3 * i + 2] = (u[1] + u[2]) * 0.5f + u[3];
          }
        }
        if (task.site_count) {
          for (int i = 0; i < 9; ++i) made[i] += load(near + i * size);
        }
        for (int l = 0; l < kLanes; ++l) {
          float* to = task.weights + (int64_t(o + l) * in + c) * 9;
          for (int i = 0; i < 9; ++i) to[i] = made[i][l];
        }
      }
    }
  }
}

struct Pack {
  const float* weights;  // (out, in, 3, 3)
  const float* scale;    // (out), or null
  void* near;            // as in Conv, or null
  void* tiled;           // likewise
  int32_t in, out, padded_in, padded_out, turned, threads;
};

// The nine weights of input channel c and a vector of output channels from o.
inline void weights_of(const Pack& task, int c, int o, Vector g[9]) {
  for (int i = 0; i < 9; ++i) g[i] = Vector{};
  const bool turned = task.turned;
  if (c >= (turned ? task.out : task.in)) return;
  const int some = std::min(kLanes, (turned ? task.in : task.out) - o);
  const float* from = task.weights + (turned ? int64_t(c) * task.in + o : int64_t(o) * task.in + c) * 9;
  const int64_t step = turned ? 9 : int64_t(task.in) * 9;
  for (int l = 0; l < some; ++l, from += step) {
    const float by = task.scale ? task.scale[turned ? c : o + l] : 1.0f;
    for (int i = 0; i < 9; ++i) g[i][l] = from[turned ? 8 - i : i] * by;
  }
}

// G g G'.
inline void transform(const Vector g[9], Vector made[16]) {
  Vector half[4][3];
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    const Vector a = g[j], b = g[3 + j], c = g[6 + j];
    half[0][j] = a, half[1][j] = (a + b + c) * 0.5f, half[2][j] = (a - b + c) * 0.5f, half[3][j] = c;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Vector a = half[i][0], b = half[i][1], c = half[i][2];
    made[4 * i] = a, made[4 * i + 1] = (a + b + c) * 0.5f, made[4 * i + 2] = (a - b + c) * 0.5f, made[4 * i + 3] = c;
  }
}

template <class E>
void pack(const Pack& task) {
  typedef typename E::Word Word;
  const int vectors = task.padded_out / kLanes, panels = (vectors + kVectors - 1) / kVectors;
  const int words = task.padded_in / E::kPer, some = kLanes / E::kPer;
#pragma omp parallel for schedule(dynamic) num_threads(task.threads)
  for (int unit = 0; unit < panels * (words / some); ++unit) {
    const int panel = unit % panels;
    const int wide = std::min(kVectors, vectors - panel * kVectors) * kLanes;
    const int64_t start = int64_t(panel) * kPanel * words, step = int64_t(words) * wide;
    Word* near = task.near ? static_cast<Word*>(task.near) + 9 * start : nullptr;
    Word* tiled = task.tiled ? static_cast<Word*>(task.tiled) + 16 * start : nullptr;
    for (int word = unit / panels * some; word < (unit / panels + 1) * some; ++word) {
      for (int l = 0; l < wide; l += kLanes) {
        Vector g[E::kPer][9], made[E::kPer][16];
        for (int k = 0; k < E::kPer; ++k) weights_of(task, word * E::kPer + k, panel * kPanel + l, g[k]);
        const int64_t at = int64_t(word) * wide + l;
        for (int i = 0; i < 9 && near; ++i) E::join(near + i * step + at, g[0][i], g[E::kPer - 1][i]);
        if (!tiled) continue;
        for (int k = 0; k < E::kPer; ++k) transform(g[k], made[k]);
        for (int i = 0; i < 16; ++i) E::join(tiled + i * step + at, made[0][i], made[E::kPer - 1][i]);
      }
    }
  }
}

inline Vector exponential(Vector x) {  // of -87 .. 88
  const Vector scaled = x * 1.44269504f;
  const Integers whole = __builtin_convertvector(scaled + (scaled > 0.0f ? Vector{} + 0.5f : Vector{} - 0.5f), Integers);
  const Vector n = __builtin_convertvector(whole, Vector);
  const Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * (Vector)((whole + 127) << 23);
}

inline Vector tanh_of(Vector x) {
  x = x > 10.0f ? Vector{} + 10.0f : x;
  x = x < -10.0f ? Vector{} - 10.0f : x;
  const Vector square = x * x;
  // Near zero the quotient would lose what is small: x - x^3/3 + 2x^5/15 - 17x^7/315.
  const Vector near = x * (1.0f + square * (-0.333333333f + square * (0.133333333f - square * 0.0539682540f)));
  const Vector far = 1.0f - 2.0f / (exponential(x + x) + 1.0f);
  return square < 0.01f ? near : far;
}

inline float sum_of(Vector x) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) x[i] += x[i + half];
  }
  return x[0];
}

struct Attention {
  const void* in;           // (n, positions, channels)
  const uint8_t* mask;      // (n, positions)
  const void* weights;      // (panels, words of channels, panel)
  const float* scale;       // (n, hidden)
  const float* shift;       // (n, hidden)
  const float* w;           // (hidden)
  float* probs;             // (n, positions)
  int32_t n, positions, channels, hidden, threads;
};

template <class E>
void attend_one(const Attention& task, int sample) {
  typedef typename E::Word Word;
  static thread_local Scratch scratch_sums, scratch_sites;
  float* sums = scratch_sums.get<float>(int64_t(kBlock) * kPanel);
  int32_t* active = scratch_sites.get<int32_t>(task.positions);
  const uint8_t* mask = task.mask + int64_t(sample) * task.positions;
  float* probs = task.probs + int64_t(sample) * task.positions;
  const float* scale = task.scale + int64_t(sample) * task.hidden;
  const float* shift = task.shift + int64_t(sample) * task.hidden;
  const int k = task.channels / E::kPer, panels = (task.hidden / kLanes + kVectors - 1) / kVectors;
  int count = 0;
  for (int i = 0; i < task.positions; ++i) {
    probs[i] = 0.0f;
    if (mask[i]) active[count++] = i;
  }
  if (!count) return;
  const Word* rows = static_cast<const Word*>(task.in) + int64_t(sample) * task.positions * k;
  for (int first = 0; first < count; first += kBlock) {
    const int some = std::min(kBlock, count - first);
    const Word* a[kBlock];
    float* c[kBlock];
    for (int s = 0; s < some; ++s) a[s] = rows + int64_t(active[first + s]) * k, c[s] = sums + s * kPanel;
    for (int panel = 0; panel < panels; ++panel) {
      const int vectors = std::min(kVectors, task.hidden / kLanes - panel * kVectors);
      multiply<E>(a, some, k, static_cast<const Word*>(task.weights) + int64_t(panel) * kPanel * k, vectors, c, false);
      for (int s = 0; s < some; ++s) {
        Vector sum = {};
        for (int v = 0; v < vectors; ++v) {
          const int at = panel * kPanel + v * kLanes;
          sum += load(task.w + at) * tanh_of(load(scale + at) * load(c[s] + v * kLanes) + load(shift + at));
        }
        probs[active[first + s]] += sum_of(sum);
      }
    }
  }
  float highest = probs[active[0]];
  for (int s = 1; s < count; ++s) highest = std::max(highest, probs[active[s]]);
  float total = 0.0f;
  for (int s = 0; s < count; ++s) total += probs[active[s]] = std::exp(probs[active[s]] - highest);
  for (int s = 0; s < count; ++s) probs[active[s]] /= total;
}

template <class E>
void pool_one(const typename E::Element* in, const uint8_t* mask, int height, int width, int channels,
              typename E::Element* out, uint8_t* pooled) {
  typedef typename E::Element Element;
  const int wide = width / 2;
  for (int y = 0; y < height / 2; ++y) {
    for (int x = 0; x < wide; ++x, out += channels, ++pooled) {
      const Element* there[4];
      int count = 0;
      for (int i = 0; i < 4; ++i) {
        const int64_t at = int64_t(2 * y + i / 2) * width + 2 * x + i % 2;
        if (mask[at]) there[count++] = in + at * channels;
      }
      *pooled = count > 0;
      if (count == 0) std::memset(out, 0, channels * sizeof(Element));
      if (count == 0) continue;
      for (int c = 0; c < channels; c += kLanes) {
        Vector most = E::read(there[0] + c);
        for (int i = 1; i < count; ++i) {
          const Vector other = E::read(there[i] + c);
          most = other > most ? other : most;
        }
        E::write(out + c, most);
      }
    }
  }
}

// The gradient of `pool_one`: to the first of the largest inputs.
template <class E>
void pool_back(const typename E::Element* in, const uint8_t* mask, const typename E::Element* gradient, int height,
               int width, int channels, typename E::Element* out) {
  typedef typename E::Element Element;
  std::memset(out, 0, int64_t(height) * width * channels * sizeof(Element));
  for (int y = 0; y < height / 2; ++y) {
    for (int x = 0; x < width / 2; ++x, gradient += channels) {
      int64_t there[4];
      int count = 0;
      for (int i = 0; i < 4; ++i) {
        const int64_t at = int64_t(2 * y + i / 2) * width + 2 * x + i % 2;
        if (mask[at]) there[count++] = at * channels;
      }
      for (int c = 0; c < channels && count; c += kLanes) {
        Vector most = E::read(in + there[0] + c);
        Integers which = {};
        for (int i = 1; i < count; ++i) {
          const Vector other = E::read(in + there[i] + c);
          which = other > most ? Integers{} + i : which;
          most = other > most ? other : most;
        }
        const Vector g = E::read(gradient + c);
        for (int i = 0; i < count; ++i) E::write(out + there[i] + c, which == i ? g : Vector{});
      }
    }
  }
}

template <class E>
void pool(const void* in, const uint8_t* mask, int n, int height, int width, int channels, void* out, uint8_t* pooled,
          int threads) {
  typedef typename E::Element Element;
  const int64_t many = int64_t(height) * width, few = int64_t(height / 2) * (width / 2);
#pragma omp parallel for num_threads(threads)
  for (int sample = 0; sample < n; ++sample) {
    pool_one<E>(static_cast<const Element*>(in) + sample * many * channels, mask + sample * many, height, width, channels,
                static_cast<Element*>(out) + sample * few * channels, pooled + sample * few);
  }
}

template <class E>
void pool_backwards(const void* in, const uint8_t* mask, const void* gradient, int n, int height, int width, int channels,
                    void* out, int threads) {
  typedef typename E::Element Element;
  const int64_t many = int64_t(height) * width, few = int64_t(height / 2) * (width / 2);
#pragma omp parallel for num_threads(threads)
  for (int sample = 0; sample < n; ++sample) {
    pool_back<E>(static_cast<const Element*>(in) + sample * many * channels, mask + sample * many,
                 static_cast<const Element*>(gradient) + sample * few * channels, height, width, channels,
                 static_cast<Element*>(out) + sample * many * channels);
  }
}

template <class From, class To>
void place_rows(const void* rows, const int32_t* index, const float* gate, const void* maps, int64_t positions,
                int channels, void* out, float* gate_gradient, int threads) {
  typedef typename From::Element Given;
  typedef typename To::Element Made;
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < positions; ++i) {
    Made* to = static_cast<Made*>(out) + i * channels;
    if (gate_gradient) gate_gradient[i] = 0.0f;
    if (index[i] < 0) {
      std::memset(to, 0, channels * sizeof(Made));
      continue;
    }
    const Given* from = static_cast<const Given*>(rows) + int64_t(index[i]) * channels;
    const float by = gate ? gate[i] : 1.0f;
    for (int c = 0; c < channels; c += kLanes) To::write(to + c, From::read(from + c) * by);
    if (!gate_gradient) continue;
    const Made* map = static_cast<const Made*>(maps) + i * channels;
    Vector sum = {};
    for (int c = 0; c < channels; c += kLanes) sum += From::read(from + c) * To::read(map + c);
    gate_gradient[i] = sum_of(sum);
  }
}

template <class From, class To>
void gather(const void* in, const int32_t* from, const float* gate, int64_t count, int channels, int padded, void* out,
            int threads) {
  typedef typename From::Element Given;
  typedef typename To::Element Made;
#pragma omp parallel for num_threads(threads)
  for (int64_t row = 0; row < count; ++row) {
    const int64_t at = from ? from[row] : row;
    const Given* x = static_cast<const Given*>(in) + at * channels;
    Made* y = static_cast<Made*>(out) + row * padded;
    const float by = gate ? gate[at] : 1.0f;
    int c = 0;
    for (; c + kLanes <= channels; c += kLanes) To::write(y + c, From::read(x + c) * by);
    for (; c < padded; c += kLanes) {
      Given some[kLanes] = {};
      if (c < channels) std::memcpy(some, x + c, (channels - c) * sizeof(Given));
      To::write(y + c, From::read(some) * by);
    }
  }
}

}  // namespace

// Element types: 0 fp32, 1 bf16. All channels are multiples of 16.
static_assert(16 % kLanes == 0, "channels are whole vectors");
#ifdef MAEUM_BF16
#define MAEUM_CALL(brain, function, ...) ((brain) ? function<Brain>(__VA_ARGS__) : function<Float>(__VA_ARGS__))
#else
#define MAEUM_CALL(brain, function, ...) function<Float>(__VA_ARGS__)
#endif

extern "C" {

// Whether bf16 is multiplied.
int32_t maeum_bf16() {
#ifdef MAEUM_BF16
  return 1;
#else
  return 0;
#endif
}

// Output channels that lie side by side in packed weights.
int32_t maeum_panel() { return kPanel; }

// What a convolution over the active positions of `mask` (n, height, width; null: all) needs. Writes `index`, the
// numbers of the active positions to `rows`, of the tiles that are computed as such (those with at least `least` pairs of
// active neighbours) to `tiles`, and of the positions of the other tiles to `sites`; counts: rows, tiles, sites.
void maeum_plan(const uint8_t* mask, int32_t n, int32_t height, int32_t width, int32_t least, int32_t* index,
                int32_t* rows, int32_t* tiles, int32_t* sites, int32_t* counts) {
  int row_count = 0, tile_count = 0, site_count = 0;
  for (int32_t i = 0; i < n * height * width; ++i) {
    index[i] = -1;
    if (!mask || mask[i]) rows[index[i] = row_count++] = i;
  }
  const Grid grid = {index, n, height, width};
  int32_t number = 0;
  for (int sample = 0; sample < n; ++sample) {
    for (int y = 0; y < height; y += 2) {
      for (int x = 0; x < width; x += 2, ++number) {
        bool there[4][4];
        for (int i = 0; i < 4; ++i) {
          for (int j = 0; j < 4; ++j) there[i][j] = grid.at(sample, y + i - 1, x + j - 1) >= 0;
        }
        int pairs = 0;
        for (int i = 1; i < 3; ++i) {
          for (int j = 1; j < 3; ++j) {
            if (!there[i][j]) continue;
            for (int offset = 0; offset < 9; ++offset) pairs += there[i + offset / 3 - 1][j + offset % 3 - 1];
          }
        }
        if (pairs >= least) {
          tiles[tile_count++] = number;
          continue;
        }
        for (int i = 1; i < 3 && pairs; ++i) {
          for (int j = 1; j < 3; ++j) {
            if (there[i][j]) sites[site_count++] = (sample * height + y + i - 1) * width + x + j - 1;
          }
        }
      }
    }
  }
  counts[0] = row_count, counts[1] = tile_count, counts[2] = site_count;
}

// Weights, times their scale, as the convolution wants them. turned: those of the gradient of its input, (in, out) with
// the offsets reversed, whose padded sizes the task then gives.
void maeum_pack(const Pack* task, int32_t brain) { MAEUM_CALL(brain, pack, *task); }

void maeum_convolve(const Conv* conv, int32_t brain) { MAEUM_CALL(brain, convolve, *conv); }

void maeum_first(const First* task, int32_t brain) { MAEUM_CALL(brain, first, *task); }

void maeum_gradient(const Gradient* task) { gradient(*task); }

void maeum_attend(const Attention* task, int32_t brain) {
#pragma omp parallel for schedule(dynamic) num_threads(task->threads)
  for (int sample = 0; sample < task->n; ++sample) MAEUM_CALL(brain, attend_one, *task, sample);
}

// The nucleus of each sample: probs and mask (n, positions) -> keep. As `reference.top_p_mask`, sums and ties included;
// preference (positions) may be null.
void maeum_top_p(const float* probs, const uint8_t* mask, const float* preference, int32_t n, int32_t positions,
                 float p, uint8_t* keep, int32_t threads) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int sample = 0; sample < n; ++sample) {
    static thread_local Scratch scratch;
    uint64_t* order = scratch.get<uint64_t>(positions);
    const int64_t start = int64_t(sample) * positions;
    int count = 0;
    for (int i = 0; i < positions; ++i) {
      keep[start + i] = 0;
      if (!mask[start + i]) continue;
      uint32_t bits;  // of numbers that are not negative: they rise with them
      const float wanted = preference ? probs[start + i] * preference[i] : probs[start + i];
      std::memcpy(&bits, &wanted, 4);
      order[count++] = uint64_t(~bits) << 32 | uint32_t(i);
    }
    std::sort(order, order + count);
    double mass = 0.0;
    for (int s = 0; s < count; ++s) {
      const int at = int(uint32_t(order[s]));
      const float prob = probs[start + at];
      mass += prob;
      if (float(mass) - prob < p) keep[start + at] = 1;
    }
  }
}

// Rows of channels, (positions, channels) -> (count, padded), of the positions `from` (null: all), each times its gate
// where given. given: element type of `in`; made: that of `out`.
void maeum_gather(const void* in, const int32_t* from, const float* gate, int64_t count, int32_t channels, int32_t padded,
                  int32_t given, int32_t made, void* out, int32_t threads) {
#ifdef MAEUM_BF16
  if (given && made) return gather<Brain, Brain>(in, from, gate, count, channels, padded, out, threads);
  if (given) return gather<Brain, Float>(in, from, gate, count, channels, padded, out, threads);
  if (made) return gather<Float, Brain>(in, from, gate, count, channels, padded, out, threads);
#else
  (void)given, (void)made;
#endif
  gather<Float, Float>(in, from, gate, count, channels, padded, out, threads);
}

// The other way: rows (of `index`) -> out (positions, channels), times the gate where given, zero where there is no row;
// and where wanted the gradient of the gate, rows times maps, whose element type is that of `out`.
void maeum_place(const void* rows, const int32_t* index, const float* gate, const void* maps, int64_t positions,
                 int32_t channels, int32_t given, int32_t made, void* out, float* gate_gradient, int32_t threads) {
#ifdef MAEUM_BF16
  if (given && made) {
    return place_rows<Brain, Brain>(rows, index, gate, maps, positions, channels, out, gate_gradient, threads);
  }
  if (given) return place_rows<Brain, Float>(rows, index, gate, maps, positions, channels, out, gate_gradient, threads);
  if (made) return place_rows<Float, Brain>(rows, index, gate, maps, positions, channels, out, gate_gradient, threads);
#else
  (void)given, (void)made;
#endif
  place_rows<Float, Float>(rows, index, gate, maps, positions, channels, out, gate_gradient, threads);
}

// Zeros into the rows of `out` (positions, bytes) of which `index` has none.
void maeum_clear(const int32_t* index, int64_t positions, int64_t bytes, void* out, int32_t threads) {
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < positions; ++i) {
    if (index[i] < 0) std::memset(static_cast<char*>(out) + i * bytes, 0, bytes);
  }
}

// Max-pool 2x2 over active positions: in (n, height, width, channels), mask -> out, pooled.
void maeum_pool(const void* in, const uint8_t* mask, int32_t n, int32_t height, int32_t width, int32_t channels,
                int32_t brain, void* out, uint8_t* pooled, int32_t threads) {
  MAEUM_CALL(brain, pool, in, mask, n, height, width, channels, out, pooled, threads);
}

// The gradient of its input, out (n, height, width, channels), of that of its output.
void maeum_pool_back(const void* in, const uint8_t* mask, const void* gradient, int32_t n, int32_t height, int32_t width,
                     int32_t channels, int32_t brain, void* out, int32_t threads) {
  MAEUM_CALL(brain, pool_backwards, in, mask, gradient, n, height, width, channels, out, threads);
}

}  // extern "C"

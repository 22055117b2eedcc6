// The arithmetic of MTCNN on a CPU: sums over a picture, area resizing, and the convolutional bodies of its networks.
//
// Every stage makes one row at a time from the few rows of the stage before that it needs, so that nothing but rows is
// ever held: they stay in the cache whatever the size of the picture. Maps lie as (row, column, channel), with channels
// padded to whole vectors of 16.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace {

constexpr int kLanes = 16;
typedef float Vector __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Vector load(const float* at) { return *reinterpret_cast<const Vector*>(at); }

// Pixels and vectors of output channels that a micro-kernel sums up at a time: as many as registers hold.
#if defined(__AVX512F__)
constexpr int kPixels = 12, kVectors = 2;
#else
constexpr int kPixels = 6, kVectors = 1;
#endif

// The three channels of a sum lie side by side in one number, 21 bits each; see integral.py. Sums of more pixels than
// surely fit are put together from those of smaller areas.
constexpr int kBits = 21;
constexpr uint64_t kLane = (uint64_t(1) << kBits) - 1;
constexpr int64_t kMostPixels = (int64_t(1) << kBits) / 255;

struct Sums {
  const uint64_t* at;
  int64_t stride;
};

// Means of the areas between rows [top, bottom) and columns [left[i], right[i]); 0 for an empty area.
void means(const Sums& sums, int64_t top, int64_t bottom, const int64_t* left, const int64_t* right, int64_t count,
           float* out) {
  int64_t widest = 1;
  for (int64_t i = 0; i < count; ++i) widest = std::max(widest, right[i] - left[i]);
  const int64_t tallest = std::max<int64_t>(kMostPixels / widest, 1);
  std::memset(out, 0, count * 3 * sizeof(float));
  for (int64_t above = top; above < bottom; above += tallest) {
    const uint64_t *a = sums.at + above * sums.stride;
    const uint64_t *b = sums.at + std::min(above + tallest, bottom) * sums.stride;
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t sum = (b[right[i]] - b[left[i]]) - (a[right[i]] - a[left[i]]);
      for (int c = 0; c < 3; ++c) out[3 * i + c] += float(int32_t(sum >> (c * kBits) & kLane));
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const float share = 1.0f / float(std::max<int64_t>((bottom - top) * (right[i] - left[i]), 1));
    for (int c = 0; c < 3; ++c) out[3 * i + c] *= share;
  }
}

// A maker of rows. `row(y)` may be asked for in rising order, and again for as many of the last rows as are kept.
class Rows {
 public:
  Rows(int height, int width, int channels, int kept)
      : height(height), width(width), channels(channels), kept_(kept),
        ring_(size_t(kept) * width * channels) {}
  virtual ~Rows() = default;

  const float* row(int y) {
    for (; made_ <= y; ++made_) make(made_, ring(made_));
    return ring(y);
  }
  virtual void restart() { made_ = 0; }

  const int height, width, channels;

 protected:
  virtual void make(int y, float* out) = 0;

 private:
  float* ring(int y) { return ring_.data() + size_t(y % kept_) * width * channels; }
  const int kept_;
  std::vector<float> ring_;
  int made_ = 0;
};

// Rows of a map that lies in memory.
class Given : public Rows {
 public:
  Given(int height, int width, int channels) : Rows(height, width, channels, 3) {}
  void look_at(const float* map) { map_ = map; }

 protected:
  void make(int y, float* out) override {
    const size_t size = size_t(width) * channels;
    std::memcpy(out, map_ + y * size, size * sizeof(float));
  }

 private:
  const float* map_ = nullptr;
};

}  // namespace

extern "C" {

// A convolution without padding at stride 1, bias, PReLU, then max-pooling (pool = 1: none), partial windows included.
struct Layer {
  int32_t kernel, channels_in, channels_out;  // channels_out: a multiple of 16
  int32_t pool, pool_stride;
  const float* weights;  // (channels_out / 16, kernel, kernel, channels_in, 16)
  const float* bias;     // (channels_out)
  const float* slopes;   // (channels_out)
};

}  // extern "C"

namespace {

class Convolved : public Rows {
 public:
  Convolved(Rows& from, const Layer& layer, int kept)
      : Rows(from.height - layer.kernel + 1, from.width - layer.kernel + 1, layer.channels_out, kept),
        from_(from), layer_(layer) {}

 protected:
  void make(int y, float* out) override {
    const float* in[8];
    for (int k = 0; k < layer_.kernel; ++k) in[k] = from_.row(y + k);
    const int blocks = (width + kPixels - 1) / kPixels;
    for (int v = 0; v < channels / kLanes; v += kVectors) {
      const int vectors = std::min(kVectors, channels / kLanes - v);
      for (int b = 0; b < blocks; ++b) {
        const int start = int(int64_t(width) * b / blocks), end = int(int64_t(width) * (b + 1) / blocks);
        vectors == kVectors ? pixels<kVectors>(in, start, end - start, v, out) : pixels<1>(in, start, end - start, v, out);
      }
    }
  }

 private:
  template <int V>
  void pixels(const float* const* in, int start, int count, int v, float* out) const {
    pixels_of<V, kPixels>(in, start, count, v, out);
  }

  template <int V, int P>
  void pixels_of(const float* const* in, int start, int count, int v, float* out) const {
    if constexpr (P > 1) {
      if (count < P) return pixels_of<V, P - 1>(in, start, count, v, out);
    }
    sum<V, P>(in, start, v, out);
  }

  template <int V, int P>
  void sum(const float* const* in, int start, int first, float* out) const {
    const int step = from_.channels, inner = layer_.channels_in, kernel = layer_.kernel;
    const size_t apart = size_t(kernel) * kernel * inner * kLanes;
    const float* weights = layer_.weights + first * apart;
    Vector sums[P][V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const Vector bias = load(layer_.bias + (first + v) * kLanes);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) sums[p][v] = bias;
    }
    for (int ky = 0; ky < kernel; ++ky) {
      for (int kx = 0; kx < kernel; ++kx) {
        const float* pixel = in[ky] + size_t(start + kx) * step;
        for (int c = 0; c < inner; ++c, weights += kLanes) {
          Vector w[V];
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) w[v] = load(weights + v * apart);
#pragma GCC unroll 16
          for (int p = 0; p < P; ++p) {
            const float value = pixel[p * step + c];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sums[p][v] += w[v] * value;
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const Vector slopes = load(layer_.slopes + (first + v) * kLanes);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const Vector x = sums[p][v];
        *reinterpret_cast<Vector*>(out + size_t(start + p) * channels + (first + v) * kLanes) =
            x > 0.0f ? x : x * slopes;
      }
    }
  }

  Rows& from_;
  const Layer& layer_;
};

int pooled(int size, int pool, int stride) { return std::max(size - pool + stride - 1, 0) / stride + 1; }

class Pooled : public Rows {
 public:
  Pooled(Rows& from, int pool, int stride, int kept)
      : Rows(pooled(from.height, pool, stride), pooled(from.width, pool, stride), from.channels, kept),
        from_(from), pool_(pool), stride_(stride), tallest_(size_t(from.width) * from.channels) {}

 protected:
  void make(int y, float* out) override {
    const int top = y * stride_, bottom = std::min(top + pool_, from_.height);
    float* highest = tallest_.data();
    std::memcpy(highest, from_.row(top), tallest_.size() * sizeof(float));
    for (int r = top + 1; r < bottom; ++r) raise(highest, from_.row(r), tallest_.size());
    for (int x = 0; x < width; ++x, out += channels) {
      const int left = x * stride_, right = std::min(left + pool_, from_.width);
      std::memcpy(out, highest + size_t(left) * channels, channels * sizeof(float));
      for (int c = left + 1; c < right; ++c) raise(out, highest + size_t(c) * channels, channels);
    }
  }

 private:
  static void raise(float* a, const float* b, size_t count) {
    for (size_t i = 0; i < count; ++i) a[i] = std::max(a[i], b[i]);
  }

  Rows& from_;
  const int pool_, stride_;
  std::vector<float> tallest_;
};

// A network's layers upon a source of rows.
class Body {
 public:
  Body(Rows& source, const Layer* layers, int count) : last_(&source) {
    for (int i = 0; i < count; ++i) {
      const bool pools = layers[i].pool > 1;
      const int needed = i + 1 < count ? layers[i + 1].kernel : 1;
      add(std::make_unique<Convolved>(*last_, layers[i], pools ? layers[i].pool : needed));
      if (pools) add(std::make_unique<Pooled>(*last_, layers[i].pool, layers[i].pool_stride, needed));
    }
  }
  void restart() {
    for (auto& stage : stages_) stage->restart();
  }
  Rows& last() { return *last_; }

 private:
  void add(std::unique_ptr<Rows> stage) {
    stages_.push_back(std::move(stage));
    last_ = stages_.back().get();
  }
  std::vector<std::unique_ptr<Rows>> stages_;
  Rows* last_;
};

// Rows of a picture at another size.
class Resized : public Rows {
 public:
  Resized(Sums sums, const int64_t* top, const int64_t* bottom, int height, const int64_t* left, const int64_t* right,
          int width)
      : Rows(height, width, 3, 3), sums_(sums), top_(top), bottom_(bottom), left_(left), right_(right) {}

 protected:
  void make(int y, float* out) override { means(sums_, top_[y], bottom_[y], left_, right_, width, out); }

 private:
  const Sums sums_;
  const int64_t *top_, *bottom_, *left_, *right_;
};

// The product of x with weights, plus the bias that follows them. count: a multiple of 16.
float dot(const float* x, const float* weights, int count) {
  Vector products = {};
  for (int i = 0; i < count; i += kLanes) products += load(x + i) * load(weights + i);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) products[i] += products[i + half];
  }
  return products[0] + weights[count];
}

}  // namespace

extern "C" {

// Sums from the corner: rgb (height, width, 3) -> sums (height + 1, width + 1).
void maeum_sums(const uint8_t* rgb, int64_t height, int64_t width, uint64_t* sums) {
  const int64_t stride = width + 1;
  std::memset(sums, 0, stride * sizeof(uint64_t));
  for (int64_t y = 0; y < height; ++y, sums += stride) {
    uint64_t run = 0;
    sums[stride] = 0;
    for (int64_t x = 1; x <= width; ++x, rgb += 3) {
      run += uint64_t(rgb[0]) | uint64_t(rgb[1]) << kBits | uint64_t(rgb[2]) << (2 * kBits);
      sums[stride + x] = run + sums[x];
    }
  }
}

// Means of areas in n grids (rows, columns, 3), whose edges are top and bottom (n, rows), left and right (n, columns).
void maeum_means(const uint64_t* sums, int64_t stride, const int64_t* top, const int64_t* bottom, const int64_t* left,
                 const int64_t* right, int64_t n, int64_t rows, int64_t columns, float* out) {
  for (int64_t i = 0; i < n; ++i, left += columns, right += columns) {
    for (int64_t y = 0; y < rows; ++y, ++top, ++bottom, out += 3 * columns) {
      means({sums, stride}, *top, *bottom, left, right, columns, out);
    }
  }
}

// A network's body on maps x (n, height, width, channels) -> out (n, rows, columns, channels of the last layer).
void maeum_body(const Layer* layers, int32_t count, const float* x, int64_t n, int32_t height, int32_t width,
                int32_t channels, float* out) {
  Given source(height, width, channels);
  Body body(source, layers, count);
  Rows& last = body.last();
  const size_t row = size_t(last.width) * last.channels;
  for (int64_t i = 0; i < n; ++i, x += size_t(height) * width * channels) {
    source.restart();
    source.look_at(x);
    body.restart();
    for (int y = 0; y < last.height; ++y, out += row) std::memcpy(out, last.row(y), row * sizeof(float));
  }
}

// P-Net on a part of a pyramid level, whose pixels are the means of the areas between the edges.
//
// Where the logit of its certainty is at least `least`, writes row, column, logit and four box offsets to found, which
// has room for all sites (n, 7). heads: (5, channels + 1), weights and bias of the logit and of the offsets. Returns n.
int64_t maeum_propose(const Layer* layers, int32_t count, const float* heads, float least, const uint64_t* sums,
                      int64_t stride, const int64_t* top, const int64_t* bottom, int32_t height, const int64_t* left,
                      const int64_t* right, int32_t width, float* found) {
  Resized source({sums, stride}, top, bottom, height, left, right, width);
  Body body(source, layers, count);
  Rows& last = body.last();
  const float* first = found;
  for (int y = 0; y < last.height; ++y) {
    const float* site = last.row(y);
    for (int x = 0; x < last.width; ++x, site += last.channels) {
      const float logit = dot(site, heads, last.channels);
      if (logit < least) continue;
      *found++ = float(y), *found++ = float(x), *found++ = logit;
      for (int i = 1; i < 5; ++i) *found++ = dot(site, heads + i * (last.channels + 1), last.channels);
    }
  }
  return (found - first) / 7;
}

}  // extern "C"

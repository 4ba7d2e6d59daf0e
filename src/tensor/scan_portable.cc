#include "tensor/scan.h"

#include <algorithm>
#include <type_traits>

#include "base/prefetch.h"

namespace dyadic {
namespace {

// Constants of bytes are nearly all of a model: their loops exist for processors with and without AVX2.
// Not under ThreadSanitizer, which is not ready yet when the loader chooses among them.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define DYADIC_CLONES [[gnu::target_clones("avx2", "default")]]
#else
#define DYADIC_CLONES
#endif

constexpr int64_t kBlock = 384;  // terms of a 32-bit sum: 384 * 2^7 * 2^15 < 2^31; of a 16-bit one: 384 * 2^7 < 2^16

struct TwiceEnds {
  int32_t centre, radius;
};

// Twice the products' ends are w * (lo + hi) -+ |w| * (hi - lo), whatever the sign of w. gcc's abs would be unsigned,
// which no 16-bit multiply takes beside a signed number.
DYADIC_CLONES TwiceEnds block_sums(const int8_t* __restrict weight, int64_t count, const int16_t* __restrict sum,
                                   const int16_t* __restrict width) {
  TwiceEnds ends{0, 0};
  for (int64_t k = 0; k < count; ++k) {
    const int16_t w = weight[k], up = w > 0 ? w : 0, magnitude = up + up - w;
    ends.centre += w * sum[k];
    ends.radius += magnitude * width[k];
  }
  return ends;
}

DYADIC_CLONES int32_t block_magnitude(const int8_t* __restrict weight, int64_t count) {
  uint16_t sum = 0;
  for (int64_t k = 0; k < count; ++k) sum = static_cast<uint16_t>(sum + (weight[k] < 0 ? -weight[k] : weight[k]));
  return sum;
}

constexpr int64_t kSumBlock = 224;  // 224 * 2^7 < 2^15, in whole vectors

DYADIC_CLONES int16_t block_sum(const int8_t* __restrict codes, int64_t count) {
  uint16_t sum = 0;
  for (int64_t k = 0; k < count; ++k) sum = static_cast<uint16_t>(sum + codes[k]);
  return static_cast<int16_t>(sum);
}

constexpr int kRows = 4;  // that are read together, for fewer accesses to the ends

// Conditional expressions instead of std::min for the sake of gcc's vectoriser.
template <class T>
[[gnu::always_inline]] inline void widen(const T* __restrict a, const T* __restrict b, const T* __restrict c,
                                         const T* __restrict d, int64_t columns, T* __restrict lo, T* __restrict hi) {
  const auto least = [](T x, T y) { return x < y ? x : y; };
  const auto greatest = [](T x, T y) { return x > y ? x : y; };
  for (int64_t i = 0; i < columns; ++i) {
    lo[i] = least(lo[i], least(least(a[i], b[i]), least(c[i], d[i])));
    hi[i] = greatest(hi[i], greatest(greatest(a[i], b[i]), greatest(c[i], d[i])));
  }
}

// Its own function, because clang and gcc clone no templates.
DYADIC_CLONES void widen_bytes(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, int64_t columns,
                               int8_t* lo, int8_t* hi) {
  widen(a, b, c, d, columns, lo, hi);
}

}  // namespace

template <class T>
void widen_columns(const T* data, int64_t rows, int64_t columns, T* lo, T* hi) {
  constexpr int64_t kLine = 64 / sizeof(T), kAhead = 4096 / sizeof(T);  // hardware prefetches within a page of memory
  for (int64_t r = 0; r < rows; r += kRows) {
    const auto row = [&](int64_t i) { return data + std::min(r + i, rows - 1) * columns; };
    for (int64_t i = 0; i < kRows * columns; i += kLine) prefetch(data + r * columns + i + kAhead);
    if constexpr (std::is_same_v<T, int8_t>)
      widen_bytes(row(0), row(1), row(2), row(3), columns, lo, hi);
    else
      widen(row(0), row(1), row(2), row(3), columns, lo, hi);
  }
}

template void widen_columns(const int8_t*, int64_t, int64_t, int8_t*, int8_t*);
template void widen_columns(const uint8_t*, int64_t, int64_t, uint8_t*, uint8_t*);
template void widen_columns(const int16_t*, int64_t, int64_t, int16_t*, int16_t*);
template void widen_columns(const uint16_t*, int64_t, int64_t, uint16_t*, uint16_t*);
template void widen_columns(const int32_t*, int64_t, int64_t, int32_t*, int32_t*);
template void widen_columns(const uint32_t*, int64_t, int64_t, uint32_t*, uint32_t*);
template void widen_columns(const int64_t*, int64_t, int64_t, int64_t*, int64_t*);

void weighted_sums(const int8_t* weight, int64_t rows, int64_t K, const int16_t* sum, const int16_t* width,
                   int64_t* least, int64_t* greatest) {
  for (int64_t r = 0; r < rows; ++r, weight += K) {
    int64_t centre = 0, radius = 0;
    for (int64_t k = 0; k < K; k += kBlock) {
      const TwiceEnds ends = block_sums(weight + k, std::min(kBlock, K - k), sum + k, width + k);
      centre += ends.centre;
      radius += ends.radius;
    }
    least[r] = (centre - radius) / 2;
    greatest[r] = (centre + radius) / 2;
  }
}

void magnitude_sums(const int8_t* weight, int64_t rows, int64_t K, int64_t* magnitude) {
  for (int64_t r = 0; r < rows; ++r, weight += K) {
    magnitude[r] = 0;
    for (int64_t k = 0; k < K; k += kBlock) magnitude[r] += block_magnitude(weight + k, std::min(kBlock, K - k));
  }
}

int64_t sum_of(const int8_t* codes, int64_t count) {
  int64_t sum = 0;
  for (int64_t k = 0; k < count; k += kSumBlock) sum += block_sum(codes + k, std::min(kSumBlock, count - k));
  return sum;
}

}  // namespace dyadic

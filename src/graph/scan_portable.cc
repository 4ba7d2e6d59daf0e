#include "graph/scan.h"

#include <algorithm>
#include <type_traits>

namespace dyadic {
namespace {

// Constants of bytes are nearly all of a model: their loops exist for processors with and without AVX2.
// Not under ThreadSanitizer, which is not ready yet when the loader chooses among them.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define DYADIC_CLONES [[gnu::target_clones("avx2", "default")]]
#else
#define DYADIC_CLONES
#endif

constexpr int64_t kBlock = 128;  // terms of a 32-bit sum: 128 * 2 * 2^7 * 2^15 = 2^30

struct Ends {
  int32_t least, greatest;
};

// The sign of a weight decides which end of x it meets.
DYADIC_CLONES Ends block_sums(const int8_t* __restrict weight, int64_t count, const int16_t* __restrict lo,
                              const int16_t* __restrict hi) {
  int32_t least_up = 0, least_down = 0, greatest_up = 0, greatest_down = 0;
  for (int64_t k = 0; k < count; ++k) {
    const int16_t w = weight[k], up = w > 0 ? w : 0, down = w < 0 ? w : 0;
    least_up += up * lo[k];
    least_down += down * hi[k];
    greatest_up += up * hi[k];
    greatest_down += down * lo[k];
  }
  return {least_up + least_down, greatest_up + greatest_down};
}

// Conditional expressions instead of std::min for the sake of gcc's vectoriser.
template <class T>
void widen(const T* __restrict row, int64_t columns, T* __restrict lo, T* __restrict hi) {
  for (int64_t c = 0; c < columns; ++c) {
    lo[c] = row[c] < lo[c] ? row[c] : lo[c];
    hi[c] = row[c] > hi[c] ? row[c] : hi[c];
  }
}

// widen<int8_t> once more, because clang and gcc clone no templates.
DYADIC_CLONES void widen_bytes(const int8_t* __restrict row, int64_t columns, int8_t* __restrict lo,
                               int8_t* __restrict hi) {
  for (int64_t c = 0; c < columns; ++c) {
    lo[c] = row[c] < lo[c] ? row[c] : lo[c];
    hi[c] = row[c] > hi[c] ? row[c] : hi[c];
  }
}

}  // namespace

template <class T>
void widen_columns(const T* data, int64_t rows, int64_t columns, T* lo, T* hi) {
  for (int64_t r = 0; r < rows; ++r) {
    if constexpr (std::is_same_v<T, int8_t>)
      widen_bytes(data + r * columns, columns, lo, hi);
    else
      widen(data + r * columns, columns, lo, hi);
  }
}

template void widen_columns(const int8_t*, int64_t, int64_t, int8_t*, int8_t*);
template void widen_columns(const uint8_t*, int64_t, int64_t, uint8_t*, uint8_t*);
template void widen_columns(const int16_t*, int64_t, int64_t, int16_t*, int16_t*);
template void widen_columns(const uint16_t*, int64_t, int64_t, uint16_t*, uint16_t*);
template void widen_columns(const int32_t*, int64_t, int64_t, int32_t*, int32_t*);
template void widen_columns(const uint32_t*, int64_t, int64_t, uint32_t*, uint32_t*);
template void widen_columns(const int64_t*, int64_t, int64_t, int64_t*, int64_t*);

void weighted_sums(const int8_t* weight, int64_t rows, int64_t K, const int16_t* lo, const int16_t* hi, int64_t* least,
                   int64_t* greatest) {
  for (int64_t r = 0; r < rows; ++r, weight += K) {
    least[r] = greatest[r] = 0;
    for (int64_t k = 0; k < K; k += kBlock) {
      const Ends ends = block_sums(weight + k, std::min(kBlock, K - k), lo + k, hi + k);
      least[r] += ends.least;
      greatest[r] += ends.greatest;
    }
  }
}

}  // namespace dyadic

// What Cores of 256 bits share (tile.h), as zmm.h.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dyadic {

template <class Unit>
struct Ymm {
  using Vector = __m256i;
  static constexpr int kLanes = 8, kVectors = 2, kRows = 6, kPrefetchRows = 4, kLastSteps = 0, kWantedSums = 1;
  static Vector load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static Vector load_panel(const std::byte* p) { return load(p); }
  static void store(void* p, Vector x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  static Vector add(Vector x, Vector y) { return _mm256_add_epi32(x, y); }
  static void keep(Vector& x) { asm("" : "+x"(x)); }
  static void prefetch(const std::byte* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
  static void prefetch_next(const std::byte* p) { prefetch(p); }
  static Vector broadcast(const std::byte* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
  }
};

}  // namespace dyadic

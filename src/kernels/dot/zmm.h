// What Cores of 512 bits share (tile.h). `Unit` is a type of the including file's anonymous namespace: files are
// compiled for different instruction sets, and none may use another's code.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dyadic {

template <class Unit>
struct Zmm {
  using Vector = __m512i;
  static constexpr int kLanes = 16, kVectors = 4, kRows = 6, kPrefetchRows = 5, kLastSteps = 2, kWantedSums = 1;
  static Vector load(const void* p) { return _mm512_loadu_si512(p); }
  static Vector load_panel(const std::byte* p) { return load(p); }
  static void store(void* p, Vector x) { _mm512_storeu_si512(p, x); }
  static void keep(Vector& x) { asm("" : "+v"(x)); }
  static void prefetch(const std::byte* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
  static void prefetch_next(const std::byte* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }
  static Vector broadcast(const std::byte* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
};

}  // namespace dyadic

// Sixteen lanes of i32 for row loops written once (Lanes of lanes_avx512.h is the same). Only for files named avx2.cc;
// such files call nothing inline that other files define too.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace dyadic::avx2 {

struct Lanes {
  __m256i lo, hi;

  static Lanes broadcast(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static Lanes load(const int32_t* p) { return {load256(p), load256(p + 8)}; }
  static Lanes load(const int16_t* p) {
    return {_mm256_cvtepi16_epi32(load128(p)), _mm256_cvtepi16_epi32(load128(p + 8))};
  }
  static Lanes load(const int8_t* p) {
    const __m128i codes = load128(p);
    return {_mm256_cvtepi8_epi32(codes), _mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8))};
  }

  void store(int32_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), hi);
  }
  void store_saturated(int16_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), saturated()); }
  // Clamped to -127..127.
  void store_clamped(int8_t* p) const {
    const __m256i words = saturated();
    const __m128i codes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_max_epi8(codes, _mm_set1_epi8(-127)));
  }

  friend Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
  friend Lanes operator<<(Lanes a, Lanes n) { return {_mm256_sllv_epi32(a.lo, n.lo), _mm256_sllv_epi32(a.hi, n.hi)}; }
  friend Lanes operator>>(Lanes a, Lanes n) { return {_mm256_srav_epi32(a.lo, n.lo), _mm256_srav_epi32(a.hi, n.hi)}; }
  // floor(a * b / 2^32)
  friend Lanes mul_high(Lanes a, Lanes b) { return {mul_high(a.lo, b.lo), mul_high(a.hi, b.hi)}; }

 private:
  static __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  static __m256i mul_high(__m256i a, __m256i b) {
    const __m256i even = _mm256_mul_epi32(a, b);
    const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  }
  __m256i saturated() const { return _mm256_permute4x64_epi64(_mm256_packs_epi32(lo, hi), 0xd8); }
};

}  // namespace dyadic::avx2

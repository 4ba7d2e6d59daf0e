// Sixteen lanes of i32 for row loops written once (Lanes of lanes_avx2.h is the same). Only for files named
// avx512vnni.cc; such files call nothing inline that other files define too.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace dyadic::avx512 {

struct Lanes {
  __m512i v;

  static Lanes broadcast(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static Lanes load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static Lanes load(const int16_t* p) {
    return {_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Lanes load(const int8_t* p) {
    return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }

  void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  void store_saturated(int16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(v));
  }
  // Clamped to -127..127.
  void store_clamped(int8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_max_epi8(_mm512_cvtsepi32_epi8(v), _mm_set1_epi8(-127)));
  }

  friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_epi32(a.v, b.v)}; }
  friend Lanes operator<<(Lanes a, Lanes count) { return {_mm512_sllv_epi32(a.v, count.v)}; }
  friend Lanes operator>>(Lanes a, Lanes count) { return {_mm512_srav_epi32(a.v, count.v)}; }
  // floor(a * b / 2^32)
  friend Lanes mul_high(Lanes a, Lanes b) {
    const __m512i even = _mm512_mul_epi32(a.v, b.v);
    const __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(a.v, 32), _mm512_srli_epi64(b.v, 32));
    return {_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB)};
  }
};

}  // namespace dyadic::avx512

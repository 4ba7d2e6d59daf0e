// What attention does in vectors of 512 bits, with four neighbours a lane (blocked.h). `Unit` is a type of the
// including file's anonymous namespace, as kernels/dot/zmm.h has it.
#pragma once
#include <immintrin.h>

#include "kernels/attention/blocked.h"
#include "kernels/lanes_avx512.h"

namespace dyadic::attention {

template <class Unit>
struct Avx512Set {
  using Vector = __m512i;
  using Lanes = avx512::Lanes;
  using Factor = int8_t;
  static constexpr int kLanes = 16, kGroup = 4, kRows = 8, kTile = 2, kVectors = 1;

  static Vector zero() { return _mm512_setzero_si512(); }
  static Vector load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, Vector x) { _mm512_storeu_si512(p, x); }
  static Vector broadcast_group(const void* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
  static Vector lowest() { return _mm512_set1_epi32(INT32_MIN); }
  static Vector max(Vector x, Vector y) { return _mm512_max_epi32(x, y); }
  static Vector dot(Vector acc, Vector x, Vector y) { return _mm512_dpbusd_epi32(acc, x, y); }
  static void keep(Vector& x) { asm("" : "+v"(x)); }

  // Transposes 4 x 4 words within 128-bit lanes: word j of lane l of y[i] is word i there of x[j].
  static void transpose_words(const Vector x[4], Vector y[4]) {
    const Vector lo01 = _mm512_unpacklo_epi32(x[0], x[1]), hi01 = _mm512_unpackhi_epi32(x[0], x[1]);
    const Vector lo23 = _mm512_unpacklo_epi32(x[2], x[3]), hi23 = _mm512_unpackhi_epi32(x[2], x[3]);
    y[0] = _mm512_unpacklo_epi64(lo01, lo23), y[1] = _mm512_unpackhi_epi64(lo01, lo23);
    y[2] = _mm512_unpacklo_epi64(hi01, hi23), y[3] = _mm512_unpackhi_epi64(hi01, hi23);
  }

  static void copy_key(const int8_t* key, int64_t depth, int8_t* copy) {
    int64_t c = 0;
    for (; c + 16 <= depth; c += 16) {
      const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key + c));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(copy + c), _mm_xor_si128(codes, _mm_set1_epi8(-128)));
    }
    for (; c < depth; ++c) copy[c] = static_cast<int8_t>(key[c] ^ -128);
  }

  // Sixteen queries from `queries` on, of which `count` are there.
  static void pack_queries(const int8_t* queries, int64_t stride, int64_t count, int64_t depth, int8_t* panel) {
    const int8_t* row[16];
    for (int64_t i = 0; i < 16; ++i) row[i] = i < count ? queries + i * stride : kZeros;
    int64_t c = 0;
    for (; c + 16 <= depth; c += 16) {
      __m512i x[4], y[4];  // 128-bit lane l of x[j] has 16 codes of query 4 l + j
      for (int j = 0; j < 4; ++j) {
        const auto codes = [&](int l) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row[4 * l + j] + c)); };
        x[j] = _mm512_castsi128_si512(codes(0));
        x[j] = _mm512_inserti32x4(x[j], codes(1), 1);
        x[j] = _mm512_inserti32x4(x[j], codes(2), 2);
        x[j] = _mm512_inserti32x4(x[j], codes(3), 3);
      }
      transpose_words(x, y);
      for (int i = 0; i < 4; ++i) store(panel + 16 * c + 64 * i, y[i]);
    }
    for (; c < depth; c += 4)
      for (int i = 0; i < 16; ++i) __builtin_memcpy(panel + 16 * c + 4 * i, row[i] + c, 4);
  }

  // Four values from `values` on, of which `count` are there.
  static void pack_values(const int8_t* values, int64_t stride, int64_t count, int64_t depth, int8_t* panel) {
    const int8_t* row[4];
    for (int64_t i = 0; i < 4; ++i) row[i] = i < count ? values + i * stride : kZeros;
    for (int64_t c = 0; c < depth; c += 16) {
      const __mmask16 there = static_cast<__mmask16>(depth - c < 16 ? (1u << (depth - c)) - 1 : 0xffff);
      __m128i x[4];
      for (int j = 0; j < 4; ++j) x[j] = _mm_maskz_loadu_epi8(there, row[j] + c);
      const __m128i lo01 = _mm_unpacklo_epi8(x[0], x[1]), hi01 = _mm_unpackhi_epi8(x[0], x[1]);
      const __m128i lo23 = _mm_unpacklo_epi8(x[2], x[3]), hi23 = _mm_unpackhi_epi8(x[2], x[3]);
      __m128i* y = reinterpret_cast<__m128i*>(panel + 4 * c);
      _mm_storeu_si128(y, _mm_unpacklo_epi16(lo01, lo23));
      _mm_storeu_si128(y + 1, _mm_unpackhi_epi16(lo01, lo23));
      _mm_storeu_si128(y + 2, _mm_unpacklo_epi16(hi01, hi23));
      _mm_storeu_si128(y + 3, _mm_unpackhi_epi16(hi01, hi23));
    }
  }

  // Of vpshufb: transposes 4 x 4 bytes within 128-bit lanes.
  static __m512i four_by_four() {
    return _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  }

  // Scores of sixteen queries, a row a key -> e.
  template <bool kProduct32, bool kHalfTable>
  struct Exponentials {
    HighProduct<Lanes> product;
    __m512i top, m, start, table[4], order;

    Exponentials(const VectorParameters& p, Vector top)
        : product(HighProduct<Lanes>::of(p.distance_shift)),
          top(top),
          m(_mm512_set1_epi32(p.distance.m)),
          start(_mm512_add_epi32(_mm512_mullo_epi32(top, m), product.add.v)),  // modulo 2^32, (top - score) m + add
          table{load(p.table), load(p.table + 64), load(p.table + 128), load(p.table + 192)},
          // From four queries of each of four keys to four keys of each of four queries.
          order(four_by_four()) {}

    __m512i distance(const int32_t* score) const {
      const __m512i x = load(score);
      if constexpr (kProduct32)
        return _mm512_srlv_epi32(_mm512_sub_epi32(start, _mm512_mullo_epi32(x, m)), product.right.v);
      else
        return product({_mm512_sub_epi32(top, x)}, {m}).v;
    }
    __m512i lookup(__m512i d) const {
      if constexpr (kHalfTable)
        return _mm512_permutex2var_epi8(table[0], _mm512_min_epu8(d, _mm512_set1_epi8(127)), table[1]);
      const __m512i near = _mm512_permutex2var_epi8(table[0], d, table[1]);
      const __m512i far = _mm512_permutex2var_epi8(table[2], d, table[3]);
      return _mm512_mask_mov_epi8(near, _mm512_movepi8_mask(d), far);
    }
    // Of four keys, a group, where `left` of the keys are there; zeros for the others.
    __m512i group(const int32_t* score, int64_t row, int64_t left) const {
      // Saturation is the limit of 255.
      const __m512i d = _mm512_packus_epi16(_mm512_packs_epi32(distance(score), distance(score + row)),
                                            _mm512_packs_epi32(distance(score + 2 * row), distance(score + 3 * row)));
      const __m512i e = _mm512_shuffle_epi8(lookup(d), order);
      if (left >= 4) return e;
      return _mm512_and_si512(e, _mm512_set1_epi32(static_cast<int32_t>(0xffffffff >> (32 - 8 * left))));
    }
    static __m512i sum(__m512i sum, __m512i e) { return dot(sum, e, _mm512_set1_epi8(1)); }
  };

  // Scores of sixteen queries, a row a key -> e, groups of four keys, zeros behind the last key, and the sums of e.
  template <bool kProduct32, bool kHalfTable>
  static void exponentials(const VectorParameters& p, const int32_t* score, int64_t length, int64_t row, Vector top,
                           int32_t* e, int32_t* sigma) {
    const Exponentials<kProduct32, kHalfTable> of(p, top);
    __m512i sum = zero();
    for (int64_t c = 0; c < length; c += 4, score += 4 * row, e += row) {
      const __m512i x = of.group(score, row, length - c);
      store(e, x);
      sum = of.sum(sum, x);
    }
    store(sigma, sum);
  }
};

}  // namespace dyadic::attention

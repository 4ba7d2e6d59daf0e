// Attention by vpdpbusd, whose first factor has no sign: queries enter as q + 128, which a key's sums start by undoing,
// and e is unsigned by itself.
#include <immintrin.h>

#include "kernels/attention/blocked.h"
#include "kernels/lanes_avx512.h"

namespace dyadic::attention {
namespace {

// The largest lane, in all lanes.
__m512i all_max(__m512i x) {
  x = _mm512_max_epi32(x, _mm512_shuffle_i32x4(x, x, 0x4e));
  x = _mm512_max_epi32(x, _mm512_shuffle_i32x4(x, x, 0xb1));
  x = _mm512_max_epi32(x, _mm512_shuffle_epi32(x, _MM_PERM_BADC));
  return _mm512_max_epi32(x, _mm512_shuffle_epi32(x, _MM_PERM_CDAB));
}

struct Set {
  using Vector = __m512i;
  using Lanes = avx512::Lanes;
  using Factor = int8_t;
  using E = uint8_t;
  static constexpr int kLanes = 16, kGroup = 4, kTile = 4;
  static constexpr bool kCopiesQueries = false;

  static Vector zero() { return _mm512_setzero_si512(); }
  static Vector load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, Vector x) { _mm512_storeu_si512(p, x); }
  static Vector broadcast_group(const void* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
  static Vector query(Vector group) { return _mm512_xor_si512(group, _mm512_set1_epi8(-128)); }
  static Vector dot(Vector acc, Vector x, Vector y) { return _mm512_dpbusd_epi32(acc, x, y); }
  static void keep(Vector& x) { asm("" : "+v"(x)); }

  // Sixteen keys from `keys` on, of which `count` are there.
  static void pack_keys(const int8_t* keys, int64_t stride, int64_t count, int64_t depth, int8_t* panel,
                        int32_t* first) {
    const int8_t* row[16];
    for (int64_t i = 0; i < 16; ++i) row[i] = i < count ? keys + i * stride : kZeros;
    const __m512i offset = _mm512_set1_epi8(-128);
    __m512i sum = zero();
    int64_t c = 0;
    for (; c + 16 <= depth; c += 16) {
      __m512i x[4];  // 128-bit lane l of x[j] has 16 codes of key 4 l + j
      for (int j = 0; j < 4; ++j) {
        const auto codes = [&](int l) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row[4 * l + j] + c)); };
        x[j] = _mm512_castsi128_si512(codes(0));
        x[j] = _mm512_inserti32x4(x[j], codes(1), 1);
        x[j] = _mm512_inserti32x4(x[j], codes(2), 2);
        x[j] = _mm512_inserti32x4(x[j], codes(3), 3);
      }
      const __m512i lo01 = _mm512_unpacklo_epi32(x[0], x[1]), hi01 = _mm512_unpackhi_epi32(x[0], x[1]);
      const __m512i lo23 = _mm512_unpacklo_epi32(x[2], x[3]), hi23 = _mm512_unpackhi_epi32(x[2], x[3]);
      const __m512i y[4] = {_mm512_unpacklo_epi64(lo01, lo23), _mm512_unpackhi_epi64(lo01, lo23),
                            _mm512_unpacklo_epi64(hi01, hi23), _mm512_unpackhi_epi64(hi01, hi23)};
      for (int j = 0; j < 4; ++j) {
        store(panel + 16 * c + 64 * j, y[j]);
        sum = dot(sum, offset, y[j]);
      }
    }
    for (; c < depth; c += 4) {
      for (int i = 0; i < 16; ++i) __builtin_memcpy(panel + 16 * c + 4 * i, row[i] + c, 4);
      sum = dot(sum, offset, load(panel + 16 * c));
    }
    const __mmask16 there = static_cast<__mmask16>(count < 16 ? (1u << count) - 1 : 0xffff);
    store(first, _mm512_mask_sub_epi32(_mm512_set1_epi32(kPadding), there, zero(), sum));
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

  // One row of scores -> e, zeros behind the last key; returns their sum.
  template <bool kProduct32>
  static int32_t exponentials(const VectorParameters& p, const int32_t* score, int64_t length, uint8_t* e) {
    __m512i top = _mm512_set1_epi32(kPadding);
    for (int64_t c = 0; c < length; c += 16) top = _mm512_max_epi32(top, load(score + c));
    top = all_max(top);
    const __m512i m = _mm512_set1_epi32(p.distance.m);
    const HighProduct<Lanes> product = HighProduct<Lanes>::of(p.distance_shift);
    // Modulo 2^32, (top - score) * m + add.
    const __m512i start = _mm512_add_epi32(_mm512_mullo_epi32(top, m), product.add.v);
    const auto distance = [&](int64_t c) {
      const __m512i x = load(score + c);
      if constexpr (kProduct32)
        return _mm512_srlv_epi32(_mm512_sub_epi32(start, _mm512_mullo_epi32(x, m)), product.right.v);
      else
        return product({_mm512_sub_epi32(top, x)}, {m}).v;
    };
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i table[4] = {load(p.table), load(p.table + 64), load(p.table + 128), load(p.table + 192)};
    const auto lookup = [&](__m512i d) {
      if (p.half_table) return _mm512_permutex2var_epi8(table[0], _mm512_min_epu8(d, _mm512_set1_epi8(127)), table[1]);
      const __m512i near = _mm512_permutex2var_epi8(table[0], d, table[1]);
      const __m512i far = _mm512_permutex2var_epi8(table[2], d, table[3]);
      return _mm512_mask_mov_epi8(near, _mm512_movepi8_mask(d), far);
    };
    const auto there = [&](int64_t c) { return length - c < 64 ? (uint64_t{1} << (length - c)) - 1 : ~uint64_t{0}; };
    __m512i sum = zero();
    int64_t c = 0;
    for (; c + 32 < length; c += 64) {
      // Saturation is the limit of 255.
      const __m512i lo = _mm512_packs_epi32(distance(c), distance(c + 16));
      const __m512i hi = _mm512_packs_epi32(distance(c + 32), distance(c + 48));
      const __m512i d = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(lo, hi));
      const __m512i x = _mm512_maskz_mov_epi8(there(c), lookup(d));
      store(e + c, x);
      sum = dot(sum, x, _mm512_set1_epi8(1));
    }
    for (; c < length; c += 16) {
      const __m512i d = _mm512_castsi128_si512(_mm512_cvtusepi32_epi8(distance(c)));
      const __m512i x = _mm512_maskz_mov_epi8(there(c) & 0xffff, lookup(d));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(e + c), _mm512_castsi512_si128(x));
      sum = dot(sum, x, _mm512_set1_epi8(1));
    }
    return _mm512_reduce_add_epi32(sum);
  }
};

}  // namespace

const VectorRows kAvx512VnniRows = {Blocked<Set>::scratch_bytes, Blocked<Set>::run};

}  // namespace dyadic::attention

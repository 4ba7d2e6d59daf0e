// Attention by vpmaddwd on codes widened to 16 bits: nothing can overflow.
#include <immintrin.h>

#include <type_traits>

#include "kernels/attention/blocked.h"
#include "kernels/lanes_avx2.h"

namespace dyadic::attention {
namespace {

__m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

// The first `count` of sixteen codes, zeros behind them.
__m128i load_codes(const int8_t* p, int64_t count) {
  if (count >= 16) return load128(p);
  alignas(16) int8_t codes[16] = {};
  for (int64_t i = 0; i < count; ++i) codes[i] = p[i];
  return load128(codes);
}

struct Set {
  using Vector = __m256i;
  using Lanes = avx2::Lanes;
  using Factor = int16_t;
  static constexpr int kLanes = 8, kGroup = 2, kRows = 6, kTile = 2, kVectors = 2;

  static Vector zero() { return _mm256_setzero_si256(); }
  static Vector load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, Vector x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  static Vector broadcast_group(const void* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
  }
  static Vector lowest() { return _mm256_set1_epi32(INT32_MIN); }
  static Vector max(Vector x, Vector y) { return _mm256_max_epi32(x, y); }
  static Vector dot(Vector acc, Vector x, Vector y) { return _mm256_add_epi32(acc, _mm256_madd_epi16(x, y)); }
  static void keep(Vector& x) { asm("" : "+x"(x)); }

  static void copy_key(const int8_t* key, int64_t depth, int16_t* copy) {
    int64_t c = 0;
    for (; c + 16 <= depth; c += 16) store(copy + c, _mm256_cvtepi8_epi16(load128(key + c)));
    for (; c < depth; ++c) copy[c] = key[c];
  }

  // Eight queries from `queries` on, of which `count` are there.
  static void pack_queries(const int8_t* queries, int64_t stride, int64_t count, int64_t depth, int16_t* panel) {
    const int8_t* row[8];
    for (int64_t i = 0; i < 8; ++i) row[i] = i < count ? queries + i * stride : kZeros;
    int64_t c = 0;
    for (; c + 16 <= depth; c += 16) {  // transposes 8 x 8 pairs
      __m256i x[8], y[8];
      for (int i = 0; i < 8; ++i) x[i] = _mm256_cvtepi8_epi16(load128(row[i] + c));
      for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
      }
      for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
          x[i + 2 * j] = _mm256_unpacklo_epi64(y[i + j], y[i + j + 2]);
          x[i + 2 * j + 1] = _mm256_unpackhi_epi64(y[i + j], y[i + j + 2]);
        }
      for (int j = 0; j < 4; ++j) {
        store(panel + 8 * c + 16 * j, _mm256_permute2x128_si256(x[j], x[j + 4], 0x20));
        store(panel + 8 * c + 16 * (j + 4), _mm256_permute2x128_si256(x[j], x[j + 4], 0x31));
      }
    }
    for (; c < depth; c += 2)
      for (int i = 0; i < 16; ++i) panel[8 * c + i] = row[i / 2][c + i % 2];
  }

  // Two values from `values` on, of which `count` are there.
  static void pack_values(const int8_t* values, int64_t stride, int64_t count, int64_t depth, int16_t* panel) {
    for (int64_t c = 0; c < depth; c += 16) {
      const __m128i even = load_codes(values + c, depth - c);
      const __m128i odd = load_codes(count > 1 ? values + stride + c : kZeros, depth - c);
      store(panel + 2 * c, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd)));
      store(panel + 2 * c + 16, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd)));
    }
  }

  // Byte by byte one of kN vectors; the upper bits of the bytes of bits[i] are bit i of its index.
  template <int kN>
  static __m256i choose(const __m256i* x, const __m256i* bits) {
    if constexpr (kN == 1) {
      return x[0];
    } else {
      __m256i y[kN / 2];
#pragma GCC unroll 8
      for (int i = 0; i < kN / 2; ++i) y[i] = _mm256_blendv_epi8(x[2 * i], x[2 * i + 1], bits[0]);
      return choose<kN / 2>(y, bits + 1);
    }
  }

  // table[d] of 32 bytes: sixteen entries at a time by the low half of d, of which the upper bits choose. vpshufb
  // itself looks at the lowest four bits and at the highest, which is 0 where d < 128.
  template <int kChunks>
  static __m256i lookup(const uint8_t* table, __m256i d) {
    const __m256i low = kChunks <= 8 ? d : _mm256_and_si256(d, _mm256_set1_epi8(15));
    const __m256i bits[4] = {_mm256_slli_epi16(d, 3), _mm256_slli_epi16(d, 2), _mm256_slli_epi16(d, 1), d};
    __m256i x[kChunks];
#pragma GCC unroll 16
    for (int i = 0; i < kChunks; ++i)
      x[i] = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load128(table + 16 * i)), low);
    return choose<kChunks>(x, bits);
  }

  // e of 32 distances as words, of the even eighths (bytes 0..7 and 16..23) and of the odd ones, which is how
  // unpacking leaves them.
  struct Words {
    __m256i even, odd;
  };

  class Table {
   public:
    explicit Table(const VectorParameters& p) : entries_(p.table) {}
    Words operator()(__m256i d) const {
      const __m256i x = lookup<16>(entries_, d);
      return {_mm256_unpacklo_epi8(x, zero()), _mm256_unpackhi_epi8(x, zero())};
    }

   private:
    const uint8_t* entries_;
  };

  // The same by products: sixteen entries are one shuffle, and words are what e must become anyway.
  class FactoredTable {
   public:
    explicit FactoredTable(const VectorParameters& p)
        : coarse_low_(bytes(p.factors.coarse, 0)),
          coarse_high_(bytes(p.factors.coarse, 8)),
          fine_low_(bytes(p.factors.fine, 0)),
          fine_high_(bytes(p.factors.fine, 8)) {}
    Words operator()(__m256i d) const {
      const __m256i nibble = _mm256_set1_epi8(15);
      const __m256i i = _mm256_and_si256(_mm256_srli_epi16(d, 4), nibble), j = _mm256_and_si256(d, nibble);
      const __m256i a0 = _mm256_shuffle_epi8(coarse_low_, i), a1 = _mm256_shuffle_epi8(coarse_high_, i);
      const __m256i b0 = _mm256_shuffle_epi8(fine_low_, j), b1 = _mm256_shuffle_epi8(fine_high_, j);
      return {product(_mm256_unpacklo_epi8(a0, a1), _mm256_unpacklo_epi8(b0, b1)),
              product(_mm256_unpackhi_epi8(a0, a1), _mm256_unpackhi_epi8(b0, b1))};
    }

   private:
    static __m256i bytes(const uint16_t* words, int shift) {
      alignas(16) uint8_t byte[16];
      for (int i = 0; i < 16; ++i) byte[i] = static_cast<uint8_t>(words[i] >> shift);
      return _mm256_broadcastsi128_si256(load128(byte));
    }
    static __m256i product(__m256i coarse, __m256i fine) {
      return _mm256_srli_epi16(_mm256_add_epi16(_mm256_mulhi_epu16(coarse, fine), _mm256_set1_epi16(128)), 8);
    }

    __m256i coarse_low_, coarse_high_, fine_low_, fine_high_;
  };

  // Scores of eight queries, a row a key -> e, groups of two keys, zeros behind the last key, and the sums of e.
  template <bool kProduct32, bool kFactored>
  static void exponentials(const VectorParameters& p, const int32_t* score, int64_t length, int64_t row, Vector top,
                           int32_t* e, int32_t* sigma) {
    const __m256i m = _mm256_set1_epi32(p.distance.m);
    const HighProduct<Lanes> product = HighProduct<Lanes>::of(p.distance_shift);
    // Modulo 2^32, (top - score) * m + add.
    const __m256i start = _mm256_add_epi32(_mm256_mullo_epi32(top, m), product.add.lo);
    const __m256i right_to_upper = _mm256_sub_epi32(product.right.lo, _mm256_set1_epi32(16));
    const auto distances = [&](int64_t key) {  // of two keys, as the words of a lane
      const __m256i x = load(score + key * row), y = load(score + (key + 1) * row);
      if constexpr (kProduct32) {  // below 2^15, because least_right is 17
        const __m256i u = _mm256_sub_epi32(start, _mm256_mullo_epi32(x, m));
        const __m256i v = _mm256_sub_epi32(start, _mm256_mullo_epi32(y, m));
        return _mm256_blend_epi16(_mm256_srlv_epi32(u, product.right.lo), _mm256_srlv_epi32(v, right_to_upper), 0xaa);
      } else {
        const Lanes d = product({_mm256_sub_epi32(top, x), _mm256_sub_epi32(top, y)}, {m, m});
        const __m256i limit = _mm256_set1_epi32(255);
        return _mm256_or_si256(_mm256_min_epi32(d.lo, limit), _mm256_slli_epi32(_mm256_min_epi32(d.hi, limit), 16));
      }
    };
    const std::conditional_t<kFactored, FactoredTable, Table> table(p);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i words = zero();                                                    // sums of e
    const auto four = [&](int64_t left) __attribute__((always_inline)) {       // keys, of which `left` are there
      auto [lo, hi] = table(_mm256_packus_epi16(distances(0), distances(2)));  // saturation is the limit of 255
      if (left < 4) hi = left < 3 ? zero() : _mm256_and_si256(hi, _mm256_set1_epi32(0xffff));
      if (left < 2) lo = _mm256_and_si256(lo, _mm256_set1_epi32(0xffff));
      store(e, lo);
      store(e + row, hi);
      words = _mm256_add_epi16(words, _mm256_add_epi16(lo, hi));
    };
    __m256i sum = zero();
    for (; length > 0; sum = dot(sum, words, ones), words = zero()) {
      constexpr int64_t kMost = 256;  // keys: 128 of their e in a word are at most 32640, read with a sign
      int64_t left = length < kMost ? length : kMost;
      length -= left;
      for (; left >= 4; left -= 4, score += 4 * row, e += 2 * row) four(4);
      if (left > 0) four(left);
    }
    store(sigma, sum);
  }
};

}  // namespace

const VectorRows kAvx2Rows = {Blocked<Set>::scratch_bytes, Blocked<Set>::run, 17, true, Set::kLanes,
                              Blocked<Set>::row_pass};

}  // namespace dyadic::attention

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

  // The same of x and y, 32 codes.
  friend void store_clamped(Lanes x, Lanes y, int8_t* p) {
    const __m256i codes = _mm512_cvtsepi16_epi8(_mm512_packs_epi32(x.v, y.v));  // four of x, four of y, ..
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_max_epi8(_mm256_permutevar8x32_epi32(codes, order), _mm256_set1_epi8(-127)));
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

// 64-bit lanes: of the even lanes of Lanes and of the odd ones.
struct Products {
  __m512i even, odd;

  // (x + 2^15) >> 16, which must fit 32 bits: only its lower half is right.
  Products rounded_by_16() const {
    const __m512i half = _mm512_set1_epi64(1 << 15);
    return {_mm512_srli_epi64(_mm512_add_epi64(even, half), 16), _mm512_srli_epi64(_mm512_add_epi64(odd, half), 16)};
  }
  // Lower halves times m, the same in all lanes.
  Products times(Lanes m) const { return {_mm512_mul_epi32(even, m.v), _mm512_mul_epi32(odd, m.v)}; }
  Lanes high() const { return {_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB)}; }
};

inline Products products(Lanes a, Lanes b) {
  return {_mm512_mul_epi32(a.v, b.v), _mm512_mul_epi32(_mm512_srli_epi64(a.v, 32), _mm512_srli_epi64(b.v, 32))};
}

// Twice as many i32 as Words has words, in the order of their pairs: lo from the lower four of each eight words.
struct Wide {
  __m512i lo, hi;

  static Wide broadcast(int32_t x) { return {_mm512_set1_epi32(x), _mm512_set1_epi32(x)}; }
  static Wide load(const int32_t* p) { return {_mm512_loadu_si512(p), _mm512_loadu_si512(p + 16)}; }
  void store(int32_t* p) const {
    _mm512_storeu_si512(p, lo);
    _mm512_storeu_si512(p + 16, hi);
  }

  friend Wide operator+(Wide a, Wide b) { return {_mm512_add_epi32(a.lo, b.lo), _mm512_add_epi32(a.hi, b.hi)}; }
  friend Wide operator*(Wide a, Wide b) { return {_mm512_mullo_epi32(a.lo, b.lo), _mm512_mullo_epi32(a.hi, b.hi)}; }
  friend Wide operator<<(Wide a, Wide n) { return {_mm512_sllv_epi32(a.lo, n.lo), _mm512_sllv_epi32(a.hi, n.hi)}; }
  friend Wide operator>>(Wide a, Wide n) { return {_mm512_srav_epi32(a.lo, n.lo), _mm512_srav_epi32(a.hi, n.hi)}; }
  // sum + x[2i] y[2i] + x[2i+1] y[2i+1] over words.
  friend Wide dot(Wide sum, Wide x, Wide y) {
    return {_mm512_dpwssd_epi32(sum.lo, x.lo, y.lo), _mm512_dpwssd_epi32(sum.hi, x.hi, y.hi)};
  }
  // Odd lanes in the place of even ones.
  Wide odd() const { return {_mm512_srli_epi64(lo, 32), _mm512_srli_epi64(hi, 32)}; }
  // floor(even lane * even lane / 2^32), and between them the same of the lanes that odd() moved there.
  friend Wide mul_high(Wide even_a, Wide even_b, Wide odd_a, Wide odd_b) {
    return {mul_high(even_a.lo, even_b.lo, odd_a.lo, odd_b.lo), mul_high(even_a.hi, even_b.hi, odd_a.hi, odd_b.hi)};
  }

 private:
  static __m512i mul_high(__m512i even_a, __m512i even_b, __m512i odd_a, __m512i odd_b) {
    const __m512i even = _mm512_mul_epi32(even_a, even_b), odd = _mm512_mul_epi32(odd_a, odd_b);
    return _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
  }
};

// 32 words of i16.
struct Words {
  using Wide = avx512::Wide;
  static constexpr int kCount = 32;
  __m512i v;

  struct Shift {  // by the same count in all words
    __m512i count;
    static Shift by(int count) { return {_mm512_set1_epi16(static_cast<short>(count))}; }
  };
  static Words broadcast(int16_t x) { return {_mm512_set1_epi16(x)}; }
  static Words load(const int16_t* p) { return {_mm512_loadu_si512(p)}; }
  static Words load(const int8_t* p) {
    return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Words saturated(Wide x) { return {_mm512_packs_epi32(x.lo, x.hi)}; }

  void store(int16_t* p) const { _mm512_storeu_si512(p, v); }
  // Clamped to -127..127.
  void store(int8_t* p) const {
    const __m256i codes = _mm256_max_epi8(_mm512_cvtsepi16_epi8(v), _mm256_set1_epi8(-127));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), codes);
  }

  template <int kLeft>
  Words shifted() const {
    return {_mm512_slli_epi16(v, kLeft)};
  }
  friend Words operator+(Words a, Words b) { return {_mm512_add_epi16(a.v, b.v)}; }  // modulo 2^16, as is <<
  friend Words operator<<(Words a, Shift by) { return {_mm512_sllv_epi16(a.v, by.count)}; }
  friend Words operator>>(Words a, Shift by) { return {_mm512_srav_epi16(a.v, by.count)}; }
  friend Words doubled(Words x) { return {_mm512_adds_epi16(x.v, x.v)}; }  // saturated
  // (x + y + 1) >> 1, with 17 bits between.
  friend Words average(Words x, Words y) {
    const auto sign = _mm512_set1_epi16(INT16_MIN);
    return {_mm512_xor_si512(_mm512_avg_epu16(_mm512_xor_si512(x.v, sign), _mm512_xor_si512(y.v, sign)), sign)};
  }
  friend Words clamped(Words x, Words lo, Words hi) { return {_mm512_min_epi16(_mm512_max_epi16(x.v, lo.v), hi.v)}; }
  // Both clamped to -127..127.
  friend void store_clamped(Words x, Words y, int8_t* p) {
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), codes = _mm512_packs_epi16(x.v, y.v);
    _mm512_storeu_si512(p, _mm512_max_epi8(_mm512_permutexvar_epi64(order, codes), _mm512_set1_epi8(-127)));
  }
  friend Words mul_q15(Words a, Words b) { return {_mm512_mulhrs_epi16(a.v, b.v)}; }  // (a * b + 2^14) >> 15
  friend Words mul_high(Words a, Words b) { return {_mm512_mulhi_epi16(a.v, b.v)}; }  // floor(a * b / 2^16)
  friend Words mul_low(Words a, Words b) { return {_mm512_mullo_epi16(a.v, b.v)}; }
  // x, plus one where `low` is at least `bound`, both without sign.
  friend Words carried(Words x, Words low, Words bound) {
    return {_mm512_mask_sub_epi16(x.v, _mm512_cmpge_epu16_mask(low.v, bound.v), x.v, _mm512_set1_epi16(-1))};
  }
  friend Wide interleave(Words x, Words y) {
    return {_mm512_unpacklo_epi16(x.v, y.v), _mm512_unpackhi_epi16(x.v, y.v)};
  }
};

// Sums of words and of their squares. Two squares of -32768 add up to 2^31: pairs of squares are read without sign.
struct WordSums {
  __m512i words = _mm512_setzero_si512(), squares = words;

  void add(Words x) {
    const __m512i pairs = _mm512_madd_epi16(x.v, x.v), low = _mm512_set1_epi64(0xffffffff);
    words = _mm512_dpwssd_epi32(words, x.v, _mm512_set1_epi16(1));
    squares = _mm512_add_epi64(squares, _mm512_add_epi64(_mm512_and_si512(pairs, low), _mm512_srli_epi64(pairs, 32)));
  }
  int64_t sum() const { return _mm512_reduce_add_epi32(words); }  // of at most 2^16 words
  uint64_t sum_of_squares() const { return static_cast<uint64_t>(_mm512_reduce_add_epi64(squares)); }
};

// The same of four rows, whose words are so small that four squares stay below 2^32.
struct RowSums {
  __m512i words[2], squares;

  static RowSums zeros() { return {{_mm512_setzero_si512(), _mm512_setzero_si512()}, _mm512_setzero_si512()}; }

  void add(Words x, Words y) {
    const __m512i ones = _mm512_set1_epi16(1), low = _mm512_set1_epi64(0xffffffff);
    const __m512i fours = _mm512_dpwssd_epi32(_mm512_madd_epi16(x.v, x.v), y.v, y.v);
    words[0] = _mm512_dpwssd_epi32(words[0], x.v, ones);
    words[1] = _mm512_dpwssd_epi32(words[1], y.v, ones);
    squares = _mm512_add_epi64(squares, _mm512_add_epi64(_mm512_and_si512(fours, low), _mm512_srli_epi64(fours, 32)));
  }

  // Of rows of at most 2^16 words.
  static void totals(const RowSums (&rows)[4], int64_t* sums, uint64_t* squares) {
    const auto all = [&](int r) { return _mm512_add_epi32(rows[r].words[0], rows[r].words[1]); };
    const auto two = [](__m512i a, __m512i b) {  // sums of halves: a, b, a, b in each 128 bits
      return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    };
    const __m512i first = two(all(0), all(1)), second = two(all(2), all(3));
    const __m512i four = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));
    const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), _mm256_cvtepi32_epi64(sum));

    const auto pair = [&](int r) {
      const __m512i a = rows[r].squares, b = rows[r + 1].squares;
      return _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    };
    const __m512i a = pair(0), b = pair(2);
    const __m512i c = _mm512_add_epi64(_mm512_shuffle_i64x2(a, b, 0x44), _mm512_shuffle_i64x2(a, b, 0xee));
    const __m256i lo = _mm512_castsi512_si256(c), hi = _mm512_extracti64x4_epi64(c, 1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(squares), _mm256_add_epi64(_mm256_permute2x128_si256(lo, hi, 0x20),
                                                                              _mm256_permute2x128_si256(lo, hi, 0x31)));
  }
};

}  // namespace dyadic::avx512

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

  // The same of x and y, 32 codes.
  friend void store_clamped(Lanes x, Lanes y, int8_t* p) {
    const __m256i codes = _mm256_packs_epi16(_mm256_packs_epi32(x.lo, x.hi), _mm256_packs_epi32(y.lo, y.hi));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_max_epi8(_mm256_permutevar8x32_epi32(codes, order), _mm256_set1_epi8(-127)));
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

// 64-bit lanes: of the even lanes of Lanes and of the odd ones.
struct Products {
  __m256i even[2], odd[2];

  // (x + 2^15) >> 16, which must fit 32 bits: only its lower half is right.
  Products rounded_by_16() const {
    const auto rounded = [](__m256i x) {
      return _mm256_srli_epi64(_mm256_add_epi64(x, _mm256_set1_epi64x(1 << 15)), 16);
    };
    return {{rounded(even[0]), rounded(even[1])}, {rounded(odd[0]), rounded(odd[1])}};
  }
  // Lower halves times m, the same in all lanes.
  Products times(Lanes m) const {
    return {{_mm256_mul_epi32(even[0], m.lo), _mm256_mul_epi32(even[1], m.lo)},
            {_mm256_mul_epi32(odd[0], m.lo), _mm256_mul_epi32(odd[1], m.lo)}};
  }
  Lanes high() const {
    const auto merged = [](__m256i x, __m256i y) { return _mm256_blend_epi32(_mm256_srli_epi64(x, 32), y, 0xaa); };
    return {merged(even[0], odd[0]), merged(even[1], odd[1])};
  }
};

inline Products products(Lanes a, Lanes b) {
  const auto upper = [](__m256i x) { return _mm256_srli_epi64(x, 32); };
  return {{_mm256_mul_epi32(a.lo, b.lo), _mm256_mul_epi32(a.hi, b.hi)},
          {_mm256_mul_epi32(upper(a.lo), upper(b.lo)), _mm256_mul_epi32(upper(a.hi), upper(b.hi))}};
}

// Twice as many i32 as Words has words, in the order of their pairs: lo from the lower four of each eight words.
struct Wide {
  __m256i lo, hi;

  static Wide broadcast(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static Wide load(const int32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
  }
  void store(int32_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), hi);
  }

  friend Wide operator+(Wide a, Wide b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
  friend Wide operator*(Wide a, Wide b) { return {_mm256_mullo_epi32(a.lo, b.lo), _mm256_mullo_epi32(a.hi, b.hi)}; }
  friend Wide operator<<(Wide a, Wide n) { return {_mm256_sllv_epi32(a.lo, n.lo), _mm256_sllv_epi32(a.hi, n.hi)}; }
  friend Wide operator>>(Wide a, Wide n) { return {_mm256_srav_epi32(a.lo, n.lo), _mm256_srav_epi32(a.hi, n.hi)}; }
  // sum + x[2i] y[2i] + x[2i+1] y[2i+1] over words.
  friend Wide dot(Wide sum, Wide x, Wide y) {
    return {_mm256_add_epi32(sum.lo, _mm256_madd_epi16(x.lo, y.lo)),
            _mm256_add_epi32(sum.hi, _mm256_madd_epi16(x.hi, y.hi))};
  }
  // Odd lanes in the place of even ones.
  Wide odd() const { return {_mm256_srli_epi64(lo, 32), _mm256_srli_epi64(hi, 32)}; }
  // floor(even lane * even lane / 2^32), and between them the same of the lanes that odd() moved there.
  friend Wide mul_high(Wide even_a, Wide even_b, Wide odd_a, Wide odd_b) {
    return {mul_high(even_a.lo, even_b.lo, odd_a.lo, odd_b.lo), mul_high(even_a.hi, even_b.hi, odd_a.hi, odd_b.hi)};
  }

 private:
  static __m256i mul_high(__m256i even_a, __m256i even_b, __m256i odd_a, __m256i odd_b) {
    const __m256i even = _mm256_mul_epi32(even_a, even_b), odd = _mm256_mul_epi32(odd_a, odd_b);
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  }
};

// 16 words of i16.
struct Words {
  using Wide = avx2::Wide;
  static constexpr int kCount = 16;
  __m256i v;

  struct Shift {  // by the same count in all words
    __m128i count;
    static Shift by(int count) { return {_mm_cvtsi32_si128(count)}; }
  };
  static Words broadcast(int16_t x) { return {_mm256_set1_epi16(x)}; }
  static Words load(const int16_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static Words load(const int8_t* p) {
    return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static Words saturated(Wide x) { return {_mm256_packs_epi32(x.lo, x.hi)}; }

  void store(int16_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  // Clamped to -127..127.
  void store(int8_t* p) const {
    const __m128i codes = _mm_packs_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_max_epi8(codes, _mm_set1_epi8(-127)));
  }

  template <int kLeft>
  Words shifted() const {
    return {_mm256_slli_epi16(v, kLeft)};
  }
  friend Words operator+(Words a, Words b) { return {_mm256_add_epi16(a.v, b.v)}; }  // modulo 2^16, as is <<
  friend Words operator<<(Words a, Shift by) { return {_mm256_sll_epi16(a.v, by.count)}; }
  friend Words operator>>(Words a, Shift by) { return {_mm256_sra_epi16(a.v, by.count)}; }
  friend Words doubled(Words x) { return {_mm256_adds_epi16(x.v, x.v)}; }  // saturated
  // (x + y + 1) >> 1, with 17 bits between.
  friend Words average(Words x, Words y) {
    const auto sign = _mm256_set1_epi16(INT16_MIN);
    return {_mm256_xor_si256(_mm256_avg_epu16(_mm256_xor_si256(x.v, sign), _mm256_xor_si256(y.v, sign)), sign)};
  }
  friend Words clamped(Words x, Words lo, Words hi) { return {_mm256_min_epi16(_mm256_max_epi16(x.v, lo.v), hi.v)}; }
  // Both clamped to -127..127.
  friend void store_clamped(Words x, Words y, int8_t* p) {
    const __m256i codes = _mm256_permute4x64_epi64(_mm256_packs_epi16(x.v, y.v), 0xd8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_max_epi8(codes, _mm256_set1_epi8(-127)));
  }
  friend Words mul_q15(Words a, Words b) { return {_mm256_mulhrs_epi16(a.v, b.v)}; }  // (a * b + 2^14) >> 15
  friend Words mul_high(Words a, Words b) { return {_mm256_mulhi_epi16(a.v, b.v)}; }  // floor(a * b / 2^16)
  friend Words mul_low(Words a, Words b) { return {_mm256_mullo_epi16(a.v, b.v)}; }
  // x, plus one where `low` is at least `bound`, both without sign.
  friend Words carried(Words x, Words low, Words bound) {
    return {_mm256_sub_epi16(x.v, _mm256_cmpeq_epi16(_mm256_max_epu16(low.v, bound.v), low.v))};
  }
  friend Wide interleave(Words x, Words y) {
    return {_mm256_unpacklo_epi16(x.v, y.v), _mm256_unpackhi_epi16(x.v, y.v)};
  }
};

// Sums of words and of their squares. Two squares of -32768 add up to 2^31: pairs of squares are read without sign.
struct WordSums {
  __m256i words = _mm256_setzero_si256(), squares = words;

  void add(Words x) {
    const __m256i pairs = _mm256_madd_epi16(x.v, x.v), low = _mm256_set1_epi64x(0xffffffff);
    words = _mm256_add_epi32(words, _mm256_madd_epi16(x.v, _mm256_set1_epi16(1)));
    squares = _mm256_add_epi64(squares, _mm256_add_epi64(_mm256_and_si256(pairs, low), _mm256_srli_epi64(pairs, 32)));
  }
  int64_t sum() const {  // of at most 2^16 words
    alignas(32) int32_t s[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(s), words);
    int64_t total = 0;
    for (int32_t x : s) total += x;
    return total;
  }
  uint64_t sum_of_squares() const {
    alignas(32) uint64_t s[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(s), squares);
    return s[0] + s[1] + s[2] + s[3];
  }
};

// The same of four rows, whose words are so small that four squares stay below 2^32.
struct RowSums {
  __m256i words, squares;

  static RowSums zeros() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }

  void add(Words x, Words y) {
    const __m256i ones = _mm256_set1_epi16(1), low = _mm256_set1_epi64x(0xffffffff);
    const __m256i fours = _mm256_add_epi32(_mm256_madd_epi16(x.v, x.v), _mm256_madd_epi16(y.v, y.v));
    words = _mm256_add_epi32(words, _mm256_add_epi32(_mm256_madd_epi16(x.v, ones), _mm256_madd_epi16(y.v, ones)));
    squares = _mm256_add_epi64(squares, _mm256_add_epi64(_mm256_and_si256(fours, low), _mm256_srli_epi64(fours, 32)));
  }

  // Of rows of at most 2^16 words.
  static void totals(const RowSums (&rows)[4], int64_t* sums, uint64_t* squares) {
    const __m256i four = _mm256_hadd_epi32(_mm256_hadd_epi32(rows[0].words, rows[1].words),
                                           _mm256_hadd_epi32(rows[2].words, rows[3].words));
    const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), _mm256_cvtepi32_epi64(sum));

    const auto pair = [&](int r) {
      const __m256i a = rows[r].squares, b = rows[r + 1].squares;
      return _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    };
    const __m256i a = pair(0), b = pair(2);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(squares),
                        _mm256_add_epi64(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)));
  }
};

}  // namespace dyadic::avx2

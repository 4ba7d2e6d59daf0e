// What the rows of `add_norm` and `embed_norm` share, and what an instruction set supplies.
//
// A row of n codes q (i16, the rounded sum) becomes, with 8 fraction bits for the mean (docs/numerics.md):
//   mu = round(256 sum q / n)     d = 256 q - mu     V = sum d^2     V * 4^e in [2^60, 2^62)
//   rec = floor((2^61 - 1) / isqrt(V * 4^e))         y = mul_shift(d * 2^e, rec, 41), |y| <= 2^20, unit sqrt(n) / 2^20
//   out = clamp or saturate(shift_right(mul_shift(y, m, s) + beta, 8))
// How vectors compute this, and why it is the same, stands in README.md. Bodies with lane_bits = 16 have another
// arithmetic, of products in Q15: (a * b + 2^14) >> 15 of words.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fixed_point.h"
#include "kernels/word_product.h"
#include "tensor/data_type.h"

namespace dyadic::norm {

inline constexpr int64_t kMaxWidth = int64_t{1} << 14;  // V stays below 2^62
inline constexpr int64_t kGroup = 4;  // rows taken together: their square roots and reciprocals overlap
inline constexpr int kMaxTables = 8;
inline constexpr int64_t kLargestQ15Sum = (1 << 15) - (1 << 8);  // leaves a mean and its rounding a word
inline constexpr int kTableCodeLeft = 8;                         // table codes enter word products shifted left by this

struct Ratio {  // m / 2^s
  int32_t m;
  int s;
};

// One operand of the sum: a row of codes and its ratio. `word` is of ratio (of a table's row: with s + kTableCodeLeft).
template <class Code>
struct Term {
  const Code* codes;
  Ratio ratio;
  WordRatio word;
};

// Both ratios of a residual sum over one shift: q = sat16((x * first + y * second + add) >> right), in 32 bits.
struct PairRatio {
  int16_t first, second;
  int32_t add, right;
};

// How one row is normalised.
struct RowScale {
  int32_t mu, reciprocal;
  int e;
};

// The same for words: y = (q * high + floor(q * low / 2^16) + add + (q * low mod 2^16 >= bound)) >> right.
struct WordScale {
  int16_t high, low;
  uint16_t bound;
  int32_t add, right;
};

// One output: i8 clamped to -127..127, or i16 saturated; one shift, a multiplier and a beta (8 fraction bits) a column.
struct Output {
  DataType type;
  const int32_t *m, *beta;
  int s;
  // For vectors, each block of columns in the order of Wide: what to add, m << (33 - s - y's own left shift, if that is
  // positive), and the same with the odd m in the place of even ones. Then out = (high half + add) >> right; narrow
  // outputs: out = (y * m + add) >> right in 32 bits.
  const int32_t* blocks;
  int right;
};

// A residual sum in Q15: q = (x * first + 2^14 >> 15) + (y * second + 2^14 >> 15), within kLargestQ15Sum.
struct Q15Ratios {
  int16_t first, second;
};

// How a row is normalised in Q15: d = ((q << left) + add) >> right in words, where one of the shifts is by 0, or, if
// q + add has 17 bits (wide), d = (q + add + 1) >> right; y = d * reciprocal.
struct Q15Scale {
  int16_t add, reciprocal;
  bool wide;
  int left, right;
};

// One output in Q15: z = y * m + beta, then i8: z >> shift clamped to -127..127; i16: z << shift saturated. Vectors
// read m and beta up to the end of the last two blocks; beta has the half of its shift.
struct Q15Output {
  DataType type;
  const int16_t *m, *beta;
  int shift;
};

struct Sums {
  int64_t sum;       // of q
  uint64_t squares;  // of q^2
};

// What an instruction set supplies. Rows of q are zero from n to the end of their last block, and readable for one
// more.
struct RowLoops {
  int64_t block;  // columns
  // q = sat16(shift_right(sum of mul_shift(codes, m, s), 8))
  Sums (*add)(const Term<int16_t> terms[2], int64_t n, int16_t* q);
  Sums (*add_pairs)(const int16_t* x, const int16_t* y, const PairRatio& ratio, int64_t n, int16_t* q);
  Sums (*embed)(const Term<int8_t>* terms, int count, Interval limits, int64_t n, int16_t* q);
  // q -> y << y_left -> row of each output; with narrow outputs y is not shifted
  void (*finish)(const int16_t* q, const WordScale& scale, int y_left, int64_t n, std::span<const Output> outputs,
                 std::byte* const* rows);
  void (*finish_narrow)(const int16_t* q, const WordScale& scale, int y_left, int64_t n,
                        std::span<const Output> outputs, std::byte* const* rows);
  // Of kGroup rows or fewer, those of q ldq words apart; rows[j] is the first of them of output j.
  void (*add_q15)(const int16_t* x, const int16_t* y, const Q15Ratios& ratios, int64_t n, int64_t count, int16_t* q,
                  int64_t ldq, Sums sums[kGroup]);
  void (*finish_q15)(const int16_t* q, int64_t ldq, std::span<const Q15Scale> scales, int64_t n,
                     std::span<const Q15Output> outputs, std::byte* const* rows);
};

extern const RowLoops kAvx2Loops;
extern const RowLoops kAvx512VnniLoops;

}  // namespace dyadic::norm

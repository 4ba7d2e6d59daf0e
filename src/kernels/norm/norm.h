// What the rows of `add_norm` and `embed_norm` share, and what an instruction set supplies.
//
// A row of n codes q (i16, the rounded sum) becomes, with 8 fraction bits for the mean (docs/numerics.md):
//   mu = round(256 sum q / n)     d = 256 q - mu     V = sum d^2     V * 4^e in [2^60, 2^62)
//   rec = floor((2^61 - 1) / isqrt(V * 4^e))         y = mul_shift(d * 2^e, rec, 41), |y| <= 2^20, unit sqrt(n) / 2^20
//   out = clamp or saturate(shift_right(mul_shift(y, m, s) + beta, 8))
// Shifting d instead of the product makes the last shift the same for every row (|d| <= sqrt V bounds d * 2^e by 2^31).
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/fixed_point.h"
#include "tensor/data_type.h"

namespace dyadic::norm {

inline constexpr int64_t kMaxWidth = int64_t{1} << 14;  // V stays below 2^62
inline constexpr int64_t kBlock = 16;                   // vector loops take whole blocks of columns
inline constexpr int kMaxTables = 8;

// A ratio m / 2^s as it is given and as vector loops want it: `high.m` is m << high.shift.m_left.
struct Ratio {
  int32_t m;
  int s;
  struct {
    int32_t m;
    HighShift shift;
  } high;
};

// One operand of the sum: a row of codes and its ratio.
template <class Code>
struct Term {
  const Code* codes;
  Ratio ratio;
};

// How one row is normalised.
struct RowScale {
  int32_t mu, reciprocal;
  int e;
};

// One output: i8 clamped to -127..127, or i16 saturated; one shift, a multiplier and a beta (8 fraction bits) a column.
struct Output {
  DataType type;
  const int32_t *m, *beta;
  int s;
  struct {
    const int32_t *m, *beta;  // m << shift.m_left, beta + 128
    HighShift shift;
  } high;
};

struct Sums {
  int64_t sum;       // of q
  uint64_t squares;  // of q^2
};

// The columns [begin, end) of a row, whose arrays are given from column 0.
struct Columns {
  int64_t begin, end;
};

// What an instruction set supplies. Vector loops take columns in whole blocks and use the `high` forms.
struct RowLoops {
  // q = sat16(shift_right(sum of mul_shift(codes, m, s), 8))
  void (*add)(const Term<int16_t> terms[2], Columns columns, int16_t* q);
  void (*embed)(const Term<int8_t>* terms, int count, Columns columns, int16_t* q);
  Sums (*sums)(const int16_t* q, Columns columns);
  void (*normalize)(const int16_t* q, const RowScale& scale, Columns columns, int32_t* y);
  void (*emit)(const int32_t* y, const Output& output, Columns columns, std::byte* out);
};

extern const RowLoops kAvx2Loops;
extern const RowLoops kAvx512VnniLoops;

}  // namespace dyadic::norm

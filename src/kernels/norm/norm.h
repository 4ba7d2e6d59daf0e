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

#include "tensor/data_type.h"

namespace dyadic::norm {

inline constexpr int64_t kMaxWidth = int64_t{1} << 14;  // V stays below 2^62
inline constexpr int kMaxTables = 8;

// One output: i8 clamped to -127..127, or i16 saturated.
struct Output {
  DataType type;
  const int32_t *m, *beta;
  int s;
};

struct Sums {
  int64_t sum;       // of q
  uint64_t squares;  // of q^2
};

// How one row is normalised.
struct RowScale {
  int32_t mu, reciprocal;
  int e;
};

// The i16 sum of an add_norm row: sat16(shift_right(mul_shift(a, a_m, a_s) + mul_shift(b, b_m, b_s), 8)).
struct Add {
  int32_t a_m, b_m;
  int a_s, b_s;
};

// One table of an embed_norm, m and s one a row.
struct Table {
  const int8_t* codes;
  const int32_t* m;
  const uint8_t* s;
  int64_t rows;
};

// What an instruction set supplies. `q` has n codes of scratch.
struct RowKernel {
  Sums (*add)(const Add& add, const int16_t* a, const int16_t* b, int64_t n, int16_t* q);
  Sums (*embed)(const Table* tables, const int32_t* index, int count, int64_t n, int16_t* q);
  void (*apply)(const int16_t* q, int64_t n, const RowScale& scale, const Output& output, std::byte* y);
};

}  // namespace dyadic::norm

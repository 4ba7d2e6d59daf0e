// What the rows of `pool` share, and what an instruction set supplies.
//
// A sequence of N rows x_t of n codes (i16) becomes one row (docs/numerics.md, section 9):
//   p = floor((2 sum_t x_t + N) / (2 N))     SS = sum p^2     SS * 4^j in [2^60, 2^62)
//   rec = floor((2^61 - 1) / isqrt(SS * 4^j))     u = saturate(mul_shift(p, rec, 46 - j))
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/word_product.h"

namespace dyadic::pool {

struct RowLoops {
  // sum[i] += x[i], x[stride + i], .. of `rows` rows; n columns
  void (*add)(const int16_t* x, int64_t stride, int64_t rows, int64_t n, int32_t* sum);
  // x = saturate(mul_shift(x, m, s)), where ratio is of m / 2^s
  void (*scale)(const WordRatio& ratio, int64_t n, int16_t* x);
};

extern const RowLoops kAvx2Loops;
extern const RowLoops kAvx512VnniLoops;

}  // namespace dyadic::pool

// linear: y_j = epilogue(x w^T), split into column ranges. What its kernels share: the checks, the parameters in one
// form whatever their granularity, and the requantize step of one code.
//
//   x i8 [T,K]; weight i8 [N,K]; epilogue: bias (i32 [N]), requantize (m i32 [N] or [1], s u8 [N] or [1], 0..62) to i8
//   or i16, table (tables i8 [G,256], ends i32 [G]) after 8-bit codes; outputs [T, any widths that sum to N].
#pragma once
#include <string>
#include <vector>

#include "base/fixed_point.h"
#include "kernels/kernel.h"

namespace dyadic {

struct LinearParameters {
  int64_t K = 0, N = 0;
  Tensor weight;                   // i8 [N,K]
  std::vector<int32_t> bias, m;    // [N]
  std::vector<uint8_t> s;          // [N]
  Interval x_range{-127, 127};     // proved
  std::vector<int64_t> magnitude;  // [N], largest possible |accumulator|, < 2^31
  DataType code = DataType::kI8;   // of requantize
  Interval clamp{-127, 127};
  int64_t zero_point = 0;
  Tensor tables;              // i8 [G,256]; undefined without a table stage
  std::vector<int64_t> ends;  // [G]
  std::vector<int64_t> splits;

  int64_t requantize(int64_t accumulator, int64_t column) const {
    return clamp64(mul_shift(accumulator, m[column], s[column]) + zero_point, clamp.lo, clamp.hi);
  }
};

// Why `spec` is not such a linear, or empty: operands, epilogue, and that no accumulator can leave 32 bits.
std::string linear_reject(const KernelSpec& spec);
LinearParameters linear_parameters(const KernelSpec& spec);  // kContract if it is rejected

}  // namespace dyadic

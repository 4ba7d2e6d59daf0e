// Real ratios as dyadic multipliers (docs/numerics.md, "Ratios").
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace dyadic {

struct Dyadic {
  int32_t m = 0;
  int s = 62;  // ratio = m / 2^s, 1 <= s <= 62
};

// The nearest multiplier of `bits` significant bits (1..31), either sign. |ratio| < 2^-32 gives (0, 62); 2^(bits-1) and
// more, NaN and infinity are refused (kContract naming `what`).
Dyadic encode_ratio(double ratio, const std::string& what, int bits = 31);

// One shift for all: that of the largest |ratio|, whose m has `bits` bits; m[i] = floor(ratio[i] * 2^s + 1/2).
struct CommonShift {
  std::vector<int32_t> m;
  int s = 62;
};
CommonShift encode_ratios(const std::vector<double>& ratios, const std::string& what, int bits = 31);

// Parameters as tensors: i32 and u8, of shape [1] or [n].
Tensor multiplier_tensor(const std::vector<int32_t>& m);
Tensor shift_tensor(const std::vector<int>& s);

}  // namespace dyadic

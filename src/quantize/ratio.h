// Real ratios as dyadic multipliers (docs/numerics.md, "Ratios").
#pragma once
#include <array>
#include <cstdint>
#include <optional>
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

// The two ratios of a sum over one shift, by multipliers of at most `bits` bits (8..15): the sum's unit grows by
// `growth` (at least 1, below 1 + 1/k) so that the larger |ratio| / growth is a whole number k of 64 or more, which
// needs no rounding. ratios[i] / growth = m[i] / 2^s, s at least 1; the smaller is off by at most 2^-(s+1). Nothing if
// there is no such k and s.
struct SumRatios {
  std::array<int32_t, 2> m{};
  int s = 1;
  double growth = 1;
};
std::optional<SumRatios> encode_sum_ratios(const std::array<double, 2>& ratios, int bits);

// Parameters as tensors: i32 and u8, of shape [1] or [n].
Tensor multiplier_tensor(const std::vector<int32_t>& m);
Tensor shift_tensor(const std::vector<int>& s);

}  // namespace dyadic

#include "quantize/ratio.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace dyadic {

Dyadic encode_ratio(double ratio, const std::string& what, int bits) {
  const double magnitude = std::fabs(ratio);
  if (!(magnitude < std::ldexp(1, bits - 1)))
    fail(ErrorKind::kContract, what, ": ratio ", ratio, " is not below 2^", bits - 1);
  if (magnitude < 0x1p-32) return {0, 62};
  int exponent;
  const double fraction = std::frexp(magnitude, &exponent);  // in [1/2, 1)
  auto m = static_cast<int64_t>(std::floor(std::ldexp(fraction, bits) + 0.5));
  int s = bits - exponent;
  if (m == int64_t{1} << bits) m >>= 1, --s;
  if (s < 1) fail(ErrorKind::kContract, what, ": ratio ", ratio, " is not below 2^", bits - 1);
  return {static_cast<int32_t>(ratio < 0 ? -m : m), s};
}

CommonShift encode_ratios(const std::vector<double>& ratios, const std::string& what, int bits) {
  double largest = 0;
  for (double r : ratios) {
    if (!std::isfinite(r)) fail(ErrorKind::kContract, what, ": a ratio is ", r);
    largest = std::max(largest, std::fabs(r));
  }
  CommonShift result;
  result.s = encode_ratio(largest, what, bits).s;
  for (double r : ratios) {
    const double m = std::floor(std::ldexp(r, result.s) + 0.5);
    result.m.push_back(static_cast<int32_t>(std::clamp(m, -2147483647.0, 2147483647.0)));
  }
  return result;
}

std::optional<SumRatios> encode_sum_ratios(const std::array<double, 2>& ratios, int bits) {
  const int large = std::fabs(ratios[1]) >= std::fabs(ratios[0]) ? 1 : 0;
  const double whole = std::floor(std::fabs(ratios[large])), limit = std::ldexp(1, bits);
  if (!(whole >= 64 && 2 * whole < limit)) return std::nullopt;
  SumRatios sum;
  sum.growth = std::fabs(ratios[large]) / whole;
  while (std::ldexp(whole, sum.s + 1) < limit) ++sum.s;
  for (int i = 0; i < 2; ++i)
    sum.m[i] = static_cast<int32_t>(std::floor(std::ldexp(ratios[i] / sum.growth, sum.s) + 0.5));
  sum.m[large] = static_cast<int32_t>(std::ldexp(std::copysign(whole, ratios[large]), sum.s));
  return sum;
}

Tensor multiplier_tensor(const std::vector<int32_t>& m) {
  return Tensor::from<int32_t>({static_cast<int64_t>(m.size())}, m);
}

Tensor shift_tensor(const std::vector<int>& s) {
  return Tensor::from<uint8_t>({static_cast<int64_t>(s.size())}, std::vector<uint8_t>(s.begin(), s.end()));
}

}  // namespace dyadic

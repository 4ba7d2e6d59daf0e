#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "quantize/registry.h"

namespace dyadic {
namespace {

Encoding prototype(const Part& part) {
  Encoding e;
  e.bits = static_cast<int>(part.integer("bits", 8));
  if (e.bits < 2 || e.bits > 16) fail(ErrorKind::kMalformed, "affine: bits must be 2..16, not ", e.bits);
  e.storage = e.bits <= 8 ? DataType::kI8 : DataType::kI16;
  const int64_t half = int64_t{1} << (e.bits - 1);
  // 16-bit codes use the whole type, so that saturation is one pack instruction; narrower ones are symmetric.
  e.codes = e.bits == 16 ? Interval{-half, half - 1} : Interval{1 - half, half - 1};
  e.granularity = granularity_of(part);
  e.zero_point.clear();
  return e;
}

bool symmetric(const Part& part) { return part.boolean("symmetric", true); }

int multiplier_bits(const Part& part) {
  const int64_t bits = part.integer("multiplier_bits", 31);
  if (bits < 2 || bits > 31) fail(ErrorKind::kMalformed, "affine: multiplier_bits must be 2..31, not ", bits);
  return static_cast<int>(bits);
}

void check(const Part& part) {
  prototype(part);
  multiplier_bits(part);
  symmetric(part);
}

void append(const Part& part, RealRange range, Encoding& e) {
  const double qmax = static_cast<double>(e.codes.hi);
  if (symmetric(part)) {
    const double top = std::max(std::fabs(range.lo), std::fabs(range.hi));
    e.scale.push_back(top > 0 ? top / qmax : 1.0);
    e.zero_point.push_back(0);
    return;
  }
  // Zero stays representable: the range is widened to contain it.
  const double lo = std::min(range.lo, 0.0), hi = std::max(range.hi, 0.0);
  const double scale = hi > lo ? (hi - lo) / (2 * qmax) : 1.0;
  const int64_t zero = hi > lo ? std::llround(-lo / scale) - e.codes.hi : 0;
  e.scale.push_back(scale);
  e.zero_point.push_back(std::clamp(zero, -e.codes.hi, e.codes.hi));
}

}  // namespace

void register_affine(Registry& registry) {
  registry.add(EncodePart{
      {"affine",
       "uniform codes, real = scale * (code - zero_point)",
       "Jacob et al. 2018, arXiv:1712.05877",
       {{"bits", "2..16, default 8"},
        {"granularity", "one scale per \"tensor\" (default), output \"channel\" of a weight, or \"row\" of a table"},
        {"symmetric", "zero_point = 0 (default true)"},
        {"multiplier_bits",
         "of a product's weight: bits of the multipliers behind it, 2..31, default 31; with fewer, weight scales grow "
         "until the multipliers are exact"}},
       check},
      prototype,
      symmetric,
      append,
      nullptr,
      multiplier_bits});
}

}  // namespace dyadic

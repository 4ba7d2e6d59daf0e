#include <cmath>

#include "base/status.h"
#include "quantize/registry.h"

namespace dyadic {
namespace {

int multiplier_bits(const Part& part) {
  const int64_t bits = part.integer("multiplier_bits", 31);
  if (bits < 2 || bits > 31)
    fail(ErrorKind::kMalformed, "integer-layer-norm: multiplier_bits must be 2..31, not ", bits);
  return static_cast<int>(bits);
}

int sum_bits(const Part& part) {
  const int64_t bits = part.integer("sum_bits", 31);
  if (bits != 31 && (bits < 12 || bits > 15))
    fail(ErrorKind::kMalformed, "integer-layer-norm: sum_bits must be 12..15 or 31, not ", bits);
  return static_cast<int>(bits);
}

int lane_bits(const Part& part) {
  const int64_t bits = part.integer("lane_bits", 32);
  if (bits != 16 && bits != 32)
    fail(ErrorKind::kMalformed, "integer-layer-norm: lane_bits must be 16 or 32, not ", bits);
  if (bits == 16 && (multiplier_bits(part) != 31 || sum_bits(part) != 31))
    fail(
        ErrorKind::kMalformed,
        "integer-layer-norm: lane_bits = 16 fixes multipliers and sums: leave multiplier_bits and sum_bits out, or set "
        "lane_bits = 32");
  return static_cast<int>(bits);
}

}  // namespace

void register_integer_layer_norm(Registry& registry) {
  registry.add(
      NormPart{{"integer-layer-norm",
                "one integer square root and one reciprocal a row; beta with 8 extra fraction bits",
                "I-BERT, arXiv:2101.01321, in an exact form of this project",
                {{"multiplier_bits", "most significant bits of an output's multipliers, 2..31, default 31"},
                 {"sum_bits",
                  "most bits of the ratios of a residual sum, 12..15: one shift for both, the larger a whole "
                  "number, so that kernels take one product for both; default 31: each by itself"},
                 {"lane_bits",
                  "16: sums, normalised values and multipliers in words, for lanes and multipliers of 16 bits; "
                  "default 32"}},
                [](const Part& part) {
                  multiplier_bits(part);
                  sum_bits(part);
                  lane_bits(part);
                }},
               [](const Part&) { return NormCore(); },
               [](const Part&, int64_t n) { return std::sqrt(static_cast<double>(n)) / (1 << 20); },
               multiplier_bits,
               sum_bits,
               lane_bits});
}

}  // namespace dyadic

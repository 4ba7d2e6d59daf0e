#include <cmath>

#include "base/status.h"
#include "quantize/registry.h"

namespace dyadic {
namespace {

double steps_per_unit(const Part& part) {
  const int64_t steps = part.integer("steps", 16);
  if (steps < 1 || steps > 64) fail(ErrorKind::kMalformed, "table-softmax: steps must be 1..64, not ", steps);
  return static_cast<double>(steps);
}

std::vector<uint8_t> table(const Part& part) {
  const int64_t one = part.integer("one", 255);
  // The reciprocal 2^32 / sum of a row's weights, which is at least `one`, has to fit 32 bits.
  if (one < 3 || one > 255) fail(ErrorKind::kMalformed, "table-softmax: one must be 3..255, not ", one);
  std::vector<uint8_t> entries(256);
  for (int d = 0; d < 256; ++d)
    entries[d] = static_cast<uint8_t>(std::floor(static_cast<double>(one) * std::exp(-d / steps_per_unit(part)) + 0.5));
  return entries;
}

int multiplier_bits(const Part& part) {
  const int64_t bits = part.integer("multiplier_bits", 0);
  if (bits != 0 && (bits < 2 || bits > 31))
    fail(ErrorKind::kMalformed, "table-softmax: multiplier_bits must be 0 or 2..31, not ", bits);
  return static_cast<int>(bits);
}

void check(const Part& part) {
  table(part);
  multiplier_bits(part);
}

}  // namespace

void register_table_softmax(Registry& registry) {
  registry.add(SoftmaxPart{
      {"table-softmax",
       "exp of the distance to the row maximum from 256 entries; normalisation deferred behind the product with v",
       "this project",
       {{"steps", "distance codes per unit, 1..64, default 16"},
        {"one", "the code of exp(0), 3..255, default 255"},
        {"multiplier_bits",
         "significant bits of a distance's multiplier, 2..31; default 0: as many as keep the product in 32 bits"}},
       check},
      steps_per_unit,
      table,
      multiplier_bits});
}

}  // namespace dyadic

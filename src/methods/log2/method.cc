#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "quantize/registry.h"

namespace dyadic {
namespace {

// Where a real number of `steps` scales becomes a code.
struct Rounding {
  double threshold = 1.5;  // from threshold * 2^j on, the code is 2^(j+1)
  double one = 0.75;       // from here on, the code is not 0
};

Rounding rounding(const Part& part) {
  const std::string domain = part.text("rounding", "logarithmic");
  if (domain != "logarithmic" && domain != "linear")
    fail(ErrorKind::kMalformed, "log2: rounding must be logarithmic or linear, not '", domain, "'");
  const double threshold = part.number("threshold", 1.5);
  if (!(threshold >= 1 && threshold <= 2)) fail(ErrorKind::kMalformed, "log2: threshold must be 1..2, not ", threshold);
  if (domain == "logarithmic") return {threshold, threshold / 2};
  if (part.parameters.count("threshold"))
    fail(ErrorKind::kMalformed, "log2: threshold is for logarithmic rounding; linear takes the nearest code");
  return {1.5, 0.5};
}

Encoding prototype(const Part& part) {
  Encoding e;
  e.family = "log2";
  e.bits = static_cast<int>(part.integer("bits", 4));
  if (e.bits < 2 || e.bits > 4) fail(ErrorKind::kMalformed, "log2: bits must be 2..4, not ", e.bits);
  const int exponents = (1 << (e.bits - 1)) - 1;  // the code left over is 0
  const int64_t largest = int64_t{1} << (exponents - 1);
  e.codes = {-largest, largest};
  e.granularity = granularity_of(part);
  e.zero_point.clear();
  return e;
}

void append(const Part&, RealRange range, Encoding& e) {
  const double top = std::max(std::fabs(range.lo), std::fabs(range.hi));
  e.scale.push_back(top > 0 ? top / static_cast<double>(e.codes.hi) : 1.0);
  e.zero_point.push_back(0);
}

int64_t code(const Part& part, const Encoding& e, double steps) {
  const Rounding at = rounding(part);
  const double magnitude = std::fabs(steps);
  if (magnitude < at.one) return 0;
  if (magnitude >= static_cast<double>(e.codes.hi)) return steps < 0 ? e.codes.lo : e.codes.hi;
  int exponent = 0;
  const double mantissa = 2 * std::frexp(magnitude, &exponent);  // magnitude = mantissa * 2^(exponent - 1)
  const int64_t power = int64_t{1} << std::max(exponent - (mantissa < at.threshold), 0);
  return steps < 0 ? -power : power;
}

}  // namespace

void register_log2(Registry& registry) {
  registry.add(EncodePart{
      {"log2",
       "weights and tables of zero and powers of two, real = scale * +-2^j",
       "Miyashita et al. 2016, arXiv:1603.01025; thresholds of FQ-ViT, Lin et al. 2022, arXiv:2111.13824",
       {{"bits", "2..4, default 4: 0 and 2^(bits-1) - 1 powers of either sign"},
        {"granularity", "one scale per \"tensor\" (default), output \"channel\" of a weight, or \"row\" of a table"},
        {"rounding", "\"logarithmic\" (default) by threshold, or \"linear\": the nearest code"},
        {"threshold", "1..2, default 1.5: from threshold * 2^j on, the code is 2^(j+1); 1.41421 rounds the logarithm"}},
       [](const Part& part) {
         prototype(part);
         rounding(part);
       }},
      prototype,
      [](const Part&) { return true; },
      append,
      code});
}

}  // namespace dyadic

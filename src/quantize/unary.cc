#include "quantize/unary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace dyadic {

std::optional<std::function<double(double)>> unary_function(const Node& node) {
  if (node.op == "Gelu" && node.text("approximate", "none") == "none")
    return [](double x) { return x / 2 * (1 + std::erf(x / std::numbers::sqrt2)); };
  if (node.op == "Gelu")
    return
        [](double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))); };
  if (node.op == "Relu") return [](double x) { return x > 0 ? x : 0.0; };
  if (node.op == "Tanh") return [](double x) { return std::tanh(x); };
  if (node.op == "Sigmoid") return [](double x) { return 1 / (1 + std::exp(-x)); };
  if (node.op == "Erf") return [](double x) { return std::erf(x); };
  return std::nullopt;
}

double low_saturation(const Node& node) {
  if (node.op == "Gelu") return -6;
  if (node.op == "Relu") return 0;
  if (node.op == "Tanh") return -10;
  if (node.op == "Sigmoid") return -19;
  if (node.op == "Erf") return -4.5;
  return -std::numeric_limits<double>::infinity();
}

std::vector<double> unrounded_table(const UnaryPart& part, const Part& answer, const UnaryRequest& request) {
  // Each round looks at codes of a 64th of the last one's step, 8-bit windows of which are centred on its result.
  std::vector<double> entries(256, 0);
  for (const double step : {64.0, 1.0, 1.0 / 64}) {
    std::vector<double> centres = entries, finer = entries;
    std::sort(centres.begin(), centres.end());
    centres.erase(std::unique(centres.begin(), centres.end()), centres.end());
    for (const double centre : centres) {
      UnaryRequest window = request;
      window.out_scale = request.out_scale * step;
      window.out_zero = -std::llround((centre - static_cast<double>(request.out_zero)) / step);
      window.out_codes = {-127, 127};
      const auto codes = part.table(answer, window);
      for (size_t i = 0; i < 256; ++i)
        if (entries[i] == centre)
          finer[i] = static_cast<double>(codes[i] - window.out_zero) * step + static_cast<double>(request.out_zero);
    }
    entries = std::move(finer);
  }
  return entries;
}

}  // namespace dyadic

#include "quantize/unary.h"

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

}  // namespace dyadic

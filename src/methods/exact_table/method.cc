#include <algorithm>
#include <cmath>

#include "quantize/registry.h"

namespace dyadic {
namespace {

std::vector<int8_t> table(const Part&, const UnaryRequest& request) {
  std::vector<int8_t> entries(256);
  for (int i = 0; i < 256; ++i) {
    const double x = request.in_scale * static_cast<double>(i - 128 - request.in_zero);
    const double code =
        std::floor(request.function(x) / request.out_scale + 0.5) + static_cast<double>(request.out_zero);
    entries[i] = static_cast<int8_t>(
        std::clamp(code, static_cast<double>(request.out_codes.lo), static_cast<double>(request.out_codes.hi)));
  }
  return entries;
}

}  // namespace

void register_exact_table(Registry& registry) {
  registry.add(UnaryPart{
      {"exact-table", "the function itself, rounded once, for each of the 256 input codes", "this project", {}},
      {"Gelu", "Relu", "Tanh", "Sigmoid", "Erf"},
      table});
}

}  // namespace dyadic

// Element-wise functions of one operand, as functions of a double: what a table of them means.
#pragma once
#include <functional>
#include <optional>

#include "graph/graph.h"

namespace dyadic {

// The function of a real node with one computed operand: Gelu, Relu, Tanh, Sigmoid, Erf; nothing for any other
// operator.
std::optional<std::function<double(double)>> unary_function(const Node& node);

// Where the function becomes constant to the left: f(x) = f(low) to within 1e-8 for x <= low; minus infinity if
// nowhere. Codes need not reach below it.
double low_saturation(const Node& node);

}  // namespace dyadic

// Element-wise functions of one operand, as functions of a double: what a table of them means.
#pragma once
#include <functional>
#include <optional>

#include "graph/graph.h"
#include "quantize/registry.h"

namespace dyadic {

// The function of a real node with one computed operand: Gelu, Relu, Tanh, Sigmoid, Erf; nothing for any other
// operator.
std::optional<std::function<double(double)>> unary_function(const Node& node);

// Where the function becomes constant to the left: f(x) = f(low) to within 1e-8 for x <= low; minus infinity if
// nowhere. Codes need not reach below it.
double low_saturation(const Node& node);

// The entries of the part's table before they are rounded and clipped to codes, in steps of out_scale and to 1/128 of
// one: the part is asked again for codes of finer steps around each entry. Entries beyond 8000 steps are cut there.
std::vector<double> unrounded_table(const UnaryPart& part, const Part& answer, const UnaryRequest& request);

}  // namespace dyadic

// The normative executor: one scalar definition of every core operation, 64-bit inside, every range fact checked. It
// decides what the bits are; everything else must agree with it.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "graph/model.h"

namespace dyadic {

// Called with every Value that a node defines, in order.
using Observer = std::function<void(ValueId, const Tensor&)>;

// Runs a body on `inputs` (in the order of graph.inputs). `bindings` gives symbols that input shapes do not bind (e.g.
// L). Returns the outputs. kContract naming node, value, element and number when an operation overflows its type, an
// index leaves its table, a divisor is not positive, a shift count is out of range, or a fact does not hold.
std::vector<Tensor> evaluate(const Graph& body, std::span<const Tensor> inputs, Bindings bindings = {},
                             const Observer& observer = {});

}  // namespace dyadic

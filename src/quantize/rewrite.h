// Small steps that restructuring parts share.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace dyadic {

// Whether the node multiplies its first operand by a constant scalar or by one constant factor a channel.
bool is_channel_mul(const Graph& graph, const Node& node);

// The nodes that read `value` as their first operand through a constant weight (Gemm); empty if any consumer is
// something else and `only` is set.
std::vector<int> linear_consumers(const Graph& graph, ValueId value, bool only);

// Replaces operand `input` of a node by a changed copy of that f32 constant: entry = change(index of the first axis,
// index within it, entry).
void rewrite_constant(Graph& graph, int node, int input,
                      const std::function<float(int64_t row, int64_t column, float)>& change);

// Inserts Mul(value, factors [n]) behind the producer of `value` and returns the product. Consumers are not rewired.
ValueId insert_mul(Graph& graph, ValueId value, const std::vector<float>& factors, const std::string& name);

}  // namespace dyadic

// Parts of a body that passes evaluate by themselves: single nodes, and functions of one element.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace dyadic {

// The results of one node whose operands (as listed by the node) are known; its facts are checked. No symbols.
std::vector<Tensor> evaluate_node(const Graph& body, const Node& node, std::span<const Tensor> operands);

// Element-wise nodes that compute results from the elements of one Value and constants, all of the source's shape.
struct UnaryPart {
  ValueId source = -1;
  std::vector<int> nodes;  // ascending; the last one defines the results
};

using ConstantOf = std::function<const Tensor*(ValueId)>;  // nullptr if a Value is not known
// The part that ends in a node and begins at the furthest source that `is_source` accepts, if there is any.
std::optional<UnaryPart> unary_part(const Graph& body, int node, const ConstantOf& constant,
                                    const std::function<bool(ValueId)>& is_source);
// The results of the part's last node for each value of the source in `inputs`, in that order. kContract where an
// operation or a fact does not hold for one of them.
std::vector<Tensor> evaluate_unary(const Graph& body, const UnaryPart& part, const ConstantOf& constant,
                                   Interval inputs);

}  // namespace dyadic

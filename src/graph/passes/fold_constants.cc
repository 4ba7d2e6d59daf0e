#include <algorithm>

#include "graph/core_ops.h"
#include "graph/passes/passes.h"
#include "graph/passes/subgraph.h"

namespace dyadic {
namespace {

constexpr int64_t kMaxFolded = int64_t{1} << 16;  // elements that a node may add to the constants

// True if all operands are constants and no result is larger than they are together, or large.
bool is_foldable(const Graph& body, const Node& node) {
  if (!find_core_op(node.op) || node.op == "quantize" || node.op == "dequantize") return false;
  int64_t given = kMaxFolded;
  for (const ValueId id : node.inputs) {
    if (!body.value(id).is_constant()) return false;
    given = std::max(given, body.value(id).constant.count());
  }
  return std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) {
    const Dim count = element_count(body.value(id).shape);
    return count.is_constant() && count.factor <= given;
  });
}

}  // namespace

Graph fold_constants(Graph body) {
  std::vector<Node> kept;
  for (Node& node : body.nodes) {
    if (!is_foldable(body, node)) {
      kept.push_back(std::move(node));
      continue;
    }
    std::vector<Tensor> operands;
    for (const ValueId id : node.inputs) operands.push_back(body.value(id).constant);
    const auto results = evaluate_node(body, node, operands);
    for (size_t i = 0; i < results.size(); ++i) {
      Value& value = body.value(node.outputs[i]);
      value.constant = results[i];
      value.fact.reset();  // checked by the evaluation
    }
  }
  body.nodes = std::move(kept);
  body.remove_dead();
  return body;
}

}  // namespace dyadic

#include "runtime/tile/locality.h"

#include <algorithm>
#include <set>

#include "graph/stages.h"

namespace dyadic::tile {
namespace {

int normalized(int64_t axis, const Shape& shape) {
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(shape.size()) : axis);
}

bool contains(const std::vector<int64_t>& axes, int axis, const Shape& shape) {
  return std::any_of(axes.begin(), axes.end(), [&](int64_t a) { return normalized(a, shape) == axis; });
}

// Operands, from `first` on, broadcast: their major axes must meet the result's, counted from the end.
bool elementwise_is_local(const Graph& graph, const Node& node, const std::string& symbol, size_t table) {
  const Shape& out = graph.value(node.outputs[0]).shape;
  const int64_t from_end = static_cast<int64_t>(out.size()) - major_axis(out, symbol);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Shape& shape = graph.value(node.inputs[i]).shape;
    if (is_free(shape, symbol)) continue;
    if (i == table || static_cast<int64_t>(shape.size()) - major_axis(shape, symbol) != from_end) return false;
  }
  return true;
}

bool dot_is_local(const Graph& graph, const Node& node, const std::string& symbol) {
  const Shape& a = graph.value(node.inputs[0]).shape;
  const Shape& b = graph.value(node.inputs[1]).shape;
  const int axis_a = major_axis(a, symbol), axis_b = major_axis(b, symbol);
  if (axis_a < 0 || axis_b < 0) return true;  // a free axis: a contracted one would not be in the result
  const auto batch_a = node.integers_or_empty("batch_a"), batch_b = node.integers_or_empty("batch_b");
  for (size_t i = 0; i < batch_a.size(); ++i)
    if (normalized(batch_a[i], a) == axis_a) return normalized(batch_b[i], b) == axis_b;
  return false;
}

bool gather_is_local(const Graph& graph, const Node& node, const std::string& symbol) {
  const Shape& x = graph.value(node.inputs[0]).shape;
  const int axis_x = major_axis(x, symbol);
  const int axis_i = major_axis(graph.value(node.inputs[1]).shape, symbol);
  const int64_t batch = node.integer("batch", 0);
  if (axis_x < 0) return true;
  if (axis_i < 0) return axis_x != normalized(node.integer("axis", 0), x);
  return axis_x == axis_i && axis_x < batch;
}

}  // namespace

int major_axis(const Shape& shape, const std::string& symbol) {
  int major = -1, uses = 0;
  bool leading = true;
  for (size_t i = 0; i < shape.size(); ++i) {
    const auto count = std::count(shape[i].symbols.begin(), shape[i].symbols.end(), symbol);
    uses += static_cast<int>(count);
    if (leading && count == 1) major = static_cast<int>(i);
    if (!shape[i].is_one()) leading = false;
  }
  return uses == 1 ? major : -1;
}

bool is_free(const Shape& shape, const std::string& symbol) {
  return std::none_of(shape.begin(), shape.end(),
                      [&](const Dim& d) { return std::count(d.symbols.begin(), d.symbols.end(), symbol) != 0; });
}

bool is_local(const Graph& graph, const Node& node, const std::string& symbol) {
  for (const ValueId v : node.outputs)
    if (major_axis(graph.value(v).shape, symbol) < 0) return false;
  for (const ValueId v : node.inputs) {
    const Shape& shape = graph.value(v).shape;
    if (!is_free(shape, symbol) && major_axis(shape, symbol) < 0) return false;
  }
  const Shape& out = graph.value(node.outputs[0]).shape;
  const int axis_out = major_axis(out, symbol);
  const Shape in = node.inputs.empty() ? Shape{} : graph.value(node.inputs[0]).shape;
  const int axis_in = major_axis(in, symbol);
  const CoreOp op = core_op(node);
  if (is_elementwise(op))
    return elementwise_is_local(graph, node, symbol,
                                op == CoreOp::k_lookup      ? 0
                                : op == CoreOp::k_bucketize ? 1
                                                            : node.inputs.size());
  switch (op) {
    case CoreOp::k_reduce:
      return !contains(node.integers("axes"), axis_in, in);
    case CoreOp::k_dot:
      return dot_is_local(graph, node, symbol);
    case CoreOp::k_gather:
      return gather_is_local(graph, node, symbol);
    case CoreOp::k_slice:
    case CoreOp::k_update_slice:
    case CoreOp::k_concat:
      return normalized(node.integer("axis"), out) != axis_out;
    case CoreOp::k_top_k:
      return normalized(node.integer("axis", -1), out) != axis_out;
    case CoreOp::k_reshape:
      return true;
    case CoreOp::k_transpose:
      return normalized(node.integers("perm")[axis_out], out) == axis_in;
    case CoreOp::k_patches:
      return axis_in == 0;
    default:  // the remaining ones run in one piece
      return false;
  }
}

std::string block_symbol(const Graph& graph) {
  std::set<std::string> symbols;
  for (const Value& v : graph.values)
    for (const Dim& d : v.shape) symbols.insert(d.symbols.begin(), d.symbols.end());
  std::string best;
  int most = 0;
  for (const std::string& symbol : symbols) {
    int count = 0;
    for (const Node& node : graph.nodes)
      count += core_op(node) != CoreOp::k_reshape && !graph.value(node.outputs[0]).is_constant() &&
               is_local(graph, node, symbol);
    if (count > most) {
      most = count;
      best = symbol;
    }
  }
  return best;
}

}  // namespace dyadic::tile

#include "graph/passes/subgraph.h"

#include <algorithm>
#include <map>
#include <set>

#include "graph/builder.h"
#include "graph/core_ops.h"
#include "graph/evaluator.h"

namespace dyadic {
namespace {

// Which operand is a table that every element reads, -1 for none; nothing if the operation is not element-wise.
std::optional<int> table_operand(const std::string& op) {
  static const std::map<std::string, int> kElementwise = {
      {"add", -1},       {"sub", -1},       {"mul", -1},    {"abs", -1},  {"min", -1},   {"max", -1},
      {"clamp", -1},     {"shl", -1},       {"shr", -1},    {"div", -1},  {"rem", -1},   {"isqrt", -1},
      {"normalize", -1}, {"mul_shift", -1}, {"and", -1},    {"or", -1},   {"xor", -1},   {"eq", -1},
      {"lt", -1},        {"le", -1},        {"select", -1}, {"cast", -1}, {"lookup", 0}, {"bucketize", 1}};
  const auto it = kElementwise.find(op);
  return it == kElementwise.end() ? std::nullopt : std::optional(it->second);
}

// True if every result has `shape` and depends element by element on operands of that shape alone.
bool is_step(const Graph& body, const Node& node, const Shape& shape, const ConstantOf& constant) {
  const auto table = table_operand(node.op);
  if (!table) return false;
  for (const ValueId id : node.outputs)
    if (body.value(id).shape != shape) return false;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Tensor* known = constant(node.inputs[i]);
    const bool fits = static_cast<int>(i) == *table ? known && known->rank() == 1
                      : known ? known->count() == 1 && known->rank() <= static_cast<int>(shape.size())
                              : body.value(node.inputs[i]).shape == shape;
    if (!fits) return false;
  }
  return true;
}

}  // namespace

std::vector<Tensor> evaluate_node(const Graph& body, const Node& node, std::span<const Tensor> operands) {
  Graph single;
  single.name = body.name;
  Node copy = node;
  for (size_t i = 0; i < operands.size(); ++i) {
    Value value = body.value(node.inputs[i]);
    value.constant = {};
    copy.inputs[i] = single.add_input(std::move(value));
  }
  for (ValueId& id : copy.outputs) id = single.add_value(body.value(id));
  single.outputs = copy.outputs;
  single.add_node(std::move(copy));
  return evaluate(single, operands);
}

std::optional<UnaryPart> unary_part(const Graph& body, int node, const ConstantOf& constant,
                                    const std::function<bool(ValueId)>& is_source) {
  const Shape& shape = body.value(body.nodes[node].outputs[0]).shape;
  std::map<ValueId, int> producer;
  for (int n = 0; n < node; ++n)
    for (const ValueId id : body.nodes[n].outputs) producer[id] = n;
  std::optional<UnaryPart> best;
  std::set<int> nodes;
  std::set<ValueId> leaves;
  // Opens the leaf that is defined last, until one leaf alone is left that no step defines.
  for (int next = node; next >= 0 && is_step(body, body.nodes[next], shape, constant);) {
    nodes.insert(next);
    for (const ValueId id : body.nodes[next].outputs) leaves.erase(id);
    for (const ValueId id : body.nodes[next].inputs)
      if (!constant(id)) leaves.insert(id);
    if (leaves.empty()) break;
    if (leaves.size() == 1 && is_source(*leaves.begin()))
      best = UnaryPart{*leaves.begin(), std::vector<int>(nodes.begin(), nodes.end())};
    next = -1;
    for (const ValueId id : leaves)
      if (const auto it = producer.find(id); it != producer.end()) next = std::max(next, it->second);
  }
  return best;
}

std::vector<Tensor> evaluate_unary(const Graph& body, const UnaryPart& part, const ConstantOf& constant,
                                   Interval inputs) {
  Graph unary;
  unary.name = body.name;
  std::map<ValueId, ValueId> renamed;
  const Value& source = body.value(part.source);
  const int64_t count = inputs.hi - inputs.lo + 1;
  Dims dims(std::max<size_t>(source.shape.size(), 1), 1);
  dims[0] = count;
  renamed[part.source] = unary.add_input({source.name, source.type, to_shape(dims), {}, {}, {}});
  Tensor codes(source.type, dims);
  for (int64_t i = 0; i < count; ++i) codes.set(i, inputs.lo + i);
  for (const int n : part.nodes) {
    Node copy = body.nodes[n];
    std::vector<const Value*> operands;
    for (ValueId& id : copy.inputs) {
      if (!renamed.count(id)) renamed[id] = unary.add_constant(body.value(id).name, *constant(id));
      id = renamed[id];
    }
    for (const ValueId id : copy.inputs) operands.push_back(&unary.value(id));
    const auto types = infer_core_op(copy, operands);
    for (size_t i = 0; i < copy.outputs.size(); ++i) {
      Value value = body.value(copy.outputs[i]);
      value.shape = types[i].shape;
      copy.outputs[i] = renamed[copy.outputs[i]] = unary.add_value(std::move(value));
    }
    unary.outputs = copy.outputs;
    unary.add_node(std::move(copy));
  }
  return evaluate(unary, std::vector<Tensor>{codes});
}

}  // namespace dyadic

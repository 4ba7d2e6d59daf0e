#include "real/dialect.h"

#include <algorithm>

#include "real/ops/ops.h"

namespace dyadic {
namespace {

template <class F>
void for_each_row(F f) {
  for (const auto& rows : {elementwise_ops(), linear_ops(), normalization_ops(), sequence_ops()})
    for (const RealOp& row : rows) f(row);
}

bool is_word_of(std::string_view word, std::string_view words) {
  for (size_t begin = 0; begin < words.size();) {
    const size_t end = std::min(words.find(' ', begin), words.size());
    if (words.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return false;
}

Shape infer(const Graph& graph, const Node& node) {
  const RealOp& op = real_op(node);
  const auto count = static_cast<int>(node.inputs.size());
  if (count < op.min_inputs || count > op.max_inputs)
    refuse(node, "has ", count, " inputs, expected ", op.min_inputs, "..", op.max_inputs);
  for (const auto& [key, value] : node.attributes)
    if (!is_word_of(key, op.attributes)) refuse(node, "unknown attribute '", key, "'");
  std::vector<const Value*> inputs;
  for (ValueId id : node.inputs) {
    if (id >= static_cast<ValueId>(graph.values.size()))
      refuse(node, "input ", inputs.size(), " is no value of the graph");
    inputs.push_back(id < 0 ? nullptr : &graph.value(id));
  }
  return op.infer(node, inputs);
}

}  // namespace

const RealOp& real_op(const Node& node) {
  const RealOp* found = nullptr;
  for_each_row([&](const RealOp& row) {
    if (row.name == node.op) found = &row;
  });
  if (!found) refuse(node, "the real dialect has no such operator");
  return *found;
}

std::vector<std::string_view> real_op_names() {
  std::vector<std::string_view> names;
  for_each_row([&](const RealOp& row) { names.push_back(row.name); });
  return names;
}

ValueId add_real_node(Graph& graph, const std::string& op, const std::string& name, std::vector<ValueId> inputs,
                      Attributes attributes, const std::string& output) {
  Node node{op, name, std::move(inputs), {}, std::move(attributes), {}};
  Value value;
  value.name = output.empty() ? name : output;
  value.type = DataType::kF32;
  value.shape = infer(graph, node);
  node.outputs = {graph.add_value(std::move(value))};
  return graph.add_node(std::move(node)).outputs[0];
}

void verify_real(const Graph& graph) {
  std::vector<bool> defined(graph.values.size());
  for (size_t i = 0; i < graph.values.size(); ++i) defined[i] = graph.values[i].is_constant();
  for (ValueId id : graph.inputs) defined.at(id) = true;
  for (const Node& node : graph.nodes) {
    const Shape shape = infer(graph, node);
    for (ValueId id : node.inputs)
      if (id >= 0 && !defined[id]) refuse(node, "uses '", graph.value(id).name, "' before it is defined");
    if (node.outputs.size() != 1) refuse(node, "has ", node.outputs.size(), " outputs, expected one");
    const Value& value = graph.values.at(node.outputs[0]);
    if (value.type != DataType::kF32 || value.shape != shape)
      refuse(node, "'", value.name, "' is ", name(value.type), to_string(value.shape), ", expected f32",
             to_string(shape));
    if (defined[node.outputs[0]]) refuse(node, "defines '", value.name, "' a second time");
    defined[node.outputs[0]] = true;
  }
  for (ValueId id : graph.outputs)
    if (!defined.at(id)) fail(ErrorKind::kContract, "graph ", graph.name, ": an output has no producer");
}

}  // namespace dyadic

#include "quantize/rewrite.h"

#include "base/status.h"

namespace dyadic {

bool is_channel_mul(const Graph& graph, const Node& node) {
  return node.op == "Mul" && node.inputs.size() == 2 && graph.value(node.inputs[1]).is_constant() &&
         graph.value(node.inputs[1]).constant.rank() <= 1;
}

std::vector<int> linear_consumers(const Graph& graph, ValueId value, bool only) {
  std::vector<int> result;
  for (int n : graph.consumers(value)) {
    const Node& node = graph.nodes[n];
    const bool linear = node.op == "Gemm" && node.inputs[0] == value && graph.value(node.inputs[1]).is_constant() &&
                        node.integer("transB", 0) == 1;
    if (linear)
      result.push_back(n);
    else if (only)
      return {};
  }
  if (only && graph.is_output(value)) return {};
  return result;
}

void rewrite_constant(Graph& graph, int node, int input, const std::function<float(int64_t, int64_t, float)>& change) {
  const Value& old = graph.value(graph.nodes[node].inputs[input]);
  Tensor changed(DataType::kF32, old.constant.dims());
  const int64_t rows = changed.rank() ? changed.dim(0) : 1, columns = rows ? changed.count() / rows : 0;
  const float* from = old.constant.data<float>();
  float* to = changed.mutable_data<float>();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[r * columns + c] = change(r, c, from[r * columns + c]);
  const std::string name = old.name;
  graph.nodes[node].inputs[input] = graph.add_constant(name, std::move(changed));
}

ValueId insert_mul(Graph& graph, ValueId value, const std::vector<float>& factors, const std::string& name) {
  const int producer = graph.producer(value);
  DYADIC_CHECK(producer >= 0, name);
  const ValueId constant =
      graph.add_constant(name + "/factors", Tensor::from<float>({static_cast<int64_t>(factors.size())}, factors));
  Value product;
  product.name = name;
  product.type = DataType::kF32;
  product.shape = graph.value(value).shape;
  const ValueId id = graph.add_value(std::move(product));
  Node mul;
  mul.op = "Mul";
  mul.name = name;
  mul.inputs = {value, constant};
  mul.outputs = {id};
  graph.nodes.insert(graph.nodes.begin() + producer + 1, std::move(mul));
  return id;
}

}  // namespace dyadic

// The real dialect: ONNX operators on f32 with their ONNX meaning, and a few of our own for packed sequences. A row
// {name, attributes, infer, run} defines an operator; rows lie in src/real/ops.
//
// Token-wise tensors are packed: [T, n] holds the tokens of all sequences one after the other, and sequence b is the
// rows start[b] .. start[b] + length[b] - 1.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "base/threads.h"
#include "graph/graph.h"

namespace dyadic {

using RealInputs = std::span<const Value* const>;  // nullptr stands for an optional input that is absent

struct RealCall {
  const Node& node;
  std::span<const Tensor> inputs;  // !defined() for an optional input that is absent
  const Tensor& prepared;          // what prepare() made, or not defined()
  TensorView output;               // run() writes every element; its content before is unspecified
  ThreadPool& pool;
};

struct RealOp {
  std::string_view name;
  int min_inputs, max_inputs;
  std::string_view attributes;  // those it knows, separated by blanks
  // The shape of the one f32 output. kContract, naming the node, if types, shapes or attributes do not fit.
  Shape (*infer)(const Node& node, RealInputs inputs);
  // Computes the output. kContract, naming node and element, if an index or a sequence leaves its tensor.
  void (*run)(const RealCall& call);
  // Optional: rearranges constant inputs once for many runs.
  Tensor (*prepare)(const Node& node, RealInputs inputs) = nullptr;
  // The same as run, in the order that its comment states, without contraction: for float islands. Rows and sequences
  // give the same bits whatever else is in the batch and whatever the number of threads. Null: run is so itself.
  void (*run_in_order)(const RealCall& call) = nullptr;
};

// kContract if there is no such operator.
const RealOp& real_op(const Node& node);
std::vector<std::string_view> real_op_names();

// Appends a node and its output, a new f32 Value of the inferred shape named `output` (or else like the node). Returns
// that Value.
ValueId add_real_node(Graph& graph, const std::string& op, const std::string& name, std::vector<ValueId> inputs,
                      Attributes attributes = {}, const std::string& output = "");

// Checks that every node is a known operator whose inputs are defined before it and whose output has the type and shape
// that infer() gives. kContract naming graph, node and value.
void verify_real(const Graph& graph);

}  // namespace dyadic

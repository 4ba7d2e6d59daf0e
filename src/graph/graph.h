// One graph type for both dialects: the real dialect (ONNX operators on f32) and the core dialect (integer bodies, and
// main graphs whose nodes are composites). Plain values; only passes and builders change a Graph.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "graph/shape.h"
#include "tensor/encoding.h"
#include "tensor/tensor.h"

namespace dyadic {

using ValueId = int32_t;

// A narrowed range and the lemma that justifies it. On an input it is the range that callers promise (lemma "input").
struct Fact {
  Interval range;
  std::string lemma;
  bool operator==(const Fact&) const = default;
};

struct Value {
  std::string name;  // unique within its graph
  DataType type = DataType::kI32;
  Shape shape;
  std::optional<Fact> fact;
  Tensor constant;                   // defined() for a constant
  std::optional<Encoding> encoding;  // in main graphs: what the codes mean
  bool is_constant() const { return constant.defined(); }
};

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;
using Attributes = std::map<std::string, Attribute>;

struct Node {
  std::string op;    // "dot" (core), "LayerNormalization" (real), "linear" (composite)
  std::string name;  // for people and for layer hashes, e.g. "encoder/layer.0/attention"
  std::vector<ValueId> inputs, outputs;
  Attributes attributes;
  std::string body;  // composites: key of Model::bodies; empty for core and real operations

  bool has(const std::string& key) const { return attributes.count(key) != 0; }
  int64_t integer(const std::string& key) const;
  int64_t integer(const std::string& key, int64_t fallback) const;
  double number(const std::string& key) const;
  const std::string& text(const std::string& key) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  const std::vector<int64_t>& integers(const std::string& key) const;
  std::vector<int64_t> integers_or_empty(const std::string& key) const;
};

class Graph {
 public:
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;  // in topological order
  std::vector<ValueId> inputs, outputs;

  // An empty or taken name is replaced by a fresh one.
  ValueId add_value(Value value);
  ValueId add_input(Value value);
  ValueId add_constant(const std::string& name, Tensor tensor);
  Node& add_node(Node node);

  Value& value(ValueId id) { return values[id]; }
  const Value& value(ValueId id) const { return values[id]; }
  ValueId find(const std::string& name) const;   // -1 if absent
  int producer(ValueId id) const;                // index of the node, -1 for inputs and constants
  std::vector<int> consumers(ValueId id) const;  // indices of nodes
  bool is_output(ValueId id) const;
  void sort_topologically();  // kContract on a cycle
  void remove_dead();         // nodes and values that no output needs; inputs stay

 private:
  std::map<std::string, ValueId> by_name_;
  void refresh_names();
};

}  // namespace dyadic

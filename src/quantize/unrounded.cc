#include "quantize/unrounded.h"

#include <cmath>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/core_ops.h"
#include "graph/verifier.h"

namespace dyadic {
namespace {

class Unrounder {
 public:
  Unrounder(const Graph& body, const std::map<std::string, std::vector<double>>& tables)
      : graph_(body), tables_(tables) {}

  void append_output(ValueId output, Interval codes) {
    codes_ = codes;
    twins_.clear();
    graph_.outputs.push_back(twin(output));
  }

  Graph take() {
    verify_body(graph_);
    return std::move(graph_);
  }

 private:
  ValueId emit(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    Node node;
    node.op = op;
    node.inputs = std::move(inputs);
    node.attributes = std::move(attributes);
    std::vector<const Value*> operands;
    for (ValueId id : node.inputs) operands.push_back(&graph_.value(id));
    const ResultType result = infer_core_op(node, operands).at(0);
    Value value;
    value.type = result.type;
    value.shape = result.shape;
    const ValueId id = graph_.add_value(std::move(value));
    node.outputs = {id};
    graph_.add_node(std::move(node));
    return id;
  }

  ValueId scalar(DataType type, int64_t number) {
    Tensor tensor(type, {});
    tensor.set(0, number);
    return graph_.add_constant("", std::move(tensor));
  }

  ValueId wide(ValueId v) { return graph_.value(v).type == DataType::kI64 ? v : emit("cast", {v}, {{"type", "i64"}}); }

  // An integer that stands for itself.
  ValueId exact(ValueId v) { return emit("shl", {wide(v), scalar(DataType::kU8, kUnroundedBits)}); }

  // The node that computes v, or nothing. A copy: emit() moves nodes.
  std::optional<Node> producer(ValueId v) const {
    const int n = graph_.producer(v);
    return n < 0 ? std::nullopt : std::optional(graph_.nodes[n]);
  }

  std::optional<int64_t> literal(ValueId v) const {
    const Tensor& constant = graph_.value(v).constant;
    return constant.defined() && constant.count() == 1 ? std::optional(constant.at(0)) : std::nullopt;
  }

  // Whether 2 * half == whole, as far as the graph shows it.
  bool is_half(ValueId half, ValueId whole) const {
    const auto a = literal(half), b = literal(whole);
    if (a && b) return 2 * *a == *b;
    const auto node = producer(whole);
    return node && node->op == "shl" && node->inputs[0] == half && literal(node->inputs[1]) == 1;
  }

  // What a floor rounds to nearest: x of floor((x + divisor/2) / divisor); else the numerator itself.
  template <class IsHalf>
  ValueId without_half(ValueId numerator, const IsHalf& half) const {
    const auto node = producer(numerator);
    if (!node || node->op != "add") return numerator;
    if (half(node->inputs[1])) return node->inputs[0];
    return half(node->inputs[0]) ? node->inputs[1] : numerator;
  }

  ValueId twin(ValueId v) {
    if (const auto known = twins_.find(v); known != twins_.end()) return known->second;
    const ValueId made = make_twin(v);
    twins_[v] = made;
    return made;
  }

  ValueId make_twin(ValueId v) {
    const auto node = producer(v);
    const auto op = node ? find_core_op(node->op) : std::nullopt;
    if (!op) return exact(v);
    switch (*op) {
      case CoreOp::k_cast:
        return twin(node->inputs[0]);
      case CoreOp::k_clamp: {
        const auto lo = literal(node->inputs[1]), hi = literal(node->inputs[2]);
        const ValueId x = twin(node->inputs[0]);
        if (lo && hi && *lo <= codes_.lo && codes_.hi <= *hi) return x;
        return emit("clamp", {x, exact(node->inputs[1]), exact(node->inputs[2])});
      }
      case CoreOp::k_add:
      case CoreOp::k_sub:
        return emit(node->op, {twin(node->inputs[0]), twin(node->inputs[1])});
      case CoreOp::k_mul_shift:
        return unrounded_product(*node);
      case CoreOp::k_shr: {
        const auto count = literal(node->inputs[1]);
        ValueId x = node->inputs[0];
        if (node->text("rounding", "half_up") == "floor" && count && *count > 0)
          x = without_half(x, [&](ValueId half) { return literal(half) == int64_t{1} << (*count - 1); });
        return emit("shr", {exact(x), node->inputs[1]});
      }
      case CoreOp::k_div: {
        const ValueId divisor = node->inputs[1];
        const ValueId x = without_half(node->inputs[0], [&](ValueId half) { return is_half(half, divisor); });
        return emit("div", {exact(x), wide(divisor)});
      }
      case CoreOp::k_lookup:
        return unrounded_lookup(v, *node);
      case CoreOp::k_reshape:
      case CoreOp::k_slice:
      case CoreOp::k_transpose:
      case CoreOp::k_gather: {
        std::vector<ValueId> inputs = node->inputs;
        inputs[0] = twin(inputs[0]);
        return emit(node->op, std::move(inputs), node->attributes);
      }
      case CoreOp::k_concat: {
        std::vector<ValueId> inputs;
        for (ValueId input : node->inputs) inputs.push_back(twin(input));
        return emit(node->op, std::move(inputs), node->attributes);
      }
      case CoreOp::k_select:
        return emit(node->op, {node->inputs[0], twin(node->inputs[1]), twin(node->inputs[2])});
      default:
        return exact(v);
    }
  }

  // x * m / 2^s with kUnroundedBits fraction bits: a smaller shift right, or for small s one to the left.
  ValueId unrounded_product(const Node& node) {
    const ValueId s = node.inputs[2];
    const ValueId bits = scalar(graph_.value(s).type, kUnroundedBits);
    const ValueId right = emit("sub", {emit("max", {s, bits}), bits});
    const ValueId left = emit("sub", {bits, emit("min", {s, bits})});
    const ValueId product = emit("mul_shift", {node.inputs[0], node.inputs[1], right}, {{"type", "i64"}});
    return emit("shl", {product, left});
  }

  ValueId unrounded_lookup(ValueId v, const Node& node) {
    ValueId table = node.inputs[0];
    for (auto from = producer(table); from && from->op == "reshape"; from = producer(table)) table = from->inputs[0];
    const auto entries = tables_.find(graph_.value(table).name);
    if (entries == tables_.end()) return exact(v);
    const Shape& shape = graph_.value(node.inputs[0]).shape;
    Tensor finer(DataType::kI64, bind(shape, {}));
    if (finer.count() != static_cast<int64_t>(entries->second.size())) return exact(v);
    for (int64_t i = 0; i < finer.count(); ++i)
      finer.set(i, std::llround(std::ldexp(entries->second[static_cast<size_t>(i)], kUnroundedBits)));
    return emit("lookup", {graph_.add_constant("", std::move(finer)), node.inputs[1]});
  }

  Graph graph_;
  const std::map<std::string, std::vector<double>>& tables_;
  Interval codes_{};
  std::map<ValueId, ValueId> twins_;
};

}  // namespace

Graph with_unrounded_outputs(const Graph& body, const std::vector<Interval>& codes,
                             const std::map<std::string, std::vector<double>>& tables) {
  DYADIC_CHECK(codes.size() == body.outputs.size(), body.name);
  Unrounder unrounder(body, tables);
  for (size_t j = 0; j < body.outputs.size(); ++j) unrounder.append_output(body.outputs[j], codes[j]);
  return unrounder.take();
}

}  // namespace dyadic

// Random bodies: any core operation on any shapes, kept only if the evaluator accepts it on the body's operands.
#pragma once
#include <string>
#include <vector>

#include "base/status.h"
#include "body_examples.h"
#include "graph/builder.h"

namespace dyadic::test {

class RandomBody {
 public:
  explicit RandomBody(Random& random) : random_(random) {}

  // A body of up to `operations` nodes over rows of a symbolic count R and a static or symbolic width W.
  Example make(int operations) {
    example_ = {};
    example_.name = "random";
    example_.body.name = "random";
    dims_ = {{"R", 1 + below(9)}, {"W", pick({1, 2, 7, 64, 70})}};
    width_ = below(2) ? Dim("W") : Dim(dims_["W"]);
    for (int i = 0, count = 3 + static_cast<int>(below(4)); i < count; ++i) add_operand(false);
    for (int i = 0; i < 3; ++i) add_operand(true);
    for (int tries = 0; tries < 8 * operations && count_ < operations; ++tries) count_ += step();
    count_ = 0;
    Graph& body = example_.body;
    // Every result that nothing reads, and a few others.
    for (size_t v = 0; v < body.values.size(); ++v) {
      const auto id = static_cast<ValueId>(v);
      if (body.producer(id) >= 0 && (body.consumers(id).empty() || below(6) == 0)) body.outputs.push_back(id);
    }
    example_.bindings = dims_;
    return std::move(example_);
  }

 private:
  int64_t below(int64_t n) { return static_cast<int64_t>(random_.below(static_cast<uint64_t>(n))); }
  int64_t pick(std::initializer_list<int64_t> list) { return list.begin()[below(static_cast<int64_t>(list.size()))]; }
  DataType any_type() { return static_cast<DataType>(below(7)); }

  Shape any_shape() {
    switch (below(9)) {
      case 0:
        return {};
      case 1:
        return {width_};
      case 2:
        return {"R", 1};
      case 3:
        return {1, width_};
      case 4:
        return {"R"};
      case 5:
        return {3, 1, width_};
      case 6:
        return {3, "R", width_};
      default:
        return {"R", width_};
    }
  }

  Interval any_range(DataType type) {
    const Interval all = range_of(type);
    const int64_t bound = int64_t{1} << below(std::min(bits(type), 34));
    return {std::max(all.lo, -bound), std::min(all.hi, bound)};
  }

  void add_operand(bool constant) {
    Value v;
    v.type = any_type();
    v.shape = any_shape();
    bool fixed = true;
    for (const Dim& d : v.shape) fixed &= d.is_constant();
    const Interval range = any_range(v.type);
    const auto spread = static_cast<Spread>(below(4));
    Tensor t = random_tensor(v.type, dyadic::bind(v.shape, dims_), range, spread, random_);
    if (constant && fixed) {
      example_.body.add_constant("", t);
      return;
    }
    v.fact = Fact{range_of(v.type), "input"};
    example_.body.add_input(v);
    example_.inputs.push_back(t);
    example_.is_parameter.push_back(fixed && below(2));
  }

  ValueId any_value() { return static_cast<ValueId>(below(static_cast<int64_t>(example_.body.values.size()))); }
  const Value& value(ValueId v) { return example_.body.value(v); }

  ValueId scalar(DataType type, int64_t x) {
    Tensor t(type, {});
    t.set(0, std::min(std::max(x, lowest(type)), highest(type)));
    return example_.body.add_constant("", t);
  }

  // A value of the given type, by a saturating cast where it has another one.
  ValueId of_type(ValueId v, DataType type) {
    if (value(v).type == type) return v;
    Node cast{"cast", "", {v}, {}, {{"type", std::string(name(type))}, {"mode", std::string("sat")}}, ""};
    return append(std::move(cast)) ? example_.body.nodes.back().outputs[0] : v;
  }

  // Appends a node if it is well-formed and the evaluator accepts it.
  bool append(Node node) {
    Graph& body = example_.body;
    const Graph before = body;
    try {
      std::vector<const Value*> in;
      for (const ValueId v : node.inputs) in.push_back(&body.value(v));
      const auto results = infer_core_op(node, in);
      for (const ResultType& r : results) {
        Value v;
        v.type = r.type;
        v.shape = r.shape;
        node.outputs.push_back(body.add_value(v));
      }
      body.add_node(node);
      const std::vector<ValueId> outputs = node.outputs;
      body.outputs = outputs;
      evaluate(body, example_.inputs, dims_);
      body.outputs.clear();
      return true;
    } catch (const Error&) {
      body = before;
      return false;
    }
  }

  bool step() {
    static const char* const kOps[] = {
        "add",    "sub",       "mul",    "abs",     "min",         "max",         "clamp",        "shl",
        "shr",    "mul_shift", "div",    "rem",     "isqrt",       "normalize",   "and",          "or",
        "xor",    "eq",        "lt",     "le",      "select",      "cast",        "cast",         "lookup",
        "lookup", "bucketize", "reduce", "reduce",  "random_bits", "dot",         "top_k",        "gather",
        "slice",  "concat",    "iota",   "reshape", "transpose",   "scatter_add", "update_slice", "reduce"};
    Node node;
    node.op = kOps[below(std::size(kOps))];
    const ValueId a = any_value();
    const DataType type = value(a).type;
    const Shape shape = value(a).shape;
    const auto rank = static_cast<int64_t>(shape.size());
    const auto other = [&] { return of_type(any_value(), type); };
    const auto small = [&](int64_t hi) { return scalar(DataType::kU8, below(hi)); };
    const std::string rounding = std::vector<std::string>{"floor", "half_up", "half_away"}[below(3)];
    node.inputs = {a};
    if (node.op == "clamp") {
      node.inputs = {a, below(2) ? scalar(type, -below(100)) : other(), below(2) ? scalar(type, below(100)) : other()};
    } else if (node.op == "shl" || node.op == "shr") {
      node.inputs.push_back(below(2) ? small(bits(type)) : of_type(any_value(), DataType::kU8));
      if (node.op == "shr") node.attributes["rounding"] = rounding;
    } else if (node.op == "mul_shift") {
      const DataType wide = below(3) ? DataType::kI32 : DataType::kI64;
      node.inputs = {of_type(a, wide), of_type(any_value(), below(3) ? DataType::kI32 : DataType::kI64),
                     below(2) ? small(63) : of_type(any_value(), DataType::kU8)};
      node.attributes["type"] = std::string(below(2) ? "i64" : name(value(node.inputs[0]).type));
      node.attributes["rounding"] = below(2) ? std::string("floor") : std::string("half_up");
    } else if (node.op == "div" || node.op == "rem") {
      node.inputs.push_back(below(2) ? scalar(type, 1 + below(50)) : other());
    } else if (node.op == "normalize") {
      node.attributes["top"] = below(std::min(62, bits(type) - 1)) + 1;
      node.attributes["even"] = below(2);
    } else if (node.op == "select") {
      node.inputs = {of_type(any_value(), DataType::kU8), a, other()};
    } else if (node.op == "cast") {
      node.attributes["type"] = std::string(name(any_type()));
      node.attributes["mode"] = std::string(below(2) ? "sat" : "exact");
    } else if (node.op == "lookup") {
      node.inputs = {any_table(any_type(), 1 + below(300)), a};
    } else if (node.op == "bucketize") {
      node.inputs.push_back(sorted_table(type, 1 + below(20)));
    } else if (node.op == "reduce") {
      if (rank == 0) return false;
      node.attributes["axes"] = std::vector<int64_t>{below(2) ? rank - 1 : below(rank)};
      node.attributes["keepdims"] = below(2);
      node.attributes["kind"] = std::vector<std::string>{"sum", "max", "min"}[below(3)];
      node.attributes["type"] = std::string(node.text("kind") == "sum" ? (below(2) ? "i32" : "i64") : name(type));
    } else if (node.op == "random_bits") {
      node.inputs = {of_type(a, DataType::kI32), of_type(any_value(), DataType::kU32)};
      node.attributes = {{"seed_low", below(1000)}, {"seed_high", below(1000)}, {"stream", below(1000)}};
    } else if (node.op == "dot") {
      if (rank < 1) return false;
      node.inputs = {a, any_value()};
      if (below(2)) node.inputs[1] = a;
      std::vector<int64_t> batch;
      for (int64_t i = 0; i + 1 < rank && below(3); ++i) batch.push_back(i);
      node.attributes = {
          {"contract_a", std::vector<int64_t>{rank - 1}},
          {"contract_b", std::vector<int64_t>{static_cast<int64_t>(value(node.inputs[1]).shape.size()) - 1}},
          {"batch_a", batch},
          {"batch_b", batch},
          {"type", std::string(below(2) ? "i32" : "i64")}};
    } else if (node.op == "top_k") {
      node.attributes = {{"k", 1 + below(2)}, {"axis", rank ? below(rank) : 0}};
    } else if (node.op == "gather" || node.op == "scatter_add") {
      if (rank == 0) return false;
      const int64_t axis = below(rank);
      const Dims dims = dyadic::bind(shape, dims_);
      const Tensor index = random_tensor(DataType::kI32, {2}, {0, dims[axis] - 1}, Spread::kUniform, random_);
      node.inputs = {a, example_.body.add_constant("", index)};
      node.attributes = {{"axis", axis}, {"batch", int64_t{0}}};
      if (node.op == "scatter_add") {
        Node updates = node;
        updates.op = "gather";
        if (!append(std::move(updates))) return false;
        node.inputs.push_back(example_.body.nodes.back().outputs[0]);
      }
    } else if (node.op == "slice") {
      node.attributes = {{"axis", rank ? below(rank) : 0}, {"start", below(2)}, {"size", 1 + below(2)}};
    } else if (node.op == "update_slice") {
      node.inputs = {a, other()};
      node.attributes = {{"axis", rank ? below(rank) : 0}, {"start", int64_t{0}}};
    } else if (node.op == "concat") {
      node.inputs = {a, below(2) ? a : other()};
      node.attributes["axis"] = rank ? below(rank) : 0;
    } else if (node.op == "iota") {
      node.inputs.clear();
      node.attributes = {{"shape", to_string(Shape{width_})}, {"type", std::string("i32")}};
    } else if (node.op == "reshape") {
      Shape to = shape;
      if (below(2) && rank && to.back().is_one())
        to.pop_back();
      else if (below(2) || rank < 2)
        to.push_back(1);
      else
        to = {element_count(shape)};
      node.attributes["shape"] = to_string(to);
    } else if (node.op == "transpose") {
      std::vector<int64_t> perm(rank);
      for (int64_t i = 0; i < rank; ++i) perm[i] = i;
      for (int64_t i = rank; i-- > 1;) std::swap(perm[i], perm[below(i + 1)]);
      node.attributes["perm"] = perm;
    } else if (node.op != "abs" && node.op != "isqrt") {
      node.inputs.push_back(other());
    }
    return append(std::move(node));
  }

  // A table whose indices may be anything in [0, length): constant, or [width, length] by column, or a value.
  ValueId any_table(DataType type, int64_t length) {
    const Interval range = any_range(type);
    if (below(3) == 0) {
      for (int tries = 0; tries < 5; ++tries)
        if (const ValueId v = any_value(); !value(v).shape.empty()) return v;
    }
    Dims dims = {length};
    if (width_.is_constant() && below(2)) dims.insert(dims.begin(), width_.factor);
    return example_.body.add_constant("", random_tensor(type, dims, range, Spread::kUniform, random_));
  }

  ValueId sorted_table(DataType type, int64_t length) {
    const int64_t columns = width_.is_constant() && below(2) ? width_.factor : 1;
    Tensor t(type, columns == 1 ? Dims{length} : Dims{columns, length});
    for (int64_t c = 0; c < columns; ++c) {
      const Tensor row = random_tensor(type, {length}, any_range(type), Spread::kUniform, random_);
      std::vector<int64_t> values = row.to_int64();
      std::sort(values.begin(), values.end());
      for (int64_t i = 0; i < length; ++i) t.set(c * length + i, values[i]);
    }
    return example_.body.add_constant("", t);
  }

  Random& random_;
  Example example_;
  Bindings dims_;
  Dim width_;
  int count_ = 0;
};

}  // namespace dyadic::test

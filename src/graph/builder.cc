#include "graph/builder.h"

#include "base/status.h"
#include "graph/core_ops.h"
#include "graph/verifier.h"

namespace dyadic {
namespace {

std::string to_text(const Attribute& attribute) {
  struct {
    std::string operator()(int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return cat(v); }
    std::string operator()(const std::string& v) const { return v; }
    std::string operator()(const std::vector<int64_t>& v) const { return to_string(v); }
    std::string operator()(const std::vector<double>& v) const { return cat('[', v.size(), ']'); }
  } text;
  return std::visit(text, attribute);
}

// A body has one spelling: an attribute that equals its default is left out.
void strip_defaults(const std::string& op, Attributes& attributes) {
  const auto core = find_core_op(op);
  if (!core) return;
  for (const auto& spec : attribute_specs(info(*core))) {
    const auto it = attributes.find(std::string(spec.name));
    if (it != attributes.end() && spec.fallback && to_text(it->second) == *spec.fallback) attributes.erase(it);
  }
}

std::string text(DataType type) { return std::string(name(type)); }

std::string text(Rounding rounding) {
  switch (rounding) {
    case Rounding::kFloor:
      return "floor";
    case Rounding::kHalfUp:
      return "half_up";
    case Rounding::kHalfAway:
      return "half_away";
  }
  return "";
}

}  // namespace

Var BodyBuilder::input(const std::string& name, DataType type, Shape shape) {
  if (name.empty() || graph_.find(name) >= 0)
    fail(ErrorKind::kContract, "body ", graph_.name, ": input name '", name, "' is empty or taken");
  Value v;
  v.name = name;
  v.type = type;
  v.shape = std::move(shape);
  return {graph_.add_input(std::move(v))};
}

Var BodyBuilder::input(const std::string& name, DataType type, Shape shape, Interval promised) {
  return fact(input(name, type, std::move(shape)), promised, "input");
}

Var BodyBuilder::constant(Tensor tensor, const std::string& name) {
  if (graph_.find(name) >= 0) fail(ErrorKind::kContract, "body ", graph_.name, ": constant name '", name, "' is taken");
  return {graph_.add_constant(name, std::move(tensor))};
}

Var BodyBuilder::scalar(DataType type, int64_t value) {
  if (!is_integer(type) || !range_of(type).contains({value, value}))
    fail(ErrorKind::kContract, "body ", graph_.name, ": constant ", value, " does not fit ", name(type));
  for (size_t i = 0; i < graph_.values.size(); ++i) {
    const Value& v = graph_.values[i];
    if (v.is_constant() && v.type == type && v.shape.empty() && v.constant.at(0) == value)
      return {static_cast<ValueId>(i)};
  }
  Tensor tensor(type, {});
  tensor.set(0, value);
  std::string label = std::to_string(value);
  if (value < 0) label[0] = 'm';
  label.insert(0, "c");
  return {graph_.add_constant(graph_.find(label) < 0 ? label : label + "_" + text(type), std::move(tensor))};
}

Var BodyBuilder::emit(const std::string& op, const std::vector<Var>& inputs, Attributes attributes) {
  return this->op(op, inputs, std::move(attributes)).at(0);
}

std::vector<Var> BodyBuilder::op(const std::string& name, const std::vector<Var>& inputs, Attributes attributes) {
  strip_defaults(name, attributes);
  Node node;
  node.op = name;
  node.attributes = std::move(attributes);
  std::vector<const Value*> operands;
  for (Var v : inputs) {
    node.inputs.push_back(v.id);
    operands.push_back(&value(v));
  }
  std::vector<ResultType> types;
  try {
    types = infer_core_op(node, operands);
  } catch (const Error& e) {
    fail(e.kind(), "body ", graph_.name, ": ", e.what());
  }
  std::vector<Var> results;
  for (auto& type : types) {
    Value v;
    v.type = type.type;
    v.shape = std::move(type.shape);
    results.push_back({graph_.add_value(std::move(v))});
    node.outputs.push_back(results.back().id);
  }
  graph_.add_node(std::move(node));
  return results;
}

std::pair<Var, Var> BodyBuilder::resolve(Operand a, Operand b) {
  if (a.is_literal && b.is_literal)
    fail(ErrorKind::kContract, "body ", graph_.name, ": two literals ", a.value, " and ", b.value, " have no type");
  if (a.is_literal) return {scalar(value(b.var).type, a.value), b.var};
  if (b.is_literal) return {a.var, scalar(value(a.var).type, b.value)};
  return {a.var, b.var};
}

#define DYADIC_BINARY(method, op)                 \
  Var BodyBuilder::method(Operand a, Operand b) { \
    const auto [x, y] = resolve(a, b);            \
    return emit(op, {x, y});                      \
  }
DYADIC_BINARY(add, "add")
DYADIC_BINARY(sub, "sub")
DYADIC_BINARY(mul, "mul")
DYADIC_BINARY(min, "min")
DYADIC_BINARY(max, "max")
DYADIC_BINARY(div, "div")
DYADIC_BINARY(rem, "rem")
DYADIC_BINARY(bit_and, "and")
DYADIC_BINARY(bit_or, "or")
DYADIC_BINARY(bit_xor, "xor")
DYADIC_BINARY(eq, "eq")
DYADIC_BINARY(lt, "lt")
DYADIC_BINARY(le, "le")
#undef DYADIC_BINARY

Var BodyBuilder::abs(Var x) { return emit("abs", {x}); }

Var BodyBuilder::clamp(Var x, Operand lo, Operand hi) {
  return emit("clamp", {x, resolve(x, lo).second, resolve(x, hi).second});
}

Var BodyBuilder::shl(Var x, Operand k) {
  return emit("shl", {x, k.is_literal ? scalar(DataType::kU8, k.value) : k.var});
}

Var BodyBuilder::shr(Var x, Operand k, Rounding rounding) {
  return emit("shr", {x, k.is_literal ? scalar(DataType::kU8, k.value) : k.var}, {{"rounding", text(rounding)}});
}

Var BodyBuilder::mul_shift(Var x, Operand m, Operand s, DataType type, Rounding rounding) {
  return emit("mul_shift", {x, resolve(x, m).second, s.is_literal ? scalar(DataType::kU8, s.value) : s.var},
              {{"type", text(type)}, {"rounding", text(rounding)}});
}

Var BodyBuilder::isqrt(Var x) { return emit("isqrt", {x}); }

std::pair<Var, Var> BodyBuilder::normalize(Var x, int top, bool even) {
  const auto results = op("normalize", {x}, {{"top", int64_t{top}}, {"even", int64_t{even}}});
  return {results[0], results[1]};
}

Var BodyBuilder::select(Var condition, Operand a, Operand b) {
  const auto [x, y] = resolve(a, b);
  return emit("select", {condition, x, y});
}

Var BodyBuilder::cast(Var x, DataType type) {
  return value(x).type == type ? x : emit("cast", {x}, {{"type", text(type)}});
}

Var BodyBuilder::cast_sat(Var x, DataType type) {
  return value(x).type == type ? x : emit("cast", {x}, {{"type", text(type)}, {"mode", "sat"}});
}

Var BodyBuilder::lookup(Var table, Var index) { return emit("lookup", {table, index}); }

Var BodyBuilder::bucketize(Var x, Var thresholds, DataType type) {
  return emit("bucketize", {x, thresholds}, {{"type", text(type)}});
}

Var BodyBuilder::reduce_sum(Var x, std::vector<int64_t> axes, bool keepdims, DataType type) {
  return emit("reduce", {x},
              {{"kind", "sum"}, {"axes", std::move(axes)}, {"keepdims", int64_t{keepdims}}, {"type", text(type)}});
}

Var BodyBuilder::reduce_max(Var x, std::vector<int64_t> axes, bool keepdims) {
  return emit(
      "reduce", {x},
      {{"kind", "max"}, {"axes", std::move(axes)}, {"keepdims", int64_t{keepdims}}, {"type", text(value(x).type)}});
}

Var BodyBuilder::reduce_min(Var x, std::vector<int64_t> axes, bool keepdims) {
  return emit(
      "reduce", {x},
      {{"kind", "min"}, {"axes", std::move(axes)}, {"keepdims", int64_t{keepdims}}, {"type", text(value(x).type)}});
}

Var BodyBuilder::dot(Var a, Var b, DotAxes axes, DataType type) {
  return emit("dot", {a, b},
              {{"contract_a", std::move(axes.contract_a)},
               {"contract_b", std::move(axes.contract_b)},
               {"batch_a", std::move(axes.batch_a)},
               {"batch_b", std::move(axes.batch_b)},
               {"type", text(type)}});
}

Var BodyBuilder::gather(Var x, Var indices, int axis, int batch) {
  return emit("gather", {x, indices}, {{"axis", int64_t{axis}}, {"batch", int64_t{batch}}});
}

Var BodyBuilder::slice(Var x, int axis, int64_t start, int64_t size) {
  return emit("slice", {x}, {{"axis", int64_t{axis}}, {"start", start}, {"size", size}});
}

Var BodyBuilder::concat(const std::vector<Var>& parts, int axis) {
  return emit("concat", parts, {{"axis", int64_t{axis}}});
}

Var BodyBuilder::reshape(Var x, const Shape& shape) { return emit("reshape", {x}, {{"shape", to_string(shape)}}); }

Var BodyBuilder::transpose(Var x, std::vector<int64_t> perm) {
  return emit("transpose", {x}, {{"perm", std::move(perm)}});
}

Var BodyBuilder::iota(Dim count, DataType type) {
  return emit("iota", {}, {{"shape", to_string(Shape{std::move(count)})}, {"type", text(type)}});
}

Var BodyBuilder::fact(Var v, Interval range, const std::string& lemma) {
  Value& value = graph_.value(v.id);
  if (value.is_constant() || value.fact || range.lo > range.hi || !range_of(value.type).contains(range))
    fail(ErrorKind::kContract, "body ", graph_.name, ": fact [", range.lo, ",", range.hi, "] on ", value.name,
         " is empty, leaves ", name(value.type), ", or the value is a constant or has a fact already");
  value.fact = Fact{range, lemma};
  return v;
}

Var BodyBuilder::named(Var v, const std::string& name) {
  const ValueId taken = graph_.find(name);
  if (name.empty() || (taken >= 0 && taken != v.id))
    fail(ErrorKind::kContract, "body ", graph_.name, ": name '", name, "' is empty or taken");
  graph_.value(v.id).name = name;
  return v;
}

void BodyBuilder::output(Var v, const std::string& name) {
  if (!name.empty()) named(v, name);
  graph_.outputs.push_back(v.id);
}

Graph BodyBuilder::build() {
  verify_body(graph_);
  return graph_;
}

}  // namespace dyadic

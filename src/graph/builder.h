// Builds bodies of core operations. Each call infers the result's type and shape, checks the operands (kContract naming
// the operation) and appends a node. Integers where a Value is expected become scalar constants of the other operand's
// type. Of two operands that are made by calls, scalars included, one gets a statement of its own: compilers evaluate
// arguments in orders of their own, and the order of nodes and values is part of a body's key.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "base/fixed_point.h"
#include "graph/graph.h"

namespace dyadic {

class BodyBuilder;

// A handle to a Value of the graph under construction.
struct Var {
  ValueId id = -1;
};

// An operand: a Value, or an integer constant that takes the type of its neighbour.
struct Operand {
  Operand(Var v) : var(v) {}                          // NOLINT
  Operand(int64_t v) : value(v), is_literal(true) {}  // NOLINT
  Operand(int v) : value(v), is_literal(true) {}      // NOLINT
  Var var;
  int64_t value = 0;
  bool is_literal = false;
};

struct DotAxes {
  std::vector<int64_t> contract_a, contract_b, batch_a, batch_b;
};

class BodyBuilder {
 public:
  explicit BodyBuilder(std::string name) { graph_.name = std::move(name); }

  Var input(const std::string& name, DataType type, Shape shape);
  Var input(const std::string& name, DataType type, Shape shape, Interval promised);
  Var constant(Tensor tensor, const std::string& name = "");
  Var scalar(DataType type, int64_t value);

  Var add(Operand a, Operand b);
  Var sub(Operand a, Operand b);
  Var mul(Operand a, Operand b);
  Var abs(Var x);
  Var min(Operand a, Operand b);
  Var max(Operand a, Operand b);
  Var clamp(Var x, Operand lo, Operand hi);
  Var shl(Var x, Operand k);
  Var shr(Var x, Operand k, Rounding rounding = Rounding::kHalfUp);
  // `type` is the result's: x's type or i64.
  Var mul_shift(Var x, Operand m, Operand s, DataType type, Rounding rounding = Rounding::kHalfUp);
  Var div(Operand a, Operand b);
  Var rem(Operand a, Operand b);
  Var isqrt(Var x);
  std::pair<Var, Var> normalize(Var x, int top, bool even = false);
  Var bit_and(Operand a, Operand b);
  Var bit_or(Operand a, Operand b);
  Var bit_xor(Operand a, Operand b);
  Var eq(Operand a, Operand b);
  Var lt(Operand a, Operand b);
  Var le(Operand a, Operand b);
  Var select(Var condition, Operand a, Operand b);
  Var cast(Var x, DataType type);  // exact
  Var cast_sat(Var x, DataType type);
  Var lookup(Var table, Var index);
  Var bucketize(Var x, Var thresholds, DataType type = DataType::kU8);
  Var reduce_sum(Var x, std::vector<int64_t> axes, bool keepdims, DataType type);
  Var reduce_max(Var x, std::vector<int64_t> axes, bool keepdims = true);
  Var reduce_min(Var x, std::vector<int64_t> axes, bool keepdims = true);
  Var dot(Var a, Var b, DotAxes axes, DataType type = DataType::kI32);
  Var gather(Var x, Var indices, int axis = 0, int batch = 0);
  Var slice(Var x, int axis, int64_t start, int64_t size);
  Var concat(const std::vector<Var>& parts, int axis);
  Var reshape(Var x, const Shape& shape);
  Var transpose(Var x, std::vector<int64_t> perm);
  Var iota(Dim count, DataType type);
  // Any core operation by name, for those without a method of their own.
  std::vector<Var> op(const std::string& name, const std::vector<Var>& inputs, Attributes attributes);

  // Narrows v at its definition; the lemma's name is data (docs/core-ops.md lists the families).
  Var fact(Var v, Interval range, const std::string& lemma);
  Var named(Var v, const std::string& name);  // renames for readable text forms
  void output(Var v, const std::string& name = "");

  const Value& value(Var v) const { return graph_.value(v.id); }
  // Verifies and returns the finished graph.
  Graph build();

 private:
  Var emit(const std::string& op, const std::vector<Var>& inputs, Attributes attributes = {});
  std::pair<Var, Var> resolve(Operand a, Operand b);
  Graph graph_;
};

// The types and shapes of a core operation's results; kContract, naming the operation, if the operands or attributes do
// not fit its signature. `inputs` are the operands' Values (constants give access to static contents where a rule needs
// them).
struct ResultType {
  DataType type;
  Shape shape;
};
std::vector<ResultType> infer_core_op(const Node& node, const std::vector<const Value*>& inputs);

// The body that a node holds as text: a scan's `body` or a dot's `combine` (if that is not "mul"), parsed and verified.
Graph nested_body(const Node& node, const std::string& key);

}  // namespace dyadic

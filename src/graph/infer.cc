// Types and shapes of results: one rule an operation, beside the checks of its operands and attributes.
#include <algorithm>
#include <numeric>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/core_ops.h"
#include "graph/edges.h"
#include "graph/island.h"
#include "graph/text.h"
#include "graph/verifier.h"

namespace dyadic {
namespace {

struct Arity {
  int least = 0, most = 0;
};

// Counts the operands of one side of a signature: "T,u8" 2, "T[,i32]" 1 or 2, "T,.." 1 or more, "U[..,K],T" 2.
Arity arity(std::string_view side) {
  constexpr int kUnbounded = 1 << 20;
  if (side.empty()) return {0, 0};
  Arity n{1, 1};
  for (size_t i = 0, depth = 0; i < side.size(); ++i) {
    if (side[i] == '[') ++depth;
    if (side[i] == ']') --depth;
    if (side[i] != ',') continue;
    if (side.substr(i) == ",..")
      n.most = kUnbounded;
    else if (depth == 0)
      ++n.least, ++n.most;
    else if (side[i - 1] == '[')
      ++n.most;
  }
  return n;
}

// One node under inference: its operands, its attributes, and the refusal that names them.
class Inference {
 public:
  Inference(const Node& node, const std::vector<const Value*>& operands) : node_(node), in_(operands) {}
  std::vector<ResultType> run();

 private:
  template <class... Why>
  [[noreturn]] void refuse(Why&&... why) const {
    std::string operands;
    for (const Value* v : in_) operands += cat(operands.empty() ? "" : ", ", name(v->type), to_string(v->shape));
    fail(ErrorKind::kContract, node_.op, "(", operands, "): ", std::forward<Why>(why)...);
  }
  template <class... Why>
  void require(bool condition, Why&&... why) const {
    if (!condition) refuse(std::forward<Why>(why)...);
  }

  DataType type(int i) const { return in_[i]->type; }
  const Shape& shape(int i) const { return in_[i]->shape; }
  int rank(int i) const { return static_cast<int>(shape(i).size()); }

  void check_table(const CoreOpInfo& row) const;
  void require_integer(int i) const { require(is_integer(type(i)), "operand ", i, " must be of an integer type"); }
  void require_type(int i, DataType t) const { require(type(i) == t, "operand ", i, " must be ", name(t)); }
  void require_index(int i) const {
    require(type(i) == DataType::kI32 || type(i) == DataType::kU32, "operand ", i, " must be i32 or u32");
  }
  // Operands first .. last-1 have one integer type.
  DataType common(int first, int last) const;
  Shape broadcast_all() const;
  Shape broadcast_of(const Shape& a, const Shape& b) const;
  int axis(int64_t a, int rank) const;
  std::vector<int> axes(const std::vector<int64_t>& list, int rank) const;
  std::string one_of(const std::string& key, const std::string& fallback,
                     std::initializer_list<const char*> allowed) const;
  DataType type_attribute(std::optional<DataType> fallback = {}) const;
  // [axis, axis + size) of a dimension, as far as it is static.
  void require_inside(const Dim& dim, int64_t start, int64_t size) const;
  // The operand at `position` if it is given instead of the attribute start: one i32.
  int64_t static_start(int position) const;

  std::vector<ResultType> dot() const;
  std::vector<ResultType> patches() const;
  std::vector<ResultType> reduce() const;
  std::vector<ResultType> scan() const;
  Graph nested(const std::string& key) const;
  void require_scalar_body(const Graph& body) const;
  Shape gathered(int batch, int axis) const;

  const Node& node_;
  const std::vector<const Value*>& in_;
};

void Inference::check_table(const CoreOpInfo& row) const {
  const size_t arrow = row.signature.find("->");
  const Arity n = arity(row.signature.substr(0, arrow));
  const int given = static_cast<int>(in_.size());
  require(n.least <= given && given <= n.most, "the signature is ", row.signature);
  const auto specs = attribute_specs(row);
  for (const auto& spec : specs)
    require(spec.fallback || node_.has(std::string(spec.name)), "attribute '", spec.name, "' is missing");
  for (const auto& attribute : node_.attributes)
    require(std::any_of(specs.begin(), specs.end(), [&](const auto& s) { return s.name == attribute.first; }),
            "attribute '", attribute.first, "' is not known; known are: ", row.attributes);
}

DataType Inference::common(int first, int last) const {
  for (int i = first; i < last; ++i) {
    require_integer(i);
    require(type(i) == type(first), "operands must have one type; use cast");
  }
  return type(first);
}

Shape Inference::broadcast_of(const Shape& a, const Shape& b) const {
  try {
    return broadcast(a, b);
  } catch (const Error& e) {
    refuse(e.what());
  }
}

Shape Inference::broadcast_all() const {
  Shape result = shape(0);
  for (size_t i = 1; i < in_.size(); ++i) result = broadcast_of(result, shape(static_cast<int>(i)));
  return result;
}

int Inference::axis(int64_t a, int rank) const {
  require(-rank <= a && a < rank, "axis ", a, " of rank ", rank);
  return static_cast<int>(a < 0 ? a + rank : a);
}

std::vector<int> Inference::axes(const std::vector<int64_t>& list, int rank) const {
  std::vector<int> result;
  for (int64_t a : list) {
    const int i = axis(a, rank);
    require(!std::count(result.begin(), result.end(), i), "axis ", a, " is given twice");
    result.push_back(i);
  }
  return result;
}

std::string Inference::one_of(const std::string& key, const std::string& fallback,
                              std::initializer_list<const char*> allowed) const {
  const std::string value = node_.text(key, fallback);
  std::string list;
  for (const char* a : allowed) {
    if (value == a) return value;
    list += cat(' ', a);
  }
  refuse("attribute '", key, "' is '", value, "'; allowed are:", list);
}

DataType Inference::type_attribute(std::optional<DataType> fallback) const {
  if (fallback && !node_.has("type")) return *fallback;
  const auto parsed = parse_data_type(node_.text("type"));
  require(parsed.has_value(), "type '", node_.text("type"), "' is not known");
  return *parsed;
}

void Inference::require_inside(const Dim& dim, int64_t start, int64_t size) const {
  require(start >= 0 && size >= 0, "start ", start, " and size ", size, " must not be negative");
  require(!dim.is_constant() || (size <= dim.factor && start <= dim.factor - size), "[", start, ", ", start, " + ",
          size, ") leaves the axis of ", dim.factor);
}

int64_t Inference::static_start(int position) const {
  if (static_cast<int>(in_.size()) <= position) return node_.integer("start", 0);
  require(!node_.has("start"), "start is given twice, as attribute and as operand");
  require_type(position, DataType::kI32);
  require(element_count(shape(position)).is_one(), "start must be one element");
  return 0;
}

std::vector<ResultType> Inference::reduce() const {
  require_integer(0);
  const std::string kind = one_of("kind", "", {"sum", "max", "min"});
  const auto reduced = axes(node_.integers("axes"), rank(0));
  const DataType t = type_attribute();
  require(t == type(0) || (kind == "sum" && (t == DataType::kI32 || t == DataType::kI64)), kind, " of ", name(type(0)),
          " cannot be ", name(t));
  const bool keepdims = node_.integer("keepdims", 1) != 0;
  Shape result;
  for (int i = 0; i < rank(0); ++i) {
    if (!std::count(reduced.begin(), reduced.end(), i))
      result.push_back(shape(0)[i]);
    else if (keepdims)
      result.push_back(1);
  }
  return {{t, result}};
}

std::vector<ResultType> Inference::dot() const {
  for (int i : {0, 1})
    require(is_integer(type(i)) && type(i) <= DataType::kI32, "operand ", i, " must be of a type from i8 to i32");
  const DataType t = type_attribute(DataType::kI32);
  require(t == DataType::kI32 || t == DataType::kI64, "the accumulator must be i32 or i64");
  if (node_.text("combine", "mul") != "mul") require_scalar_body(nested("combine"));
  Shape result;
  std::vector<int> batch[2], contract[2];
  const char* suffix[2] = {"a", "b"};
  for (int i : {0, 1}) {
    batch[i] = axes(node_.integers_or_empty(cat("batch_", suffix[i])), rank(i));
    contract[i] = axes(node_.integers(cat("contract_", suffix[i])), rank(i));
    for (int a : contract[i])
      require(!std::count(batch[i].begin(), batch[i].end(), a), "axis ", a, " of operand ", i,
              " is both batch and contracted");
  }
  const auto require_equal = [&](const char* what, const std::vector<int>& a, const std::vector<int>& b) {
    require(a.size() == b.size(), a.size(), " ", what, " axes of the first operand, ", b.size(), " of the second");
    for (size_t i = 0; i < a.size(); ++i)
      require(shape(0)[a[i]] == shape(1)[b[i]], what, " axes differ: ", to_string(shape(0)[a[i]]), " and ",
              to_string(shape(1)[b[i]]));
  };
  require_equal("batch", batch[0], batch[1]);
  require_equal("contracted", contract[0], contract[1]);
  for (int a : batch[0]) result.push_back(shape(0)[a]);
  for (int i : {0, 1})
    for (int a = 0; a < rank(i); ++a)
      if (!std::count(batch[i].begin(), batch[i].end(), a) && !std::count(contract[i].begin(), contract[i].end(), a))
        result.push_back(shape(i)[a]);
  return {{t, result}};
}

std::vector<ResultType> Inference::patches() const {
  require_integer(0);
  require(rank(0) == 4, "the operand must be NHWC");
  const auto positive = [&](const char* key, size_t count, int64_t least) {
    const auto& list = node_.integers(key);
    require(list.size() == count, "attribute '", key, "' needs ", count, " entries");
    for (int64_t v : list) require(v >= least && v < (1 << 30), "attribute '", key, "' has the entry ", v);
    return list;
  };
  const auto kernel = positive("kernel", 2, 1), stride = positive("stride", 2, 1),
             dilation = positive("dilation", 2, 1),
             pads = positive("pads", 4, 0);  // top, left, bottom, right, as in ONNX
  require(range_of(type(0)).contains({node_.integer("pad_code", 0), node_.integer("pad_code", 0)}),
          "pad_code does not fit ", name(type(0)));
  Shape result = {shape(0)[0]};
  for (int i : {0, 1}) {
    require(shape(0)[1 + i].is_constant(), "height and width must be static");
    require(shape(0)[1 + i].factor < int64_t{1} << 40, "height and width must be below 2^40");
    const int64_t room = shape(0)[1 + i].factor + pads[i] + pads[i + 2] - (dilation[i] * (kernel[i] - 1) + 1);
    require(room >= 0, "the kernel is larger than the padded image");
    result.push_back(room / stride[i] + 1);
  }
  result.insert(result.end(), {Dim(kernel[0]), Dim(kernel[1]), shape(0)[3]});
  return {{type(0), result}};
}

Graph Inference::nested(const std::string& key) const {
  try {
    return nested_body(node_, key);
  } catch (const Error& e) {
    refuse(key, ": ", e.what());
  }
}

// Whether an operation maps scalars to scalars, so that a body of such operations can be applied to every element.
bool maps_scalars(CoreOp op) {
  switch (op) {
    case CoreOp::k_add:
    case CoreOp::k_sub:
    case CoreOp::k_mul:
    case CoreOp::k_abs:
    case CoreOp::k_min:
    case CoreOp::k_max:
    case CoreOp::k_clamp:
    case CoreOp::k_shl:
    case CoreOp::k_shr:
    case CoreOp::k_mul_shift:
    case CoreOp::k_div:
    case CoreOp::k_rem:
    case CoreOp::k_isqrt:
    case CoreOp::k_normalize:
    case CoreOp::k_and:
    case CoreOp::k_or:
    case CoreOp::k_xor:
    case CoreOp::k_eq:
    case CoreOp::k_lt:
    case CoreOp::k_le:
    case CoreOp::k_select:
    case CoreOp::k_cast:
    case CoreOp::k_lookup:
    case CoreOp::k_bucketize:
      return true;
    case CoreOp::k_random_bits:
    case CoreOp::k_reduce:
    case CoreOp::k_dot:
    case CoreOp::k_patches:
    case CoreOp::k_top_k:
    case CoreOp::k_gather:
    case CoreOp::k_scatter_add:
    case CoreOp::k_slice:
    case CoreOp::k_update_slice:
    case CoreOp::k_concat:
    case CoreOp::k_reshape:
    case CoreOp::k_transpose:
    case CoreOp::k_iota:
    case CoreOp::k_pack:
    case CoreOp::k_unpack:
    case CoreOp::k_scan:
    case CoreOp::k_quantize:
    case CoreOp::k_dequantize:
      return false;
  }
  return false;
}

// A dot's combine: two scalars of the operands' types to one, by operations that map scalars.
void Inference::require_scalar_body(const Graph& body) const {
  require(body.inputs.size() == 2 && body.outputs.size() == 1, "combine must take two values and give one");
  for (int i : {0, 1}) {
    const Value& v = body.value(body.inputs[i]);
    require(v.type == type(i) && v.shape.empty(), "combine's input ", i, " must be ", name(type(i)), "[]");
  }
  for (const Node& node : body.nodes)
    require(maps_scalars(*find_core_op(node.op)), "combine cannot hold ", node.op, ": it maps no scalars");
  const Value& result = body.value(body.outputs[0]);
  require(is_integer(result.type) && result.shape.empty(), "combine must give an integer scalar");
}

std::vector<ResultType> Inference::scan() const {
  const Graph body = nested("body");
  one_of("direction", "forward", {"forward", "reverse"});
  const auto carried = static_cast<size_t>(node_.integer("carried"));
  const auto* text = std::get_if<std::string>(&node_.attributes.at("count"));
  const Dim count = text ? parse_dim(*text) : Dim(node_.integer("count"));
  require(count.factor >= 0, "count is negative");
  require(body.inputs.size() == in_.size(), "its body takes ", body.inputs.size(), " values");
  require(carried <= in_.size() && carried <= body.outputs.size(), "carried exceeds the operands or results");
  const auto each_step = [&](const Shape& inner) {
    Shape outer{count};
    outer.insert(outer.end(), inner.begin(), inner.end());
    return outer;
  };
  for (size_t i = 0; i < in_.size(); ++i) {
    const Value &outer = *in_[i], &inner = body.value(body.inputs[i]);
    require_integer(static_cast<int>(i));
    require(outer.type == inner.type &&
                (outer.shape == inner.shape || (i >= carried && outer.shape == each_step(inner.shape))),
            "operand ", i, " does not fit its body's ", inner.name, ", ", name(inner.type), to_string(inner.shape));
  }
  std::vector<ResultType> results;
  for (size_t j = 0; j < body.outputs.size(); ++j) {
    const Value& inner = body.value(body.outputs[j]);
    require(is_integer(inner.type), "its body's ", inner.name, " must be of an integer type");
    require(j >= carried || (inner.type == in_[j]->type && inner.shape == in_[j]->shape), "its body's ", inner.name,
            " does not carry on operand ", j);
    results.push_back({inner.type, j < carried ? inner.shape : each_step(inner.shape)});
  }
  return results;
}

// The shape of operand 0 taken at the indices that operand 1 holds.
Shape Inference::gathered(int batch, int axis) const {
  require(0 <= batch && batch <= axis && batch <= rank(1), "batch ", batch, " must not exceed axis ", axis,
          " nor the rank of the indices");
  Shape result(shape(0).begin(), shape(0).begin() + axis);
  for (int i = 0; i < batch; ++i)
    require(shape(0)[i] == shape(1)[i], "batch axis ", i, " differs: ", to_string(shape(0)[i]), " and ",
            to_string(shape(1)[i]));
  result.insert(result.end(), shape(1).begin() + batch, shape(1).end());
  result.insert(result.end(), shape(0).begin() + axis + 1, shape(0).end());
  return result;
}

std::vector<ResultType> Inference::run() {
  const auto op = find_core_op(node_.op);
  require(op.has_value(), "not a core operation");
  check_table(info(*op));
  switch (*op) {
    case CoreOp::k_add:
    case CoreOp::k_sub:
    case CoreOp::k_mul:
    case CoreOp::k_abs:
    case CoreOp::k_min:
    case CoreOp::k_max:
    case CoreOp::k_clamp:
    case CoreOp::k_div:
    case CoreOp::k_rem:
    case CoreOp::k_isqrt:
    case CoreOp::k_and:
    case CoreOp::k_or:
    case CoreOp::k_xor:
      return {{common(0, static_cast<int>(in_.size())), broadcast_all()}};
    case CoreOp::k_eq:
    case CoreOp::k_lt:
    case CoreOp::k_le:
      common(0, 2);
      return {{DataType::kU8, broadcast_all()}};
    case CoreOp::k_shr:
      one_of("rounding", "half_up", {"floor", "half_up", "half_away"});
      [[fallthrough]];
    case CoreOp::k_shl:
      require_integer(0);
      require_type(1, DataType::kU8);
      return {{type(0), broadcast_all()}};
    case CoreOp::k_mul_shift: {
      one_of("rounding", "half_up", {"floor", "half_up"});
      for (int i : {0, 1})
        require(is_integer(type(i)) && type(i) >= DataType::kI32, "operand ", i, " must be i32, u32 or i64");
      require_type(2, DataType::kU8);
      const DataType t = type_attribute();
      require(t == type(0) || t == DataType::kI64, "the result must be ", name(type(0)), " or i64");
      return {{t, broadcast_all()}};
    }
    case CoreOp::k_normalize: {
      require_integer(0);
      const int64_t top = node_.integer("top"), even = node_.integer("even", 0);
      require(even == 0 || even == 1, "even must be 0 or 1");
      require(even <= top && top < 63 && (int64_t{1} << top) <= highest(type(0)), "no value of ", name(type(0)),
              " has its leading one at bit ", top);
      return {{type(0), shape(0)}, {DataType::kU8, shape(0)}};
    }
    case CoreOp::k_select:
      require_type(0, DataType::kU8);
      return {{common(1, 3), broadcast_all()}};
    case CoreOp::k_cast:
      require_integer(0);
      one_of("mode", "exact", {"exact", "sat"});
      require(is_integer(type_attribute()), "the result must be of an integer type");
      return {{type_attribute(), shape(0)}};
    case CoreOp::k_lookup:
      require_integer(0);
      require_integer(1);
      require(rank(0) >= 1, "the table must have an axis");
      return {{type(0), broadcast_of(Shape(shape(0).begin(), shape(0).end() - 1), shape(1))}};
    case CoreOp::k_bucketize: {
      common(0, 2);
      const DataType t = type_attribute(DataType::kU8);
      require(t == DataType::kU8 || t == DataType::kU16, "the result must be u8 or u16");
      require(rank(1) >= 1, "the thresholds must have an axis");
      const Dim& k = shape(1).back();
      require(k.is_constant() && k.factor <= highest(t), to_string(k), " thresholds do not fit ", name(t));
      return {{t, broadcast_of(shape(0), Shape(shape(1).begin(), shape(1).end() - 1))}};
    }
    case CoreOp::k_random_bits:
      require_type(0, DataType::kI32);
      require_type(1, DataType::kU32);
      for (const char* key : {"seed_low", "seed_high", "stream"})
        require(range_of(DataType::kU32).contains({node_.integer(key), node_.integer(key)}), key, " must fit u32");
      return {{DataType::kU32, broadcast_all()}};
    case CoreOp::k_reduce:
      return reduce();
    case CoreOp::k_dot:
      return dot();
    case CoreOp::k_patches:
      return patches();
    case CoreOp::k_top_k: {
      require_integer(0);
      Shape result = shape(0);
      Dim& n = result[axis(node_.integer("axis", -1), rank(0))];
      require_inside(n, 0, node_.integer("k"));
      n = node_.integer("k");
      return {{type(0), result}, {DataType::kU32, result}};
    }
    case CoreOp::k_gather:
      require_integer(0);
      require_index(1);
      return {
          {type(0), gathered(static_cast<int>(node_.integer("batch", 0)), axis(node_.integer("axis", 0), rank(0)))}};
    case CoreOp::k_scatter_add: {
      require_integer(0);
      require_index(1);
      require(type(2) == type(0), "updates must have the type of the first operand");
      const Shape updates =
          gathered(static_cast<int>(node_.integer("batch", 0)), axis(node_.integer("axis", 0), rank(0)));
      require(shape(2) == updates, "updates must be ", to_string(updates));
      return {{type(0), shape(0)}};
    }
    case CoreOp::k_slice: {
      require_integer(0);
      Shape result = shape(0);
      Dim& n = result[axis(node_.integer("axis"), rank(0))];
      require_inside(n, static_start(1), node_.integer("size"));
      n = node_.integer("size");
      return {{type(0), result}};
    }
    case CoreOp::k_update_slice: {
      common(0, 2);
      const int a = axis(node_.integer("axis"), rank(0));
      require(rank(0) == rank(1), "operands must have one rank");
      for (int i = 0; i < rank(0); ++i) require(i == a || shape(0)[i] == shape(1)[i], "axis ", i, " differs");
      const int64_t start = static_start(2);
      if (shape(1)[a].is_constant()) require_inside(shape(0)[a], start, shape(1)[a].factor);
      return {{type(0), shape(0)}};
    }
    case CoreOp::k_concat: {
      common(0, static_cast<int>(in_.size()));
      const int a = axis(node_.integer("axis"), rank(0));
      Shape result = shape(0);
      for (size_t i = 1; i < in_.size(); ++i) {
        const Shape& part = in_[i]->shape;
        require(part.size() == result.size() && part[a].symbols == result[a].symbols, "operand ", i,
                " does not continue ", to_string(shape(0)), " along axis ", a);
        for (int d = 0; d < rank(0); ++d)
          require(d == a || part[d] == result[d], "axis ", d, " of operand ", i, " differs");
        require(!__builtin_add_overflow(result[a].factor, part[a].factor, &result[a].factor), "the axis is too long");
      }
      return {{type(0), result}};
    }
    case CoreOp::k_reshape: {
      require_integer(0);
      const Shape result = parse_shape(node_.text("shape"));
      require(element_count(result) == element_count(shape(0)), "the element count of ", to_string(result), " differs");
      return {{type(0), result}};
    }
    case CoreOp::k_transpose: {
      require_integer(0);
      const auto perm = axes(node_.integers("perm"), rank(0));
      require(static_cast<int>(perm.size()) == rank(0), "perm must list every axis");
      Shape result;
      for (int p : perm) result.push_back(shape(0)[p]);
      return {{type(0), result}};
    }
    case CoreOp::k_iota: {
      const Shape result = parse_shape(node_.text("shape"));
      require(result.size() == 1, "the result must have one axis");
      const DataType t = type_attribute();
      require(is_integer(t), "the result must be of an integer type");
      require(!result[0].is_constant() || result[0].factor - 1 <= highest(t), to_string(result[0]),
              " elements do not fit ", name(t));
      return {{t, result}};
    }
    case CoreOp::k_pack:
    case CoreOp::k_unpack: {
      const bool packs = *op == CoreOp::k_pack;
      const DataType t = type_attribute();
      require(is_integer(packs ? type(0) : t) && is_packed(packs ? t : type(0)),
              "one side must be an integer type, the other packed storage");
      require(packs || range_of(t).contains(range_of(type(0))), name(t), " does not hold every ", name(type(0)));
      require(rank(0) >= 1 && axis(node_.integer("axis", -1), rank(0)) == rank(0) - 1, "only the last axis is packed");
      one_of("order", "little", {"little"});
      return {{t, shape(0)}};
    }
    case CoreOp::k_scan:
      return scan();
    case CoreOp::k_quantize: {
      require_type(0, DataType::kF32);
      require(is_scale(node_.number("scale")), "the scale is not a positive normal number");
      const DataType t = type_attribute();
      const Interval codes{node_.integer("lo"), node_.integer("hi")};
      require(is_integer(t) && codes.lo <= codes.hi && range_of(t).contains(codes), "[", codes.lo, ", ", codes.hi,
              "] is no range of ", name(t));
      return {{t, shape(0)}};
    }
    case CoreOp::k_dequantize:
      require_integer(0);
      require(is_scale(node_.number("scale")), "the scale is not a positive normal number");
      return {{DataType::kF32, shape(0)}};
  }
  refuse("not a core operation");
}

}  // namespace

// Reading a body reads the bodies inside it, once to parse and once to verify them: 2^depth times.
Graph nested_body(const Node& node, const std::string& key) {
  constexpr int kMaxDepth = 4;
  thread_local int depth = 0;
  struct Level {
    Level() { ++depth; }
    ~Level() { --depth; }
  } const level;
  if (depth > kMaxDepth) fail(ErrorKind::kMalformed, "bodies nested deeper than ", kMaxDepth);
  Graph body = parse_text(node.text(key), key);
  if (is_island(body)) fail(ErrorKind::kContract, "node ", node.name, ": its ", key, " must not be a float island");
  verify_body(body);
  return body;
}

std::vector<ResultType> infer_core_op(const Node& node, const std::vector<const Value*>& inputs) {
  return Inference(node, inputs).run();
}

}  // namespace dyadic

// What the rows of the real dialect share: checks that name the node, and the row tables themselves.
#pragma once
#include <span>

#include "base/status.h"
#include "real/dialect.h"

namespace dyadic {

std::span<const RealOp> elementwise_ops();
std::span<const RealOp> linear_ops();
std::span<const RealOp> normalization_ops();
std::span<const RealOp> sequence_ops();

template <class... Args>
[[noreturn]] void refuse(const Node& node, Args&&... args) {
  fail(ErrorKind::kContract, "node ", node.name, " (", node.op, "): ", std::forward<Args>(args)...);
}

// Input i's shape, after checking type and, unless it is -1, rank.
inline const Shape& operand(const Node& node, RealInputs inputs, int i, DataType type, int rank = -1) {
  const Value* value = inputs[i];
  if (!value) refuse(node, "input ", i, " is missing");
  if (value->type != type || (rank >= 0 && value->shape.size() != static_cast<size_t>(rank)))
    refuse(node, "input ", i, " ('", value->name, "') is ", name(value->type), to_string(value->shape), ", expected ",
           name(type), rank >= 0 ? cat(" of rank ", rank) : "");
  return value->shape;
}

inline void expect_shape(const Node& node, RealInputs inputs, int i, DataType type, const Shape& shape) {
  if (operand(node, inputs, i, type, static_cast<int>(shape.size())) != shape)
    refuse(node, "input ", i, " ('", inputs[i]->name, "') has shape ", to_string(inputs[i]->shape), ", expected ",
           to_string(shape));
}

inline void expect_integer(const Node& node, const std::string& key, int64_t only, int64_t fallback) {
  if (const int64_t v = node.integer(key, fallback); v != only)
    refuse(node, "attribute '", key, "' is ", v, "; only ", only, " is supported");
}

// The axis must be the last one; -1 says so too.
inline void expect_last_axis(const Node& node, const Shape& shape) {
  if (shape.empty()) refuse(node, "a scalar has no axis");
  const int64_t axis = node.integer("axis", -1);
  if (axis != -1 && axis + 1 != static_cast<int64_t>(shape.size()))
    refuse(node, "attribute 'axis' is ", axis, "; only the last axis is supported");
}

}  // namespace dyadic

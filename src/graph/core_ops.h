// The core operations as an enumeration and as data; the rows are in core_ops.inc.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace dyadic {

enum class CoreOp : uint8_t {
#define DYADIC_CORE_OP(name, ...) k_##name,
#include "graph/core_ops.inc"
#undef DYADIC_CORE_OP
};

struct CoreOpInfo {
  CoreOp op;
  std::string_view name, signature, attributes, rounding, range_rule, c_expression, meaning;
};

std::span<const CoreOpInfo> core_ops();
const CoreOpInfo& info(CoreOp op);
std::optional<CoreOp> find_core_op(std::string_view name);

// A row's `attributes` column, split: names, and the defaults of those that may be left out.
struct AttributeSpec {
  std::string_view name;
  std::optional<std::string_view> fallback;
};
std::vector<AttributeSpec> attribute_specs(const CoreOpInfo& row);

}  // namespace dyadic

#include "graph/core_ops.h"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace dyadic {
namespace {

constexpr CoreOpInfo kInfo[] = {
#define DYADIC_CORE_OP(name, ...) {CoreOp::k_##name, #name, __VA_ARGS__},
#include "graph/core_ops.inc"
#undef DYADIC_CORE_OP
};
static_assert(std::size(kInfo) == 42);

}  // namespace

std::span<const CoreOpInfo> core_ops() { return kInfo; }
const CoreOpInfo& info(CoreOp op) { return kInfo[static_cast<int>(op)]; }

std::optional<CoreOp> find_core_op(std::string_view name) {
  static const auto* index = [] {
    auto* map = new std::unordered_map<std::string_view, CoreOp>;
    for (const auto& row : kInfo) map->emplace(row.name, row.op);
    return map;
  }();
  const auto it = index->find(name);
  return it == index->end() ? std::nullopt : std::optional(it->second);
}

std::vector<AttributeSpec> attribute_specs(const CoreOpInfo& row) {
  std::vector<AttributeSpec> specs;
  for (std::string_view rest = row.attributes; !rest.empty();) {
    const std::string_view word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    const size_t equals = word.find('=');
    specs.push_back(
        {word.substr(0, equals), equals == word.npos ? std::nullopt : std::optional(word.substr(equals + 1))});
  }
  return specs;
}

}  // namespace dyadic

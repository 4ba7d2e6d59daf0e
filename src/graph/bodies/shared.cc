#include <algorithm>
#include <optional>

#include "base/status.h"
#include "graph/bodies/bodies.h"

namespace dyadic {
namespace {

const Value* formal(const Graph& body, const std::string& name) {
  const ValueId id = body.find(name);
  return id >= 0 && std::count(body.inputs.begin(), body.inputs.end(), id) ? &body.value(id) : nullptr;
}

// The static dimension at `axis` of an input, or nothing.
std::optional<int64_t> static_dim(const Graph& body, const std::string& name, size_t axis) {
  const Value* value = formal(body, name);
  if (!value || value->shape.size() <= axis || !value->shape[axis].is_constant()) return std::nullopt;
  return value->shape[axis].factor;
}

NormOutputs output_types(const Graph& body) {
  NormOutputs types;
  for (ValueId id : body.outputs) types.push_back(body.value(id).type);
  return types;
}

bool in_q15(const Node& node) { return node.has("lane_bits") && node.integer("lane_bits") == 16; }

std::optional<Body> shared_body(const Node& node, const Graph& body) {
  if (node.op == "linear") {
    LinearShape shape;
    shape.in = node.integer("in");
    shape.out = node.integer("out");
    shape.epilogue = parse_epilogue(node.text("epilogue"));
    shape.splits = node.integers("splits");
    shape.shift_per_channel = static_dim(body, "s", 0).value_or(1) != 1;
    shape.classes = static_dim(body, "tables", 0).value_or(0);
    return linear_body(shape);
  }
  if (node.op == "attention") return attention_body(node.integer("heads"), node.integer("head_dim"));
  if (node.op == "add_norm") {
    const auto n = static_dim(body, "sublayer", 1);
    if (!n) return std::nullopt;
    return in_q15(node) ? q15_add_norm_body(*n, output_types(body)) : add_norm_body(*n, output_types(body));
  }
  if (node.op == "embed_norm") {
    std::vector<TableShape> tables;
    std::optional<int64_t> n;
    for (ValueId id : body.inputs) {
      const std::string& name = body.value(id).name;
      const auto rows = static_dim(body, name + "_codes", 0);
      if (!rows) continue;
      tables.push_back({name, *rows});
      n = static_dim(body, name + "_codes", 1);
    }
    if (!n) return std::nullopt;
    return in_q15(node) ? q15_embed_norm_body(*n, tables, output_types(body))
                        : embed_norm_body(*n, tables, output_types(body));
  }
  if (node.op == "pool") {
    const auto n = static_dim(body, "x", 1);
    return n ? std::optional(pool_body(*n, node.integer("normalize") != 0)) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

bool is_shared_body(const Node& composite, const Body& body) {
  try {
    const auto shared = shared_body(composite, body.graph);
    return shared && shared->key() == composite.body;
  } catch (const Error&) {
    return false;  // attributes that name no body, e.g. in a damaged file
  }
}

}  // namespace dyadic

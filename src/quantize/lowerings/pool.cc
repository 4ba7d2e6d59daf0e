// Mean over a sequence's rows and, where the network has it, the unit vector.
#include "base/status.h"
#include "quantize/lowering.h"

namespace dyadic {
namespace {

int normalization(const Graph& real, int pool) {
  const auto consumers = real.consumers(real.nodes[pool].outputs[0]);
  if (consumers.size() != 1 || real.is_output(real.nodes[pool].outputs[0])) return -1;
  const Node& node = real.nodes[consumers[0]];
  return node.op == "LpNormalization" && node.integer("p", 2) == 2 && node.integer("axis", -1) == -1 ? consumers[0]
                                                                                                     : -1;
}

}  // namespace

std::optional<Region> match_pool(const Graph& real, int node) {
  Region region;
  region.composite = "pool";
  region.name = real.nodes[node].name;
  region.nodes = {node};
  if (const int n = normalization(real, node); n >= 0) {
    region.parts["normalize"] = {n};
    region.nodes.push_back(n);
  }
  return region;
}

std::vector<Wish> wishes_pool(const Graph& real, const Region& region) {
  const int n = region.nodes[0];
  return {{real.nodes[n].inputs[0], n, "input", {}}};
}

void lower_pool(LoweringContext& context, const Region& region) {
  const Graph& real = context.real;
  const int n = region.nodes[0];
  const Node& node = real.nodes[n];
  const Encoding& x = context.encoding(node.inputs[0], n, "input");
  if (x.storage != DataType::kI16 || x.zero_point[0] != 0)
    fail(ErrorKind::kContract, node.name, ": encode.input of MeanPool must be symmetric with 9..16 bits");
  const bool normalize = !region.part("normalize").empty();
  const ValueId result = real.nodes[region.nodes.back()].outputs[0];
  if (!real.is_output(result) || !context.edges(result).empty())
    fail(ErrorKind::kContract, node.name, ": a pooled vector must be an output of the network");
  // The body fixes its own output scale: that of its input, or steps of 2^-15 for a unit vector.
  Encoding out = x;
  out.codes = range_of(DataType::kI16);
  if (normalize) out.scale = {0x1p-15};
  const ValueId core = context.define(result, DataType::kI16, out);
  const Shape& shape = real.value(node.inputs[0]).shape;
  Node& made = context.emit(region, pool_body(shape.back().factor, normalize),
                            {context.input(node.inputs[0], n, "input"), context.index_input(node.inputs[1]),
                             context.index_input(node.inputs[2])},
                            {core}, {normalize ? 1.0 : 0.5});
  made.attributes["normalize"] = static_cast<int64_t>(normalize);
}

}  // namespace dyadic

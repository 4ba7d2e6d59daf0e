// Attention over packed sequences: table softmax with deferred normalisation.
#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "quantize/lowering.h"
#include "quantize/ratio.h"

namespace dyadic {
namespace {

// The ratio from differences of scores, of at most `largest`, to distances. Bits 0: the most bits, 8..15, for which the
// product and its rounding fit 32 bits without sign; 31 where none do.
Dyadic distance_ratio(double ratio, int64_t largest, int bits, const std::string& what) {
  if (bits > 0) return encode_ratio(ratio, what, bits);
  for (bits = 15; bits >= 8 && ratio < std::ldexp(1, bits - 1); --bits) {
    const Dyadic narrow = encode_ratio(ratio, what, bits);
    if (narrow.s <= 31 && largest * narrow.m + (int64_t{1} << (narrow.s - 1)) <= UINT32_MAX) return narrow;
  }
  return encode_ratio(ratio, what);
}

}  // namespace

std::optional<Region> match_attention(const Graph& real, int node) {
  Region region;
  region.composite = "attention";
  region.name = real.nodes[node].name;
  region.nodes = {node};
  return region;
}

std::vector<Wish> wishes_attention(const Graph& real, const Region& region) {
  const int n = region.nodes[0];
  const auto& in = real.nodes[n].inputs;
  return {{in[0], n, "q", {}}, {in[1], n, "k", {}}, {in[2], n, "v", {}}};
}

void lower_attention(LoweringContext& context, const Region& region) {
  const int n = region.nodes[0];
  const Node& node = context.real.nodes[n];
  const auto& approximation = context.answers(n).approximate;
  const SoftmaxPart* softmax = approximation ? context.registry.softmax(approximation->name) : nullptr;
  if (!softmax) fail(ErrorKind::kContract, "the recipe gives no softmax approximation for node ", node.name);

  double scale[3];
  const char* roles[] = {"q", "k", "v"};
  for (int i = 0; i < 3; ++i) {
    const Encoding& e = context.encoding(node.inputs[i], n, roles[i]);
    scale[i] = tensor_scale(e, node.name);
    if (e.bits > 8 || e.zero_point[0] != 0)
      fail(ErrorKind::kContract, node.name, ": encode.", roles[i], " must be symmetric with at most 8 bits");
  }
  const auto edges = context.edges(node.outputs[0]);
  if (edges.size() != 1)
    fail(ErrorKind::kContract, node.name, ": its result is wished in ", edges.size(), " encodings, not one");
  const Encoding& out = edges[0]->encoding;
  const double out_scale = tensor_scale(out, node.name);
  if (out.storage != DataType::kI8 || out.zero_point[0] != 0)
    fail(ErrorKind::kContract, node.name, ": its result must be symmetric with at most 8 bits");

  const int64_t heads = node.integer("heads"), head_dim = node.integer("head_dim");
  const double steps = softmax->steps_per_unit(*approximation);
  const double score_steps = scale[0] * scale[1] * steps *
                             (node.has("scale") ? node.number("scale") : 1 / std::sqrt(static_cast<double>(head_dim)));
  const Dyadic distance = distance_ratio(score_steps, 2 * 127 * 127 * head_dim,
                                         softmax->multiplier_bits(*approximation), node.name + " distance");
  const Dyadic requantize = encode_ratio(scale[2] / out_scale * 0x1p-16, node.name + " context");
  const auto table = softmax->table(*approximation);
  const std::string name = region.name + "/";
  edges[0]->core = context.define(node.outputs[0], DataType::kI8, out);
  // A distance is off by at most half a step, which changes a weight by exp(1/(2 steps)); every e by the error of its
  // table, whose steps are as long as the multiplier makes them; the mean cannot leave the hull of v.
  const double made_steps = distance.m > 0 ? std::ldexp(distance.m, -distance.s) / score_steps * steps : steps;
  double entry = 0.5;
  for (int d = 0; d < 256; ++d) entry = std::max(entry, std::fabs(table[d] - table[0] * std::exp(-d / made_steps)));
  const double hull = 254 * scale[2] / out_scale;
  const double bound = 0.5 + std::min(hull, hull * (std::expm1(0.5 / steps) + entry * 512 / table[0]));
  std::vector<ValueId> inputs;
  for (int i = 0; i < 3; ++i) inputs.push_back(context.input(node.inputs[i], n, roles[i]));
  inputs.push_back(context.index_input(node.inputs[3]));
  inputs.push_back(context.index_input(node.inputs[4]));
  inputs.push_back(context.constant(name + "table", Tensor::from<uint8_t>({256}, table)));
  inputs.push_back(context.constant(name + "distance_m", multiplier_tensor({distance.m})));
  inputs.push_back(context.constant(name + "distance_s", shift_tensor({distance.s})));
  inputs.push_back(context.constant(name + "out_m", multiplier_tensor({requantize.m})));
  inputs.push_back(context.constant(name + "out_s", shift_tensor({requantize.s})));
  Node& made = context.emit(region, attention_body(heads, head_dim), std::move(inputs), {edges[0]->core}, {bound});
  made.attributes["heads"] = heads;
  made.attributes["head_dim"] = head_dim;
}

}  // namespace dyadic

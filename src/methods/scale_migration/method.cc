#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "quantize/registry.h"
#include "quantize/rewrite.h"

namespace dyadic {
namespace {

double alpha_of(const Part& part) {
  const double alpha = part.number("alpha", 0.7);
  if (!(alpha >= 0 && alpha <= 1)) fail(ErrorKind::kMalformed, "scale-migration: alpha must be 0..1, not ", alpha);
  return alpha;
}

// y -> y / s for the products that read y, W -> W * s (columns), s_c = max|y_c|^alpha / max_n|W_nc|^(1 - alpha), with
// geometric mean 1. Consumers that are no products keep y itself.
bool apply(Graph& graph, int index, const Part& part, const std::map<std::string, ChannelRange>& ranges) {
  const double alpha = alpha_of(part);
  const ValueId y = graph.nodes[index].outputs[0];
  const auto products = linear_consumers(graph, y, false);
  const auto range = ranges.find(graph.value(y).name);
  if (products.empty() || range == ranges.end()) return false;

  const int64_t n = static_cast<int64_t>(range->second.lo.size());
  std::vector<double> log_factor(n);
  double mean = 0;
  for (int64_t c = 0; c < n; ++c) {
    double weight = 0;
    for (int p : products) {
      const Tensor& w = graph.value(graph.nodes[p].inputs[1]).constant;
      for (int64_t r = 0; r < w.dim(0); ++r) weight = std::max(weight, std::fabs(double{w.data<float>()[r * n + c]}));
    }
    // Dead channels must not get an infinite factor.
    constexpr double kFloor = 1e-5;
    const double activation =
        std::max<double>({std::fabs(range->second.lo[c]), std::fabs(range->second.hi[c]), kFloor});
    log_factor[c] = alpha * std::log(activation) - (1 - alpha) * std::log(std::max(weight, kFloor));
    mean += log_factor[c] / static_cast<double>(n);
  }
  std::vector<float> factor(n), inverse(n);
  for (int64_t c = 0; c < n; ++c) {
    factor[c] = static_cast<float>(std::exp(log_factor[c] - mean));
    inverse[c] = 1 / factor[c];
  }
  for (int p : products) rewrite_constant(graph, p, 1, [&](int64_t, int64_t c, float w) { return w * factor[c]; });
  const std::string name = graph.nodes[index].name + "/migrated";
  std::vector<std::string> names;
  for (int p : products) names.push_back(graph.nodes[p].name);
  const ValueId scaled = insert_mul(graph, y, inverse, name);
  for (auto& node : graph.nodes)
    if (node.op == "Gemm" && node.inputs[0] == y && std::count(names.begin(), names.end(), node.name))
      node.inputs[0] = scaled;
  return true;
}

}  // namespace

void register_scale_migration(Registry& registry) {
  registry.add(
      RestructurePart{{"scale-migration",
                       "moves the spread of channel scales from a norm's output into the products that read it",
                       "SmoothQuant, arXiv:2211.10438",
                       {{"alpha", "share of the activation's spread that moves, 0..1, default 0.7"}},
                       [](const Part& part) { alpha_of(part); }},
                      {"LayerNormalization"},
                      apply,
                      [](const Node& node) { return node.outputs[0]; }});
}

}  // namespace dyadic

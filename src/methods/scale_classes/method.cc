#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/status.h"
#include "quantize/registry.h"
#include "quantize/rewrite.h"
#include "quantize/unary.h"

namespace dyadic {
namespace {

int64_t classes_of(const Part& part) {
  const int64_t classes = part.integer("classes", 3);
  if (classes < 1 || classes > 8) fail(ErrorKind::kMalformed, "scale-classes: classes must be 1..8, not ", classes);
  return classes;
}

// Hidden channel c between two products gets a class a_c in 0..classes-1:
//   W1 h -> (W1 h) 2^-a -> f(2^a .) 2^-a -> W2 2^a,
// so that one 8-bit scale serves channels whose ranges differ by 2^(classes-1). Hidden channels are sorted by class, so
// that each class is one contiguous range of channels with one table.
bool apply(Graph& graph, int index, const Part& part, const std::map<std::string, ChannelRange>& ranges) {
  const int64_t classes = classes_of(part);
  const Node function = graph.nodes[index];
  if (!unary_function(function)) return false;
  const ValueId h = function.inputs[0], g = function.outputs[0];
  const int first = graph.producer(h);
  const auto second = linear_consumers(graph, g, true);
  const auto range = ranges.find(graph.value(h).name);
  if (first < 0 || second.empty() || range == ranges.end() || graph.consumers(h).size() != 1 || graph.is_output(h))
    return false;
  const Node& producer = graph.nodes[first];
  if (producer.op != "Gemm" || producer.integer("transB", 0) != 1 || !graph.value(producer.inputs[1]).is_constant() ||
      (producer.inputs.size() > 2 && !graph.value(producer.inputs[2]).is_constant()))
    return false;

  const int64_t n = static_cast<int64_t>(range->second.lo.size());
  const double low = low_saturation(function);
  std::vector<double> need(n);
  for (int64_t c = 0; c < n; ++c)
    need[c] = std::max<double>({range->second.hi[c], std::min(-double{range->second.lo[c]}, -low), 0.0});
  const double largest = *std::max_element(need.begin(), need.end());
  if (!(largest > 0)) return false;
  std::vector<int> class_of(n);
  for (int64_t c = 0; c < n; ++c)
    while (class_of[c] < classes - 1 && need[c] > std::ldexp(largest, class_of[c] - static_cast<int>(classes) + 1))
      ++class_of[c];
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return class_of[a] < class_of[b]; });

  const Tensor w1 = graph.value(producer.inputs[1]).constant;
  const int64_t k = w1.dim(1);
  rewrite_constant(graph, first, 1, [&](int64_t r, int64_t c, float) {
    return std::ldexp(w1.data<float>()[order[r] * k + c], -class_of[order[r]]);
  });
  if (graph.nodes[first].inputs.size() > 2) {
    const Tensor bias = graph.value(graph.nodes[first].inputs[2]).constant;
    rewrite_constant(graph, first, 2, [&](int64_t r, int64_t, float) {
      return std::ldexp(bias.data<float>()[order[r]], -class_of[order[r]]);
    });
  }
  std::vector<std::string> names;
  for (int p : second) {
    const Tensor w2 = graph.value(graph.nodes[p].inputs[1]).constant;
    rewrite_constant(graph, p, 1, [&](int64_t r, int64_t c, float) {
      return std::ldexp(w2.data<float>()[r * n + order[c]], class_of[order[c]]);
    });
    names.push_back(graph.nodes[p].name);
  }
  std::vector<float> up(n), down(n);
  for (int64_t c = 0; c < n; ++c) {
    up[c] = std::ldexp(1.0f, class_of[order[c]]);
    down[c] = std::ldexp(1.0f, -class_of[order[c]]);
  }
  const ValueId raised = insert_mul(graph, h, up, function.name + "/raised");
  const ValueId lowered = insert_mul(graph, g, down, function.name + "/lowered");
  for (auto& node : graph.nodes) {
    if (node.name == function.name) node.inputs[0] = raised;
    if (std::count(names.begin(), names.end(), node.name)) node.inputs[0] = lowered;
  }
  return true;
}

}  // namespace

void register_scale_classes(Registry& registry) {
  registry.add(
      RestructurePart{{"scale-classes",
                       "power-of-two classes of hidden channels around an element-wise function between two products",
                       "power-of-two factors of FQ-ViT, arXiv:2111.13824, applied to hidden channels",
                       {{"classes", "1..8, default 3"}},
                       [](const Part& part) { classes_of(part); }},
                      {"Gelu", "Relu", "Tanh", "Sigmoid"},
                      apply,
                      [](const Node& node) { return node.inputs[0]; }});
}

}  // namespace dyadic

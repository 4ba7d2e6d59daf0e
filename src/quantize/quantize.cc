#include "quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/progress.h"
#include "base/status.h"
#include "graph/ranges.h"
#include "graph/verifier.h"
#include "quantize/lowering.h"
#include "real/executor.h"

namespace dyadic {
namespace {

// Calls observe(value, tensor) for every f32 Value that the graph computes on every batch.
template <class F>
void run_calibration(const Graph& real, const std::vector<Feeds>& calibration, int threads, const std::string& label,
                     F&& observe) {
  RealExecutor executor(real, threads);
  Progress progress(label, static_cast<int64_t>(calibration.size()));
  for (const Feeds& feeds : calibration) {
    executor.run(feeds, [&](ValueId id, const Tensor& tensor) {
      if (tensor.type() != DataType::kF32) return;
      for (float v : tensor.span<float>())
        if (!std::isfinite(v)) fail(ErrorKind::kContract, "calibration: value ", real.value(id).name, " is not finite");
      observe(id, tensor);
    });
    progress.add();
  }
}

std::vector<Answers> all_answers(const Recipe& recipe, const Graph& graph, std::set<size_t>* matched) {
  std::vector<Answers> answers;
  for (const Node& node : graph.nodes) answers.push_back(answers_for(recipe, graph, node, matched));
  return answers;
}

// Each input of the main graph promises what every body that reads it relies on.
void promise_inputs(Model& model) {
  Graph& main = model.main();
  for (ValueId id : main.inputs) {
    Interval range = range_of(main.value(id).type);
    for (int n : main.consumers(id)) {
      const Graph& body = model.body(main.nodes[n]).graph;
      for (size_t i = 0; i < body.inputs.size(); ++i)
        if (const auto& fact = body.value(body.inputs[i]).fact; main.nodes[n].inputs[i] == id && fact)
          range = {std::max(range.lo, fact->range.lo), std::min(range.hi, fact->range.hi)};
    }
    main.value(id).fact = Fact{range, "input"};
  }
}

// One observer for each distinct wish of a Value.
struct Observation {
  WishAnswer answer;
  std::vector<float> clip_low;
  std::unique_ptr<RangeObserver> observer;
};

}  // namespace

std::map<std::string, ChannelRange> channel_ranges(const Graph& real, const std::vector<Feeds>& calibration,
                                                   int threads) {
  std::map<std::string, ChannelRange> ranges;
  run_calibration(real, calibration, threads, "statistics", [&](ValueId id, const Tensor& tensor) {
    if (tensor.rank() == 0) return;
    const int64_t n = tensor.dims().back();
    ChannelRange& range = ranges[real.value(id).name];
    if (range.lo.empty()) {
      range.lo.assign(n, std::numeric_limits<float>::infinity());
      range.hi.assign(n, -std::numeric_limits<float>::infinity());
    }
    const float* p = tensor.data<float>();
    for (int64_t i = 0; i < tensor.count(); i += n)
      for (int64_t c = 0; c < n; ++c) {
        range.lo[c] = std::min(range.lo[c], p[i + c]);
        range.hi[c] = std::max(range.hi[c], p[i + c]);
      }
  });
  return ranges;
}

Graph restructure(Graph real, const Recipe& recipe, const Registry& registry,
                  const std::map<std::string, ChannelRange>& ranges, std::vector<std::string>* applied,
                  std::vector<std::string>* warnings) {
  const std::vector<Node> original = real.nodes;
  std::vector<Answers> answers = all_answers(recipe, real, nullptr);
  for (const RestructurePart& part : registry.restructures()) {
    int64_t wanted = 0, done = 0;
    for (size_t n = 0; n < original.size(); ++n) {
      const auto answer = answers[n].restructure.find(part.info.name);
      if (answer == answers[n].restructure.end()) continue;
      ++wanted;
      if (!part.ops.count(original[n].op)) continue;
      const auto at =
          std::find_if(real.nodes.begin(), real.nodes.end(), [&](const Node& x) { return x.name == original[n].name; });
      DYADIC_CHECK(at != real.nodes.end(), original[n].name);
      if (!part.apply(real, static_cast<int>(at - real.nodes.begin()), answer->second, ranges)) continue;
      ++done;
      if (applied) applied->push_back(part.info.name + " at " + original[n].name);
    }
    if (wanted > 0 && done == 0 && warnings)
      warnings->push_back(cat("restructure ", part.info.name, ": none of the ", wanted,
                              " nodes that rules give it has an operator and surroundings that it rewrites"));
  }
  real.remove_dead();
  return real;
}

Quantized quantize(const Graph& source, const Symbols& symbols, const Recipe& recipe, const Registry& registry,
                   const std::vector<Feeds>& calibration, const QuantizeOptions& options) {
  if (calibration.empty()) fail(ErrorKind::kContract, "calibration: no texts; give at least one");
  Quantized result;
  std::set<size_t> matched;
  all_answers(recipe, source, &matched);
  for (size_t i = 0; i < recipe.rules.size(); ++i)
    if (!matched.count(i))
      result.warnings.push_back(
          cat("recipe ", recipe.name, ": the rule of line ", recipe.rules[i].line, " matches no node"));

  const auto ranges = channel_ranges(source, calibration, options.threads);
  const Graph real = restructure(source, recipe, registry, ranges, &result.restructured, &result.warnings);
  const std::vector<Answers> answers = all_answers(recipe, real, nullptr);
  const Partition parts = partition(real);
  std::map<int, std::string> region_of;
  for (const auto& [lowering, region] : parts.regions)
    for (int n : region.nodes) region_of[n] = region.name;
  for (size_t n = 0; n < real.nodes.size(); ++n)
    result.coverage.push_back({real.nodes[n].name, real.nodes[n].op, region_of[static_cast<int>(n)]});
  if (!parts.uncovered.empty()) {
    const Node& node = real.nodes[parts.uncovered[0]];
    fail(ErrorKind::kContract, "node ", node.name, " (", node.op, ") has no integer lowering here (",
         parts.uncovered.size(), " of ", real.nodes.size(), " nodes are not covered)");
  }

  Model& model = result.model;
  model.symbols = symbols;
  Graph& main = model.graphs["main"];
  main.name = "main";
  for (ValueId id : real.inputs) {
    Value input = real.value(id);
    main.add_input(std::move(input));
  }
  LoweringContext context(real, registry, answers, model);

  // Assign: every distinct wish is fitted on the float values of the calibration texts.
  std::map<ValueId, std::vector<Observation>> observations;
  for (const auto& [lowering, region] : parts.regions)
    for (Wish& wish : lowering->wishes(real, region)) {
      WishAnswer answer = context.answer(wish.value, wish.node, wish.role);
      auto& list = observations[wish.value];
      const bool known =
          std::any_of(list.begin(), list.end(), [&](const Observation& o) { return o.answer == answer; });
      if (known) continue;
      const EncodePart& encode = registry.encode(answer.encode.name);
      if (encode.code)
        fail(ErrorKind::kContract, "node ", real.nodes[wish.node].name, ": encode.", wish.role,
             " is of a computed value; ", answer.encode.name, " is for weights and tables");
      if (!encode.prototype(answer.encode).granularity.axes.empty())
        fail(
            ErrorKind::kContract, "node ", real.nodes[wish.node].name, ": encode.", wish.role,
            " is of a computed value, which has one scale for the whole tensor; granularity is for weights and tables");
      auto observer = registry.fit(answer.fit.name).make(answer.fit);
      list.push_back({std::move(answer), std::move(wish.clip_low), std::move(observer)});
    }
  std::vector<float> clipped;
  run_calibration(real, calibration, options.threads, "ranges", [&](ValueId id, const Tensor& tensor) {
    const auto found = observations.find(id);
    if (found == observations.end()) return;
    for (Observation& o : found->second) {
      if (o.clip_low.empty()) {
        o.observer->observe(tensor.span<float>());
        continue;
      }
      const size_t n = o.clip_low.size();
      clipped.resize(static_cast<size_t>(tensor.count()));
      for (size_t i = 0; i < clipped.size(); ++i) clipped[i] = std::max(tensor.data<float>()[i], o.clip_low[i % n]);
      o.observer->observe(clipped);
    }
  });
  for (auto& [value, list] : observations)
    for (const Observation& o : list) {
      const EncodePart& part = registry.encode(o.answer.encode.name);
      Encoding encoding = part.prototype(o.answer.encode);
      part.append(o.answer.encode, o.observer->fit(encoding.codes, part.symmetric(o.answer.encode)), encoding);
      context.set_edge(value, o.answer, std::move(encoding));
    }

  for (const auto& [lowering, region] : parts.regions) lowering->lower(context, region);
  for (ValueId id : real.outputs) {
    // A computed output is emitted by the composite that covers its node, under the real Value's name.
    const ValueId core = main.find(real.value(id).name);
    if (core < 0) fail(ErrorKind::kContract, "output ", real.value(id).name, " has no core value");
    main.outputs.push_back(core);
  }
  promise_inputs(model);
  verify_model(model);
  prove_model(model);
  return result;
}

}  // namespace dyadic

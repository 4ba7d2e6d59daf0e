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

// One encoding that some region wishes of a Value.
struct DistinctWish {
  ValueId value;
  WishAnswer answer;
  std::vector<float> clip_low;
};

std::vector<DistinctWish> distinct_wishes(const LoweringContext& context, const Partition& parts) {
  const Graph& real = context.real;
  std::vector<DistinctWish> distinct;
  for (const auto& [lowering, region] : parts.regions)
    for (Wish& wish : lowering->wishes(real, region)) {
      WishAnswer answer = context.answer(wish.value, wish.node, wish.role);
      if (std::any_of(distinct.begin(), distinct.end(),
                      [&](const DistinctWish& d) { return d.value == wish.value && d.answer == answer; }))
        continue;
      const EncodePart& encode = context.registry.encode(answer.encode.name);
      if (encode.code)
        fail(ErrorKind::kContract, "node ", real.nodes[wish.node].name, ": encode.", wish.role,
             " is of a computed value; ", answer.encode.name, " is for weights and tables");
      if (!encode.prototype(answer.encode).granularity.axes.empty())
        fail(
            ErrorKind::kContract, "node ", real.nodes[wish.node].name, ": encode.", wish.role,
            " is of a computed value, which has one scale for the whole tensor; granularity is for weights and tables");
      distinct.push_back({wish.value, std::move(answer), std::move(wish.clip_low)});
    }
  return distinct;
}

// Fits every wish to the float values of the calibration texts, and shows these to context.codes.
std::vector<Calibration::Edge> fit_edges(const LoweringContext& context, const std::vector<DistinctWish>& wishes,
                                         const std::vector<Feeds>& calibration, int threads) {
  std::vector<std::unique_ptr<RangeObserver>> observers;
  std::map<ValueId, std::vector<size_t>> wishes_of;
  for (size_t w = 0; w < wishes.size(); ++w) {
    const Part& fit = wishes[w].answer.fit;
    observers.push_back(context.registry.fit(fit.name).make(fit));
    wishes_of[wishes[w].value].push_back(w);
  }
  std::vector<float> clipped;
  run_calibration(context.real, calibration, threads, "ranges", [&](ValueId id, const Tensor& tensor) {
    if (context.codes) context.codes->observe(id, tensor);
    const auto found = wishes_of.find(id);
    if (found == wishes_of.end()) return;
    for (const size_t w : found->second) {
      const std::vector<float>& low = wishes[w].clip_low;
      if (low.empty()) {
        observers[w]->observe(tensor.span<float>());
        continue;
      }
      clipped.resize(static_cast<size_t>(tensor.count()));
      for (size_t i = 0; i < clipped.size(); ++i) clipped[i] = std::max(tensor.data<float>()[i], low[i % low.size()]);
      observers[w]->observe(clipped);
    }
  });
  std::vector<Calibration::Edge> edges;
  for (size_t w = 0; w < wishes.size(); ++w) {
    const Part& answer = wishes[w].answer.encode;
    const EncodePart& part = context.registry.encode(answer.name);
    Encoding encoding = part.prototype(answer);
    part.append(answer, observers[w]->fit(encoding.codes, part.symmetric(answer)), encoding);
    edges.push_back({context.real.value(wishes[w].value).name, encoding.scale, encoding.zero_point});
  }
  return edges;
}

// Gives every wish its encoding, then lowers region after region.
void lower_regions(LoweringContext& context, const Partition& parts, const std::vector<DistinctWish>& wishes,
                   const std::vector<Calibration::Edge>& edges, Model& model) {
  const Graph& real = context.real;
  Graph& main = model.graphs["main"];
  main.name = "main";
  for (ValueId id : real.inputs) {
    Value input = real.value(id);
    main.add_input(std::move(input));
  }
  for (size_t w = 0; w < wishes.size(); ++w) {
    const DistinctWish& wish = wishes[w];
    const EncodePart& part = context.registry.encode(wish.answer.encode.name);
    if (part.multiplier_bits(wish.answer.encode) < 31)
      fail(ErrorKind::kContract, "value ", real.value(wish.value).name, ": multiplier_bits is for weights of products");
    Encoding encoding = part.prototype(wish.answer.encode);
    encoding.scale = edges[w].scale;
    encoding.zero_point = edges[w].zero_point;
    context.set_edge(wish.value, wish.answer, std::move(encoding));
  }
  for (size_t r = 0; r < parts.regions.size(); ++r) {
    parts.regions[r].first->lower(context, parts.regions[r].second);
    if (context.codes) context.codes->keep_only(context.live(parts, r + 1));
  }
  for (ValueId id : real.outputs) {
    // A computed output is emitted by the composite that covers its node, under the real Value's name.
    const ValueId core = main.find(real.value(id).name);
    if (core < 0) fail(ErrorKind::kContract, "output ", real.value(id).name, " has no core value");
    main.outputs.push_back(core);
  }
  promise_inputs(model);
}

// Products whose bias the recipe corrects. Those that it keeps in float have nothing to correct; kContract for others.
std::vector<int> nodes_with_bias_fits(const Graph& real, const std::vector<Answers>& answers) {
  std::set<int> products;
  for (const auto& [lowering, region] : partition(real).regions)
    products.insert(region.part("product").begin(), region.part("product").end());
  std::vector<int> nodes;
  for (size_t i = 0; i < answers.size(); ++i) {
    const int n = static_cast<int>(i);
    if (!answers[i].fit.count("bias")) continue;
    if (!products.count(n))
      fail(ErrorKind::kContract, "node ", real.nodes[i].name, " (", real.nodes[i].op,
           "): fit.bias corrects products, which this is not part of; name their op in its rule");
    if (!is_float(answers[i])) nodes.push_back(n);
  }
  return nodes;
}

// The ranges that restructuring may read.
std::map<std::string, ChannelRange> ranges_read(const Graph& source, const Recipe& recipe, const Registry& registry,
                                                const std::map<std::string, ChannelRange>& ranges) {
  std::map<std::string, ChannelRange> read;
  for (const Node& node : source.nodes) {
    const Answers answers = answers_for(recipe, source, node);
    for (const RestructurePart& part : registry.restructures()) {
      if (!answers.restructure.count(part.info.name) || !part.ops.count(node.op)) continue;
      const auto found = ranges.find(source.value(part.reads(node)).name);
      if (found != ranges.end()) read.insert(*found);
    }
  }
  return read;
}

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
  const Partition parts = partition(real, answers);
  for (const Node& node : real.nodes) result.coverage.push_back({node.name, node.op, ""});
  for (const auto& [lowering, region] : parts.regions)
    for (int n : region.nodes) {
      result.coverage[n].composite = region.name;
      result.coverage[n].island = region.composite == "island";
    }
  if (!parts.uncovered.empty()) {
    const Node& node = real.nodes[parts.uncovered[0]];
    fail(ErrorKind::kContract, "node ", node.name, " (", node.op, ") has no integer lowering here (",
         parts.uncovered.size(), " of ", real.nodes.size(), " nodes are not covered)");
  }

  Model& model = result.model;
  model.symbols = symbols;
  LoweringContext context(real, registry, answers, model);
  CalibrationCodes codes(model, calibration, options.threads);
  for (int n : nodes_with_bias_fits(real, answers)) {
    codes.watch(real.nodes[n].outputs[0]);
    context.codes = &codes;
  }
  const auto wishes = distinct_wishes(context, parts);
  result.calibration = {graph_digest(source), ranges_read(source, recipe, registry, ranges),
                        fit_edges(context, wishes, calibration, options.threads)};
  lower_regions(context, parts, wishes, result.calibration.edges, model);
  verify_model(model);
  prove_model(model);
  return result;
}

Relowered lower_again(const Graph& source, const Symbols& symbols, const Recipe& recipe, const Registry& registry,
                      const Calibration& calibration) {
  if (graph_digest(source) != calibration.source)
    fail(ErrorKind::kContract, "the reference is not the model that was quantized: its digest is ",
         graph_digest(source), ", not ", calibration.source);
  for (const auto& [name, range] : calibration.ranges) {
    const ValueId id = source.find(name);
    const Shape shape = id < 0 ? Shape() : source.value(id).shape;
    if (shape.empty() || !(shape.back() == Dim(static_cast<int64_t>(range.lo.size()))))
      fail(ErrorKind::kContract, "the calibration has ranges of ", range.lo.size(), " channels for ", name,
           ", which the reference does not have");
  }
  Relowered again{restructure(source, recipe, registry, calibration.ranges, nullptr, nullptr), {}, {}, {}};
  const std::vector<Answers> answers = all_answers(recipe, again.real, nullptr);
  again.parts = partition(again.real, answers);
  again.model.symbols = symbols;
  LoweringContext context(again.real, registry, answers, again.model);
  context.provenance = &again.provenance;
  const auto wishes = distinct_wishes(context, again.parts);
  bool same = wishes.size() == calibration.edges.size();
  for (size_t w = 0; same && w < wishes.size(); ++w)
    same = again.real.value(wishes[w].value).name == calibration.edges[w].value;
  if (!same)
    fail(ErrorKind::kContract, "the calibration is of another model or recipe: ", calibration.edges.size(),
         " encodings, of other values than the ", wishes.size(), " that this one wishes");
  lower_regions(context, again.parts, wishes, calibration.edges, again.model);
  return again;
}

std::optional<std::string> rehearse(const Graph& source, const Symbols& symbols, const Recipe& recipe,
                                    const Registry& registry, const Calibration& calibration) try {
  const Graph real = restructure(source, recipe, registry, calibration.ranges, nullptr, nullptr);
  const std::vector<Answers> answers = all_answers(recipe, real, nullptr);
  const Partition parts = partition(real, answers);
  nodes_with_bias_fits(real, answers);
  Model model;
  model.symbols = symbols;
  LoweringContext context(real, registry, answers, model);
  const auto wishes = distinct_wishes(context, parts);
  std::vector<Calibration::Edge> edges;
  for (const DistinctWish& wish : wishes) {
    const std::string& value = real.value(wish.value).name;
    const auto known = std::find_if(calibration.edges.begin(), calibration.edges.end(),
                                    [&](const Calibration::Edge& edge) { return edge.value == value; });
    const Part& encode = wish.answer.encode;
    edges.push_back({value, {known == calibration.edges.end() ? 1 : known->scale[0]}, {0}});
    if (!registry.encode(encode.name).symmetric(encode)) edges.back().zero_point = {1};
  }
  lower_regions(context, parts, wishes, edges, model);
  return std::nullopt;
} catch (const Error& error) {
  if (error.kind() != ErrorKind::kContract) throw;
  return error.what();
}

}  // namespace dyadic

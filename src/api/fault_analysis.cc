#include "api/fault_analysis.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "base/fixed_point.h"
#include "base/random.h"
#include "base/status.h"
#include "graph/bodies/bodies.h"
#include "tensor/epilogue.h"

namespace dyadic {
namespace {

constexpr size_t kMostAimed = 256;

// The parameters of one composite by the names of its body.
class Parameters {
 public:
  explicit Parameters(const LoneComposite& c) : c_(c) {}
  const Tensor* find(const std::string& name) const {
    const Graph& body = c_.body().graph;
    for (size_t i = 0; i < body.inputs.size(); ++i)
      if (body.value(body.inputs[i]).name == name)
        if (const Tensor& t = c_.model->main().value(c_.node().inputs[i]).constant; t.defined()) return &t;
    return nullptr;
  }
  // Element i, or the only element; 0 if there is no such parameter.
  int64_t at(const std::string& name, int64_t i) const {
    const Tensor* t = find(name);
    return t ? t->at(t->count() == 1 ? 0 : i) : 0;
  }

 private:
  const LoneComposite& c_;
};

using Function = std::function<int64_t(int64_t)>;

// Some of the arguments at which the functions differ, from all over the interval.
std::vector<int64_t> differences(Interval x, const Function& a, const Function& b) {
  std::vector<int64_t> all;
  for (int64_t i = x.lo; i <= x.hi; ++i)
    if (a(i) != b(i)) all.push_back(i);
  // Those nearest to zero are the easiest to reach.
  std::sort(all.begin(), all.end(), [](int64_t p, int64_t q) { return std::abs(p) < std::abs(q); });
  all.resize(std::min(all.size(), kMostAimed));
  return all;
}

Interval proved(const LoneComposite& c, const std::string& value, int64_t channel) {
  const ValueId id = c.body().graph.find(value);
  const auto channels = c.ranges().channels.find(id);
  return channels == c.ranges().channels.end() ? c.ranges().values[id] : channels->second[channel];
}

// ---- linear ------------------------------------------------------------------------------------------------------

// The one table stage or none; nothing if the epilogue is not [bias] requantize [table].
std::optional<std::vector<EpilogueStage>> simple_epilogue(const LoneComposite& c) {
  if (!c.node().has("epilogue")) return std::nullopt;
  auto stages = parse_epilogue(c.node().text("epilogue"));
  if (!stages.empty() && stages[0].kind == StageKind::kBias) stages.erase(stages.begin());
  const bool fits = !stages.empty() && stages[0].kind == StageKind::kRequantize &&
                    (stages.size() == 1 || (stages.size() == 2 && stages[1].kind == StageKind::kTable));
  return fits ? std::optional(stages) : std::nullopt;
}

// A channel's code by its accumulator (without bias).
Function channel_function(const LoneComposite& c, const std::vector<EpilogueStage>& stages, int64_t channel) {
  const Parameters p(c);
  const EpilogueStage requantize = stages[0];
  const auto code = [requantize, m = p.at("m", channel), s = static_cast<int>(p.at("s", channel)),
                     bias = p.at("bias", channel)](int64_t acc) {
    return clamp64(mul_shift(acc + bias, m, s) + requantize.zero_point, requantize.clamp.lo, requantize.clamp.hi);
  };
  if (stages.size() == 1) return code;
  int64_t group = 0;
  while (group + 1 < p.find("ends")->count() && channel >= p.find("ends")->at(group)) ++group;
  return [code, tables = *p.find("tables"), group](int64_t acc) { return tables.at(group * 256 + code(acc) + 128); };
}

// Codes x with sum(w x) = target, by steps that each take as much of the rest as one weight can; or nothing.
std::optional<std::vector<int64_t>> solve(const std::vector<int64_t>& w, const DataInput& input, int64_t target,
                                          Random& random) {
  std::vector<int64_t> x(w.size());
  const auto range = [&](size_t k) { return input.channels.empty() ? input.range : input.channels[k]; };
  int64_t rest = target;
  for (size_t k = 0; k < w.size(); ++k) {
    x[k] = clamp64(static_cast<int64_t>(random.below(7)) - 3, range(k).lo, range(k).hi);
    rest -= w[k] * x[k];
  }
  for (int pass = 0; pass < 32 && rest != 0; ++pass)
    for (size_t i = 0; i < w.size() && rest != 0; ++i) {
      const size_t k = random.below(w.size());
      // Half of the passes take a little too much or too little on purpose, so that another weight can end it.
      const int64_t nudge = pass % 2 ? static_cast<int64_t>(random.below(3)) - 1 : 0;
      if (w[k] == 0) continue;
      const int64_t moved = clamp64(x[k] + rest / w[k] + nudge, range(k).lo, range(k).hi);
      rest -= w[k] * (moved - x[k]);
      x[k] = moved;
    }
  return rest == 0 ? std::optional(x) : std::nullopt;
}

// One row for each accumulator that could be solved for.
std::vector<Feeds> aim(const LoneComposite& c, int64_t channel, const std::vector<int64_t>& accumulators,
                       uint64_t seed) {
  const Tensor& weight = *Parameters(c).find("weight");
  const int64_t K = weight.dim(1);
  std::vector<int64_t> w(K);
  for (int64_t k = 0; k < K; ++k) w[k] = weight.at(channel * K + k);
  const auto inputs = data_inputs(c);
  if (inputs.size() != 1) return {};
  Feeds feeds = random_feeds(c, static_cast<int64_t>(accumulators.size()), CodeSpread::kUniform, seed);
  Tensor& x = feeds.begin()->second;
  Random random(seed);
  for (size_t row = 0; row < accumulators.size(); ++row)
    if (const auto codes = solve(w, inputs[0], accumulators[row], random))
      for (int64_t k = 0; k < K; ++k) x.set(static_cast<int64_t>(row) * K + k, (*codes)[k]);
  return {std::move(feeds)};
}

FaultAnalysis analyse_linear(const LoneComposite& clean, const LoneComposite& faulty, const std::string& name,
                             int64_t element, uint64_t seed) {
  const auto stages = simple_epilogue(clean);
  if (!stages) return {};
  if (name == "tables") {
    const int64_t code = element % 256 - 128;
    const Interval codes = (*stages)[0].clamp;
    if (codes.lo <= code && code <= codes.hi) return {};
    return {cat("code ", code, " does not occur: codes are ", codes.lo, "..", codes.hi), {}};
  }
  if (name != "bias" && name != "m" && (name != "s" || Parameters(clean).find("s")->count() == 1)) return {};
  const Interval acc = proved(clean, "acc", element);
  const auto showing =
      differences(acc, channel_function(clean, *stages, element), channel_function(faulty, *stages, element));
  if (showing.empty())
    return {cat("channel ", element, " gives the same code for each accumulator in ", acc.lo, "..", acc.hi), {}};
  return {"", aim(clean, element, showing, seed)};
}

// ---- norms -------------------------------------------------------------------------------------------------------

// A product by the multiplier that has a shift of its own, or none: then it is one in Q15.
Function term(const Parameters& p, const std::string& stem, int64_t i) {
  const int s = p.find(stem + "_s") ? static_cast<int>(p.at(stem + "_s", i)) : 15;
  return [m = p.at(stem + "_m", i), s](int64_t x) { return mul_shift(x, m, s); };
}

// An output's code by its normalised value.
Function output_function(const LoneComposite& c, const std::string& output, int64_t column) {
  const Parameters p(c);
  const Graph& body = c.body().graph;
  const Interval ends =
      body.value(body.find(output)).type == DataType::kI8 ? Interval{-127, 127} : range_of(DataType::kI16);
  // Fraction bits of its sum; fewer than none: steps that hold so many codes.
  int fraction = 8;
  if (p.find(output + "_shift"))
    fraction = static_cast<int>(p.at(output + "_shift", 0)) * (ends == range_of(DataType::kI16) ? -1 : 1);
  return [f = term(p, output, column), beta = p.at(output + "_beta", column), ends, fraction](int64_t y) {
    const int64_t z = (f(y) + beta) * (int64_t{1} << std::max(0, -fraction));
    return clamp64(shift_right(z, std::max(0, fraction), Rounding::kHalfUp), ends.lo, ends.hi);
  };
}

std::string norm_equivalence(const LoneComposite& clean, const LoneComposite& faulty, const std::string& name,
                             int64_t element) {
  const Parameters a(clean), b(faulty);
  const size_t cut = name.rfind('_');
  if (cut == std::string::npos) return "";
  const std::string stem = name.substr(0, cut), part = name.substr(cut + 1);
  if (a.find(stem + "_codes")) {  // a table: the codes of one row
    const Tensor &before = *a.find(stem + "_codes"), &after = *b.find(stem + "_codes");
    const int64_t width = before.dim(1), row = part == "codes" ? element / width : element;
    const Function f = term(a, stem, row), g = term(b, stem, row);
    for (int64_t i = row * width; i < (row + 1) * width; ++i)
      if (f(before.at(i)) != g(after.at(i))) return "";
    return cat("row ", row, " of the table gives the same terms");
  }
  const ValueId value = clean.body().graph.find(stem);
  if (value < 0) return "";
  if (a.find(stem + "_beta")) {                     // an output
    if (part == "s" || part == "shift") return "";  // of all columns
    const Interval y = proved(clean, "y", element);
    if (!differences(y, output_function(clean, stem, element), output_function(faulty, stem, element)).empty())
      return "";
    return cat("column ", element, " gives the same code for each normalised value in ", y.lo, "..", y.hi);
  }
  // An operand of the sum.
  return differences(clean.ranges().values[value], term(a, stem, 0), term(b, stem, 0)).empty()
             ? cat("every ", stem, " code gives the same term")
             : "";
}

}  // namespace

FaultAnalysis analyse_fault(const LoneComposite& clean, const LoneComposite& faulty, size_t input, int64_t element,
                            uint64_t seed) {
  const Node& node = clean.node();
  if (!is_shared_body(node, clean.body())) return {};
  const Graph& body = clean.body().graph;
  const std::string& name = body.value(body.inputs[input]).name;
  if (node.op == "linear") return analyse_linear(clean, faulty, name, element, seed);
  if (node.op == "add_norm" || node.op == "embed_norm") return {norm_equivalence(clean, faulty, name, element), {}};
  return {};
}

}  // namespace dyadic

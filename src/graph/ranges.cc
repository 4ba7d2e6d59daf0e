#include "graph/ranges.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <type_traits>

#include "graph/builder.h"
#include "graph/core_ops.h"
#include "graph/interval.h"
#include "graph/island.h"
#include "graph/passes/subgraph.h"
#include "tensor/scan.h"

namespace dyadic {
namespace {

using interval::hull;
using interval::magnitude;

// Channels are followed up to this many; beyond it only the hull is.
constexpr int64_t kMaxChannels = int64_t{1} << 17;
// So many channels of all Values of a body, and of a model, bound the memory of a proof.
constexpr size_t kMaxFollowed = size_t{1} << 22, kMaxFollowedOfModel = size_t{1} << 25;
// A node whose operands are all known is evaluated if none of its Values is larger.
constexpr int64_t kMaxEvaluated = int64_t{1} << 16;

template <class... Args>
[[noreturn]] void refuse(Args&&... args) {
  throw RangeRefusal{cat(std::forward<Args>(args)...)};
}

// ---- what is known of a Value ------------------------------------------------------------------------------------

struct Known {
  Interval range{0, 0};            // the hull of every element
  std::vector<Interval> channels;  // one an index of the last axis, or empty
  Tensor constant;                 // the elements, if they are known
  std::optional<Dim> below;        // every element is less than this dimension, whatever the symbols are (>= 1)

  const Interval& channel(size_t c) const { return channels.empty() ? range : channels[c]; }
};

// What a rule gives: as Known, but not yet held to the Value's type.
struct Bound {
  Wide range;                      // where there are no channels
  std::vector<Interval> channels;  // where all fit 64 bits
  std::vector<Wide> wide;          // otherwise
  std::optional<Dim> below;
  Tensor constant;

  Bound(const Wide& hull) : range(hull) {}  // NOLINT: implicit on purpose
  explicit Bound(std::vector<Interval> each) : range(each.at(0)), channels(std::move(each)) {}
  explicit Bound(std::vector<Wide> each) : range(each.at(0)) {
    if (!std::all_of(each.begin(), each.end(), [](const Wide& x) { return interval::fits(x, 64); })) {
      wide = std::move(each);
      return;
    }
    channels.reserve(each.size());
    for (const Wide& x : each) channels.push_back({static_cast<int64_t>(x.lo), static_cast<int64_t>(x.hi)});
  }

  Wide hull() const;
};

// Of all outputs of a node. Not a braced list, which would copy every channel.
struct Bounds {
  std::vector<Bound> of;

  Bounds(Bound only) { of.push_back(std::move(only)); }  // NOLINT: implicit, rules return what they know
  Bounds(Wide only) : Bounds(Bound(only)) {}             // NOLINT
  Bounds(Bound first, Bound second) : Bounds(std::move(first)) { of.push_back(std::move(second)); }
  Bounds(std::vector<Bound> all) : of(std::move(all)) {}  // NOLINT
};

Interval hull_of(std::span<const Interval> intervals) {
  Interval result = intervals.front();
  for (const Interval& x : intervals) result = {std::min(result.lo, x.lo), std::max(result.hi, x.hi)};
  return result;
}

Wide Bound::hull() const {
  if (!wide.empty()) return std::accumulate(wide.begin() + 1, wide.end(), wide[0], interval::hull);
  return channels.empty() ? range : Wide(hull_of(channels));
}

bool all_equal(const std::vector<Interval>& channels) {
  return std::all_of(channels.begin(), channels.end(), [&](const Interval& x) { return x == channels[0]; });
}

// The ends of each column of a [rows, columns] array, rows >= 1.
template <class T>
std::vector<Interval> column_ranges(const T* data, int64_t rows, int64_t columns) {
  std::vector<Interval> result(static_cast<size_t>(columns));
  const auto fill = [&](const T* lo, const T* hi) {
    for (size_t c = 0; c < result.size(); ++c) result[c] = {static_cast<int64_t>(lo[c]), static_cast<int64_t>(hi[c])};
  };
  if (rows == 1) {
    fill(data, data);
    return result;
  }
  std::vector<T> lo(data, data + columns), hi = lo;
  widen_columns(data, rows, columns, lo.data(), hi.data());
  fill(lo.data(), hi.data());
  return result;
}

Known known_constant(const Tensor& tensor) {
  Known known;
  known.constant = tensor;
  if (tensor.count() == 0 || is_real(tensor.type())) return known;
  if (is_packed(tensor.type())) {
    const auto values = tensor.to_int64();
    known.range = column_ranges(values.data(), tensor.count(), 1)[0];
    return known;
  }
  const int64_t last = tensor.rank() == 0 ? 1 : tensor.dims().back(), columns = last <= kMaxChannels ? last : 1;
  known.channels = dispatch(tensor.type(), [&](auto zero) {
    return column_ranges(tensor.data<decltype(zero)>(), tensor.count() / columns, columns);
  });
  known.range = hull_of(known.channels);
  if (all_equal(known.channels)) known.channels.clear();
  return known;
}

// One range an operand.
using Operands = std::span<const Wide>;
using NarrowOperands = std::span<const Narrow>;

constexpr size_t kMostOperands = 3;  // of an element-wise operation with a rule for narrow ones

// rule(operands) for each channel of narrow operands.
template <class Rule>
std::vector<Interval> each_channel(std::span<const Known* const> operands, size_t channels, const Rule& rule) {
  const Interval none{0, 0}, *from[kMostOperands] = {&none, &none, &none};
  size_t step[kMostOperands] = {};
  for (size_t i = 0; i < operands.size(); ++i) {
    const Known& x = *operands[i];
    from[i] = x.channels.empty() ? &x.range : x.channels.data();
    step[i] = !x.channels.empty();
  }
  std::vector<Interval> each;
  each.reserve(channels);
  for (size_t c = 0; c < channels; ++c) {
    const Narrow x[] = {Narrow(from[0][c * step[0]]), Narrow(from[1][c * step[1]]), Narrow(from[2][c * step[2]])};
    each.push_back(rule(NarrowOperands(x)));
  }
  return each;
}

// rule(operands), once for each channel where an operand's channels differ. Of a rule that gives 64 bits for narrow
// operands these are asked for where all operands are.
template <class Rule>
Bound elementwise(std::span<const Known* const> operands, Rule rule) {
  size_t channels = 0;
  bool narrow = true;
  std::vector<Wide> x;
  for (const Known* operand : operands) {
    channels = std::max(channels, operand->channels.size());
    narrow = narrow && Narrow::holds(operand->range);
    x.push_back(operand->range);
  }
  if (channels == 0) return rule(Operands(x));
  if constexpr (std::is_invocable_r_v<Interval, Rule, NarrowOperands>) {
    if (narrow && operands.size() <= kMostOperands) return Bound(each_channel(operands, channels, rule));
  }
  std::vector<Wide> each(channels, Wide(0, 0));
  for (size_t c = 0; c < channels; ++c) {
    for (size_t i = 0; i < operands.size(); ++i)
      if (!operands[i]->channels.empty()) x[i] = operands[i]->channels[c];
    each[c] = rule(Operands(x));
  }
  return Bound(std::move(each));
}

Bound range_only(const Known& x) {
  Bound bound = Wide(x.range);
  bound.below = x.below;
  return bound;
}

Bound same(const Known& x) {
  Bound bound = range_only(x);
  bound.channels = x.channels;
  return bound;
}

Bound constant_bound(const Tensor& tensor) {
  Bound bound = same(known_constant(tensor));
  bound.constant = tensor;
  return bound;
}

bool is_below(const Known& x, const Dim& dim) { return x.below == dim || x.range.hi < dim.factor; }

// A dimension that both are below.
std::optional<Dim> common_bound(const Known& a, const Known& b) {
  if (a.below && is_below(b, *a.below)) return a.below;
  if (b.below && is_below(a, *b.below)) return b.below;
  return std::nullopt;
}

// ---- sums --------------------------------------------------------------------------------------------------------

// How many terms a sum has: exactly, or at most where a symbol is involved.
struct Count {
  int64_t most = 1;
  bool is_exact = true;
};

Wide repeated(const Wide& term, const Count& count) {
  const int128 n = count.most;
  if (count.is_exact) return {term.lo * n, term.hi * n};
  return {std::min<int128>(term.lo, 0) * n, std::max<int128>(term.hi, 0) * n};
}

template <class Intervals>
Wide sum_of(const Intervals& terms) {
  Wide sum{0, 0};
  for (const auto& term : terms) sum = interval::add(sum, term);
  return sum;
}

// Sums of products of a constant array: element (i, j, ..) belongs to sum number sum_stride . (i, j, ..) and meets an x
// within ranges[x_stride . (i, j, ..)].
struct WeightedSums {
  Dims dims;
  std::vector<int64_t> sum_stride, x_stride;
  std::vector<Interval> ranges;
};

// Adds up the least and the greatest value of every sum: the sign of each weight decides which end of x it meets.
template <class Sum, class T>
void add_products(const WeightedSums& plan, const T* weight, std::vector<Sum>& lo, std::vector<Sum>& hi) {
  const size_t last = plan.dims.size() - 1;
  const int64_t columns = plan.dims[last], sum_step = plan.sum_stride[last], x_step = plan.x_stride[last];
  const int64_t rows = element_count(Dims(plan.dims.begin(), plan.dims.end() - 1));
  Dims index(last, 0);
  for (int64_t row = 0; row < rows; ++row, weight += columns) {
    const int64_t first = std::inner_product(index.begin(), index.end(), plan.sum_stride.begin(), int64_t{0});
    const Interval* x = &plan.ranges[static_cast<size_t>(
        std::inner_product(index.begin(), index.end(), plan.x_stride.begin(), int64_t{0}))];
    for (int64_t j = 0; j < columns; ++j) {
      const Sum a = static_cast<Sum>(weight[j]) * x[j * x_step].lo, b = static_cast<Sum>(weight[j]) * x[j * x_step].hi;
      lo[static_cast<size_t>(first + j * sum_step)] += std::min(a, b);
      hi[static_cast<size_t>(first + j * sum_step)] += std::max(a, b);
    }
    for (size_t a = last; a-- > 0 && ++index[a] == plan.dims[a];) index[a] = 0;
  }
}

// Rows of i8 weights, one a sum, that meet codes of 15 bits: what nearly all weights of a model are.
bool are_narrow_rows(const WeightedSums& plan, const Tensor& weight) {
  constexpr Interval kNarrow{-(1 << 14), (1 << 14) - 1};
  if (weight.type() != DataType::kI8 || plan.dims.size() != 2 || !kNarrow.contains(hull_of(plan.ranges))) return false;
  return plan.sum_stride == std::vector<int64_t>{1, 0} && plan.x_stride[0] == 0;
}

std::vector<Wide> narrow_row_sums(const WeightedSums& plan, const Tensor& weight) {
  const int64_t rows = plan.dims[0], K = plan.dims[1];
  std::vector<int16_t> sum, width;
  sum.reserve(static_cast<size_t>(K));
  width.reserve(static_cast<size_t>(K));
  for (int64_t k = 0; k < K; ++k) {
    const Interval& x = plan.ranges[static_cast<size_t>(k * plan.x_stride[1])];
    sum.push_back(static_cast<int16_t>(x.lo + x.hi));
    width.push_back(static_cast<int16_t>(x.hi - x.lo));
  }
  std::vector<int64_t> least(static_cast<size_t>(rows)), greatest = least;
  dyadic::weighted_sums(weight.data<int8_t>(), rows, K, sum.data(), width.data(), least.data(), greatest.data());
  std::vector<Wide> result;
  result.reserve(least.size());
  for (size_t r = 0; r < least.size(); ++r) result.emplace_back(least[r], greatest[r]);
  return result;
}

std::vector<Wide> weighted_sums(const WeightedSums& plan, const Tensor& weight, int64_t sums, const Known& known) {
  if (are_narrow_rows(plan, weight)) return narrow_row_sums(plan, weight);
  std::vector<Wide> result;
  const auto run = [&]<class Sum>(Sum, auto zero) {
    std::vector<Sum> lo(static_cast<size_t>(sums)), hi = lo;
    add_products(plan, weight.data<decltype(zero)>(), lo, hi);
    for (size_t i = 0; i < lo.size(); ++i) result.emplace_back(lo[i], hi[i]);
  };
  const int128 bound = magnitude(known.range) * magnitude(hull_of(plan.ranges)) * weight.count();
  dispatch(weight.type(), [&](auto zero) {
    if (bound < int128{1} << 62)
      run(int64_t{0}, zero);
    else
      run(int128{0}, zero);
  });
  return result;
}

// ---- the pass ----------------------------------------------------------------------------------------------------

class Prover {
 public:
  Prover(const Graph& body, const Bindings& maxima)
      : body_(body), maxima_(maxima), known_(body.values.size()), producer_(body.values.size(), nullptr) {
    for (const Node& node : body.nodes)
      for (const ValueId id : node.outputs) producer_[id] = &node;
  }

  Ranges prove(std::span<const KnownInput> inputs) {
    if (inputs.size() != body_.inputs.size())
      fail(ErrorKind::kContract, "body ", body_.name, " has ", body_.inputs.size(), " inputs, the ranges of ",
           inputs.size(), " are given");
    for (size_t i = 0; i < inputs.size(); ++i) take(body_.inputs[i], inputs[i]);
    for (size_t i = 0; i < body_.values.size(); ++i)
      if (body_.values[i].is_constant()) known_[i] = known_constant(body_.values[i].constant);
    for (size_t n = 0; n < body_.nodes.size(); ++n) prove(static_cast<int>(n));
    Ranges ranges;
    for (size_t i = 0; i < known_.size(); ++i) {
      ranges.values.push_back(known_[i].range);
      if (!known_[i].channels.empty()) ranges.channels.emplace(static_cast<ValueId>(i), std::move(known_[i].channels));
    }
    ranges.lemmas.assign(lemmas_.begin(), lemmas_.end());
    return ranges;
  }

 private:
  void take(ValueId id, const KnownInput& input) {
    const Value& value = body_.value(id);
    if (is_real(value.type)) return;
    const auto place = [&] { return cat("body ", body_.name, ", input ", value.name, ": "); };
    Known& known = known_[id];
    if (input.constant.defined()) {
      if (input.constant.type() != value.type)
        fail(ErrorKind::kContract, place(), "a constant of ", name(input.constant.type()), ", not ", name(value.type));
      known = known_constant(input.constant);
    } else {
      known.range = input.range;
      known.channels = input.channels;
      if (!known.channels.empty() &&
          (value.shape.empty() || value.shape.back() != Dim(static_cast<int64_t>(known.channels.size()))))
        fail(ErrorKind::kContract, place(), known.channels.size(), " channels for the shape ",
             dyadic::to_string(value.shape));
    }
    const Interval promised = value.fact ? value.fact->range : range_of(value.type);
    if (!promised.contains(known.range))
      fail(ErrorKind::kContract, place(), "it lies in ", to_string(Wide(known.range)), ", but the body is promised ",
           to_string(Wide(promised)));
  }

  void prove(int n) {
    const Node& node = body_.nodes[n];
    const auto op = find_core_op(node.op);
    if (!op && is_island(body_)) return;  // its result is real; the quantize behind it has a range
    if (!op) fail(ErrorKind::kContract, "body ", body_.name, ": ", node.op, " is not a core operation");
    try {
      try {
        define(node, is_known(node) ? evaluated(node) : apply(*op, node).of);
      } catch (const RangeRefusal&) {
        const auto bounds = enumerated(n);
        if (bounds.empty()) throw;
        define(node, bounds);
      }
    } catch (const RangeRefusal& refusal) {
      std::string operands;
      for (const ValueId id : node.inputs)
        operands += cat(operands.empty() ? "" : ", ", "%", body_.value(id).name, " in ", to_string(Wide(range(id))));
      fail(ErrorKind::kContract, "body ", body_.name, ", %", body_.value(node.outputs[0]).name, " = ", node.op, "(",
           operands, "): ", refusal.why);
    }
  }

  void define(const Node& node, std::vector<Bound> bounds) {
    for (size_t i = 0; i < bounds.size(); ++i) define(node.outputs[i], std::move(bounds[i]));
  }

  // Narrows by the Value's fact, then holds the result to the Value's type.
  void define(ValueId id, Bound bound) {
    const Value& value = body_.value(id);
    Known& known = known_[id];
    known = {};
    known.constant = bound.constant;
    known.below = bound.below;
    if (is_real(value.type)) return;
    const Wide type(lowest(value.type), highest(value.type));
    const Wide fact = value.fact ? Wide(value.fact->range) : type;
    const Wide allowed{std::max(type.lo, fact.lo), std::min(type.hi, fact.hi)};
    const auto narrow = [&](Wide& x) {
      if (value.fact) {
        if (x.hi < fact.lo || fact.hi < x.lo)
          refuse("%", value.name, " lies in ", to_string(x), ", which contradicts the fact ", to_string(fact));
        if (x.lo < fact.lo || fact.hi < x.hi) lemmas_.insert(value.fact->lemma);
        x = {std::max(x.lo, fact.lo), std::min(x.hi, fact.hi)};
      }
      if (x.lo < type.lo || type.hi < x.hi)
        refuse("%", value.name, " may lie in ", to_string(x), ", which does not fit ", name(value.type));
    };
    const auto settle = [&](Wide x) {
      if (x.lo < allowed.lo || allowed.hi < x.hi) narrow(x);
      return Interval{static_cast<int64_t>(x.lo), static_cast<int64_t>(x.hi)};
    };
    const Wide hull = bound.hull();
    const bool is_allowed = allowed.lo <= hull.lo && hull.hi <= allowed.hi;
    const auto settle_each = [&](const auto& channels) {
      known.channels.resize(channels.size());
      std::transform(channels.begin(), channels.end(), known.channels.begin(), settle);
    };
    if (followed_ + bound.channels.size() + bound.wide.size() <= kMaxFollowed) {
      if (is_allowed)
        known.channels = std::move(bound.channels);
      else if (bound.wide.empty())
        settle_each(bound.channels);
      else
        settle_each(bound.wide);
    }
    known.range = known.channels.empty() || is_allowed ? settle(hull) : hull_of(known.channels);
    if (all_equal(known.channels)) known.channels.clear();
    followed_ += known.channels.size();
  }

  // ---- nodes whose operands are all known
  static bool is_small(const Shape& shape) {
    const Dim count = element_count(shape);
    return count.is_constant() && count.factor <= kMaxEvaluated;
  }

  bool is_known(const Node& node) const {
    return node.op != "quantize" && node.op != "dequantize" && node.op != "reshape" &&
           std::all_of(node.inputs.begin(), node.inputs.end(),
                       [&](ValueId id) { return known_[id].constant.defined() && is_small(shape(id)); }) &&
           std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) { return is_small(shape(id)); });
  }

  std::vector<Bound> evaluated(const Node& node) const {
    std::vector<Tensor> operands;
    for (const ValueId id : node.inputs) operands.push_back(known_[id].constant);
    std::vector<Bound> bounds;
    for (const Tensor& result : evaluate_node(body_, node, operands)) bounds.push_back(constant_bound(result));
    return bounds;
  }

  // Where intervals lose too much: all values of a function of one element are tried, if there are few. Else nothing.
  std::vector<Bound> enumerated(int n) const {
    const auto constant = [&](ValueId id) { return known_[id].constant.defined() ? &known_[id].constant : nullptr; };
    const auto is_narrow = [&](ValueId id) {
      return is_integer(body_.value(id).type) && Wide(range(id)).hi - range(id).lo < kMaxEvaluated;
    };
    std::vector<Bound> bounds;
    try {
      if (const auto part = unary_part(body_, n, constant, is_narrow))
        for (const Tensor& result : evaluate_unary(body_, *part, constant, range(part->source)))
          bounds.push_back(range_only(known_constant(result)));
    } catch (const Error&) {  // one of them breaks an operation or a fact
      return {};
    }
    return bounds;
  }

  // ---- access
  const Interval& range(ValueId id) const { return known_[id].range; }
  const Shape& shape(ValueId id) const { return body_.value(id).shape; }
  int rank(ValueId id) const { return static_cast<int>(shape(id).size()); }
  const Known& operand(const Node& node, size_t i) const { return known_[node.inputs[i]]; }
  static int axis(int64_t axis, int rank) { return static_cast<int>(axis < 0 ? axis + rank : axis); }
  static std::vector<int> axes(const std::vector<int64_t>& list, int rank) {
    std::vector<int> result;
    for (const int64_t a : list) result.push_back(axis(a, rank));
    return result;
  }
  // An attribute that counts the axes of the first operand.
  int axis(const Node& node, int64_t fallback = 0) const {
    return axis(node.integer("axis", fallback), rank(node.inputs[0]));
  }
  bool is_last(const Node& node, int axis) const { return axis + 1 == rank(node.inputs[0]); }
  Count count(const Dim& dim) const { return {dim.value(maxima_), dim.is_constant()}; }
  Count count(const Shape& shape, const std::vector<int>& axes) const {
    Dim product(1);
    for (const int a : axes) product = product * shape[a];
    return count(product);
  }

  // The Value behind exact casts.
  ValueId uncast(ValueId id) const {
    for (const Node* node = producer_[id]; node && node->op == "cast" && node->text("mode", "exact") == "exact";
         node = producer_[id])
      id = node->inputs[0];
    return id;
  }

  bool is_same(ValueId a, ValueId b) const { return uncast(a) == uncast(b) && shape(a) == shape(b); }

  // True if r is reduce {kind} of x over some axes, still or again of x's rank, so that it bounds x element by element.
  bool is_extreme(ValueId r, const char* kind, ValueId x) const {
    const Shape& spread = shape(r);
    for (r = uncast(r); producer_[r] && producer_[r]->op == "reshape";) r = uncast(producer_[r]->inputs[0]);
    const Node* node = producer_[r];
    if (!node || node->op != "reduce" || node->text("kind") != kind || !is_same(node->inputs[0], x)) return false;
    Shape kept = shape(x);
    for (const int a : axes(node->integers("axes"), rank(x))) kept[a] = 1;
    return spread == kept;
  }

  // ---- rules by operation
  Bounds apply(CoreOp op, const Node& node) {
    std::vector<const Known*> in;
    for (const ValueId id : node.inputs) in.push_back(&known_[id]);
    using X = Operands;
    const auto each = [&](auto rule) -> Bounds { return elementwise(in, rule); };
    const auto each_below = [&](std::optional<Dim> below, auto rule) -> Bounds {
      Bound bound = elementwise(in, rule);
      bound.below = std::move(below);
      return bound;
    };
    switch (op) {
      case CoreOp::k_add:
        return each([](auto x) { return interval::add(x[0], x[1]); });
      case CoreOp::k_sub:
        return {difference(node, in)};
      case CoreOp::k_mul:
        if (is_same(node.inputs[0], node.inputs[1])) return each([](auto x) { return interval::square(x[0]); });
        return each([](auto x) { return interval::multiply(x[0], x[1]); });
      case CoreOp::k_abs:
        return each([](X x) { return interval::absolute(x[0]); });
      case CoreOp::k_min:
        return each_below(in[0]->below ? in[0]->below : in[1]->below,
                          [](auto x) { return interval::minimum(x[0], x[1]); });
      case CoreOp::k_max:
        return each_below(common_bound(*in[0], *in[1]), [](auto x) { return interval::maximum(x[0], x[1]); });
      case CoreOp::k_clamp:
        return each_below(in[2]->below ? in[2]->below : common_bound(*in[0], *in[1]),
                          [](auto x) { return interval::clamp(x[0], x[1], x[2]); });
      case CoreOp::k_shl:
        return each([width = width(node)](X x) { return interval::shift_left(x[0], x[1], width); });
      case CoreOp::k_shr:
        return each([width = width(node), rounding = rounding(node)](auto x) {
          return interval::shift_right(x[0], x[1], width, rounding);
        });
      case CoreOp::k_mul_shift:
        return each([rounding = rounding(node)](auto x) { return interval::mul_shift(x[0], x[1], x[2], rounding); });
      case CoreOp::k_div:
        return each([](X x) { return interval::quotient(x[0], x[1]); });
      case CoreOp::k_rem:
        return each([](X x) { return interval::remainder(x[0], x[1]); });
      case CoreOp::k_isqrt:
        return each([](X x) { return interval::square_root(x[0]); });
      case CoreOp::k_normalize: {
        const int top = static_cast<int>(node.integer("top"));
        const bool even = node.integer("even", 0) != 0;
        return {elementwise(in, [=](X x) { return interval::normalize(x[0], top, even).first; }),
                elementwise(in, [=](X x) { return interval::normalize(x[0], top, even).second; })};
      }
      case CoreOp::k_and:
      case CoreOp::k_or:
      case CoreOp::k_xor:
        return each([=](X x) { return interval::bitwise(op, x[0], x[1]); });
      case CoreOp::k_eq:
      case CoreOp::k_lt:
      case CoreOp::k_le:
        return each([=](X x) { return interval::compare(op, x[0], x[1]); });
      case CoreOp::k_select:
        return each_below(common_bound(*in[1], *in[2]), [](X x) { return interval::select(x[0], x[1], x[2]); });
      case CoreOp::k_cast: {
        const DataType type = body_.value(node.outputs[0]).type;
        if (node.text("mode", "exact") != "sat") return {same(*in[0])};
        return each_below(in[0]->below, [=](auto x) { return interval::saturate(x[0], type); });
      }
      case CoreOp::k_lookup:
        return {looked_up(*in[0], shape(node.inputs[0]).back(), *in[1])};
      case CoreOp::k_bucketize: {
        const int64_t thresholds = count(shape(node.inputs[1]).back()).most;
        return {elementwise(std::span(in).first(1), [&](X x) { return buckets(*in[1], thresholds, x[0]); })};
      }
      case CoreOp::k_random_bits:
        return {Wide(range_of(DataType::kU32))};
      case CoreOp::k_reduce:
        return {reduction(node)};
      case CoreOp::k_dot:
        return {contraction(node)};
      case CoreOp::k_patches: {
        const auto& pads = node.integers("pads");
        const Wide code(node.integer("pad_code", 0), node.integer("pad_code", 0));
        const bool padded = std::any_of(pads.begin(), pads.end(), [](int64_t p) { return p != 0; });
        return each([=](X x) { return padded ? hull(x[0], code) : x[0]; });
      }
      case CoreOp::k_top_k: {
        const int along = axis(node, -1);
        const Dim& extent = shape(node.inputs[0])[along];
        Bound index = Wide{0, std::max<int64_t>(count(extent).most - 1, 0)};
        index.below = extent;
        return {is_last(node, along) ? range_only(*in[0]) : same(*in[0]), std::move(index)};
      }
      case CoreOp::k_gather: {
        const Dim& extent = shape(node.inputs[0])[axis(node)];
        if (is_last(node, axis(node))) return {looked_up(*in[0], extent, *in[1])};
        check_index(*in[1], extent);
        return {same(*in[0])};
      }
      case CoreOp::k_scatter_add: {
        check_index(*in[1], shape(node.inputs[0])[axis(node)]);
        const Shape& indices = shape(node.inputs[1]);
        const Dim hits = element_count(Shape(indices.begin() + node.integer("batch", 0), indices.end()));
        return {interval::add(in[0]->range, repeated(in[2]->range, {count(hits).most, false}))};
      }
      case CoreOp::k_slice:
        return {sliced(node)};
      case CoreOp::k_update_slice: {
        const int along = axis(node);
        check_start(node, 2, shape(node.inputs[0])[along], shape(node.inputs[1])[along]);
        if (is_last(node, along)) return {hull(in[0]->range, in[1]->range)};
        return {elementwise(std::span(in).first(2), [](X x) { return hull(x[0], x[1]); })};
      }
      case CoreOp::k_concat:
        return {concatenated(node, in)};
      case CoreOp::k_reshape:
        return {reshaped(*in[0], shape(node.outputs[0]))};
      case CoreOp::k_transpose: {
        const auto perm = axes(node.integers("perm"), rank(node.inputs[0]));
        return {!perm.empty() && is_last(node, perm.back()) ? same(*in[0]) : range_only(*in[0])};
      }
      case CoreOp::k_iota: {
        const Dim& extent = shape(node.outputs[0])[0];
        Bound bound = Wide{0, std::max<int64_t>(count(extent).most - 1, 0)};
        bound.below = extent;
        return {std::move(bound)};
      }
      case CoreOp::k_pack:
      case CoreOp::k_unpack:
        return {same(*in[0])};
      case CoreOp::k_scan:
        return scanned(node, in);
      case CoreOp::k_quantize:
        return {Wide{node.integer("lo"), node.integer("hi")}};
      case CoreOp::k_dequantize:
        return {Wide{0, 0}};
    }
    refuse("the operation has no range rule");
  }

  int width(const Node& node) const { return bits(body_.value(node.inputs[0]).type); }
  static Rounding rounding(const Node& node) {
    const std::string text = node.text("rounding", "half_up");
    return text == "floor" ? Rounding::kFloor : text == "half_away" ? Rounding::kHalfAway : Rounding::kHalfUp;
  }

  Bound difference(const Node& node, std::span<const Known* const> in) const {
    const ValueId a = node.inputs[0], b = node.inputs[1];
    const bool never_positive = is_same(a, b) || is_extreme(b, "max", a) || is_extreme(a, "min", b);
    const bool never_negative = is_same(a, b) || is_extreme(b, "min", a) || is_extreme(a, "max", b);
    Bound bound = elementwise(in, [&](auto x) {
      auto d = interval::subtract(x[0], x[1]);
      if (never_positive) d.hi = std::min(d.hi, decltype(d.hi){0});
      if (never_negative) d.lo = std::max(d.lo, decltype(d.lo){0});
      return d;
    });
    if (in[1]->range.lo >= 0) bound.below = in[0]->below;
    return bound;
  }

  // ---- indices
  void check_index(const Known& index, const Dim& extent) const {
    if (index.range.lo >= 0 && is_below(index, extent)) return;
    refuse("the index must lie in [0,", dyadic::to_string(extent), "), whatever the symbols are; it may lie in ",
           to_string(Wide(index.range)),
           extent.is_constant() ? "" : "; its min with the maximum of an iota of that size would be proved");
  }

  void check_start(const Node& node, size_t position, const Dim& extent, const Dim& size) const {
    // The least room that any symbols (>= 1) leave.
    const bool is_comparable = size.is_constant() || size.symbols == extent.symbols;
    if (!is_comparable && !extent.is_constant())
      refuse(dyadic::to_string(size), " elements are not proved to fit in ", dyadic::to_string(extent));
    const int64_t last = extent.factor - (is_comparable ? size.factor : count(size).most);
    const int64_t fixed = node.integer("start", 0);
    const Interval start = node.inputs.size() > position ? range(node.inputs[position]) : Interval{fixed, fixed};
    if (start.lo < 0 || start.hi > last)
      refuse("the start must lie in [0,", last, "], whatever the symbols are; it may lie in ", to_string(Wide(start)));
  }

  // The entries of x [..,K] that an index along the last axis reaches.
  Bound looked_up(const Known& x, const Dim& extent, const Known& index) const {
    check_index(index, extent);
    if (x.channels.empty()) return range_only(x);
    Wide last_index{-1, -1}, reached{0, 0};  // most channels share one range of the index
    const Known* operands[] = {&index};
    return elementwise(operands, [&](Operands i) {
      if (i[0] != last_index)
        reached = hull_of(
            std::span(x.channels).subspan(static_cast<size_t>(i[0].lo), static_cast<size_t>(i[0].hi - i[0].lo + 1)));
      last_index = i[0];
      return reached;
    });
  }

  static Wide buckets(const Known& thresholds, int64_t count, const Wide& x) {
    const auto passed = [&](const Interval& t) { return Wide{t.hi <= x.lo, t.lo <= x.hi}; };
    if (thresholds.channels.empty()) return repeated(passed(thresholds.range), {count, true});
    std::vector<Wide> each;
    for (const Interval& t : thresholds.channels) each.push_back(passed(t));
    return sum_of(each);
  }

  // ---- movement
  Bound sliced(const Node& node) const {
    const Known& x = operand(node, 0);
    const int along = axis(node);
    const int64_t size = node.integer("size");
    check_start(node, 1, shape(node.inputs[0])[along], size);
    if (!is_last(node, along)) return same(x);
    if (x.channels.empty() || node.inputs.size() > 1 || size == 0) return range_only(x);
    const auto begin = x.channels.begin() + node.integer("start", 0);
    Bound bound(std::vector<Interval>(begin, begin + size));
    bound.below = x.below;
    return bound;
  }

  Bound concatenated(const Node& node, std::span<const Known* const> in) const {
    const auto hull_all = [](Operands x) {
      return std::accumulate(x.begin() + 1, x.end(), x[0], [](const Wide& a, const Wide& b) { return hull(a, b); });
    };
    if (!is_last(node, axis(node))) return elementwise(in, hull_all);
    std::vector<Wide> ranges;
    std::vector<Interval> channels;
    for (const Known* x : in) ranges.push_back(x->range);
    const Dim& extent = shape(node.outputs[0]).back();
    if (!extent.is_constant() || extent.factor > kMaxChannels || extent.factor < 1) return hull_all(ranges);
    for (size_t i = 0; i < in.size(); ++i)
      for (int64_t c = 0; c < shape(node.inputs[i]).back().factor; ++c)
        channels.push_back(in[i]->channel(static_cast<size_t>(c)));
    return Bound(std::move(channels));
  }

  // Row-major order keeps the flat index, and a channel is the flat index modulo the last axis.
  static Bound reshaped(const Known& x, const Shape& shape) {
    const bool is_static = element_count(shape).is_constant();
    if (x.constant.defined() && is_static) return constant_bound(x.constant.reshaped(bind(shape, {})));
    Bound bound = range_only(x);
    if (x.channels.empty() || shape.empty() || !shape.back().is_constant()) return bound;
    const auto from = static_cast<int64_t>(x.channels.size()), to = shape.back().factor;
    if (to < 1 || to > kMaxChannels || (from % to != 0 && to % from != 0)) return bound;
    for (int64_t c = 0; c < std::max(from, to); ++c) {
      const Interval& channel = x.channels[static_cast<size_t>(c % from)];
      if (c < to) {
        bound.channels.push_back(channel);
      } else {
        Interval& met = bound.channels[static_cast<size_t>(c % to)];
        met = {std::min(met.lo, channel.lo), std::max(met.hi, channel.hi)};
      }
    }
    return bound;
  }

  // ---- reductions and products
  Bound reduction(const Node& node) const {
    const Known& x = operand(node, 0);
    const auto over = axes(node.integers("axes"), rank(node.inputs[0]));
    const bool over_channels = std::any_of(over.begin(), over.end(), [&](int a) { return is_last(node, a); });
    const Count terms = count(shape(node.inputs[0]), over);
    const std::string& kind = node.text("kind");
    if (kind == "sum") {
      const Known* operands[] = {&x};
      if (!over_channels || x.channels.empty())
        return elementwise(operands, [&](Operands term) { return repeated(term[0], terms); });
      return repeated(sum_of(x.channels), {terms.most / static_cast<int64_t>(x.channels.size()), terms.is_exact});
    }
    if (terms.most == 0) refuse("the ", kind, " of no element is not defined");
    if (!over_channels) return same(x);
    Bound bound = range_only(x);
    for (const Interval& channel : x.channels) {  // every channel takes part
      if (kind == "max") bound.range.lo = std::max<int128>(bound.range.lo, channel.lo);
      if (kind == "min") bound.range.hi = std::min<int128>(bound.range.hi, channel.hi);
    }
    return bound;
  }

  struct OperandAxes {
    std::vector<int> contract, batch, free;
  };

  OperandAxes operand_axes(const Node& node, int i) const {
    const int n = rank(node.inputs[i]);
    OperandAxes result{axes(node.integers_or_empty(i ? "contract_b" : "contract_a"), n),
                       axes(node.integers_or_empty(i ? "batch_b" : "batch_a"), n),
                       {}};
    for (int a = 0; a < n; ++a)
      if (!std::count(result.contract.begin(), result.contract.end(), a) &&
          !std::count(result.batch.begin(), result.batch.end(), a))
        result.free.push_back(a);
    return result;
  }

  Bound contraction(const Node& node) {
    const OperandAxes of[2] = {operand_axes(node, 0), operand_axes(node, 1)};
    const Count terms = count(shape(node.inputs[0]), of[0].contract);
    if (node.text("combine", "mul") != "mul") {
      const KnownInput scalars[] = {{{}, range(node.inputs[0]), {}}, {{}, range(node.inputs[1]), {}}};
      const Graph combine = nested_body(node, "combine");
      return repeated(prove_nested(combine, scalars).values[combine.outputs[0]], terms);
    }
    for (const int w : {1, 0})
      if (operand(node, w).constant.defined()) return weighted(node, w, of);

    const Known &a = operand(node, 0), &b = operand(node, 1);
    const bool is_square = is_same(node.inputs[0], node.inputs[1]) && of[0].free.empty() &&
                           of[0].contract == of[1].contract && of[0].batch == of[1].batch;
    const auto term = [&](const Wide& x, const Wide& y) {
      return is_square ? interval::square(x) : interval::multiply(x, y);
    };
    const size_t channels = std::max(a.channels.size(), b.channels.size());
    for (size_t i = 0; i < of[0].contract.size() && channels > 0; ++i) {
      if (of[0].contract[i] + 1 != rank(node.inputs[0]) || of[1].contract[i] + 1 != rank(node.inputs[1])) continue;
      Wide sum{0, 0};
      for (size_t c = 0; c < channels; ++c) sum = interval::add(sum, term(a.channel(c), b.channel(c)));
      return repeated(sum, {terms.most / static_cast<int64_t>(channels), terms.is_exact});
    }
    return repeated(term(a.range, b.range), terms);
  }

  // dot whose operand w is constant: one sum for each combination of w's uncontracted indices.
  Bound weighted(const Node& node, int w, const OperandAxes (&of)[2]) const {
    const Known &weight = operand(node, w), &x = operand(node, 1 - w);
    if (weight.constant.count() == 0) return Wide{0, 0};
    const int n = weight.constant.rank();
    WeightedSums plan{weight.constant.dims(), std::vector<int64_t>(n, 0), std::vector<int64_t>(n, 0), {x.range}};
    int64_t sums = 1;
    for (int a = n; a-- > 0;) {
      if (std::count(of[w].contract.begin(), of[w].contract.end(), a)) continue;
      plan.sum_stride[a] = sums;
      sums *= plan.dims[a];
    }
    for (size_t i = 0; i < of[w].contract.size(); ++i)
      if (of[1 - w].contract[i] + 1 == rank(node.inputs[1 - w]) && !x.channels.empty()) {
        plan.x_stride[of[w].contract[i]] = 1;
        plan.ranges = x.channels;
      }
    if (n == 0) plan.dims = {1}, plan.sum_stride = plan.x_stride = {0};
    auto each = weighted_sums(plan, weight.constant, sums, weight);

    // The result's last axis is the last free one of b, else of a, else the last batch axis.
    const int source = of[1].free.empty() ? 0 : 1;
    const std::vector<int>& last = !of[source].free.empty() ? of[source].free : of[w].batch;
    if (last.empty() || (!of[source].free.empty() && source != w)) return Bound(std::move(each)).hull();
    const int64_t step = plan.sum_stride[last.back()], channels = plan.dims[last.back()];
    if (step == 1 && channels == sums) return Bound(std::move(each));
    std::vector<Wide> result;
    for (int64_t i = 0; i < sums; ++i) {
      const auto c = static_cast<size_t>(i / step % channels);
      if (c >= result.size())
        result.resize(c + 1, each[static_cast<size_t>(i)]);
      else
        result[c] = hull(result[c], each[static_cast<size_t>(i)]);
    }
    return Bound(std::move(result));
  }

  // ---- nested bodies
  Ranges prove_nested(const Graph& body, std::span<const KnownInput> inputs) {
    try {
      Ranges ranges = prove_ranges(body, inputs, maxima_);
      lemmas_.insert(ranges.lemmas.begin(), ranges.lemmas.end());
      return ranges;
    } catch (const Error& error) {
      refuse(error.what());
    }
  }

  // What the step's body is promised of the carried values is an invariant: it must hold at first, and a step keeps it.
  std::vector<Bound> scanned(const Node& node, std::span<const Known* const> in) {
    const Graph step = nested_body(node, "body");
    const auto carried = static_cast<size_t>(node.integer("carried"));
    std::vector<KnownInput> inputs;
    for (size_t i = 0; i < in.size(); ++i) {
      const Value& inner = step.value(step.inputs[i]);
      const bool is_whole = inner.shape.size() == shape(node.inputs[i]).size();
      if (i < carried)
        inputs.push_back({{}, inner.fact ? inner.fact->range : range_of(inner.type), {}});
      else if (is_whole)
        inputs.push_back({in[i]->constant, in[i]->range, in[i]->channels});
      else
        inputs.push_back({{}, in[i]->range, inner.shape.empty() ? std::vector<Interval>{} : in[i]->channels});
    }
    const auto hold = [&](const char* when, size_t i, const Interval& x) {
      if (!inputs[i].range.contains(x))
        refuse("the carried %", step.value(step.inputs[i]).name, " must lie in ", to_string(Wide(inputs[i].range)),
               "; ", when, " it may lie in ", to_string(Wide(x)));
    };
    for (size_t i = 0; i < carried; ++i) hold("at first", i, in[i]->range);
    const Ranges ranges = prove_nested(step, inputs);
    std::vector<Bound> bounds;
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      const ValueId id = step.outputs[i];
      if (i < carried) {
        hold("after a step", i, ranges.values[id]);
        bounds.push_back(hull(in[i]->range, ranges.values[id]));
        continue;
      }
      bounds.push_back(Wide(ranges.values[id]));
      if (const auto it = ranges.channels.find(id); it != ranges.channels.end()) bounds.back().channels = it->second;
    }
    return bounds;
  }

  const Graph& body_;
  const Bindings& maxima_;
  std::vector<Known> known_;
  std::vector<const Node*> producer_;
  std::set<std::string> lemmas_;
  size_t followed_ = 0;  // channels of all Values
};

}  // namespace

Ranges prove_ranges(const Graph& body, std::span<const KnownInput> inputs, const Bindings& maxima) {
  return Prover(body, maxima).prove(inputs);
}

Ranges prove_composite(const Model& model, const Node& node, std::span<const KnownInput> inputs) {
  const Bindings symbols = maxima(model.symbols);
  const Graph& body = model.body(node).graph;
  try {
    Bindings bound;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Value& value = model.main().value(node.inputs[i]);
      unify(body.value(body.inputs.at(i)).shape, bind(value.shape, symbols), bound, "input " + value.name);
    }
    bound.insert(symbols.begin(), symbols.end());
    return prove_ranges(body, inputs, bound);
  } catch (const Error& error) {
    fail(error.kind(), "node ", node.name, ": ", error.what());
  }
}

std::vector<Ranges> prove_model(const Model& model) {
  std::vector<Ranges> proofs;
  prove_model(model, [&](Ranges proof) { proofs.push_back(std::move(proof)); });
  return proofs;
}

void prove_model(const Model& model, FunctionRef<void(Ranges)> proved) {
  const Graph& main = model.main();
  std::vector<KnownInput> known(main.values.size());
  for (size_t i = 0; i < known.size(); ++i) {
    const Value& value = main.values[i];
    if (value.is_constant())
      known[i].constant = value.constant;
    else if (!is_real(value.type))
      known[i].range = value.fact ? value.fact->range : range_of(value.type);
  }
  size_t followed = 0;
  for (const Node& node : main.nodes) {
    if (node.body.empty()) {  // an edge or an island: its results are as wide as their types or facts
      proved({});
      continue;
    }
    std::vector<KnownInput> inputs;
    for (const ValueId id : node.inputs) inputs.push_back(known[id]);
    Ranges proof = prove_composite(model, node, inputs);
    for (const auto& [id, channels] : proof.channels) followed += channels.size();
    if (followed > kMaxFollowedOfModel) proof.channels.clear();
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId id = model.body(node).graph.outputs.at(i);
      KnownInput& result = known[node.outputs[i]];
      result.range = proof.values[id];
      if (const auto it = proof.channels.find(id); it != proof.channels.end()) result.channels = it->second;
    }
    proved(std::move(proof));
  }
}

DataType narrowest(Interval range) {
  for (const DataType type :
       {DataType::kI8, DataType::kU8, DataType::kI16, DataType::kU16, DataType::kI32, DataType::kU32})
    if (range_of(type).contains(range)) return type;
  return DataType::kI64;
}

}  // namespace dyadic

#include "api/lone_composite.h"

#include <algorithm>
#include <functional>

#include "base/fixed_point.h"
#include "base/random.h"
#include "base/status.h"

namespace dyadic {
namespace {

constexpr int64_t kExtremeRows = 64, kIndexRows = 2048;

KnownInput known_input(const LoneComposite& c, size_t input) {
  const Value& value = c.model->main().value(c.node().inputs[input]);
  if (value.is_constant()) return {value.constant, {}, {}};
  const ValueId formal = c.body().graph.inputs[input];
  KnownInput known{{}, c.ranges().values[formal], {}};
  if (const auto it = c.ranges().channels.find(formal); it != c.ranges().channels.end()) known.channels = it->second;
  return known;
}

InputRole role_of(const Graph& body, ValueId id) {
  const std::string& name = body.value(id).name;
  if (name == "start") return InputRole::kStart;
  if (name == "length") return InputRole::kLength;
  const bool selects = std::any_of(body.nodes.begin(), body.nodes.end(), [&](const Node& node) {
    return (node.op == "gather" || node.op == "Gather") && node.inputs[1] == id;
  });
  return selects ? InputRole::kIndex : InputRole::kCodes;
}

bool is_span(const DataInput& input) { return input.role == InputRole::kStart || input.role == InputRole::kLength; }

const Value& actual(const LoneComposite& c, const DataInput& input) {
  return c.model->main().value(c.node().inputs[input.input]);
}

// ---- shapes ------------------------------------------------------------------------------------------------------

// Symbols of a start or a length count sequences, all others rows.
Bindings sizes(const LoneComposite& c, int64_t rows, int64_t sequences) {
  Bindings result;
  const auto inputs = data_inputs(c);
  for (const bool spans : {true, false})
    for (const DataInput& input : inputs)
      if (is_span(input) == spans)
        for (const Dim& dim : actual(c, input).shape)
          for (const std::string& symbol : dim.symbols) result.try_emplace(symbol, spans ? sequences : rows);
  return result;
}

bool has_spans(const LoneComposite& c) {
  const auto inputs = data_inputs(c);
  return std::any_of(inputs.begin(), inputs.end(), is_span);
}

// Lengths of sequences that fill `rows` rows with a row between every two.
std::vector<int64_t> random_lengths(const LoneComposite& c, int64_t rows, Random& random) {
  int64_t longest = 31;
  for (const auto& [name, symbol] : c.model->symbols)
    if (!symbol.largest_of.empty()) longest = std::min(longest, symbol.maximum);
  std::vector<int64_t> lengths;
  for (int64_t left = rows; left > 0; left -= lengths.back() + 1)
    lengths.push_back(static_cast<int64_t>(random.below(static_cast<uint64_t>(std::min(left, longest + 1)))));
  return lengths;
}

// ---- contents ----------------------------------------------------------------------------------------------------

// The element of a code or index input at a row and a column, inside `range`. Asked in row-major order.
using Fill = std::function<int64_t(const DataInput& input, int64_t row, int64_t column, Interval range)>;

Feeds make_feeds(const LoneComposite& c, int64_t rows, const std::vector<int64_t>& lengths, const Fill& fill) {
  const Bindings symbols = sizes(c, rows, static_cast<int64_t>(lengths.size()));
  Feeds feeds;
  for (const DataInput& input : data_inputs(c)) {
    const Value& value = actual(c, input);
    Tensor t(value.type, bind(value.shape, symbols));
    const int64_t columns = t.rank() > 1 ? t.dims().back() : 1;
    int64_t end = rows;  // the first sequence stands last
    for (int64_t i = 0; i < t.count(); ++i) {
      const int64_t column = i % columns;
      if (is_span(input)) {
        const int64_t length = lengths[static_cast<size_t>(i)];
        end -= length + (i > 0);
        t.set(i, input.role == InputRole::kStart ? end : length);
      } else {
        t.set(i, fill(input, i / columns, column, input.channels.empty() ? input.range : input.channels[column]));
      }
    }
    feeds[value.name] = std::move(t);
  }
  return feeds;
}

class RandomCodes {
 public:
  RandomCodes(CodeSpread spread, uint64_t seed, PinnedIndex pinned) : spread_(spread), state_(seed), pinned_(pinned) {}

  int64_t operator()(const DataInput& input, int64_t, int64_t column, Interval range) {
    if (input.role == InputRole::kIndex) return input.input == pinned_.input ? pinned_.index : within(range);
    if (column == 0) {
      row_ = spread_ == CodeSpread::kMixed ? static_cast<CodeSpread>(below(5)) : spread_;
      magnitude_ = int64_t{1} << below(std::max(1, signed_bits(std::max(range.hi, -range.lo))));
    }
    switch (row_) {
      case CodeSpread::kEnds:
        return below(2) ? range.lo : range.hi;
      case CodeSpread::kSparse:
        return below(8) ? near_zero(range, 0) : within(range);
      case CodeSpread::kSmall:
        return near_zero(range, magnitude_);
      case CodeSpread::kSpikes:
        return below(64) ? near_zero(range, 3) : below(2) ? range.lo : range.hi;
      case CodeSpread::kUniform:
      case CodeSpread::kMixed:
        break;
    }
    return within(range);
  }

 private:
  // A counter's hash: quick, and as random as codes need.
  uint64_t word() { return mix64(state_ += 0x9e3779b97f4a7c15ull); }
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(word()) * bound) >> 64);
  }
  int64_t within(Interval range) {
    const uint64_t count = static_cast<uint64_t>(range.hi) - static_cast<uint64_t>(range.lo) + 1;
    return static_cast<int64_t>(static_cast<uint64_t>(range.lo) + (count == 0 ? word() : below(count)));
  }
  int64_t near_zero(Interval range, int64_t magnitude) {
    const int64_t zero = clamp64(0, range.lo, range.hi);
    return within({std::max(range.lo, zero - magnitude), std::min(range.hi, zero + magnitude)});
  }

  CodeSpread spread_, row_ = CodeSpread::kUniform;
  int64_t magnitude_ = 1;
  uint64_t state_;
  PinnedIndex pinned_;
};

}  // namespace

std::vector<DataInput> data_inputs(const LoneComposite& c) {
  std::vector<DataInput> inputs;
  for (size_t i = 0; i < c.node().inputs.size(); ++i) {
    if (c.model->main().value(c.node().inputs[i]).is_constant()) continue;
    KnownInput known = known_input(c, i);
    inputs.push_back({i, role_of(c.body().graph, c.body().graph.inputs[i]), known.range, std::move(known.channels)});
  }
  return inputs;
}

LoneComposite isolate(const Model& model, const Node& node, const Ranges& ranges) {
  auto lone = std::make_shared<Model>(lone_model(model, node));
  const Node& alone = lone->main().nodes[0];
  for (size_t i = 0; i < alone.inputs.size(); ++i) {
    Value& value = lone->main().value(alone.inputs[i]);
    if (!value.is_constant()) value.fact = Fact{ranges.values[lone->body(alone).graph.inputs[i]], "input"};
  }
  return {std::move(lone), std::make_shared<const std::vector<Ranges>>(1, ranges)};
}

LoneComposite with_parameter(const LoneComposite& c, size_t input, Tensor parameter) {
  auto model = std::make_shared<Model>(*c.model);
  model->main().value(c.node().inputs[input]).constant = std::move(parameter);
  const LoneComposite changed{model, c.proof};
  std::vector<KnownInput> known;
  for (size_t i = 0; i < c.node().inputs.size(); ++i) known.push_back(known_input(changed, i));
  return {model, std::make_shared<const std::vector<Ranges>>(1, prove_composite(*model, changed.node(), known))};
}

Feeds random_feeds(const LoneComposite& c, int64_t rows, CodeSpread spread, uint64_t seed, PinnedIndex pinned) {
  Random random(seed);
  const auto lengths = has_spans(c) ? random_lengths(c, rows, random) : std::vector<int64_t>{};
  return make_feeds(c, rows, lengths, RandomCodes(spread, random.next64(), pinned));
}

std::vector<Feeds> extreme_feeds(const LoneComposite& c, uint64_t seed) {
  std::vector<Feeds> all;
  const auto inputs = data_inputs(c);
  int64_t table_rows = 0;
  bool has_codes = false;
  for (const DataInput& input : inputs) {
    if (input.role == InputRole::kIndex) table_rows = std::max(table_rows, input.range.hi - input.range.lo + 1);
    has_codes = has_codes || input.role == InputRole::kCodes;
  }
  if (has_codes) {
    const std::vector<int64_t> lengths = {1, 2, 3, 0, 5, 7};  // with the gaps, 23 of 24 rows
    const auto add = [&](const Fill& fill) { all.push_back(make_feeds(c, 24, lengths, fill)); };
    add([](const DataInput&, int64_t, int64_t, Interval range) { return range.lo; });
    add([](const DataInput&, int64_t, int64_t, Interval range) { return range.hi; });
    add([](const DataInput& input, int64_t row, int64_t column, Interval range) {
      return (static_cast<int64_t>(input.input) + row + column) % 2 ? range.lo : range.hi;
    });
    for (const CodeSpread spread : kCodeSpreads)
      all.push_back(random_feeds(c, kExtremeRows, spread, seed + static_cast<uint64_t>(spread)));
  }
  for (int64_t begin = 0; begin < table_rows; begin += kIndexRows)
    all.push_back(make_feeds(c, std::min(kIndexRows, table_rows - begin), {},
                             [&](const DataInput&, int64_t row, int64_t, Interval range) {
                               return range.lo + (begin + row) % (range.hi - range.lo + 1);
                             }));
  return all;
}

int64_t row_count(const LoneComposite& c, const Feeds& feeds) {
  Bindings symbols;
  for (const auto& [name, tensor] : feeds)
    unify(c.model->main().value(c.model->main().find(name)).shape, tensor.dims(), symbols, name);
  const Shape& shape = c.model->main().value(c.node().outputs[0]).shape;
  return shape.empty() ? 1 : shape[0].value(symbols);
}

}  // namespace dyadic

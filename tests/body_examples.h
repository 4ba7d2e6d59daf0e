// What the tests of tile programs and of printed C share: ranges of several tightness, random operands, example bodies.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "graph/bodies/bodies.h"
#include "graph/evaluator.h"
#include "graph/ranges.h"

namespace dyadic::test {

// The loosest ranges that a body can have: its types and facts.
inline Ranges type_ranges(const Graph& graph) {
  Ranges ranges;
  for (const Value& v : graph.values) ranges.values.push_back(v.fact ? v.fact->range : range_of(v.type));
  return ranges;
}

// The tightest: what the evaluator saw on these operands. They hold for these operands alone.
inline Ranges observed_ranges(const Graph& graph, const std::vector<Tensor>& inputs, const Bindings& bindings) {
  Ranges ranges = type_ranges(graph);
  const auto observe = [&](ValueId v, const Tensor& t) {
    if (t.count() == 0) return;
    const auto values = t.to_int64();
    const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
    ranges.values[v] = {*lo, *hi};
  };
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (graph.values[v].is_constant()) observe(static_cast<ValueId>(v), graph.values[v].constant);
  for (size_t i = 0; i < inputs.size(); ++i) observe(graph.inputs[i], inputs[i]);
  evaluate(graph, inputs, bindings, observe);
  return ranges;
}

// How random operands are spread over their interval.
enum class Spread { kUniform, kSmall, kEnds, kConstant };
inline constexpr Spread kSpreads[] = {Spread::kUniform, Spread::kSmall, Spread::kEnds, Spread::kConstant};

inline Tensor random_tensor(DataType type, const Dims& dims, Interval range, Spread spread, Random& random) {
  Tensor t(type, dims);
  const auto uniform = [&](int64_t lo, int64_t hi) {
    const uint64_t count = static_cast<uint64_t>(hi) - static_cast<uint64_t>(lo) + 1;
    return count == 0 ? static_cast<int64_t>(random.next64())
                      : static_cast<int64_t>(static_cast<uint64_t>(lo) + random.below(count));
  };
  const int64_t middle = uniform(range.lo, range.hi);
  for (int64_t i = 0; i < t.count(); ++i) {
    int64_t x = middle;
    if (spread == Spread::kUniform) x = uniform(range.lo, range.hi);
    if (spread == Spread::kSmall) x = uniform(std::max<int64_t>(range.lo, -3), std::min<int64_t>(range.hi, 3));
    if (spread == Spread::kEnds) x = random.below(2) ? range.lo : range.hi;
    t.set(i, x);
  }
  return t;
}

// A body with operands: parameters stand where the body's inputs are constants of a model, data elsewhere.
struct Example {
  std::string name;
  Graph body;
  std::vector<Tensor> inputs;      // all, in the body's order
  std::vector<bool> is_parameter;  // by input
  Bindings bindings;               // symbols that no input binds

  std::vector<Tensor> parameters() const {
    std::vector<Tensor> result(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i)
      if (is_parameter[i]) result[i] = inputs[i];
    return result;
  }
  std::vector<Tensor> data() const {
    std::vector<Tensor> result;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (!is_parameter[i]) result.push_back(inputs[i]);
    return result;
  }
  std::vector<KnownInput> known() const {
    std::vector<KnownInput> result(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Value& v = body.value(body.inputs[i]);
      result[i].range = v.fact ? v.fact->range : range_of(v.type);
      if (is_parameter[i]) result[i].constant = inputs[i];
    }
    return result;
  }
};

// Fills an Example's inputs by name; those with a given tensor are parameters, the others random data of the body's
// promised ranges with `dims` bound.
class ExampleBuilder {
 public:
  ExampleBuilder(std::string name, Graph body, const Bindings& dims, Spread spread, Random& random)
      : dims_(dims), spread_(spread), random_(random) {
    example_.name = std::move(name);
    example_.body = std::move(body);
    example_.inputs.resize(example_.body.inputs.size());
    example_.is_parameter.resize(example_.body.inputs.size(), false);
  }
  ExampleBuilder& random_parameter(const std::string& name, int64_t lo, int64_t hi) {
    const size_t i = index(name);
    const Value& v = example_.body.value(example_.body.inputs[i]);
    example_.inputs[i] = random_tensor(v.type, dyadic::bind(v.shape, dims_), {lo, hi}, Spread::kUniform, random_);
    example_.is_parameter[i] = true;
    return *this;
  }
  ExampleBuilder& parameter(const std::string& name, const std::vector<int64_t>& values) {
    const size_t i = index(name);
    data(name, values);
    example_.is_parameter[i] = true;
    return *this;
  }
  ExampleBuilder& data(const std::string& name, const std::vector<int64_t>& values) {
    const size_t i = index(name);
    const Value& v = example_.body.value(example_.body.inputs[i]);
    Tensor t(v.type, dyadic::bind(v.shape, dims_));
    DYADIC_CHECK(t.count() == static_cast<int64_t>(values.size()));
    for (size_t k = 0; k < values.size(); ++k) t.set(static_cast<int64_t>(k), values[k]);
    example_.inputs[i] = t;
    return *this;
  }
  ExampleBuilder& bindings(Bindings b) {
    example_.bindings = std::move(b);
    return *this;
  }
  Example build() {
    for (size_t i = 0; i < example_.inputs.size(); ++i) {
      if (example_.inputs[i].defined()) continue;
      const Value& v = example_.body.value(example_.body.inputs[i]);
      example_.inputs[i] = random_tensor(v.type, dyadic::bind(v.shape, dims_),
                                         v.fact ? v.fact->range : range_of(v.type), spread_, random_);
    }
    return std::move(example_);
  }

 private:
  size_t index(const std::string& name) const {
    for (size_t i = 0; i < example_.body.inputs.size(); ++i)
      if (example_.body.value(example_.body.inputs[i]).name == name) return i;
    fail(ErrorKind::kFailed, "no input ", name);
  }
  Example example_;
  Bindings dims_;
  Spread spread_;
  Random& random_;
};

// linear with bias, requantize and, for `classes` > 0, a class table; two outputs.
inline Example linear_example(int64_t T, int64_t K, int64_t N, int64_t classes, Spread spread, Random& random) {
  LinearShape shape;
  shape.in = K;
  shape.out = N;
  shape.classes = classes;
  shape.epilogue = {{StageKind::kBias, DataType::kI32}, {StageKind::kRequantize, DataType::kI8, {-127, 127}}};
  if (classes) shape.epilogue.push_back({StageKind::kTable, DataType::kI8});
  shape.splits = N > 1 ? std::vector<int64_t>{N / 2, N - N / 2} : std::vector<int64_t>{N};
  ExampleBuilder b("linear", linear_body(shape).graph, {{"T", T}}, spread, random);
  b.random_parameter("weight", -127, 127).random_parameter("bias", -100000, 100000);
  b.random_parameter("m", -(1 << 30), 1 << 30).random_parameter("s", 38, 38);
  if (classes) {
    std::vector<int64_t> ends;
    for (int64_t g = 0; g < classes; ++g) ends.push_back(N * (g + 1) / classes);
    b.random_parameter("tables", -127, 127).parameter("ends", ends);
  }
  return b.build();
}

inline void norm_parameters(ExampleBuilder& b) {
  b.random_parameter("out0_m", -40000000, 40000000)
      .random_parameter("out0_s", 34, 34)
      .random_parameter("out0_beta", -9000, 9000);
  b.random_parameter("out1_m", -90000000, 90000000)
      .random_parameter("out1_s", 27, 27)
      .random_parameter("out1_beta", -900000, 900000);
}

inline Example add_norm_example(int64_t T, int64_t n, Spread spread, Random& random) {
  ExampleBuilder b("add_norm", add_norm_body(n, {DataType::kI8, DataType::kI16}).graph, {{"T", T}}, spread, random);
  b.parameter("sublayer_m", {1234567890}).parameter("sublayer_s", {24});
  b.parameter("identity_m", {1034567890}).parameter("identity_s", {23});
  norm_parameters(b);
  return b.build();
}

inline Example q15_add_norm_example(int64_t T, int64_t n, Spread spread, Random& random) {
  ExampleBuilder b("add_norm", q15_add_norm_body(n, {DataType::kI8, DataType::kI16}).graph, {{"T", T}}, spread, random);
  b.parameter("sublayer_m", {9001}).parameter("identity_m", {-7001});
  for (const char* name : {"out0", "out1"})
    b.random_parameter(cat(name, "_m"), -32768, 32767).random_parameter(cat(name, "_beta"), -9000, 9000);
  b.parameter("out0_shift", {5}).parameter("out1_shift", {2});
  return b.build();
}

inline Example embed_norm_example(int64_t T, int64_t n, Spread spread, Random& random) {
  const std::vector<TableShape> tables = {{"token", 50}, {"position", 20}, {"type", 2}};
  ExampleBuilder b("embed_norm", embed_norm_body(n, tables, {DataType::kI8, DataType::kI16}).graph, {{"T", T}}, spread,
                   random);
  for (const TableShape& t : tables) {
    b.random_parameter(t.name + "_codes", -127, 127).random_parameter(t.name + "_m", 0, 1 << 30);
    b.random_parameter(t.name + "_s", 18, 30);
  }
  norm_parameters(b);
  return b.build();
}

// Sequences of the given lengths with a gap of one row behind each.
inline void add_sequences(ExampleBuilder& b, const std::vector<int64_t>& lengths) {
  std::vector<int64_t> start;
  int64_t next = 0;
  for (const int64_t length : lengths) {
    start.push_back(next);
    next += length + 1;
  }
  b.data("start", start).data("length", lengths);
}
inline int64_t rows_of(const std::vector<int64_t>& lengths) {
  int64_t rows = 0;
  for (const int64_t length : lengths) rows += length + 1;
  return rows;
}

inline Example attention_example(const std::vector<int64_t>& lengths, int64_t L, int64_t heads, int64_t head_dim,
                                 Spread spread, Random& random) {
  const Bindings dims = {{"T", rows_of(lengths)}, {"B", static_cast<int64_t>(lengths.size())}};
  ExampleBuilder b("attention", attention_body(heads, head_dim).graph, dims, spread, random);
  add_sequences(b, lengths);
  std::vector<int64_t> table;
  for (int64_t d = 0; d < 256; ++d) table.push_back(d > 100 ? 0 : 255 >> (d / 12));
  b.parameter("table", table);
  b.parameter("distance_m", {1700}).parameter("distance_s", {19});
  b.parameter("out_m", {2000000000}).parameter("out_s", {47});
  return b.bindings({{"L", L}}).build();
}

inline Example pool_example(const std::vector<int64_t>& lengths, int64_t L, int64_t n, bool normalize, Spread spread,
                            Random& random) {
  const Bindings dims = {{"T", rows_of(lengths)}, {"B", static_cast<int64_t>(lengths.size())}};
  ExampleBuilder b("pool", pool_body(n, normalize).graph, dims, spread, random);
  add_sequences(b, lengths);
  return b.bindings({{"L", L}}).build();
}

}  // namespace dyadic::test

#include <cmath>
#include <limits>

#include "base/random.h"
#include "real/dialect.h"
#include "real/executor.h"
#include "support.h"

namespace dyadic {
namespace {

using testing::HasSubstr;

// Uniform in [-range, range), the same on every machine.
Tensor random_tensor(Dims dims, double range, uint64_t stream) {
  Random random(test::seed(), stream);
  Tensor t(DataType::kF32, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i)
    t.mutable_data<float>()[i] = static_cast<float>((random() / 4294967296.0 * 2 - 1) * range);
  return t;
}

struct Argument {
  Shape shape;
  Tensor tensor;
  bool constant = false;
};

// Runs one operator on 1 and on 2 threads, which must agree; returns its output.
Tensor run_op(const std::string& op, const std::vector<Argument>& arguments, const Attributes& attributes = {}) {
  Graph graph;
  std::vector<ValueId> inputs;
  std::map<std::string, Tensor> feeds;
  for (const Argument& a : arguments) {
    const std::string name = cat("x", inputs.size());
    if (a.constant) {
      inputs.push_back(graph.add_constant(name, a.tensor));
    } else {
      Value value;
      value.name = name;
      value.type = a.tensor.type();
      value.shape = a.shape;
      inputs.push_back(graph.add_input(value));
      feeds[name] = a.tensor;
    }
  }
  graph.outputs = {add_real_node(graph, op, "node", inputs, attributes, "y")};
  const Tensor one = RealExecutor(graph, 1).run(feeds).at("y"), two = RealExecutor(graph, 2).run(feeds).at("y");
  EXPECT_EQ(one.dims(), two.dims());
  for (int64_t i = 0; i < one.count(); ++i)
    EXPECT_NEAR(one.data<float>()[i], two.data<float>()[i], 1e-5 * (1 + std::fabs(one.data<float>()[i])));
  return one;
}

Argument fed(Shape shape, Tensor tensor) { return {std::move(shape), std::move(tensor), false}; }
Argument fed(Tensor tensor) { return {to_shape(tensor.dims()), tensor, false}; }
Argument constant(Tensor tensor) { return {{}, std::move(tensor), true}; }

template <class F>
void expect_error(F f, const std::string& part) {
  try {
    f();
    ADD_FAILURE() << "accepted; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kContract) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(RealDialect, BinaryOperatorsBroadcastLikeNumpy) {
  const Tensor x = Tensor::from<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor row = Tensor::from<float>({3}, {10, 20, 40}), column = Tensor::from<float>({2, 1}, {1, 2});
  const auto values = [](const Tensor& t) {
    return std::vector<float>(t.span<float>().begin(), t.span<float>().end());
  };
  EXPECT_EQ(values(run_op("Add", {fed({"T", 3}, x), constant(row)})), (std::vector<float>{11, 22, 43, 14, 25, 46}));
  EXPECT_EQ(values(run_op("Sub", {fed({"T", 3}, x), fed({"T", 1}, column)})), (std::vector<float>{0, 1, 2, 2, 3, 4}));
  EXPECT_EQ(values(run_op("Mul", {constant(Tensor::scalar<float>(2)), fed(x)})),
            (std::vector<float>{2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(values(run_op("Div", {fed(row), fed(column)})), (std::vector<float>{10, 20, 40, 5, 10, 20}));
  EXPECT_EQ(values(run_op("Add", {fed(Tensor::scalar<float>(2)), fed(Tensor::scalar<float>(3))})),
            std::vector<float>{5});
  EXPECT_EQ(run_op("Add", {fed({"T", 3}, Tensor(DataType::kF32, {0, 3})), constant(row)}).dims(), (Dims{0, 3}));
  const Tensor cube = random_tensor({2, 3, 4}, 1, 1), middle = random_tensor({3, 1}, 1, 2);
  const Tensor sum = run_op("Add", {fed(cube), fed(middle)});
  for (int64_t i = 0; i < 24; ++i)
    EXPECT_EQ(sum.data<float>()[i], cube.data<float>()[i] + middle.data<float>()[i / 4 % 3]);
}

TEST(RealDialect, UnaryOperatorsAreTheirFunctions) {
  const auto gelu = [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); };
  const auto gelu_tanh = [](double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  };
  struct Case {
    const char* op;
    std::function<double(double)> f;
    Attributes attributes;
  };
  const std::vector<Case> cases = {
      {"Gelu", gelu, {}},
      {"Gelu", gelu_tanh, {{"approximate", std::string("tanh")}}},
      {"Relu", [](double x) { return std::max(x, 0.0); }, {}},
      {"Tanh", [](double x) { return std::tanh(x); }, {}},
      {"Sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }, {}},
      {"Erf", [](double x) { return std::erf(x); }, {}},
  };
  Tensor x(DataType::kF32, {20003});
  for (int64_t i = 0; i < x.count(); ++i) x.mutable_data<float>()[i] = static_cast<float>(-10 + i * 0.001);
  x.mutable_data<float>()[20001] = -80;
  x.mutable_data<float>()[20002] = 80;
  for (const Case& c : cases) {
    const Tensor y = run_op(c.op, {fed({"N"}, x)}, c.attributes);
    double worst = 0;
    for (int64_t i = 0; i < x.count(); ++i)
      worst = std::max(worst, std::fabs(y.data<float>()[i] - c.f(x.data<float>()[i])));
    EXPECT_LT(worst, 1e-6) << c.op;
  }
  const Tensor root = run_op("Sqrt", {fed(Tensor::from<float>({3}, {0, 2, 1e30f}))});
  EXPECT_FLOAT_EQ(root.data<float>()[1], std::sqrt(2.0f));
  EXPECT_FLOAT_EQ(root.data<float>()[2], 1e15f);
}

TEST(RealDialect, GemmIsTheProduct) {
  for (const int64_t m : {0, 1, 3, 70, 300})
    for (const auto& [k, n] : {std::pair<int64_t, int64_t>{1, 1}, {17, 48}, {64, 100}, {33, 7}})
      for (const bool transposed : {false, true})
        for (const bool is_constant : {false, true}) {
          const Tensor x = random_tensor({m, k}, 1, 1), b = random_tensor({n}, 1, 3);
          const Tensor w = random_tensor(transposed ? Dims{n, k} : Dims{k, n}, 1, 2);
          const Attributes attributes = {{"transB", int64_t{transposed}}};
          const Argument weights = is_constant ? constant(w) : fed(w);
          const Tensor y = run_op("Gemm", {fed({"T", k}, x), weights, constant(b)}, attributes);
          const Tensor unbiased = run_op("Gemm", {fed({"T", k}, x), weights}, attributes);
          ASSERT_EQ(y.dims(), (Dims{m, n}));
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < n; ++j) {
              double sum = 0;
              for (int64_t l = 0; l < k; ++l)
                sum += double{x.data<float>()[i * k + l]} * w.data<float>()[transposed ? j * k + l : l * n + j];
              ASSERT_NEAR(unbiased.data<float>()[i * n + j], sum, 1e-5);
              ASSERT_NEAR(y.data<float>()[i * n + j], sum + b.data<float>()[j], 1e-5);
            }
        }
}

TEST(RealDialect, LayerNormalizationSurvivesOutliersAndOffsets) {
  const int64_t rows = 9, n = 387;
  Tensor x = random_tensor({rows, n}, 1, 1);
  for (int64_t j = 0; j < n; ++j) x.mutable_data<float>()[3 * n + j] += 1000;
  for (int64_t j = 0; j < n; ++j) x.mutable_data<float>()[4 * n + j] = 5;
  x.mutable_data<float>()[5 * n + 7] = 300;
  const Tensor scale = random_tensor({n}, 2, 2), bias = random_tensor({n}, 1, 3);
  for (const bool with_bias : {true, false}) {
    std::vector<Argument> arguments = {fed({"T", n}, x), constant(scale)};
    if (with_bias) arguments.push_back(constant(bias));
    const Tensor y = run_op("LayerNormalization", arguments, {{"axis", int64_t{-1}}, {"epsilon", 1e-12}});
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = x.data<float>() + r * n;
      double mean = 0, variance = 0;
      for (int64_t j = 0; j < n; ++j) mean += row[j] / double(n);
      for (int64_t j = 0; j < n; ++j) variance += (row[j] - mean) * (row[j] - mean) / double(n);
      for (int64_t j = 0; j < n; ++j) {
        const double expected = (row[j] - mean) / std::sqrt(variance + 1e-12) * scale.data<float>()[j] +
                                (with_bias ? bias.data<float>()[j] : 0);
        // One rounding of the mean, seen at the row's own amplitude.
        ASSERT_NEAR(y.data<float>()[r * n + j], expected, 1e-5 + (r == 3 ? 3e-4 : 0)) << r << " " << j;
      }
    }
  }
}

TEST(RealDialect, SoftmaxAndLpNormalization) {
  const Tensor x = Tensor::from<float>({2, 3}, {1000, 999, -1000, 0, 0, 0});
  const Tensor p = run_op("Softmax", {fed(x)}, {{"axis", int64_t{1}}});
  EXPECT_NEAR(p.data<float>()[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(p.data<float>()[2], 0, 1e-30);
  EXPECT_NEAR(p.data<float>()[4], 1.0 / 3, 1e-6);
  const Tensor unit = run_op("LpNormalization", {fed(Tensor::from<float>({2, 2}, {3, -4, 0, 0}))});
  EXPECT_FLOAT_EQ(unit.data<float>()[0], 0.6f);
  EXPECT_FLOAT_EQ(unit.data<float>()[1], -0.8f);
  EXPECT_EQ(unit.data<float>()[2], 0);
  const Tensor huge = run_op("LpNormalization", {fed(Tensor::from<float>({1, 2}, {3e30f, 4e30f}))});
  EXPECT_FLOAT_EQ(huge.data<float>()[1], 0.8f);
}

// Softmax attention of one sequence in double.
void attend(const Tensor& q, const Tensor& k, const Tensor& v, int64_t start, int64_t n, int64_t heads, int64_t d,
            double scale, std::vector<double>& out) {
  const int64_t width = heads * d;
  const auto at = [&](const Tensor& t, int64_t row, int64_t h, int64_t i) {
    return double{t.data<float>()[(start + row) * width + h * d + i]};
  };
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t a = 0; a < n; ++a) {
      std::vector<double> weight(n);
      double total = 0;
      for (int64_t b = 0; b < n; ++b) {
        double dot = 0;
        for (int64_t i = 0; i < d; ++i) dot += at(q, a, h, i) * at(k, b, h, i);
        total += weight[b] = std::exp(dot * scale);
      }
      for (int64_t i = 0; i < d; ++i) {
        double sum = 0;
        for (int64_t b = 0; b < n; ++b) sum += weight[b] / total * at(v, b, h, i);
        out[(start + a) * width + h * d + i] = sum;
      }
    }
}

TEST(RealDialect, AttentionSeesOnlyItsSequence) {
  const int64_t heads = 3, d = 8, width = heads * d;
  // Rows 0 and 11..12 belong to no sequence; sequence 2 is empty; 300 tokens take several blocks of scores.
  const std::vector<int32_t> start = {1, 313, 5, 13, 6}, length = {5, 1, 0, 300, 5};
  const int64_t tokens = 314;
  const Tensor q = random_tensor({tokens, width}, 2, 1), k = random_tensor({tokens, width}, 2, 2);
  const Tensor v = random_tensor({tokens, width}, 2, 3);
  for (const double scale : {1 / std::sqrt(8.0), 0.1}) {
    Attributes attributes = {{"heads", heads}, {"head_dim", d}};
    if (scale == 0.1) attributes["scale"] = scale;
    const Shape shape = {"T", width};
    const Tensor y = run_op("Attention",
                            {fed(shape, q), fed(shape, k), fed(shape, v), fed({"B"}, Tensor::from<int32_t>({5}, start)),
                             fed({"B"}, Tensor::from<int32_t>({5}, length))},
                            attributes);
    std::vector<double> expected(tokens * width, 0.0);
    for (size_t b = 0; b < start.size(); ++b) attend(q, k, v, start[b], length[b], heads, d, scale, expected);
    for (int64_t i = 0; i < tokens * width; ++i) ASSERT_NEAR(y.data<float>()[i], expected[i], 2e-6) << i / width;
  }
}

TEST(RealDialect, MeanPoolAveragesEachSequence) {
  const Tensor x = Tensor::from<float>({4, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor y = run_op("MeanPool", {fed({"T", 2}, x), fed({"B"}, Tensor::from<int32_t>({3}, {1, 0, 3})),
                                       fed({"B"}, Tensor::from<int32_t>({3}, {3, 0, 1}))});
  const std::vector<float> expected = {5, 6, 0, 0, 7, 8};
  for (int i = 0; i < 6; ++i) EXPECT_FLOAT_EQ(y.data<float>()[i], expected[i]);
}

TEST(RealDialect, GatherTakesRows) {
  const Tensor table = Tensor::from<float>({3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor y = run_op("Gather", {constant(table), fed({"T"}, Tensor::from<int32_t>({3}, {2, 0, 2}))});
  EXPECT_TRUE(y == Tensor::from<float>({3, 2}, {5, 6, 1, 2, 5, 6}));
  for (int32_t bad : {-1, 3})
    expect_error(
        [&] {
          run_op("Gather", {constant(table), fed({"T"}, Tensor::from<int32_t>({2}, {0, bad}))});
        },
        cat("node node (Gather): index ", bad, " at element 1 is outside 0..2"));
}

TEST(RealDialect, RunRefusesSequencesThatLeaveTheirTokens) {
  const auto attention = [](std::vector<int32_t> start, std::vector<int32_t> length) {
    const Tensor x(DataType::kF32, {4, 2});
    const Dims b = {static_cast<int64_t>(start.size())};
    return run_op("Attention", {fed(x), fed(x), fed(x), fed(Tensor::from(b, start)), fed(Tensor::from(b, length))},
                  {{"heads", int64_t{1}}, {"head_dim", int64_t{2}}});
  };
  expect_error([&] { attention({0, 3}, {3, 2}); }, "sequence 1 (start 3, length 2) leaves the 4 tokens");
  expect_error([&] { attention({-1}, {2}); }, "sequence 0");
  expect_error([&] { attention({0}, {-1}); }, "sequence 0");
  expect_error([&] { attention({2147483647}, {2147483647}); }, "sequence 0");
  expect_error([&] { attention({0, 1}, {2, 2}); }, "token 1 belongs to two sequences");
  expect_error(
      [&] {
        run_op("MeanPool", {fed(Tensor(DataType::kF32, {4, 2})), fed(Tensor::from<int32_t>({1}, {1})),
                            fed(Tensor::from<int32_t>({1}, {4}))});
      },
      "sequence 0");
}

TEST(RealDialect, InferNamesWhatDoesNotFit) {
  Graph graph;
  const auto input = [&](DataType type, Shape shape) {
    Value value;
    value.type = type;
    value.shape = std::move(shape);
    return graph.add_input(value);
  };
  const ValueId x = input(DataType::kF32, {"T", 8}), other = input(DataType::kF32, {"U", 8});
  const ValueId i = input(DataType::kI32, {"T"}), b = input(DataType::kI32, {"B"});
  const ValueId w = input(DataType::kF32, {8, 4}), n = input(DataType::kF32, {8});
  const auto add = [&](const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    return [&graph, op, inputs, attributes] { add_real_node(graph, op, "layer", inputs, attributes); };
  };
  const auto heads = [](int64_t h, int64_t d) { return Attributes{{"heads", h}, {"head_dim", d}}; };
  expect_error(add("Conv", {x}), "node layer (Conv): the real dialect has no such operator");
  expect_error(add("Add", {x}), "has 1 inputs, expected 2..2");
  expect_error(add("Add", {x, -1}), "input 1 is missing");
  expect_error(add("Add", {x, 99}), "input 1 is no value of the graph");
  expect_error(add("Add", {x, other}), "node layer (Add): shapes [T,8] and [U,8] do not broadcast");
  expect_error(add("Add", {x, i}), "is i32[T], expected f32");
  expect_error(add("Relu", {x}, {{"slope", 1.0}}), "unknown attribute 'slope'");
  expect_error(add("Gelu", {x}, {{"approximate", std::string("quick")}}), "supported are none, tanh");
  expect_error(add("Gelu", {x}, {{"approximate", 1.0}}), "must be a string");
  expect_error(add("Gemm", {x, w}, {{"transB", int64_t{1}}}), "does not multiply");
  expect_error(add("Gemm", {x, w, n}), "has shape [8], expected [4]");
  expect_error(add("Gemm", {x, w}, {{"alpha", 2.0}}), "only 1 is supported");
  expect_error(add("Gemm", {x, w}, {{"transA", int64_t{1}}}), "only 0 is supported");
  expect_error(add("LayerNormalization", {x, w}), "expected f32");
  expect_error(add("LayerNormalization", {x, n}, {{"axis", int64_t{0}}}), "only the last axis");
  expect_error(add("LayerNormalization", {x, n}, {{"epsilon", -1.0}}), "must not be negative");
  expect_error(add("LpNormalization", {x}, {{"p", int64_t{1}}}), "only 2 is supported");
  expect_error(add("Gather", {x, x}), "expected i32");
  expect_error(add("Attention", {x, x, x, b, b}, heads(3, 2)), "do not make up q [T,8]");
  expect_error(add("Attention", {x, x, x, b, b}, heads(-1, -8)), "do not make up q [T,8]");
  expect_error(add("Attention", {x, other, x, b, b}, heads(2, 4)), "has shape [U,8], expected [T,8]");
  expect_error(add("Attention", {x, x, x, b, i}, heads(2, 4)), "has shape [T], expected [B]");
  expect_error(add("Attention", {x, x, x, b, b}), "attribute 'heads' is missing");
  expect_error(add("MeanPool", {x, b, i}), "has shape [T], expected [B]");
}

TEST(RealDialect, VerifyFindsAnInconsistentGraph) {
  Graph good;
  Value value;
  value.name = "x";
  value.type = DataType::kF32;
  value.shape = {"T", 2};
  const ValueId x = good.add_input(value), y = add_real_node(good, "Relu", "first", {x});
  good.outputs = {add_real_node(good, "Tanh", "second", {y})};
  EXPECT_NO_THROW(verify_real(good));
  Graph bad = good;
  std::swap(bad.nodes[0], bad.nodes[1]);
  expect_error([&] { verify_real(bad); }, "uses 'first' before it is defined");
  bad = good;
  bad.value(y).shape = {"T", 3};
  expect_error([&] { verify_real(bad); }, "'first' is f32[T,3], expected f32[T,2]");
  bad = good;
  bad.nodes[1].outputs = bad.nodes[0].outputs;
  expect_error([&] { verify_real(bad); }, "a second time");
  bad = good;
  bad.nodes.pop_back();
  expect_error([&] { verify_real(bad); }, "an output has no producer");
}

TEST(RealExecutor, ChecksItsFeeds) {
  Graph graph;
  Value value;
  value.type = DataType::kF32;
  for (const char* name : {"x", "y"}) {
    value.name = name;
    value.shape = {"T", 2};
    graph.add_input(value);
  }
  graph.outputs = {add_real_node(graph, "Add", "sum", {0, 1})};
  RealExecutor executor(graph, 1);
  const Tensor two(DataType::kF32, {2, 2}), three(DataType::kF32, {3, 2});
  EXPECT_NO_THROW(executor.run({{"x", two}, {"y", two}}));
  EXPECT_NO_THROW(executor.run({{"x", three}, {"y", three}}));
  expect_error([&] { executor.run({{"x", two}}); }, "input 'y' is not fed");
  expect_error([&] { executor.run({{"x", two}, {"y", three}}); }, "input 'y': expected shape [T,2], got [3,2]");
  expect_error([&] { executor.run({{"x", two}, {"y", Tensor(DataType::kI32, {2, 2})}}); }, "is i32, expected f32");
  expect_error([&] { executor.run({{"x", two}, {"y", two}, {"z", two}}); }, "has no input 'z'");
}

TEST(RealExecutor, WhatAnObserverKeepsStaysIntact) {
  Graph graph;
  Value value;
  value.name = "x";
  value.type = DataType::kF32;
  value.shape = {"T"};
  ValueId v = graph.add_input(value);
  const ValueId one = graph.add_constant("one", Tensor::scalar<float>(1));
  for (int i = 0; i < 6; ++i) v = add_real_node(graph, "Add", cat("step", i), {v, one});
  graph.outputs = {v};
  RealExecutor executor(graph, 1);
  for (const int64_t count : {5, 1000, 3}) {  // growing and shrinking: buffers are used again
    std::vector<std::pair<ValueId, Tensor>> kept;
    const auto results = executor.run({{"x", Tensor(DataType::kF32, {count})}},
                                      [&](ValueId id, const Tensor& tensor) { kept.emplace_back(id, tensor); });
    executor.run({{"x", random_tensor({count}, 9, 1)}});
    ASSERT_EQ(kept.size(), 6u);
    for (size_t i = 0; i < kept.size(); ++i) {
      EXPECT_EQ(kept[i].first, graph.nodes[i].outputs[0]);
      for (float f : kept[i].second.span<float>()) ASSERT_EQ(f, static_cast<float>(i + 1));
    }
    for (float f : results.at("step5").span<float>()) ASSERT_EQ(f, 6.0f);
  }
}

}  // namespace
}  // namespace dyadic

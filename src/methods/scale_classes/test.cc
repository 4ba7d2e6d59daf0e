#include <cmath>
#include <set>

#include "base/status.h"
#include "methods/methods.h"
#include "quantize/unary.h"
#include "recipes/toy_graphs.h"

namespace dyadic {
namespace {

constexpr int64_t kWidth = 16, kHidden = 40;

const RestructurePart& classes_part() {
  for (const auto& part : registry().restructures())
    if (part.info.name == "scale-classes") return part;
  throw std::runtime_error("no part");
}

Part part(int64_t classes = 3) { return {"scale-classes", {{"classes", classes}}}; }

int index_of(const Graph& graph, const std::string& name) {
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (graph.nodes[n].name == name) return static_cast<int>(n);
  ADD_FAILURE() << "no node " << name;
  return -1;
}

struct Toy {
  std::string function = "Gelu";
  int seconds = 1;  // products behind the function
  bool bias = true;
  bool function_is_added = false;  // something that is no product reads the function's result
  bool hidden_is_read = false;     // something else reads what goes into the function

  // x -> product whose rows differ in size -> function -> product(s)
  Graph graph(uint64_t stream = 0) const {
    test::GraphMaker m(stream);
    const ValueId x = m.input("x", {"T", kWidth});
    const Tensor w = [&] {
      Random random(test::seed(), 100 + stream);
      Tensor t = test::normal_tensor({kHidden, kWidth}, 0, 0.2, random);
      for (int64_t r = 0; r < kHidden; ++r)
        for (int64_t c = 0; c < kWidth; ++c) t.mutable_data<float>()[r * kWidth + c] *= std::exp2(float(r * 7 % 5) - 1);
      return t;
    }();
    std::vector<ValueId> inputs = {x, m.graph.add_constant("up.weight", w)};
    if (bias) inputs.push_back(m.constant("up.bias", {kHidden}, 0, 0.3));
    const ValueId h = m.node("Gemm", "up", inputs, {{"transB", int64_t{1}}});
    const ValueId g = m.node(function, "function", {h});
    ValueId result = m.linear("down", g, kHidden);
    for (int i = 1; i < seconds; ++i)
      result = m.node("Add", cat("sum", i), {result, m.linear(cat("down", i), g, kHidden)});
    if (function_is_added) result = m.node("Add", "extra", {result, g});
    if (hidden_is_read) result = m.node("Add", "extra", {result, h});
    m.graph.outputs = {result};
    return std::move(m.graph);
  }
};

Feeds feeds(uint64_t stream = 1) {
  Random random(test::seed(), stream);
  return {{"x", test::normal_tensor({50, kWidth}, 0, 1.5, random)}};
}

std::vector<float> factors(const Graph& graph, const std::string& name) {
  const Node& mul = graph.nodes[index_of(graph, name)];
  const auto f = graph.value(mul.inputs[1]).constant.span<float>();
  return {f.begin(), f.end()};
}

// Checks everything the part promises; returns the class of each hidden channel.
std::vector<int> expect_classes(const Toy& toy, int64_t classes, uint64_t stream = 0) {
  const Graph before = toy.graph(stream);
  const auto ranges = channel_ranges(before, {feeds()}, 1);
  Graph after = before;
  EXPECT_TRUE(classes_part().apply(after, index_of(after, "function"), part(classes), ranges));
  EXPECT_NO_THROW(verify_real(after));
  for (uint64_t other = 1; other < 4; ++other)
    EXPECT_LE(test::relative_difference(test::run_real(before, feeds(other)), test::run_real(after, feeds(other))),
              1e-5)
        << toy.function;

  const auto up = factors(after, "function/raised"), down = factors(after, "function/lowered");
  std::vector<int> class_of;
  for (int64_t c = 0; c < kHidden; ++c) {
    EXPECT_EQ(up[c] * down[c], 1);
    int exponent;
    EXPECT_EQ(std::frexp(up[c], &exponent), 0.5) << "not a power of two: " << up[c];
    class_of.push_back(exponent - 1);
  }
  EXPECT_TRUE(std::is_sorted(class_of.begin(), class_of.end()));
  EXPECT_GE(class_of.front(), 0);
  EXPECT_LT(class_of.back(), classes);
  return class_of;
}

TEST(ScaleClasses, KeepTheFloatFunctionOfEveryOperator) {
  for (const std::string& op : classes_part().ops)
    for (uint64_t stream = 0; stream < 3; ++stream) expect_classes({.function = op}, 3, stream);
}

TEST(ScaleClasses, AnyNumberOfClassesAndProducts) {
  for (int64_t classes : {1, 2, 4, 8}) {
    const auto class_of = expect_classes({.seconds = 2}, classes);
    EXPECT_EQ(class_of.back(), classes - 1);  // the channel of the largest need is in the last class
    if (classes == 4) {
      EXPECT_GE(std::set<int>(class_of.begin(), class_of.end()).size(), 3u);
    }
  }
  expect_classes({.bias = false}, 3);
}

TEST(ScaleClasses, EveryChannelFitsTheScaleOfItsClassAndNoSmallerOne) {
  const Graph before = Toy{}.graph();
  const auto ranges = channel_ranges(before, {feeds()}, 1);
  Graph after = before;
  classes_part().apply(after, index_of(after, "function"), part(3), ranges);
  const ChannelRange& h = ranges.at("up");
  const ChannelRange scaled = channel_ranges(after, {feeds()}, 1).at("up");
  const double low = low_saturation(before.nodes[index_of(before, "function")]);
  const auto need = [&](const ChannelRange& range, int64_t c, double unit) {
    return std::max<double>({range.hi[c], std::min<double>(-range.lo[c], -low / unit), 0});
  };
  double largest = 0;
  for (int64_t c = 0; c < kHidden; ++c) largest = std::max(largest, need(h, c, 1));
  const auto up = factors(after, "function/raised");
  for (int64_t c = 0; c < kHidden; ++c) {
    EXPECT_LE(need(scaled, c, up[c]), largest / 4 * (1 + 1e-5)) << c;
    if (up[c] > 1) {
      EXPECT_GT(need(scaled, c, up[c]), largest / 8 * (1 - 1e-5)) << c;
    }
  }
}

TEST(ScaleClasses, SortsHiddenChannelsWithoutLosingOne) {
  const Graph before = Toy{}.graph();
  Graph after = before;
  classes_part().apply(after, index_of(after, "function"), part(3), channel_ranges(before, {feeds()}, 1));
  const auto up = factors(after, "function/raised");
  const auto rows = [](const Graph& graph, const std::vector<float>& scale) {
    std::multiset<std::vector<float>> result;
    const Tensor& w = graph.value(graph.nodes[index_of(graph, "up")].inputs[1]).constant;
    for (int64_t r = 0; r < kHidden; ++r) {
      std::vector<float> row;
      for (int64_t c = 0; c < kWidth; ++c) row.push_back(w.data<float>()[r * kWidth + c] * scale[r]);
      result.insert(row);
    }
    return result;
  };
  EXPECT_EQ(rows(after, up), rows(before, std::vector<float>(kHidden, 1)));  // powers of two are exact
}

TEST(ScaleClasses, LeavesOtherSurroundingsAlone) {
  for (const Toy& toy : {Toy{.function_is_added = true}, Toy{.hidden_is_read = true}}) {
    const Graph before = toy.graph();
    Graph after = before;
    const auto ranges = channel_ranges(before, {feeds()}, 1);
    EXPECT_FALSE(classes_part().apply(after, index_of(after, "function"), part(), ranges));
    EXPECT_EQ(after.nodes.size(), before.nodes.size());
  }
  Graph output = Toy{}.graph();
  output.outputs.push_back(output.find("up"));
  EXPECT_FALSE(
      classes_part().apply(output, index_of(output, "function"), part(), channel_ranges(output, {feeds()}, 1)));
  Graph unseen = Toy{}.graph();
  EXPECT_FALSE(classes_part().apply(unseen, index_of(unseen, "function"), part(), {}));
}

TEST(ScaleClasses, ImpossibleParametersAreRefused) {
  for (int64_t classes : {-1, 0, 9}) EXPECT_THROW(classes_part().info.check(part(classes)), Error);
  EXPECT_THROW(classes_part().info.check({"scale-classes", {{"classes", 3.0}}}), Error);
}

}  // namespace
}  // namespace dyadic

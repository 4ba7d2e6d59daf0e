#include <cmath>

#include "base/status.h"
#include "methods/methods.h"
#include "recipes/toy_graphs.h"

namespace dyadic {
namespace {

constexpr int64_t kWidth = 24;

const RestructurePart& migration() {
  for (const auto& part : registry().restructures())
    if (part.info.name == "scale-migration") return part;
  throw std::runtime_error("no part");
}

Part part(double alpha = 0.7) { return {"scale-migration", {{"alpha", alpha}}}; }

int index_of(const Graph& graph, const std::string& name) {
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (graph.nodes[n].name == name) return static_cast<int>(n);
  ADD_FAILURE() << "no node " << name;
  return -1;
}

// x -> norm -> three products, two with one weight; the norm's result is also added to their sum.
Graph toy(uint64_t stream = 0, bool products = true) {
  test::GraphMaker m(stream);
  const ValueId x = m.input("x", {"T", kWidth});
  const ValueId y = m.norm("norm", x);
  ValueId sum = y;
  if (products) {
    const ValueId q = m.linear("q", y, kWidth), k = m.linear("k", y, kWidth);
    const ValueId shared = m.graph.nodes.back().inputs[1];
    const ValueId v = m.node("Gemm", "v", {y, shared}, {{"transB", int64_t{1}}});
    for (ValueId product : {q, k, v}) sum = m.node("Add", m.graph.value(product).name + "/add", {sum, product});
  } else {
    sum = m.node("Add", "add", {y, x});
  }
  m.graph.outputs = {sum};
  return std::move(m.graph);
}

Feeds feeds(uint64_t stream = 1) {
  Random random(test::seed(), stream);
  return {{"x", test::normal_tensor({37, kWidth}, 0.2, 1.5, random)}};
}

// An entry of norm's gamma (input 1) or beta (input 2), or a column of a weight, before anything has run.
void set(Graph& graph, const std::string& node, int input, int64_t column, float value) {
  Tensor& constant = graph.value(graph.nodes[index_of(graph, node)].inputs[input]).constant;
  Tensor changed(DataType::kF32, constant.dims());
  for (int64_t i = 0; i < constant.count(); ++i)
    changed.mutable_data<float>()[i] = i % constant.dims().back() == column ? value : constant.data<float>()[i];
  constant = changed;
}

std::vector<float> factors(const Graph& graph) {
  const Node& mul = graph.nodes[index_of(graph, "norm/migrated")];
  EXPECT_EQ(mul.op, "Mul");
  const auto inverse = graph.value(mul.inputs[1]).constant.span<float>();
  std::vector<float> result;
  for (float f : inverse) result.push_back(1 / f);
  return result;
}

double mean_logarithm(const std::vector<float>& factors) {
  double sum = 0;
  for (float f : factors) sum += std::log(double{f});
  return sum / static_cast<double>(factors.size());
}

double magnitude(const ChannelRange& range, int64_t c) { return std::max(-range.lo[c], range.hi[c]); }

TEST(ScaleMigration, KeepsTheFloatFunction) {
  for (double alpha : {0.0, 0.3, 0.7, 1.0})
    for (uint64_t stream = 0; stream < 3; ++stream) {
      const Graph before = toy(stream);
      Graph after = before;
      ASSERT_TRUE(migration().apply(after, index_of(after, "norm"), part(alpha), channel_ranges(before, {feeds()}, 1)));
      EXPECT_NO_THROW(verify_real(after));
      for (uint64_t other = 1; other < 4; ++other)
        EXPECT_LE(test::relative_difference(test::run_real(before, feeds(other)), test::run_real(after, feeds(other))),
                  1e-5);
      EXPECT_NEAR(mean_logarithm(factors(after)), 0, 1e-6);
    }
}

TEST(ScaleMigration, FactorsAreThoseOfTheFormula) {
  const Graph before = toy();
  const auto ranges = channel_ranges(before, {feeds()}, 1);
  Graph after = before;
  migration().apply(after, index_of(after, "norm"), part(0.6), ranges);
  std::vector<double> expected;
  for (int64_t c = 0; c < kWidth; ++c) {
    double weight = 0;
    for (const char* name : {"q", "k", "v"}) {
      const Tensor& w = before.value(before.nodes[index_of(before, name)].inputs[1]).constant;
      for (int64_t r = 0; r < kWidth; ++r)
        weight = std::max(weight, std::fabs(double{w.data<float>()[r * kWidth + c]}));
    }
    expected.push_back(std::pow(magnitude(ranges.at("norm"), c), 0.6) / std::pow(weight, 0.4));
  }
  const auto f = factors(after);
  for (int64_t c = 1; c < kWidth; ++c) EXPECT_NEAR(f[c] / f[0], expected[c] / expected[0], 1e-5 * f[c] / f[0]) << c;
}

TEST(ScaleMigration, EvensOutAnOutlierChannel) {
  Graph before = toy();
  set(before, "norm", 1, 5, 40);
  const auto ranges = channel_ranges(before, {feeds()}, 1);
  Graph after = before;
  migration().apply(after, index_of(after, "norm"), part(), ranges);
  const auto even = channel_ranges(after, {feeds()}, 1).at("norm/migrated");
  const auto spread = [](const ChannelRange& range) {
    double largest = 0, sum = 0;
    for (int64_t c = 0; c < kWidth; ++c) {
      largest = std::max(largest, magnitude(range, c));
      sum += magnitude(range, c) / kWidth;
    }
    return largest / sum;
  };
  EXPECT_GT(spread(ranges.at("norm")), 8);
  EXPECT_LT(spread(even), 4);
}

TEST(ScaleMigration, OnlyProductsReadTheMigratedValue) {
  const Graph before = toy();
  Graph after = before;
  migration().apply(after, index_of(after, "norm"), part(), channel_ranges(before, {feeds()}, 1));
  const ValueId y = after.find("norm"), scaled = after.find("norm/migrated");
  std::vector<std::string> plain, migrated;
  for (int n : after.consumers(y)) plain.push_back(after.nodes[n].name);
  for (int n : after.consumers(scaled)) migrated.push_back(after.nodes[n].name);
  EXPECT_THAT(plain, testing::UnorderedElementsAre("norm/migrated", "q/add"));
  EXPECT_THAT(migrated, testing::UnorderedElementsAre("q", "k", "v"));
}

TEST(ScaleMigration, DeadChannelsGetFiniteFactors) {
  Graph before = toy();
  for (int64_t c : {3, 7}) {  // 3: no activation and no weight; 7: no activation
    set(before, "norm", 1, c, c == 3 ? 0.0f : -6e-33f);
    set(before, "norm", 2, c, 0);
  }
  for (const char* name : {"q", "k", "v"}) set(before, name, 1, 3, 0);
  for (const char* name : {"q", "k", "v"}) set(before, name, 1, 9, 0);  // an activation, no weight
  for (double alpha : {0.0, 0.7, 1.0}) {
    Graph after = before;
    ASSERT_TRUE(migration().apply(after, index_of(after, "norm"), part(alpha), channel_ranges(before, {feeds()}, 1)));
    for (float f : factors(after)) EXPECT_TRUE(std::isfinite(f) && f > 1e-8 && f < 1e8) << f;
    EXPECT_LE(test::relative_difference(test::run_real(before, feeds(2)), test::run_real(after, feeds(2))), 1e-5);
  }
}

TEST(ScaleMigration, LeavesANormWithoutProductsAlone) {
  const Graph before = toy(0, false);
  Graph after = before;
  const auto ranges = channel_ranges(before, {feeds()}, 1);
  EXPECT_FALSE(migration().apply(after, index_of(after, "norm"), part(), ranges));
  EXPECT_EQ(after.nodes.size(), before.nodes.size());
  Graph unseen = toy();
  EXPECT_FALSE(migration().apply(unseen, index_of(unseen, "norm"), part(), {}));
}

TEST(ScaleMigration, ImpossibleParametersAreRefused) {
  for (double alpha : {-0.1, 1.1}) EXPECT_THROW(migration().info.check(part(alpha)), Error);
  EXPECT_THROW(migration().info.check({"scale-migration", {{"alpha", true}}}), Error);
  EXPECT_NO_THROW(migration().info.check({"scale-migration", {{"alpha", int64_t{1}}}}));
}

}  // namespace
}  // namespace dyadic

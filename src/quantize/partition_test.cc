#include <algorithm>
#include <set>

#include "base/status.h"
#include "methods/methods.h"
#include "quantize/lowering.h"
#include "recipes/toy_graphs.h"

namespace dyadic {
namespace {

using testing::ElementsAre;

std::vector<std::string> composites(const Partition& parts) {
  std::vector<std::string> result;
  for (const auto& [lowering, region] : parts.regions) {
    EXPECT_EQ(lowering->composite, region.composite);
    result.push_back(region.composite);
  }
  return result;
}

std::vector<std::string> names(const Graph& graph, const std::vector<int>& nodes) {
  std::vector<std::string> result;
  for (int n : nodes) result.push_back(graph.nodes[n].name);
  return result;
}

const Region& region(const Partition& parts, const std::string& name) {
  for (const auto& [lowering, region] : parts.regions)
    if (region.name == name) return region;
  throw std::runtime_error("no region " + name);
}

// Every node is in exactly one region, or uncovered; what a region reads of other regions is made by earlier ones.
void expect_partition(const Graph& graph, const Partition& parts) {
  std::multiset<int> seen(parts.uncovered.begin(), parts.uncovered.end());
  std::set<int> done(parts.uncovered.begin(), parts.uncovered.end());
  for (const auto& [lowering, region] : parts.regions) {
    const std::set<int> own(region.nodes.begin(), region.nodes.end());
    for (int n : own)
      for (ValueId v : graph.nodes[n].inputs) {
        const int p = graph.producer(v);
        EXPECT_TRUE(p < 0 || own.count(p) || done.count(p)) << region.name << " reads " << graph.value(v).name;
      }
    done.insert(own.begin(), own.end());
    seen.insert(region.nodes.begin(), region.nodes.end());
  }
  EXPECT_EQ(seen.size(), graph.nodes.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) EXPECT_EQ(seen.count(static_cast<int>(n)), 1u) << graph.nodes[n].name;
}

TEST(Partition, CoversAnEncoder) {
  const Graph graph = test::ToyEncoder{}.graph();
  const Partition parts = partition(graph);
  EXPECT_TRUE(parts.uncovered.empty());
  expect_partition(graph, parts);
  EXPECT_THAT(composites(parts),
              ElementsAre("embed_norm", "linear", "attention", "linear", "add_norm", "linear", "linear", "add_norm",
                          "linear", "attention", "linear", "add_norm", "linear", "linear", "add_norm", "pool"));
  const Region& qkv = region(parts, "encoder/layer.0/attention/self/query+key+value");
  EXPECT_THAT(names(graph, qkv.part("product")),
              ElementsAre("encoder/layer.0/attention/self/query", "encoder/layer.0/attention/self/key",
                          "encoder/layer.0/attention/self/value"));
  EXPECT_TRUE(qkv.part("chain").empty());
  EXPECT_THAT(names(graph, region(parts, "encoder/layer.1/intermediate/dense").part("chain")),
              ElementsAre("encoder/layer.1/intermediate/function"));
  EXPECT_THAT(names(graph, region(parts, "embeddings/LayerNorm").part("gather")),
              testing::UnorderedElementsAre("embeddings/words", "embeddings/types", "embeddings/positions"));
  EXPECT_THAT(names(graph, region(parts, "pooling/mean").part("normalize")), ElementsAre("normalize"));
}

TEST(Partition, FactorsOfRestructuringJoinTheirNeighbours) {
  const test::ToyEncoder toy;
  const Recipe recipe = parse_recipe(R"(
name = "both"
[[rule]]
op = "LayerNormalization"
restructure = "scale-migration"
[[rule]]
op = "Gelu"
restructure = "scale-classes"
)",
                                     "test", registry().vocabulary());
  const Graph plain = toy.graph();
  std::vector<std::string> applied, warnings;
  const Graph graph =
      restructure(plain, recipe, registry(), channel_ranges(plain, {toy.feeds(8, 1)}, 1), &applied, &warnings);
  const Partition parts = partition(graph);
  EXPECT_TRUE(parts.uncovered.empty());
  expect_partition(graph, parts);
  EXPECT_EQ(composites(parts), composites(partition(plain)));
  EXPECT_THAT(names(graph, region(parts, "embeddings/LayerNorm").part("mul")),
              ElementsAre("embeddings/LayerNorm/migrated"));
  EXPECT_THAT(names(graph, region(parts, "encoder/layer.0/intermediate/dense").part("chain")),
              ElementsAre("encoder/layer.0/intermediate/function/raised", "encoder/layer.0/intermediate/function",
                          "encoder/layer.0/intermediate/function/lowered"));
  // Two norms a layer feed products, but the last one feeds the pool only.
  EXPECT_EQ(applied.size(), 6u);
  EXPECT_TRUE(warnings.empty());
}

TEST(Partition, ProductsOfOneInputJoinUnlessAFunctionFollows) {
  test::GraphMaker m;
  const ValueId x = m.input("x", {"T", 8});
  const ValueId a = m.linear("a", x, 8), b = m.linear("b", x, 8), c = m.linear("c", x, 8);
  const ValueId g = m.node("Gelu", "g", {b});
  m.graph.outputs = {m.linear("d", g, 8), a, c};
  const Partition parts = partition(m.graph);
  expect_partition(m.graph, parts);
  ASSERT_EQ(parts.regions.size(), 3u);
  EXPECT_THAT(names(m.graph, region(parts, "a+c").nodes), ElementsAre("a", "c"));
  EXPECT_THAT(names(m.graph, region(parts, "b").nodes), ElementsAre("b", "g"));
}

TEST(Partition, ReportsWhatItCannotTake) {
  test::GraphMaker m;
  const ValueId x = m.input("x", {"T", 8}), y = m.input("y", {8, 8});
  const ValueId p = m.linear("linear", x, 8);
  const ValueId s = m.node("Softmax", "softmax", {p}, {{"axis", int64_t{-1}}});
  const ValueId computed = m.node("Gemm", "computed weight", {s, y}, {{"transB", int64_t{1}}});
  const ValueId scale = m.constant("scale", {8}, 1, 0.1);
  m.graph.outputs = {m.node("LayerNormalization", "norm of no sum", {computed, scale, scale}, {{"axis", int64_t{-1}}})};
  const Partition parts = partition(m.graph);
  expect_partition(m.graph, parts);
  EXPECT_THAT(names(m.graph, parts.uncovered), ElementsAre("softmax", "computed weight", "norm of no sum"));
}

TEST(Partition, ASumThatOthersNeedIsNotTaken) {
  for (bool is_output : {false, true}) {
    test::GraphMaker m;
    const ValueId token = m.input("token", {"T"}, DataType::kI32);
    const auto gather = [&](const std::string& name) {
      return m.node("Gather", name, {m.constant(name + ".weight", {10, 8}, 0, 1), token}, {{"axis", int64_t{0}}});
    };
    const ValueId words = gather("words"), sum = m.node("Add", "sum", {words, gather("more")});
    const ValueId y = m.norm("norm", sum), residual = m.node("Add", "residual", {m.linear("dense", y, 8), y});
    m.graph.outputs = {m.norm("last", residual)};
    if (is_output) {
      m.graph.outputs.push_back(sum);
      m.graph.outputs.push_back(residual);
    }
    const Partition parts = partition(m.graph);
    expect_partition(m.graph, parts);
    if (is_output) {
      EXPECT_THAT(composites(parts), ElementsAre("linear"));
    } else {
      EXPECT_THAT(composites(parts), ElementsAre("embed_norm", "linear", "add_norm"));
    }
  }
}

TEST(Partition, ATableAddedToItselfIsNoEmbeddingSum) {
  test::GraphMaker m;
  const ValueId token = m.input("token", {"T"}, DataType::kI32);
  const ValueId words = m.node("Gather", "words", {m.constant("table", {10, 8}, 0, 1), token}, {{"axis", int64_t{0}}});
  m.graph.outputs = {m.norm("norm", m.node("Add", "sum", {words, words}))};
  const Partition parts = partition(m.graph);
  expect_partition(m.graph, parts);
  EXPECT_THAT(names(m.graph, parts.uncovered), ElementsAre("words"));
}

}  // namespace
}  // namespace dyadic

// Recipes that keep nodes in float: what islands take along, how close they stay, and that every backend agrees.
#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/status.h"
#include "graph/c_printer.h"
#include "graph/island.h"
#include "graph/ranges.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "methods/methods.h"
#include "quantize/lowering.h"
#include "recipes/toy_graphs.h"
#include "runtime/container.h"
#include "runtime/session.h"

namespace dyadic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

Recipe parse(const std::string& text) { return parse_recipe(text, "test.toml", registry().vocabulary()); }

std::string shipped(const std::string& name) {
  return read_file(test::source_path("recipes/" + name + ".toml"), 1 << 20);
}

// The default recipe with one operator kept in float.
Recipe default_with_float(const std::string& selector, const std::string& more = "") {
  std::string text = shipped("default");
  const std::string require = "require = \"integer\"";
  text.replace(text.find(require), require.size(), "");
  return parse(text + "\n[[rule]]\n" + selector + "\napproximate = \"float\"\n" + more);
}

std::vector<Answers> answers_of(const Recipe& recipe, const Graph& graph) {
  std::vector<Answers> answers;
  for (const Node& node : graph.nodes) answers.push_back(answers_for(recipe, graph, node));
  return answers;
}

std::vector<std::string> names(const Graph& graph, const std::vector<int>& nodes) {
  std::vector<std::string> result;
  for (int n : nodes) result.push_back(graph.nodes[n].name);
  return result;
}

Quantized quantized(const test::ToyEncoder& toy, const Recipe& recipe) {
  return quantize(toy.graph(), toy.symbols(), recipe, registry(), {toy.feeds(24, 1), toy.feeds(24, 2)});
}

// Every code of every composite, of all texts of `feeds` in their order.
using Codes = std::map<std::string, std::vector<int64_t>>;
Codes run(const Model& model, const SessionOptions& options, const std::vector<Feeds>& batches) {
  Session session(std::make_shared<const Model>(model), options);
  Codes codes;
  for (const Feeds& feeds : batches)
    session.run(feeds, [&](const Node& node, size_t output, const TensorView& view) {
      auto& all = codes[cat(node.name, ":", output)];
      for (int64_t i = 0; i < view.count(); ++i)
        all.push_back(dispatch(view.type, [&](auto zero) -> int64_t { return view.as<decltype(zero)>()[i]; }));
    });
  return codes;
}

// Each text of a batch as a batch of its own.
std::vector<Feeds> one_by_one(const Feeds& feeds) {
  std::vector<Feeds> result;
  const Tensor &start = feeds.at("start"), &length = feeds.at("length");
  for (int64_t b = 0; b < start.count(); ++b) {
    Feeds one;
    for (const char* name : {"token", "position", "type"}) {
      const auto all = feeds.at(name).span<int32_t>();
      const std::vector<int32_t> part(all.begin() + start.at(b), all.begin() + start.at(b) + length.at(b));
      one[name] = Tensor::from<int32_t>({length.at(b)}, part);
    }
    one["start"] = Tensor::from<int32_t>({1}, {0});
    one["length"] = Tensor::from<int32_t>({1}, {static_cast<int32_t>(length.at(b))});
    result.push_back(std::move(one));
  }
  return result;
}

double mean_cosine(const test::ToyEncoder& toy, const Model& model) {
  const Feeds feeds = toy.feeds(16, 50);
  Session session(std::make_shared<const Model>(model), {});
  const Tensor codes = session.run(feeds).at("normalize"), real = test::run_real(toy.graph(), feeds);
  const Encoding& e = *model.main().value(model.main().find("normalize")).encoding;
  double total = 0;
  for (int64_t r = 0, n = codes.dim(1); r < codes.dim(0); ++r) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = r * n; i < (r + 1) * n; ++i) {
      const double a = real.data<float>()[i], b = static_cast<double>(codes.at(i) - e.zero_point[0]);
      ab += a * b;
      aa += a * a;
      bb += b * b;
    }
    total += ab / std::sqrt(aa * bb);
  }
  return total / static_cast<double>(codes.dim(0));
}

template <class F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kContract) << e.what();
    return e.what();
  }
  return "no error";
}

TEST(Island, TakesWhatItsCompositeWouldHaveCovered) {
  const Graph graph = test::ToyEncoder{}.graph();
  const auto island = [&](const std::string& selector, const std::string& name) {
    const Partition parts = partition(graph, answers_of(default_with_float(selector), graph));
    EXPECT_TRUE(parts.uncovered.empty()) << selector;
    for (const auto& [lowering, region] : parts.regions)
      if (region.name == name && region.composite == "island") return names(graph, region.nodes);
    return std::vector<std::string>{"no island " + name};
  };
  EXPECT_THAT(island("op = \"LayerNormalization\"", "embeddings/LayerNorm"),
              UnorderedElementsAre("embeddings/words", "embeddings/types", "embeddings/add1", "embeddings/positions",
                                   "embeddings/add2", "embeddings/LayerNorm"));
  EXPECT_THAT(island("op = \"LayerNormalization\"", "encoder/layer.0/output/LayerNorm"),
              UnorderedElementsAre("encoder/layer.0/output/add", "encoder/layer.0/output/LayerNorm"));
  EXPECT_THAT(island("op = \"Attention\"", "encoder/layer.1/attention/self"),
              ElementsAre("encoder/layer.1/attention/self"));
  EXPECT_THAT(island("op = \"Gelu\"", "encoder/layer.0/intermediate/function"),
              ElementsAre("encoder/layer.0/intermediate/function"));
  EXPECT_THAT(island("match = \"*/intermediate/dense\"", "encoder/layer.0/intermediate/dense"),
              ElementsAre("encoder/layer.0/intermediate/dense", "encoder/layer.0/intermediate/function"));
  EXPECT_THAT(island("match = \"*layer.0*/key\"", "encoder/layer.0/attention/self/key"),
              ElementsAre("encoder/layer.0/attention/self/key"));
  EXPECT_THAT(island("op = \"MeanPool\"", "pooling/mean"), UnorderedElementsAre("pooling/mean", "normalize"));
}

struct Case {
  std::string selector, more;
  size_t islands;
};
const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"op = \"LayerNormalization\"", "", 5},
      {"op = \"Attention\"", "encode.input = { affine = { bits = 16 } }", 2},
      {"op = \"Gelu\"", "encode.input = { affine = { bits = 16 } }", 2},
      {"op = \"Gelu\"", "encode.input = { affine = { symmetric = false } }", 2},
      {"match = \"*/intermediate/dense\"", "", 2},
      {"op = [\"Attention\", \"Gelu\", \"LayerNormalization\", \"MeanPool\"]",
       "encode.output = { affine = { bits = 16 } }", 10},
  };
  return all;
}

TEST(Island, EveryBackendBatchAndThreadCountGivesTheSameCodes) {
  const test::ToyEncoder toy;
  const Feeds feeds = toy.feeds(9, 7);
  for (const Case& c : cases()) {
    const Quantized q = quantized(toy, default_with_float(c.selector, c.more));
    EXPECT_EQ(float_islands(q.model).size(), c.islands) << c.selector;
    EXPECT_FALSE(is_integer_only(q.model));
    EXPECT_NO_THROW(verify_model(q.model));
    EXPECT_GE(mean_cosine(toy, q.model), 0.98) << c.selector;
    const Codes expected = run(q.model, {Backend::kEvaluator, Isa::kPortable, 1}, {feeds});
    EXPECT_EQ(run(q.model, {Backend::kTile, active_isa(), 1}, {feeds}), expected) << c.selector;
    EXPECT_EQ(run(q.model, {Backend::kKernels, active_isa(), 3}, {feeds}), expected) << c.selector;
    EXPECT_EQ(run(q.model, {Backend::kKernels, active_isa(), 1}, one_by_one(feeds)), expected) << c.selector;
  }
}

// The operators of an island as a graph of their own, which the float executor runs on its library.
Graph real_part(const Model& model, const Node& node) {
  Graph graph = model.body(node).graph;
  for (size_t i = 0; i < node.inputs.size(); ++i)
    graph.value(graph.inputs[i]).constant = model.main().value(node.inputs[i]).constant;
  std::erase_if(graph.inputs, [&](ValueId id) { return graph.value(id).is_constant(); });
  graph.outputs.clear();
  std::vector<Node> nodes;
  for (const Node& inner : graph.nodes) {
    if (inner.op == "quantize") {
      if (!graph.is_output(inner.inputs[0])) graph.outputs.push_back(inner.inputs[0]);
    } else if (inner.op == "dequantize" && graph.value(inner.inputs[0]).is_constant()) {
      const Tensor& codes = graph.value(inner.inputs[0]).constant;
      Tensor decoded(DataType::kF32, codes.dims());
      for (int64_t i = 0; i < codes.count(); ++i)
        decoded.mutable_data<float>()[i] = static_cast<float>(
            inner.number("scale") * static_cast<double>(codes.at(i) - inner.integer("zero_point", 0)));
      graph.value(inner.outputs[0]).constant = decoded;
    } else if (inner.op == "dequantize") {
      std::replace(graph.inputs.begin(), graph.inputs.end(), inner.inputs[0], inner.outputs[0]);
    } else {
      nodes.push_back(inner);
    }
  }
  graph.nodes = nodes;
  return graph;
}

TEST(Island, ResultsLieWithinTheDeclaredBound) {
  const test::ToyEncoder toy;
  const Quantized q = quantized(toy, default_with_float("op = [\"Attention\", \"LayerNormalization\", \"Gelu\"]"));
  const Graph& main = q.model.main();
  const auto proofs = prove_model(q.model);
  const Feeds feeds = toy.feeds(12, 9);
  std::map<ValueId, Tensor> codes;
  for (ValueId id : main.inputs) codes[id] = feeds.at(main.value(id).name);
  Session session(std::make_shared<const Model>(q.model), {});
  session.run(feeds, [&](const Node& node, size_t output, const TensorView& view) {
    Tensor copy(view.type, view.dims);
    std::copy_n(view.data, copy.bytes(), copy.mutable_raw());
    codes[main.nodes[&node - session.model().main().nodes.data()].outputs[output]] = copy;
  });
  int islands = 0;
  double worst = 0;
  for (size_t n = 0; n < main.nodes.size(); ++n) {
    const Node& node = main.nodes[n];
    if (node.op != "island") continue;
    ++islands;
    const Graph& body = q.model.body(node).graph;
    Feeds decoded;
    const Graph real = real_part(q.model, node);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Value& value = main.value(node.inputs[i]);
      if (value.is_constant()) continue;
      if (!value.encoding) {
        decoded[body.value(body.inputs[i]).name] = codes.at(node.inputs[i]);
        continue;
      }
      const Tensor& c = codes.at(node.inputs[i]);
      Tensor x(DataType::kF32, c.dims());
      for (int64_t e = 0; e < c.count(); ++e)
        x.mutable_data<float>()[e] =
            static_cast<float>(value.encoding->scale[0] * static_cast<double>(c.at(e) - value.encoding->zero_point[0]));
      std::string name = body.value(body.inputs[i]).name;
      decoded[name.substr(0, name.rfind(".codes"))] = x;
    }
    const auto results = RealExecutor(real, 1).run(decoded);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const Encoding& e = *main.value(node.outputs[i]).encoding;
      EXPECT_EQ(proofs[n].values[body.outputs[i]], e.codes);
      const double bound = std::get<std::vector<double>>(node.attributes.at("bound"))[i];
      const ValueId source = body.nodes[body.producer(body.outputs[i])].inputs[0];
      const Tensor &real_y = results.at(body.value(source).name), &y = codes.at(node.outputs[i]);
      for (int64_t j = 0; j < y.count(); ++j) {
        const double exact = std::clamp(real_y.data<float>()[j] / e.scale[0] + static_cast<double>(e.zero_point[0]),
                                        static_cast<double>(e.codes.lo), static_cast<double>(e.codes.hi));
        const double error = std::fabs(exact - static_cast<double>(y.at(j)));
        ASSERT_LE(error, bound) << node.name;
        worst = std::max(worst, (error - 0.5) / (bound - 0.5));
      }
    }
  }
  EXPECT_EQ(islands, 9);
  std::printf("largest error beyond rounding: %.4f of what is declared\n", worst);
}

TEST(Island, SurvivesAFile) {
  const test::ToyEncoder toy;
  const Quantized q = quantized(toy, default_with_float("op = [\"LayerNormalization\", \"Attention\", \"Gelu\"]"));
  const std::string path = test::temporary_dir() + "/islands.dyad";
  save_model(path, q.model);
  const auto loaded = load_model(path);
  EXPECT_EQ(float_islands(*loaded), float_islands(q.model));
  for (const auto& [key, body] : q.model.bodies)
    EXPECT_EQ(to_text(parse_text(to_text(body.graph), "test")), to_text(body.graph)) << key;
  const Feeds feeds = toy.feeds(5, 8);
  EXPECT_EQ(run(*loaded, {}, {feeds}), run(q.model, {}, {feeds}));
}

TEST(Island, ATableThatTheRecipeEncodesStaysCoded) {
  const test::ToyEncoder toy;
  const Quantized q = quantized(toy, default_with_float("op = \"LayerNormalization\""));
  const Graph& main = q.model.main();
  int coded = 0;
  for (const Value& value : main.values)
    if (value.is_constant() && value.name.find("embeddings") == 0 && value.name.ends_with("weight.codes")) {
      EXPECT_EQ(value.type, DataType::kI8);
      ++coded;
    }
  EXPECT_EQ(coded, 3);
}

TEST(Island, WithoutAnExecutorTheModelIsRefused) {
  const test::ToyEncoder toy;
  const Quantized q = quantized(toy, default_with_float("op = \"Gelu\""));
  const IslandFactory factory = set_island_factory(nullptr);
  EXPECT_THAT(refusal([&] { Session(std::make_shared<const Model>(q.model), {}); }),
              HasSubstr("missing island executor"));
  set_island_factory(factory);
  EXPECT_NO_THROW(Session(std::make_shared<const Model>(q.model), {}));
}

TEST(Island, IsNamedWhereIntegersAreAskedFor) {
  const test::ToyEncoder toy;
  const Quantized q = quantized(toy, default_with_float("match = \"*layer.1/intermediate/function\""));
  std::string why;
  EXPECT_FALSE(is_integer_only(q.model, &why));
  EXPECT_EQ(why, "1 float island: encoder/layer.1/intermediate/function (Mul, Gelu)");
  for (const auto& row : q.coverage)
    EXPECT_EQ(row.island, row.node.starts_with("encoder/layer.1/intermediate/function")) << row.node;
  for (const auto& [key, body] : q.model.bodies)
    if (is_island(body.graph)) {
      EXPECT_THAT(refusal([&, graph = &body.graph] { print_c(*graph, Ranges(), "gelu"); }),
                  HasSubstr("gelu is a float island"));
    }
}

TEST(Island, WhatItCannotTakeIsNamed) {
  const test::ToyEncoder toy;
  EXPECT_THAT(refusal([&] { quantized(toy, default_with_float("op = \"MeanPool\"")); }),
              HasSubstr("gives no encode.output for node pooling/mean"));
  EXPECT_THAT(refusal([&] {
                quantized(toy, default_with_float("op = \"LayerNormalization\"",
                                                  "[[rule]]\nop = \"Gather\"\n"
                                                  "encode.weight = { affine = { symmetric = false } }"));
              }),
              HasSubstr("encode.weight must be symmetric"));
}

}  // namespace
}  // namespace dyadic

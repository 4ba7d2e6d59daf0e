#include "quantize/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/file.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/ranges.h"
#include "graph/verifier.h"
#include "io/huggingface/importer.h"
#include "methods/methods.h"
#include "recipes/toy_graphs.h"
#include "runtime/session.h"

namespace dyadic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Recipe parse(const std::string& text) { return parse_recipe(text, "test.toml", registry().vocabulary()); }

const Recipe& default_recipe() {
  static const Recipe recipe = [] {
    const std::string path = test::source_path("recipes/default.toml");
    return parse_recipe(read_file(path, 1 << 20), path, registry().vocabulary());
  }();
  return recipe;
}

// The default recipe with rules behind it.
Recipe default_and(const std::string& rules) { return parse(default_recipe().text + "\n" + rules); }

Quantized quantized(const test::ToyEncoder& toy, const Recipe& recipe) {
  return quantize(toy.graph(), toy.symbols(), recipe, registry(), {toy.feeds(24, 1), toy.feeds(24, 2)});
}

struct Cosines {
  double mean = 0, least = 1;
};

// Between the rows of float results and of codes, which need no scale.
Cosines cosines(const Tensor& real, const Tensor& codes) {
  EXPECT_EQ(real.dims(), codes.dims());
  const int64_t rows = real.dim(0), n = real.dim(1);
  Cosines result;
  for (int64_t r = 0; r < rows; ++r) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t c = r * n; c < (r + 1) * n; ++c) {
      const double a = real.data<float>()[c], b = static_cast<double>(codes.at(c));
      ab += a * b;
      aa += a * a;
      bb += b * b;
    }
    const double cosine = ab / std::sqrt(aa * bb);
    result.mean += cosine / static_cast<double>(rows);
    result.least = std::min(result.least, cosine);
  }
  return result;
}

Cosines agreement(const Graph& real, const Model& model, const Feeds& feeds) {
  SessionOptions options;
  options.backend = Backend::kEvaluator;
  Session session(std::make_shared<const Model>(model), options);
  const auto results = session.run(feeds);
  return cosines(test::run_real(real, feeds), results.at(real.value(real.outputs[0]).name));
}

void expect_integer(const Quantized& q) {
  for (const CoverageRow& row : q.coverage) EXPECT_FALSE(row.composite.empty()) << row.node;
  std::string why;
  EXPECT_TRUE(is_integer_only(q.model, &why)) << why;
  EXPECT_NO_THROW(verify_model(q.model));
  EXPECT_EQ(prove_model(q.model).size(), q.model.main().nodes.size());
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

TEST(Quantize, TheTinyEncoderKeepsItsEmbeddings) {
  const ImportedModel tiny = import_huggingface(test::source_path("models/tiny-encoder"));
  std::vector<Feeds> calibration;
  for (uint64_t stream = 1; stream <= 4; ++stream)
    calibration.push_back(test::ToyEncoder::random_feeds(1000, tiny.max_length, 16, stream));
  const Quantized q = quantize(tiny.graph, tiny.symbols, default_recipe(), registry(), calibration);
  EXPECT_EQ(q.coverage.size(), tiny.graph.nodes.size() + q.restructured.size() + 2);
  expect_integer(q);
  const Cosines c = agreement(tiny.graph, q.model, test::ToyEncoder::random_feeds(1000, tiny.max_length, 12, 99));
  RecordProperty("mean_cosine", std::to_string(c.mean));
  std::printf("cosine to float: mean %.5f, least %.5f\n", c.mean, c.least);
  EXPECT_GE(c.mean, 0.98);
  EXPECT_GE(c.least, 0.95);
}

TEST(Quantize, ToyEncodersOfEveryFunction) {
  for (const char* function : {"Gelu", "Relu", "Tanh", "Sigmoid"}) {
    test::ToyEncoder toy;
    toy.function = function;
    const Quantized q = quantized(toy, default_recipe());
    expect_integer(q);
    const Cosines c = agreement(toy.graph(), q.model, toy.feeds(16, 50));
    EXPECT_GE(c.mean, 0.98) << function;
  }
}

TEST(Quantize, TheSameInputsGiveTheSameModel) {
  const test::ToyEncoder toy;
  EXPECT_EQ(model_to_json(quantized(toy, default_recipe()).model),
            model_to_json(quantized(toy, default_recipe()).model));
}

TEST(Quantize, RestructuringKeepsTheFloatFunction) {
  const test::ToyEncoder toy;
  const Graph before = toy.graph();
  std::vector<std::string> applied;
  const auto ranges = channel_ranges(before, {toy.feeds(16, 1)}, 1);
  const Graph after = restructure(before, default_recipe(), registry(), ranges, &applied, nullptr);
  EXPECT_EQ(applied.size(), 6u);
  EXPECT_LE(
      test::relative_difference(test::run_real(before, toy.feeds(16, 2)), test::run_real(after, toy.feeds(16, 2))),
      1e-5);
}

TEST(Quantize, NarrowerCodesCostAccuracy) {
  const test::ToyEncoder toy;
  const auto error = [&](const std::string& rules) {
    return 1 - agreement(toy.graph(), quantized(toy, default_and(rules)).model, toy.feeds(16, 50)).mean;
  };
  const double eight = error(""), four = error("[[rule]]\nop = \"Gemm\"\nencode.weight = { affine = { bits = 4 } }");
  EXPECT_GT(four, 4 * eight);
  EXPECT_LT(four, 0.5);
}

// Narrow multipliers behind products are exact: the scales of weights absorb them.
TEST(Quantize, MultiplierBitsGrowWeightScales) {
  const test::ToyEncoder toy;
  for (const char* granularity : {"channel", "tensor"})
    for (int bits : {4, 5, 8, 12}) {
      const Recipe recipe = default_and(cat("[[rule]]\nop = \"Gemm\"\nencode.weight = { affine = { granularity = \"",
                                            granularity, "\", multiplier_bits = ", bits, " } }\n"));
      const Quantized q = quantized(toy, recipe);
      expect_integer(q);
      const Graph& main = q.model.main();
      for (const Node& node : main.nodes) {
        if (node.op != "linear") continue;
        const auto constant = [&](size_t input) { return main.value(node.inputs[input]).constant; };
        const auto m = constant(3).to_int64();
        EXPECT_LT(*std::max_element(m.begin(), m.end()), int64_t{1} << bits) << node.name;
        EXPECT_GE(*std::max_element(m.begin(), m.end()), int64_t{1} << (bits - 1)) << node.name;
        EXPECT_GE(*std::min_element(m.begin(), m.end()), 1) << node.name;
      }
      const Cosines c = agreement(toy.graph(), q.model, toy.feeds(16, 50));
      EXPECT_GE(c.mean, bits >= 8 ? 0.98 : 0.9) << bits << " bits, one scale a " << granularity;
    }
}

TEST(Quantize, DistancesOfScoresHaveMultipliersOf32BitProducts) {
  const test::ToyEncoder toy;
  for (int bits : {0, 4, 20}) {
    const Quantized q = quantized(
        toy, default_and(cat("[[rule]]\nop = \"Attention\"\napproximate = { table-softmax = { multiplier_bits = ", bits,
                             " } }\n")));
    const Graph& main = q.model.main();
    for (const Node& node : main.nodes) {
      if (node.op != "attention") continue;
      const int64_t m = main.value(node.inputs[6]).constant.to_int64()[0];
      const int64_t s = main.value(node.inputs[7]).constant.to_int64()[0];
      if (bits > 0) {
        EXPECT_EQ(std::bit_width(static_cast<uint64_t>(m)), bits) << node.name;
      } else {
        const int64_t largest = 2 * 127 * 127 * node.integer("head_dim");
        EXPECT_LE(largest * m + (int64_t{1} << (s - 1)), int64_t{UINT32_MAX}) << node.name;
        EXPECT_GT(4 * largest * m, int64_t{UINT32_MAX}) << node.name;
      }
    }
  }
}

TEST(Quantize, MultiplierBitsOfNorms) {
  const test::ToyEncoder toy;
  for (int bits : {8, 10, 31}) {
    const Quantized q = quantized(
        toy,
        default_and(cat("[[rule]]\nop = \"LayerNormalization\"\n",
                        "approximate = { integer-layer-norm = { lane_bits = 32, multiplier_bits = ", bits, " } }\n")));
    expect_integer(q);
    const Graph& main = q.model.main();
    int outputs = 0;
    for (const Node& node : main.nodes)
      for (const ValueId input : node.inputs) {
        const Value& value = main.value(input);
        const std::string last = value.name.substr(value.name.rfind('/') + 1);
        if (node.op == "attention" || !last.starts_with("out") || !last.ends_with("_m")) continue;
        int64_t most = 0;
        for (int64_t m : value.constant.to_int64()) most = std::max(most, std::abs(m));
        EXPECT_EQ(std::bit_width(static_cast<uint64_t>(most)), bits) << value.name;
        ++outputs;
      }
    EXPECT_GT(outputs, 0);
    EXPECT_GE(agreement(toy.graph(), q.model, toy.feeds(16, 50)).mean, 0.98) << bits;
  }
}

TEST(Quantize, EveryFitServesEveryEdge) {
  const test::ToyEncoder toy;
  for (const char* fit : {"percentile", "mse", "min-max"}) {
    const Recipe recipe =
        default_and(cat("[[rule]]\nop = [\"Gemm\", \"Attention\", \"Gelu\"]\nfit = { input = \"", fit, "\" }"));
    const Quantized q = quantized(toy, recipe);
    expect_integer(q);
    EXPECT_GE(agreement(toy.graph(), q.model, toy.feeds(16, 50)).mean, 0.98) << fit;
  }
}

TEST(Quantize, AttentionRolesMayDiffer) {
  const test::ToyEncoder toy;
  const auto scale = [](const Quantized& q, const std::string& name) {
    const Graph& main = q.model.main();
    return main.value(main.find("encoder/layer.0/attention/self/" + name)).encoding->scale[0];
  };
  const Quantized plain = quantized(toy, default_recipe());
  const Quantized wide = quantized(
      toy, default_and("[[rule]]\nop = \"Attention\"\nencode.k = \"affine\"\nfit.k = { min-max = { headroom = 2 } }"));
  expect_integer(wide);
  EXPECT_EQ(scale(wide, "query"), scale(plain, "query"));
  EXPECT_DOUBLE_EQ(scale(wide, "key"), 2 * scale(plain, "key"));
  EXPECT_EQ(scale(wide, "value"), scale(plain, "value"));
}

// What the consumer says wins; the producer's answer holds where the consumer gives none.
TEST(Quantize, OutputAnswersWhereInputDoesNot) {
  const test::ToyEncoder toy;
  std::string text = default_recipe().text;
  const std::string rule = "op = \"Attention\"\nencode.input = { affine = { bits = 8 } }\n";
  const auto at = text.find(rule);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, rule.size(), "op = \"Attention\"\n");
  EXPECT_THAT(refusal([&] { quantized(toy, parse(text)); }), HasSubstr("no encode.q for node"));
  const std::string outputs =
      "[[rule]]\nop = \"Gemm\"\nencode.output = { affine = { bits = 7 } }\n"
      "fit.output = { min-max = { headroom = 3 } }\n";
  const Quantized q = quantized(toy, parse(text + outputs)), both = quantized(toy, default_and(outputs));
  expect_integer(q);
  const auto bits = [](const Quantized& made, const std::string& name) {
    return made.model.main().value(made.model.main().find(name)).encoding->bits;
  };
  EXPECT_EQ(bits(q, "encoder/layer.0/attention/self/query"), 7);
  EXPECT_EQ(bits(q, "encoder/layer.0/attention/output/dense"), 16);
  EXPECT_EQ(model_to_json(both.model), model_to_json(quantized(toy, default_recipe()).model));
}

TEST(Quantize, RulesThatMatchNothingAreWarnings) {
  const test::ToyEncoder toy;
  const Quantized q = quantized(toy, default_and("[[rule]]\nop = \"Conv\"\nencode.input = \"affine\"\n"
                                                 "[[rule]]\nmatch = \"decoder/*\"\nencode.input = \"affine\""));
  std::vector<std::string> unmatched;
  for (const auto& warning : q.warnings)
    if (warning.find("matches no node") != std::string::npos) unmatched.push_back(warning);
  EXPECT_EQ(unmatched.size(), 2u);
  const auto line = 1 + std::count(default_recipe().text.begin(), default_recipe().text.end(), '\n') + 1;
  EXPECT_THAT(unmatched[0], HasSubstr(cat("the rule of line ", line)));
  for (const auto& warning : quantized(toy, default_recipe()).warnings)
    EXPECT_EQ(warning.find("matches no node"), std::string::npos) << warning;
}

TEST(Quantize, ARestructuringThatAppliesNowhereIsAWarning) {
  const test::ToyEncoder toy;
  const auto warnings = [&](const std::string& rules) {
    std::string text = default_recipe().text;
    for (const char* line :
         {"restructure.scale-classes = { classes = 3 }", "restructure.scale-migration = { alpha = 0.7 }"})
      text.replace(text.find(line), std::string(line).size(), "");
    return quantized(toy, parse(text + rules)).warnings;
  };
  EXPECT_THAT(warnings(""), IsEmpty());
  EXPECT_THAT(warnings("\n[[rule]]\nrestructure = \"scale-migration\"\n"), IsEmpty());
  for (const char* op : {"Gemm", "Add"})
    EXPECT_THAT(warnings(cat("\n[[rule]]\nop = \"", op, "\"\nrestructure = \"scale-migration\"\n")),
                ElementsAre(HasSubstr("restructure scale-migration: none of the")));
}

// Codes with a zero point where values are one-sided: the outputs of norms and of Gelu.
TEST(Quantize, ZeroPointsOfProductInputs) {
  const test::ToyEncoder toy;
  const Quantized q = quantized(toy, default_and(R"(
[[rule]]
op = "Gemm"
encode.input = { affine = { symmetric = false } }
[[rule]]
match = "*/attention/output/dense"
encode.input = { affine = { symmetric = true } }
)"));
  expect_integer(q);
  EXPECT_GE(agreement(toy.graph(), q.model, toy.feeds(16, 50)).mean, 0.98);
  const Graph& main = q.model.main();
  const Encoding& gelu = *main.value(main.find("encoder/layer.0/intermediate/function/lowered")).encoding;
  EXPECT_LT(gelu.zero_point[0], -90);  // almost all of Gelu's values are positive
}

TEST(Quantize, AnOperatorWithoutLoweringIsNamed) {
  test::GraphMaker m;
  const ValueId x = m.input("x", {"T", 8});
  m.graph.outputs = {m.node("Softmax", "the odd one", {m.linear("dense", x, 8)}, {{"axis", int64_t{-1}}})};
  Random random(test::seed());
  const Feeds feeds = {{"x", test::normal_tensor({4, 8}, 0, 1, random)}};
  EXPECT_THAT(refusal([&] {
                quantize(m.graph, {{"T", {64, ""}}}, default_recipe(), registry(), {feeds});
              }),
              HasSubstr("node the odd one (Softmax) has no integer lowering"));
}

TEST(Quantize, AMissingAnswerIsNamed) {
  const test::ToyEncoder toy;
  const std::string bare =
      "name = \"bare\"\n[[rule]]\nop = \"Gemm\"\nencode = { weight = \"affine\", input = \"affine\" }\n";
  EXPECT_THAT(refusal([&] { quantized(toy, parse(bare)); }), HasSubstr("the recipe gives no encode.input for node "));
  std::string text = default_recipe().text;
  const auto cut = [&](const std::string& line) {
    std::string copy = text;
    const auto at = copy.find(line);
    EXPECT_NE(at, std::string::npos) << line;
    return parse(copy.replace(at, line.size(), ""));
  };
  EXPECT_THAT(refusal([&] { quantized(toy, cut("approximate = { table-softmax = { steps = 16, one = 255 } }")); }),
              HasSubstr("no softmax approximation for node encoder/layer.0/attention/self"));
  EXPECT_THAT(refusal([&] { quantized(toy, cut("approximate = \"exact-table\"")); }),
              HasSubstr("no approximation of Gelu for node encoder/layer.0/intermediate/function"));
  EXPECT_THAT(refusal([&] { quantized(toy, cut("approximate = { integer-layer-norm = { lane_bits = 16 } }")); }),
              HasSubstr("no approximation of LayerNormalization for node embeddings/LayerNorm"));
}

TEST(Quantize, WhatTheBodiesCannotTakeIsNamed) {
  const test::ToyEncoder toy;
  const std::pair<const char*, const char*> cases[] = {
      {"op = \"Gemm\"\nencode.input = { affine = { bits = 16 } }", "a product takes at most 8"},
      {"op = \"Gemm\"\nencode.input = { affine = { bits = 12 } }", "at most 8 or exactly 16 bits, not 12"},
      {"op = \"Gemm\"\nencode.weight = { affine = { bits = 9 } }", "encode.weight has 9 bits"},
      {"op = \"Gemm\"\nencode.weight = { affine = { symmetric = false } }", "encode.weight must be symmetric"},
      {"op = \"Gemm\"\nencode.input = { affine = { granularity = \"channel\" } }", "one scale for the whole tensor"},
      {"op = \"Gather\"\nencode.weight = { affine = { bits = 9 } }", "encode.weight has 9 bits"},
      {"op = \"Gather\"\nencode.weight = { affine = { multiplier_bits = 8 } }", "is for weights of products"},
      {"op = \"Gemm\"\nencode.input = { affine = { multiplier_bits = 8 } }", "is for weights of products"},
      {"op = \"Attention\"\nencode.input = { affine = { bits = 16 } }",
       "encode.q must be symmetric with at most 8 bits"},
      {"op = \"Attention\"\nencode.k = { affine = { bits = 6 } }", "results of one linear must share type"},
      {"op = \"LayerNormalization\"\nencode.input = { affine = { bits = 8 } }", "must be symmetric with 16 bits"},
      {"op = \"Add\"\nencode.input = { affine = { bits = 8 } }", "encode.input of a residual Add"},
      {"op = \"MeanPool\"\nencode.input = { affine = { bits = 8 } }", "encode.input of MeanPool"},
      {"op = \"Gelu\"\nencode.input = { affine = { bits = 16 } }", "so that it is a table"},
      {"match = \"*/query\"\nencode.input = { affine = { bits = 7 } }", "must wish one encoding of it"},
  };
  for (const auto& [rule, message] : cases) {
    const Recipe recipe = default_and(cat("[[rule]]\n", rule));
    EXPECT_THAT(refusal([&] { quantized(toy, recipe); }), HasSubstr(message)) << rule;
  }
}

TEST(Quantize, CalibrationMustBeThereAndFinite) {
  const test::ToyEncoder toy;
  EXPECT_THAT(refusal([&] { quantize(toy.graph(), toy.symbols(), default_recipe(), registry(), {}); }),
              HasSubstr("no texts"));
  Graph broken = toy.graph();
  Tensor& beta = broken.value(broken.find("embeddings/LayerNorm.bias")).constant;
  Tensor infinite(DataType::kF32, beta.dims());
  infinite.mutable_data<float>()[1] = HUGE_VALF;
  beta = infinite;
  EXPECT_THAT(refusal([&] { quantize(broken, toy.symbols(), default_recipe(), registry(), {toy.feeds(2, 1)}); }),
              HasSubstr("embeddings/LayerNorm is not finite"));
}

TEST(Quantize, AConstantThatCalibrationNeverReachesMustBeFiniteToo) {
  const test::ToyEncoder toy;
  for (float bad : {HUGE_VALF, -HUGE_VALF, NAN}) {
    Graph broken = toy.graph();
    Tensor& words = broken.value(broken.find("embeddings/words.weight")).constant;
    Tensor changed(DataType::kF32, words.dims());
    std::copy_n(words.data<float>(), words.count(), changed.mutable_data<float>());
    changed.mutable_data<float>()[7] = bad;  // row 0
    words = changed;
    Feeds feeds = toy.feeds(2, 1);
    Tensor& token = feeds.at("token");
    token = Tensor::from<int32_t>(token.dims(), std::vector<int32_t>(static_cast<size_t>(token.count()), 5));
    EXPECT_THAT(refusal([&] { quantize(broken, toy.symbols(), default_recipe(), registry(), {feeds}); }),
                HasSubstr("node embeddings/words: its weight is not finite at element 7"));
  }
}

TEST(Quantize, DeadChannelsAndConstantActivations) {
  const test::ToyEncoder toy;
  Graph graph = toy.graph();
  const auto zero = [&](const std::string& name, int64_t columns, int64_t column, float value) {
    Tensor& t = graph.value(graph.find(name)).constant;
    Tensor changed(DataType::kF32, t.dims());
    for (int64_t i = 0; i < t.count(); ++i)
      changed.mutable_data<float>()[i] = i % columns == column ? value : t.data<float>()[i];
    t = changed;
  };
  // As trained encoders have them: gammas of 1e-33 of either sign, a dead hidden unit, a dead product.
  for (const char* norm : {"encoder/layer.0/output/LayerNorm", "encoder/layer.1/output/LayerNorm"}) {
    zero(cat(norm, ".weight"), toy.width, 3, -6e-33f);
    zero(cat(norm, ".bias"), toy.width, 3, 0);
  }
  zero("encoder/layer.1/output/dense.weight", toy.hidden, 9, 0);
  for (int64_t c = 0; c < toy.width; ++c) zero("encoder/layer.1/attention/output/dense.weight", toy.width, c, 0);
  const Quantized q =
      quantize(graph, toy.symbols(), default_recipe(), registry(), {toy.feeds(24, 1), toy.feeds(24, 2)});
  expect_integer(q);
  EXPECT_GE(agreement(graph, q.model, toy.feeds(16, 50)).mean, 0.98);
}

// Against the exact norm of what the codes of both terms mean, on rows whose sum deviates by at least 1/64 of its
// codes: random ones, and constant magnitudes beside one outlier, where an error of a ratio moves every element alike.
TEST(Quantize, NormsOfResidualSumsStayWithinTheirPublishedBound) {
  const test::ToyEncoder toy;
  const Graph real = toy.graph();
  Random random(test::seed(), 7);
  for (const char* sums : {"sum_bits = 31", "sum_bits = 15", "sum_bits = 12", "lane_bits = 16"}) {
    std::string text = default_recipe().text;
    const std::string q15 = "lane_bits = 16", migration = "restructure.scale-migration = { alpha = 0.7 }";
    const bool is_q15 = sums == q15;
    text.replace(text.find(q15), q15.size(), is_q15 ? q15 : cat("multiplier_bits = 10, ", sums));
    text.erase(text.find(migration), migration.size());
    const Model model = quantized(toy, parse(text)).model;
    const Graph& main = model.main();
    int norms = 0, rows = 0;
    double worst = 0;
    for (const Node& node : main.nodes) {
      if (node.op != "add_norm") continue;
      ++norms;
      const Body& body = model.body(node);
      std::map<std::string, Tensor> operands;
      std::map<std::string, int64_t> parameter;
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const Value& value = main.value(node.inputs[i]);
        const std::string& name = body.graph.value(body.graph.inputs[i]).name;
        if (value.is_constant()) {
          operands[name] = value.constant;
          parameter[name] = value.constant.at(0);
        }
      }
      const Node& norm =
          *std::find_if(real.nodes.begin(), real.nodes.end(), [&](const Node& n) { return n.name == node.name; });
      const float *gamma = real.value(norm.inputs[1]).constant.data<float>(),
                  *beta = real.value(norm.inputs[2]).constant.data<float>();
      const double scale[] = {main.value(node.inputs[0]).encoding->scale[0],
                              main.value(node.inputs[1]).encoding->scale[0]};
      // Steps of the sum in a step of each term, as the model has them.
      const auto ratio_of = [&](const std::string& name) {
        return std::ldexp(parameter[name + "_m"], is_q15 ? -15 : -static_cast<int>(parameter[name + "_s"]) - 8);
      };
      const double ratio[] = {ratio_of("sublayer"), ratio_of("identity")};
      const auto& bounds = std::get<std::vector<double>>(node.attributes.at("bound"));
      const int64_t n = real.value(norm.inputs[1]).constant.count();
      for (int trial = 0; trial < 200; ++trial) {
        std::vector<int16_t> codes[2];
        const double amplitude = std::ldexp(1, 8 + static_cast<int>(random.below(7)));
        for (int term = 0; term < 2; ++term)
          for (int64_t c = 0; c < n; ++c) {
            double x = trial % 2 ? amplitude * test::normal(random) : term ? 0 : c % 2 ? amplitude : -amplitude;
            if (trial % 2 == 0 && c == 0) x = term ? amplitude * std::sqrt(n) : 0;
            codes[term].push_back(static_cast<int16_t>(std::clamp(x / ratio[term], -32767.0, 32767.0)));
          }
        std::vector<double> sum;
        double mean = 0, square = 0, largest = 0;
        for (int64_t c = 0; c < n; ++c) {
          sum.push_back(codes[0][c] * scale[0] + codes[1][c] * scale[1]);
          mean += sum.back() / static_cast<double>(n);
          largest = std::max(largest, std::fabs(codes[0][c] * ratio[0] + codes[1][c] * ratio[1]));
        }
        for (double x : sum) square += (x - mean) * (x - mean);
        const double deviation = std::sqrt(square / static_cast<double>(n)), step = scale[1] / ratio[1];
        if (deviation < 512 * step || largest > 32766) continue;
        ++rows;
        for (int term = 0; term < 2; ++term)
          operands[term ? "identity" : "sublayer"] = Tensor::from<int16_t>({1, n}, codes[term]);
        std::vector<Tensor> inputs;
        for (ValueId id : body.graph.inputs) inputs.push_back(operands.at(body.graph.value(id).name));
        const std::vector<Tensor> results = evaluate(body.graph, inputs);
        for (size_t j = 0; j < results.size(); ++j) {
          const Encoding& e = *main.value(node.outputs[j]).encoding;
          for (int64_t c = 0; c < n; ++c) {
            const double want = ((sum[c] - mean) / deviation * gamma[c] + beta[c]) / e.scale[0];
            if (std::fabs(want) > static_cast<double>(e.codes.hi)) continue;
            const double error = std::fabs(want - static_cast<double>(results[j].at(c)));
            EXPECT_LE(error, bounds[j]) << node.name << ", " << sums << ", output " << j;
            worst = std::max(worst, error / bounds[j]);
          }
        }
      }
    }
    EXPECT_EQ(norms, 4);
    EXPECT_GT(rows, 100);
    std::printf("%s: %d rows, largest error %.3f of what is published\n", sums, rows, worst);
  }
}

}  // namespace
}  // namespace dyadic

#include <cmath>

#include "base/file.h"
#include "base/status.h"
#include "methods/methods.h"
#include "recipes/toy_graphs.h"
#include "runtime/session.h"

namespace dyadic {
namespace {

using testing::HasSubstr;

Recipe recipe_and(const std::string& rules) {
  const std::string path = test::source_path("recipes/default.toml");
  return parse_recipe(read_file(path, 1 << 20) + "\n" + rules, path, registry().vocabulary());
}

const char* const kCorrected = "[[rule]]\nop = \"Gemm\"\nfit.bias = \"bias-correction\"\n";
// Coarse weights, so that there is a bias to correct.
const char* const kCoarse = "[[rule]]\nop = \"Gemm\"\nencode.weight = { affine = { bits = 4 } }\n";

// Mean of each channel of a Value over all rows, as the integer model computes it, in real numbers.
std::vector<double> integer_means(const Model& model, const std::vector<Feeds>& batches, const std::string& value) {
  Session session(std::make_shared<const Model>(model), {});
  const Graph& main = model.main();
  std::vector<double> sum;
  int64_t rows = 0;
  for (const Feeds& feeds : batches)
    session.run(feeds, [&](const Node& node, size_t output, const TensorView& codes) {
      const Value& v = main.value(node.outputs[output]);
      if (v.name != value) return;
      const int64_t n = codes.dims.back(), count = element_count(codes.dims);
      sum.resize(static_cast<size_t>(n));
      const auto* p = reinterpret_cast<const int16_t*>(codes.data);
      for (int64_t i = 0; i < count; ++i) sum[static_cast<size_t>(i % n)] += v.encoding->scale[0] * p[i];
      rows += count / n;
    });
  for (double& s : sum) s /= static_cast<double>(rows);
  return sum;
}

std::vector<double> real_means(const Graph& real, const std::vector<Feeds>& batches, const std::string& value) {
  RealExecutor executor(real, 1);
  std::vector<double> sum;
  int64_t rows = 0;
  for (const Feeds& feeds : batches)
    executor.run(feeds, [&](ValueId id, const Tensor& t) {
      if (real.value(id).name != value) return;
      const int64_t n = t.dims().back();
      sum.resize(static_cast<size_t>(n));
      for (int64_t i = 0; i < t.count(); ++i) sum[static_cast<size_t>(i % n)] += double{t.data<float>()[i]};
      rows += t.count() / n;
    });
  for (double& s : sum) s /= static_cast<double>(rows);
  return sum;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double square = 0;
  for (size_t i = 0; i < a.size(); ++i) square += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(square / static_cast<double>(a.size()));
}

// On the calibration texts themselves the mean of a corrected product is the float one, up to its rounding to codes.
TEST(BiasCorrection, MeansOfProductsAreThoseOfFloat) {
  const test::ToyEncoder toy;
  const Graph real = toy.graph();
  const std::vector<Feeds> batches = {toy.feeds(24, 1), toy.feeds(24, 2)};
  const Quantized plain = quantize(real, toy.symbols(), recipe_and(kCoarse), registry(), batches);
  const Quantized corrected =
      quantize(real, toy.symbols(), recipe_and(std::string(kCoarse) + kCorrected), registry(), batches);
  EXPECT_EQ(plain.model.main().nodes.size(), corrected.model.main().nodes.size());
  for (const std::string value :
       {"encoder/layer.0/attention/output/dense", "encoder/layer.0/output/dense", "encoder/layer.1/output/dense"}) {
    const auto expected = real_means(real, batches, value);
    const double before = distance(integer_means(plain.model, batches, value), expected);
    const double after = distance(integer_means(corrected.model, batches, value), expected);
    EXPECT_LE(after, 1e-3) << value;  // half a step of the accumulator and of the code
    EXPECT_GE(before, 20 * after) << value;
  }
}

TEST(BiasCorrection, OnlyBiasesChange) {
  const test::ToyEncoder toy;
  const std::vector<Feeds> batches = {toy.feeds(8, 1)};
  const Model plain = quantize(toy.graph(), toy.symbols(), recipe_and(""), registry(), batches).model;
  const Model corrected = quantize(toy.graph(), toy.symbols(), recipe_and(kCorrected), registry(), batches).model;
  int64_t changed = 0;
  ASSERT_EQ(plain.main().values.size(), corrected.main().values.size());
  for (size_t i = 0; i < plain.main().values.size(); ++i) {
    const Value &a = plain.main().values[i], &b = corrected.main().values[i];
    ASSERT_EQ(a.name, b.name);
    if (!a.is_constant() || a.constant.to_int64() == b.constant.to_int64()) continue;
    EXPECT_THAT(a.name, testing::EndsWith("/bias"));
    ++changed;
  }
  EXPECT_EQ(changed, 8);  // four composites of products a layer
}

TEST(BiasCorrection, OtherQuestionsDoNotKnowIt) {
  const auto refused = [](const std::string& rules) {
    try {
      recipe_and(rules);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(refused("[[rule]]\nfit.input = \"bias-correction\""),
              HasSubstr("unknown part 'bias-correction' for 'fit'"));
  EXPECT_THAT(refused("[[rule]]\nfit.bias = \"min-max\""), HasSubstr("unknown part 'min-max' for 'fit.bias'"));
  EXPECT_THAT(refused("[[rule]]\nencode.bias = \"affine\""), HasSubstr("unknown role 'bias' in 'encode'"));
}

TEST(BiasCorrection, OnlyProductsHaveABiasToCorrect) {
  const test::ToyEncoder toy;
  for (const char* rule : {"op = \"LayerNormalization\"", "op = [\"Gemm\", \"Gelu\"]", ""}) {
    const Recipe recipe = recipe_and(cat("[[rule]]\n", rule, "\nfit.bias = \"bias-correction\"\n"));
    try {
      quantize(toy.graph(), toy.symbols(), recipe, registry(), {toy.feeds(8, 1)});
      ADD_FAILURE() << rule;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kContract);
      EXPECT_THAT(e.what(), HasSubstr("fit.bias corrects products, which this is not part of")) << rule;
    }
  }
}

}  // namespace
}  // namespace dyadic

#include "quantize/explain.h"

#include <cmath>
#include <cstring>

#include "base/file.h"
#include "base/status.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "methods/methods.h"
#include "quantize/repair.h"
#include "quantize/unary.h"
#include "quantize/unrounded.h"
#include "recipes/toy_graphs.h"

namespace dyadic {
namespace {

using testing::HasSubstr;

Recipe default_and(const std::string& rules) {
  const std::string path = test::source_path("recipes/default.toml");
  return parse_recipe(read_file(path, 1 << 20) + "\n" + rules, path, registry().vocabulary());
}

const test::ToyEncoder& toy() {
  static const test::ToyEncoder encoder;
  return encoder;
}

Quantized quantized(const Recipe& recipe) {
  return quantize(toy().graph(), toy().symbols(), recipe, registry(), {toy().feeds(24, 1), toy().feeds(24, 2)});
}

Relowered again(const Quantized& q, const Recipe& recipe) {
  return lower_again(toy().graph(), toy().symbols(), recipe, registry(), q.calibration);
}

std::map<std::string, LayerLoss> explained(const std::string& rules) {
  const Recipe recipe = default_and(rules);
  const Quantized q = quantized(recipe);
  std::map<std::string, LayerLoss> losses;
  for (const LayerLoss& loss : explain_layers(std::make_shared<const Model>(q.model), again(q, recipe),
                                              {toy().feeds(6, 7), toy().feeds(6, 8)}, 1))
    losses[loss.name] = loss;
  return losses;
}

template <class F>
std::string refusal(ErrorKind kind, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "no error";
}

constexpr char kQuery[] = "encoder/layer.0/attention/self/query+key+value";
constexpr char kAttention[] = "encoder/layer.0/attention/self";
constexpr char kDense[] = "encoder/layer.1/output/dense";

TEST(Explain, PartsSumToTheTotalOfEveryLayer) {
  const auto losses = explained("");
  EXPECT_EQ(losses.size(), 1u + 7 * 2 + 1);
  for (const auto& [name, l] : losses) {
    EXPECT_LE(l.residual, 1e-6) << name;
    EXPECT_NEAR(l.weight + l.approximation + l.clipping + l.requantization, 1, 1e-6) << name;
    EXPECT_GT(l.total, 0) << name;
    EXPECT_LT(l.total, 0.02) << name;
    EXPECT_NEAR(l.sqnr_db, -10 * std::log10(l.total), 1e-9) << name;
    // For small errors, 1 - cosine is at most half the relative energy of the error.
    EXPECT_LE(1 - l.cosine, 0.55 * l.total) << name;
    EXPECT_GE(l.cosine_to_float, 0.97) << name;
  }
  EXPECT_EQ(losses.at("embeddings/LayerNorm").propagated, 0) << "nothing comes before the first layer";
  EXPECT_GT(losses.at(kDense).propagated, 0);
}

// A fault of one kind, planted by a rule, must be told as that kind, at that layer.
TEST(Explain, APlantedFaultIsNamed) {
  const auto sound = explained("");
  const auto weight = explained(
      "[[rule]]\nmatch = \"encoder/layer.0/attention/self/*\"\nop = \"Gemm\"\nencode.weight = { affine = { bits = 3 } "
      "}");
  EXPECT_GT(weight.at(kQuery).weight, 0.9);
  EXPECT_GT(weight.at(kQuery).total, 20 * sound.at(kQuery).total);
  const auto approximation =
      explained("[[rule]]\nmatch = \"" + std::string(kAttention) + "\"\napproximate = { table-softmax = { one = 4 } }");
  EXPECT_GT(approximation.at(kAttention).approximation, 0.9);
  EXPECT_GT(approximation.at(kAttention).total, 20 * sound.at(kAttention).total);
  const auto clipping =
      explained("[[rule]]\nmatch = \"" + std::string(kAttention) + "\"\nfit.input = { percentile = { percent = 75 } }");
  EXPECT_GT(clipping.at(kQuery).clipping, 0.9);
  EXPECT_GT(clipping.at(kQuery).total, 20 * sound.at(kQuery).total);
  const auto coarse =
      explained("[[rule]]\nmatch = \"" + std::string(kAttention) + "\"\nencode.input = { affine = { bits = 4 } }");
  EXPECT_GT(coarse.at(kQuery).requantization, 0.9);
  EXPECT_GT(coarse.at(kQuery).total, 20 * sound.at(kQuery).total);
}

// The bias of a zero point and the clamp of a table are in the parameters: decoded, they must not look like a loss.
TEST(Explain, ZeroPointsAreNoLoss) {
  const auto losses = explained(
      "[[rule]]\nop = \"Gemm\"\nencode.input = { affine = { symmetric = false } }\n"
      "[[rule]]\nmatch = \"*/attention/output/dense\"\nencode.input = { affine = { symmetric = true } }");
  for (const auto& [name, l] : losses) {
    EXPECT_LT(l.total, 0.02) << name;
    EXPECT_NEAR(l.weight + l.approximation + l.clipping + l.requantization, 1, 1e-6) << name;
  }
}

TEST(Explain, TheModelIsMadeAgainWithoutTexts) {
  const Recipe recipe = default_and("");
  Quantized q = quantized(recipe);
  q.calibration = read_calibration(calibration_assets(q.calibration), "test");
  const Relowered made = again(q, recipe);
  EXPECT_EQ(model_to_json(made.model), model_to_json(q.model));
  const Graph& main = made.model.main();
  for (const Value& value : q.model.main().values)
    EXPECT_TRUE(!value.is_constant() || value.constant == main.value(main.find(value.name)).constant) << value.name;
}

TEST(Explain, AnotherReferenceIsRefused) {
  const Recipe recipe = default_and("");
  const Quantized q = quantized(recipe);
  Graph other = toy().graph();
  for (Value& value : other.values)
    if (value.name == "encoder/layer.0/output/dense.bias") {
      Tensor changed = Tensor::from<float>(value.constant.dims(),
                                           {value.constant.span<float>().begin(), value.constant.span<float>().end()});
      changed.mutable_data<float>()[3] += 1e-3f;
      value.constant = changed;
    }
  EXPECT_THAT(
      refusal(ErrorKind::kContract, [&] { lower_again(other, toy().symbols(), recipe, registry(), q.calibration); }),
      HasSubstr("not the model that was quantized"));
  Calibration narrow = q.calibration;
  ASSERT_FALSE(narrow.ranges.empty());
  narrow.ranges.begin()->second.lo.pop_back();
  narrow.ranges.begin()->second.hi.pop_back();
  EXPECT_THAT(
      refusal(ErrorKind::kContract, [&] { lower_again(toy().graph(), toy().symbols(), recipe, registry(), narrow); }),
      HasSubstr("channels for"));
  const Relowered mixed = lower_again(toy().graph(), toy().symbols(), recipe, registry(), q.calibration);
  Model renamed = q.model;
  renamed.main().nodes[2].name += "x";
  EXPECT_THAT(refusal(ErrorKind::kContract,
                      [&] { explain_layers(std::make_shared<const Model>(renamed), mixed, {toy().feeds(2, 1)}, 1); }),
              HasSubstr("composites differ"));
}

TEST(Explain, DamagedCalibrationsAreRefused) {
  const auto good = calibration_assets(quantized(default_and("")).calibration);
  EXPECT_THAT(refusal(ErrorKind::kContract, [&] { read_calibration({}, "m.dyad"); }),
              HasSubstr("quantize the model again"));
  const auto with = [&](const std::string& name, const std::string& text) {
    auto assets = good;
    Tensor bytes(DataType::kU8, {static_cast<int64_t>(text.size())});
    std::memcpy(bytes.mutable_raw(), text.data(), text.size());
    assets[name] = bytes;
    return assets;
  };
  const auto read = [&](const std::map<std::string, Tensor>& assets) {
    return refusal(ErrorKind::kMalformed, [&] { read_calibration(assets, "m.dyad"); });
  };
  const std::string head = R"({"version":1,"source":"0","ranges":[],"edges":)";
  EXPECT_THAT(read(with("calibration.f32", "abc")), HasSubstr("calibration.f32: ends at byte 3"));
  EXPECT_THAT(read(with("calibration.json", "{")), HasSubstr("m.dyad: calibration.json"));
  EXPECT_THAT(read(with("calibration.json", R"({"version":2})")), HasSubstr("version"));
  EXPECT_THAT(read(with("calibration.json", head + "[]}")), HasSubstr("bytes too many behind byte 0"));
  for (const char* edge :
       {R"({"value":"v","scale":[0],"zero_point":[0]})", R"({"value":"v","scale":["x"],"zero_point":[0]})",
        R"({"value":"v","scale":[1],"zero_point":[0.5]})", R"({"value":"v","scale":[1],"zero_point":[]})"}) {
    auto assets = with("calibration.json", head + "[" + edge + "]}");
    assets["calibration.f32"] = Tensor(DataType::kU8, {0});
    EXPECT_THAT(read(assets), HasSubstr("v")) << edge;
  }
}

TEST(Repair, AClippedEdgeIsGivenItsRangeBack) {
  const std::string fault =
      "[[rule]]\nmatch = \"" + std::string(kAttention) + "\"\nfit.input = { percentile = { percent = 75 } }\n";
  const Recipe recipe = default_and(fault);
  const Quantized q = quantized(recipe);
  const Relowered made = again(q, recipe);
  const std::vector<Feeds> data = {toy().feeds(6, 7)};
  const auto losses = explain_layers(std::make_shared<const Model>(q.model), made, data, 1);
  const auto repairs = propose_repairs(losses, made, recipe, registry());
  ASSERT_FALSE(repairs.empty());
  EXPECT_THAT(repairs[0].layers, testing::ElementsAre(kQuery)) << "its sister in layer 1 is sound";
  const auto found = std::find_if(repairs.begin(), repairs.end(), [](const Repair& r) {
    return r.what == "min-max fit of the result of " + std::string(kQuery);
  });
  ASSERT_NE(found, repairs.end());
  EXPECT_EQ(found->rule, "[[rule]]\nmatch = \"" + std::string(kAttention) +
                             "\"\nfit.k = \"min-max\"\nfit.q = \"min-max\"\n"
                             "fit.v = \"min-max\"\n");
  const auto sound = explained(""), broken = explained(fault), repaired = explained(fault + found->rule);
  EXPECT_GT(broken.at(kQuery).total, 20 * sound.at(kQuery).total);
  EXPECT_NEAR(repaired.at(kQuery).total, sound.at(kQuery).total, 0.1 * sound.at(kQuery).total);
}

// A rehearsal says what quantizing would say, without its cost.
TEST(Repair, RehearsalsTellWhatQuantizingRefuses) {
  const Recipe recipe = default_and("");
  const Quantized q = quantized(recipe);
  const Relowered made = again(q, recipe);
  const auto losses = explain_layers(std::make_shared<const Model>(q.model), made, {toy().feeds(6, 7)}, 1);
  const auto repairs = propose_repairs(losses, made, recipe, registry());
  EXPECT_GE(repairs.size(), 8u);
  int refused = 0;
  std::string all;
  for (const Repair& repair : repairs) {
    all += repair.what + '\n';
    const Recipe tried = default_and(repair.rule);
    const auto why = rehearse(toy().graph(), toy().symbols(), tried, registry(), q.calibration);
    if (!why) {
      EXPECT_NO_THROW(quantized(tried)) << repair.rule;
      continue;
    }
    ++refused;
    EXPECT_NE(refusal(ErrorKind::kContract, [&] { quantized(tried); }), "no error") << repair.rule << *why;
  }
  EXPECT_GT(refused, 0);
  for (const char* what : {"zero point for the result of", "mse fit of", "16 bits for", "4 scale classes in"})
    EXPECT_THAT(all, HasSubstr(what));
}

// y and A (as a real number) of a body of one i32 input x.
std::pair<std::vector<int64_t>, std::vector<double>> both(const Graph& body, Interval codes,
                                                          const std::vector<int32_t>& x) {
  const Graph finer = with_unrounded_outputs(body, {codes}, {});
  const auto results = evaluate(finer, std::vector{Tensor::from<int32_t>({static_cast<int64_t>(x.size())}, x)});
  std::pair<std::vector<int64_t>, std::vector<double>> result{results[0].to_int64(), {}};
  for (int64_t v : results[1].to_int64()) result.second.push_back(std::ldexp(static_cast<double>(v), -kUnroundedBits));
  return result;
}

const std::vector<int32_t> kNumbers = {-100000, -999, -3, -1, 0, 1, 2, 5, 7, 1234, 99999};

void expect_unrounded(const Graph& body, const std::function<double(double)>& real, double rounding = 0.5) {
  const auto [y, a] = both(body, {-127, 127}, kNumbers);
  for (size_t i = 0; i < kNumbers.size(); ++i) {
    EXPECT_NEAR(a[i], real(kNumbers[i]), 0x1p-19) << kNumbers[i];
    EXPECT_LE(std::fabs(static_cast<double>(y[i]) - std::clamp(a[i], -127.0, 127.0)), rounding + 0x1p-19)
        << kNumbers[i];
  }
}

TEST(Unrounded, RoundingsAreTakenExactly) {
  const auto body = [](const std::function<Var(BodyBuilder&, Var)>& tail) {
    BodyBuilder b("test");
    const Var x = b.input("x", DataType::kI32, {"T"}, {-1000000, 1000000});
    b.output(b.cast(b.clamp(tail(b, x), -127, 127), DataType::kI8), "y");
    return b.build();
  };
  const int64_t m = 1234567891;
  for (int s : {34, 40, 24, 12})
    expect_unrounded(
        body([&](BodyBuilder& b, Var x) { return b.add(b.mul_shift(x, s < 20 ? 17 : m, s, DataType::kI64), 11); }),
        [&](double x) { return std::ldexp(x * static_cast<double>(s < 20 ? 17 : m), -s) + 11; });
  expect_unrounded(body([](BodyBuilder& b, Var x) { return b.shr(b.mul(x, 3), 8); }),
                   [](double x) { return x * 3 / 256; });
  expect_unrounded(body([](BodyBuilder& b, Var x) { return b.shr(b.add(x, 128), 8, Rounding::kFloor); }),
                   [](double x) { return x / 256; });
  expect_unrounded(body([](BodyBuilder& b, Var x) { return b.div(b.add(x, 35), 70); }),
                   [](double x) { return x / 70; });
  expect_unrounded(
      body([](BodyBuilder& b, Var x) {
        return b.sub(b.mul_shift(x, 3, 5, DataType::kI32), b.mul_shift(x, 5, 7, DataType::kI32));
      }),
      [](double x) { return x * 3 / 32 - x * 5 / 128; }, 1);
}

TEST(Unrounded, WhatIsNoRoundingStandsForItself) {
  BodyBuilder b("test");
  const Var x = b.input("x", DataType::kI32, {"T"}, {-1000000, 1000000});
  const Var relu = b.clamp(b.mul_shift(x, 3, 10, DataType::kI32), 0, 127);  // cuts codes that occur: a function
  b.output(b.cast(b.max(b.abs(relu), 3), DataType::kI16), "y");
  const auto [y, a] = both(b.build(), {-127, 127}, kNumbers);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(a[i], static_cast<double>(y[i]));

  BodyBuilder c("test");
  const Var z = c.input("x", DataType::kI32, {"T"}, {-1000000, 1000000});
  c.output(c.cast(c.clamp(c.mul_shift(z, 3, 10, DataType::kI32), 0, 127), DataType::kI8), "y");
  const auto [yc, ac] = both(c.build(), {-127, 127}, {-5000, 1000, 99999});
  EXPECT_EQ(ac[0], 0);
  EXPECT_NEAR(ac[1], 3000.0 / 1024, 0x1p-19);
  EXPECT_EQ(ac[2], 127);
}

TEST(Unrounded, TablesAreSeenBeforeTheirRounding) {
  Node gelu;
  gelu.op = "Gelu";
  UnaryRequest request;
  request.node = &gelu;
  request.function = *unary_function(gelu);
  request.in_scale = 0.05;
  request.out_scale = 0.02;  // the largest entries are clipped
  request.out_zero = -100;
  const UnaryPart& part = *registry().unary("exact-table");
  const auto exact = unrounded_table(part, {"exact-table", {}}, request);
  const auto codes = part.table({"exact-table", {}}, request);
  for (int i = 0; i < 256; ++i) {
    EXPECT_NEAR(exact[i], request.function(0.05 * (i - 128)) / 0.02 - 100, 1.0 / 128) << i;
    EXPECT_LE(std::fabs(std::clamp(exact[i], -127.0, 127.0) - codes[i]), 0.5 + 1.0 / 128) << i;
  }
}

}  // namespace
}  // namespace dyadic

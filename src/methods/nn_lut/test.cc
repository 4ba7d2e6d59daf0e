#include <cmath>
#include <numbers>
#include <numeric>

#include "base/file.h"
#include "body_examples.h"
#include "methods/methods.h"
#include "methods/nn_lut/piecewise_linear.h"
#include "quantize/unary.h"
#include "recipes/toy_graphs.h"
#include "runtime/tile/tile_program.h"
#include "support.h"

namespace dyadic {
namespace {

using nn_lut::PiecewiseLinear;
using nn_lut::Shape;
using nn_lut::Table;
using testing::ElementsAre;

constexpr Interval kI16{-32768, 32767};

double gelu(double x) { return x / 2 * std::erfc(-x / std::numbers::sqrt2); }

Node node(const std::string& op) {
  Node n;
  n.op = op;
  return n;
}

Part part(std::map<std::string, Parameter> parameters) { return {"nn-lut", std::move(parameters)}; }
const UnaryPart& nn_lut_part() { return *registry().unary("nn-lut"); }

std::vector<int64_t> run(const Body& body, const std::vector<int32_t>& x) {
  const Tensor input = Tensor::from<int32_t>({static_cast<int64_t>(x.size())}, x);
  return evaluate(body.graph, {&input, 1})[0].to_int64();
}

std::vector<int32_t> all(Interval range) {
  std::vector<int32_t> x(static_cast<size_t>(range.hi - range.lo + 1));
  std::iota(x.begin(), x.end(), static_cast<int32_t>(range.lo));
  return x;
}

// 12 fraction bits in and out: int16 x in [-8, 8).
Body q12(const Table& table) { return nn_lut::table_body(table, kI16, std::ldexp(1.0, -14), 0, kI16); }

// A table for GELU of 16 lines with integers of 12 fraction bits: lines 0..7, and their mirror image g(x) = x + g(-x).
Table reference_table() {
  const std::vector<int64_t> d = {823, 1834, 2983, 4458, 7909, 10579, 15216},
                             s = {0, -152, -970, -2024, -884, 1366, 4113, 7115},
                             t = {0, -2313099, -10967159, -19302839, -14220282, -7509220, -2470829, 0};
  Table table{{}, s, t};
  for (size_t i = d.size(); i-- > 0;) table.threshold.push_back(-d[i]);
  table.threshold.push_back(0);
  table.threshold.insert(table.threshold.end(), d.begin(), d.end());
  for (size_t i = s.size(); i-- > 0;) {
    table.slope.push_back(16384 - s[i]);
    table.intercept.push_back(t[i]);
  }
  return table;
}

struct Errors {
  double largest = 0, mean = 0;
};
Errors q12_errors(const Body& body) {
  const auto x = all(kI16);
  const auto y = run(body, x);
  Errors e;
  for (size_t i = 0; i < x.size(); ++i) {
    const double error = std::fabs(static_cast<double>(y[i]) / 4096 - gelu(x[i] / 4096.0));
    e.largest = std::max(e.largest, error);
    e.mean += error / static_cast<double>(x.size());
  }
  return e;
}

TEST(NnLut, TheIntegersOfAGivenTable) {
  const Body body = q12(reference_table());
  EXPECT_EQ(body.key(), "nn_lut@1:c816b9986be85aee") << "whatever compiler made this program (graph/bodies/test.cc)";
  EXPECT_THAT(run(body, {-32768, -8192, -4096, 0, 2048, 4096, 12288, 32767}),
              ElementsAre(0, -184, -647, 0, 1419, 3449, 12261, 32767));
  const Errors e = q12_errors(body);
  EXPECT_NEAR(e.largest, 2.9e-3, 0.05e-3);
  EXPECT_NEAR(e.mean, 7.6e-4, 0.05e-4);
  const auto y = run(body, all(kI16));
  for (int64_t v = 1; v < 32768; ++v) ASSERT_LE(std::abs(y[32768 + v] - y[32768 - v] - v), 1) << v;
}

TEST(NnLut, TheFitOfGeluIsAsGoodAsTheDirectMethodAllows) {
  const std::pair<int, double> published[] = {{8, 1.3e-2}, {16, 3.1e-3}, {32, 7.4e-4}};
  for (const auto& [entries, bound] : published) {
    const PiecewiseLinear f = nn_lut::fit(gelu, nn_lut::shapes().at("Gelu"), entries);
    ASSERT_EQ(f.knots.size() + 1, static_cast<size_t>(entries));
    ASSERT_EQ(f.lines.size(), static_cast<size_t>(entries));
    double error = 0;
    for (double x = -5; x <= 5; x += 1e-4) error = std::max(error, std::fabs(f(x) - gelu(x)));
    std::printf("%d entries: largest error %.3g\n", entries, error);
    EXPECT_LT(error, 1.5 * bound) << entries;
  }
}

TEST(NnLut, FitsAreContinuousAndKeepTheirPins) {
  for (const std::string& op : nn_lut_part().ops)
    for (int entries : {4, 5, 8, 15, 16, 33, 64}) {
      const Shape& shape = nn_lut::shapes().at(op);
      const auto function = *unary_function(node(op));
      const PiecewiseLinear f = nn_lut::fit(function, shape, entries);
      for (size_t k = 0; k < f.knots.size(); ++k) {
        const double d = f.knots[k];
        ASSERT_TRUE(k == 0 || d > f.knots[k - 1]) << op << " " << entries;
        EXPECT_NEAR(f.lines[k].slope * d + f.lines[k].intercept, f.lines[k + 1].slope * d + f.lines[k + 1].intercept,
                    1e-12);
      }
      EXPECT_DOUBLE_EQ(f(0), function(0));
      EXPECT_EQ(f(-1e6), shape.left.slope * -1e6 + shape.left.intercept);
      EXPECT_EQ(f(1e6), shape.right.slope * 1e6 + shape.right.intercept);
    }
}

TEST(NnLut, IntegersOfSixteenBitsStayNearTheFunction) {
  const Table table = nn_lut::integers(nn_lut::fit(gelu, nn_lut::shapes().at("Gelu"), 16), 1.0 / 4096, kI16);
  ASSERT_EQ(table.threshold.size(), 15u);
  for (int64_t s : table.slope) EXPECT_TRUE(kI16.contains({s, s})) << s;
  const Body body = q12(table);
  const Errors e = q12_errors(body);
  std::printf("whole int16 range: largest error %.3g, mean %.3g\n", e.largest, e.mean);
  EXPECT_LT(e.largest, 1.5 * 2.9e-3);
  EXPECT_LT(e.mean, 1.5 * 7.6e-4);
  // Zero stays zero, the tails are exact.
  const auto x = all(kI16);
  const auto y = run(body, x);
  EXPECT_EQ(y[32768], 0);
  for (int64_t v = 5 * 4096; v < 32768; ++v) {
    ASSERT_EQ(y[32768 - v], 0) << v;
    ASSERT_EQ(y[32768 + v], v) << v;
  }
}

TEST(NnLut, TheAccumulatorIsProvedToFitAndTileProgramsAgree) {
  for (const Table& table :
       {reference_table(), nn_lut::integers(nn_lut::fit(gelu, nn_lut::shapes().at("Gelu"), 16), 1.0 / 4096, kI16),
        nn_lut::integers(nn_lut::fit(gelu, nn_lut::shapes().at("Gelu"), 64), 1.0 / 4096, kI16)}) {
    const Body body = q12(table);
    const auto x = all(kI16);
    const Tensor input = Tensor::from<int32_t>({65536}, x);
    const Ranges ranges = prove_ranges(body.graph, std::vector<KnownInput>{{{}, kI16, {}}}, {{"N", 65536}});
    EXPECT_TRUE(ranges.lemmas.empty());
    EXPECT_TRUE(kI16.contains(ranges.values[body.graph.outputs[0]]));
    const auto expected = run(body, x);
    ThreadPool pool(1);
    for (const Isa isa : kAllIsas) {
      if (isa > detected_isa()) continue;
      const TileProgram program(body.graph, ranges, {}, isa);
      EXPECT_EQ(program.run({&input, 1}, {}, pool)[0].to_int64(), expected) << isa_name(isa);
    }
  }
}

// The largest error of 16 lines over all real numbers, as published on the method's page.
const std::map<std::string, double> kFitBound = {
    {"Gelu", 2.5e-3}, {"Tanh", 3.7e-3}, {"Sigmoid", 1.9e-3}, {"Erf", 3.1e-3}};

TEST(NnLut, FitsOfSixteenLinesKeepTheirBound) {
  for (const auto& [op, bound] : kFitBound) {
    const auto function = *unary_function(node(op));
    const PiecewiseLinear f = nn_lut::fit(function, nn_lut::shapes().at(op), 16);
    double error = 0;
    for (double x = -20; x <= 20; x += 1e-4) error = std::max(error, std::fabs(f(x) - function(x)));
    std::printf("%s: largest error %.3g\n", op.c_str(), error);
    EXPECT_LT(error, bound) << op;
  }
}

// Every entry is as near to the function as the fit is, plus the rounding of slopes (2^-15 on at most 255 steps of the
// input), plus half a step.
TEST(NnLut, EntriesAreWithinThePublishedBoundOfTheFunction) {
  const std::pair<double, double> scales[] = {{1e-4, 0.004}, {0.003, 0.013}, {0.0123, 0.004},
                                              {0.05, 0.013}, {0.21, 0.05},   {1.7, 0.9}};
  const std::pair<int64_t, int64_t> zeros[] = {{0, 0}, {-20, -100}, {127, 3}};
  for (const auto& [op, fit] : kFitBound)
    for (const auto& [in_scale, out_scale] : scales)
      for (const auto& [in_zero, out_zero] : zeros) {
        const Node n = node(op);
        const UnaryRequest request{&n, *unary_function(n), in_scale, out_scale, in_zero, out_zero, {-127, 127}};
        const auto entries = nn_lut_part().table(part({}), request);
        ASSERT_EQ(entries.size(), 256u);
        for (int i = 1; i < 256; ++i) {
          const double x = in_scale * static_cast<double>(i - 128 - in_zero);
          const double exact =
              std::clamp(request.function(x) / out_scale + static_cast<double>(out_zero), -127.0, 127.0);
          ASSERT_LE(std::fabs(entries[i] - exact), 0.5 + 1e-6 + (fit + 255 * in_scale * 0x1p-15) / out_scale)
              << op << " " << in_scale << " " << out_scale << " code " << i - 128;
        }
        if (op != "Sigmoid") {
          EXPECT_EQ(entries[in_zero + 128], out_zero) << op;
        }
      }
}

TEST(NnLut, CoarseInputsLeaveOutLinesWithoutAnInteger) {
  const PiecewiseLinear f = nn_lut::fit(gelu, nn_lut::shapes().at("Gelu"), 16);
  const Table coarse = nn_lut::integers(f, 4, {-127, 127});
  EXPECT_LT(coarse.slope.size(), 6u);
  EXPECT_EQ(coarse.threshold.size() + 1, coarse.slope.size());
  EXPECT_TRUE(std::is_sorted(coarse.threshold.begin(), coarse.threshold.end()));
  const Table fine = nn_lut::integers(f, 1e-9, {-127, 127});
  EXPECT_THAT(fine.threshold, ElementsAre(0));
  EXPECT_THAT(fine.intercept, ElementsAre(0, 0));
  const Table one = nn_lut::integers(f, 1, {10, 20});
  EXPECT_TRUE(one.threshold.empty());
  EXPECT_THAT(one.slope, ElementsAre(16384));
  EXPECT_THAT(run(nn_lut::table_body(one, {10, 20}, std::ldexp(1.0, -14), 0, kI16), {10, 20}), ElementsAre(10, 20));
}

TEST(NnLut, ImpossibleRequestsAreRefused) {
  for (const Parameter& bad : std::vector<Parameter>{int64_t{-1}, int64_t{0}, int64_t{3}, int64_t{65}, 16.0, true}) {
    EXPECT_THROW(nn_lut_part().info.check(part({{"entries", bad}})), Error);
  }
  for (int64_t good : {4, 16, 64}) EXPECT_NO_THROW(nn_lut_part().info.check(part({{"entries", good}})));
  const Node n = node("Gelu"), sigmoid = node("Sigmoid");
  const auto refused = [&](const Node& of, double in_scale, double out_scale) {
    try {
      nn_lut_part().table(part({}), {&of, *unary_function(of), in_scale, out_scale, 0, 0, {-127, 127}});
      return false;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kContract);
      EXPECT_THAT(e.what(), testing::HasSubstr("nn-lut"));
      return true;
    }
  };
  for (double scale : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_TRUE(refused(n, scale, 1)) << scale;
  }
  EXPECT_TRUE(refused(n, 1, 0));
  EXPECT_TRUE(refused(n, 1, 1e-300));
  EXPECT_TRUE(refused(sigmoid, 1e-12, 1));
  EXPECT_FALSE(refused(n, 1e-12, 1));
  EXPECT_FALSE(refused(n, 1e9, 1e9));
}

// The published bound of the composite that holds the function, in steps of its result.
double bound_of_gelu(const std::string& recipe_text) {
  const test::ToyEncoder toy;
  const Recipe recipe = parse_recipe(recipe_text, "recipe.toml", registry().vocabulary());
  const Quantized q = quantize(toy.graph(), toy.symbols(), recipe, registry(), {toy.feeds(8, 1)});
  for (const Node& n : q.model.main().nodes)
    if (n.name == "encoder/layer.0/intermediate/dense")
      return std::get<std::vector<double>>(n.attributes.at("bound"))[0];
  throw std::runtime_error("no such composite");
}

TEST(NnLut, AWholeEncoderIsQuantizedAndItsBoundCountsTheFit) {
  const std::string recipe = read_file(test::source_path("recipes/nn-lut.toml"), 1 << 20);
  const auto with = [&](const std::string& approximation) {
    return bound_of_gelu(recipe + "\n[[rule]]\nop = \"Gelu\"\napproximate = " + approximation);
  };
  const double exact = with("\"exact-table\""), four = with("{ nn-lut = { entries = 4 } }");
  EXPECT_LT(exact, bound_of_gelu(recipe));
  EXPECT_LT(bound_of_gelu(recipe), four);
}

}  // namespace
}  // namespace dyadic

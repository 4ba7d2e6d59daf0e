#include <bit>
#include <cmath>
#include <numbers>
#include <set>

#include "api/inspect.h"
#include "base/file.h"
#include "base/status.h"
#include "methods/methods.h"
#include "recipes/toy_graphs.h"
#include "runtime/container.h"

namespace dyadic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const EncodePart& log2_part() { return registry().encode("log2"); }
Part part(std::map<std::string, Parameter> parameters) { return {"log2", std::move(parameters)}; }

const std::vector<Part>& roundings() {
  static const auto* const all =
      new std::vector<Part>{part({}), part({{"threshold", std::numbers::sqrt2}}), part({{"threshold", 1.0}}),
                            part({{"threshold", int64_t{2}}}), part({{"rounding", std::string("linear")}})};
  return *all;
}

int64_t code(const Part& p, double steps) { return log2_part().code(p, log2_part().prototype(p), steps); }

TEST(Log2, CodesOfEveryWidth) {
  const std::map<int64_t, int64_t> largest = {{2, 1}, {3, 4}, {4, 64}};
  for (const auto& [bits, top] : largest) {
    const Part p = part({{"bits", bits}});
    const Encoding e = log2_part().prototype(p);
    EXPECT_EQ(e.bits, bits);
    EXPECT_EQ(e.codes, (Interval{-top, top}));
    EXPECT_EQ(e.storage, DataType::kI8);
    EXPECT_EQ(e.family, "log2");
    std::set<int64_t> codes;
    for (double x = -1.5 * static_cast<double>(top); x <= 1.5 * static_cast<double>(top); x += 1.0 / 64)
      codes.insert(log2_part().code(p, e, x));
    EXPECT_EQ(codes.size(), (size_t{1} << bits) - 1);
    for (int64_t c : codes) EXPECT_EQ(std::abs(c) & (std::abs(c) - 1), 0) << c;
  }
  EXPECT_EQ(log2_part().prototype(part({})).bits, 4);
  EXPECT_TRUE(log2_part().symmetric(part({})));
}

TEST(Log2, EveryCodeStandsForItself) {
  for (Part p : roundings())
    for (int64_t bits : {2, 3, 4}) {
      p.parameters["bits"] = bits;
      const int64_t top = log2_part().prototype(p).codes.hi;
      EXPECT_EQ(code(p, 0), 0);
      for (int64_t c = 1; c <= top; c *= 2) {
        if (p.number("threshold", 1.5) == 1 && c < top) continue;  // there the code above begins
        for (int64_t sign : {1, -1}) EXPECT_EQ(code(p, static_cast<double>(sign * c)), sign * c) << to_string(p);
      }
    }
}

// A code begins at threshold * 2^j, itself included, and so does its negative.
TEST(Log2, Thresholds) {
  for (const Part& p : roundings()) {
    const bool linear = p.parameters.count("rounding");
    const double threshold = p.number("threshold", 1.5);
    for (int j = -1; j < 6; ++j) {
      const double edge = j < 0 && linear ? 0.5 : std::ldexp(threshold, j);
      const int64_t below = j < 0 ? 0 : int64_t{1} << j, above = int64_t{1} << (j + 1);
      for (int sign : {1, -1}) {
        EXPECT_EQ(code(p, sign * edge), sign * above) << to_string(p) << " " << edge;
        EXPECT_EQ(code(p, sign * std::nextafter(edge, 100)), sign * above) << to_string(p) << " " << edge;
        EXPECT_EQ(code(p, sign * std::nextafter(edge, 0)), sign * below) << to_string(p) << " " << edge;
      }
    }
    for (double beyond : {64.0, 65.0, 127.0, 1e9, HUGE_VAL}) {
      EXPECT_EQ(code(p, beyond), 64);
      EXPECT_EQ(code(p, -beyond), -64);
    }
    EXPECT_EQ(code(p, 5e-324), 0);
    EXPECT_EQ(code(p, -0.0), 0);
  }
}

TEST(Log2, RoundingIsWhatItsNameSays) {
  const std::vector<int64_t> codes = {0, 1, 2, 4, 8, 16, 32, 64};
  const Part linear = part({{"rounding", std::string("linear")}}), root = part({{"threshold", std::numbers::sqrt2}}),
             shift = part({});
  for (double x = 1.0 / 128; x <= 70; x += 1.0 / 128) {
    const int64_t nearest = code(linear, x);
    for (int64_t c : codes)
      ASSERT_LE(std::fabs(static_cast<double>(nearest) - x), std::fabs(static_cast<double>(c) - x)) << x;
    const double exponent = std::round(std::log2(x));
    const double expected = exponent < 0 ? 0 : std::exp2(std::min(exponent, 6.0));
    ASSERT_EQ(static_cast<double>(code(root, x)), expected) << x;
    // The position of the leading bit plus the bit behind it, of an integer of many bits.
    const auto wide = static_cast<uint64_t>(x * 0x1p20);
    const int leading = 63 - std::countl_zero(wide);
    const int e = leading - 20 + static_cast<int>(wide >> (leading - 1) & 1);
    ASSERT_EQ(code(shift, x), e < 0 ? 0 : int64_t{1} << std::min(e, 6)) << x;
  }
}

// A number within the range is off by at most a third (threshold 1.5) or by a factor of sqrt 2, unless it becomes 0.
TEST(Log2, RelativeErrorOfTheRoundTrip) {
  Random random(test::seed());
  for (const auto& [threshold, low, high] :
       {std::tuple{1.5, 1 / 1.5, 4.0 / 3}, {std::numbers::sqrt2, 1 / std::numbers::sqrt2, std::numbers::sqrt2}})
    for (double top : {1e-3, 0.7, 300.0}) {
      const Part p = part({{"threshold", threshold}});
      Encoding e = log2_part().prototype(p);
      log2_part().append(p, {-top, top / 2}, e);
      ASSERT_DOUBLE_EQ(e.scale[0], top / 64);
      ASSERT_EQ(e.zero_point[0], 0);
      for (int i = 0; i < 2000; ++i) {
        const double r = top * (random() * 0x1p-31 - 1);
        const int64_t c = log2_part().code(p, e, r / e.scale[0]);
        const double decoded = e.scale[0] * static_cast<double>(c);
        if (c == 0) {
          EXPECT_LT(std::fabs(r), threshold / 2 * e.scale[0]);
        } else {
          EXPECT_GE(decoded / r, low * (1 - 1e-12));
          EXPECT_LE(decoded / r, high * (1 + 1e-12));
        }
      }
      EXPECT_EQ(log2_part().code(p, e, -top / e.scale[0]), -64);
    }
}

TEST(Log2, Scales) {
  const Part p = part({{"granularity", std::string("row")}});
  Encoding e = log2_part().prototype(p);
  EXPECT_THAT(e.granularity.axes, ElementsAre(0));
  for (const RealRange range : {RealRange{-64, 1}, RealRange{0, 32}, RealRange{0, 0}}) log2_part().append(p, range, e);
  EXPECT_THAT(e.scale, ElementsAre(1, 0.5, 1));
  EXPECT_THAT(e.zero_point, ElementsAre(0, 0, 0));
}

TEST(Log2, ImpossibleParametersAreRefused) {
  const std::vector<std::map<std::string, Parameter>> bad = {{{"bits", int64_t{1}}},
                                                             {{"bits", int64_t{5}}},
                                                             {{"bits", int64_t{-4}}},
                                                             {{"bits", 4.0}},
                                                             {{"granularity", std::string("group")}},
                                                             {{"rounding", std::string("log")}},
                                                             {{"rounding", true}},
                                                             {{"threshold", 0.99}},
                                                             {{"threshold", 2.01}},
                                                             {{"threshold", std::nan("")}},
                                                             {{"threshold", std::string("sqrt2")}},
                                                             {{"rounding", std::string("linear")}, {"threshold", 1.5}}};
  for (const auto& parameters : bad) {
    try {
      log2_part().info.check(part(parameters));
      ADD_FAILURE() << to_string(part(parameters)) << " is accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kMalformed);
      EXPECT_THAT(e.what(), HasSubstr("log2: ")) << to_string(part(parameters));
    }
  }
}

Quantized quantize_toy(const std::string& rules) {
  const test::ToyEncoder toy;
  const std::string text = read_file(test::source_path("recipes/default.toml"), 1 << 20) + "\n" + rules;
  return quantize(toy.graph(), toy.symbols(), parse_recipe(text, "recipe.toml", registry().vocabulary()), registry(),
                  {toy.feeds(8, 1)});
}

TEST(Log2, InspectShowsTheCodesOfWeightsAndTables) {
  const Quantized q =
      quantize_toy("[[rule]]\nop = [\"Gather\", \"Gemm\"]\nencode.weight = { log2 = { granularity = \"row\" } }");
  const std::string path = test::temporary_dir() + "/log2.dyad";
  save_model(path, q.model);
  int seen = 0;
  for (const ConstantInfo& c : inspect_model(path).constants)
    if (c.name.ends_with("/weight") || c.name.ends_with("_codes")) {
      EXPECT_LE(c.distinct, 15) << c.name;
      EXPECT_EQ(c.range, (Interval{-64, 64})) << c.name;
      ++seen;
    }
  EXPECT_GT(seen, 8);
}

TEST(Log2, ComputedValuesHaveNoSuchCodes) {
  try {
    quantize_toy("[[rule]]\nop = \"Gemm\"\nencode.input = \"log2\"");
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kContract);
    EXPECT_THAT(e.what(), HasSubstr("log2 is for weights and tables"));
  }
}

}  // namespace
}  // namespace dyadic

#include "quantize/ratio.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/fixed_point.h"
#include "base/random.h"
#include "base/status.h"
#include "support.h"

namespace dyadic {
namespace {

using testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void expect(double ratio, int32_t m, int s) {
  const Dyadic d = encode_ratio(ratio, "test");
  EXPECT_EQ(d.m, m) << ratio;
  EXPECT_EQ(d.s, s) << ratio;
}

std::string refusal(double ratio) {
  try {
    encode_ratio(ratio, "layer 7");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kContract);
    return e.what();
  }
  return "no error";
}

double value(int64_t m, int s) { return std::ldexp(static_cast<double>(m), -s); }

TEST(Ratio, PublishedExamples) {
  expect(1, 1 << 30, 30);
  expect(0.5, 1 << 30, 31);
  expect(3, 1610612736, 29);
  expect(1.0 / 3, 1431655765, 32);
  expect(0.0003, 1319413953, 42);
  expect(0.0072474273, 1992157647, 38);
  expect(0.3712, 1594291860, 32);
  expect(-0.3712, -1594291860, 32);
  expect(-1, -(1 << 30), 30);
}

TEST(Ratio, RoundingUpToAPowerOfTwoLowersTheShift) {
  expect(0.9999999999, 1 << 30, 30);
  expect(-0.9999999999, -(1 << 30), 30);
  expect(std::nextafter(0x1p-32, 1), 1 << 30, 62);
}

TEST(Ratio, BelowTwoToTheMinus32IsZero) {
  expect(0x1p-32, 1 << 30, 62);
  expect(-0x1p-32, -(1 << 30), 62);
  for (double tiny : {std::nextafter(0x1p-32, 0), 0x1p-33, 1e-10, 6e-33, 5e-324, 0.0, -0.0, -0x1p-33, -4.8e-33})
    expect(tiny, 0, 62);
}

TEST(Ratio, LargestIsJustBelowTwoToThe30) {
  expect(std::ldexp(2147483647.0, -1), 2147483647, 1);
  expect(-std::ldexp(2147483647.0, -1), -2147483647, 1);
  // Rounds to 2^30, whose shift would be 0.
  for (double ratio : {0x1p30, -0x1p30, std::nextafter(0x1p30, 0), 1e300, kInfinity, -kInfinity, kNaN})
    EXPECT_THAT(refusal(ratio), HasSubstr("layer 7: ratio")) << ratio;
}

TEST(Ratio, RelativeErrorIsAtMostTwoToTheMinus31) {
  Random random(test::seed());
  for (int i = 0; i < 100000; ++i) {
    const double mantissa = 0.5 + std::ldexp(static_cast<double>(random.below(uint64_t{1} << 50)), -51);
    const double ratio = std::ldexp(mantissa, static_cast<int>(random.below(60)) - 30) * (random.below(2) ? 1 : -1);
    const Dyadic d = encode_ratio(ratio, "test");
    ASSERT_GE(std::abs(int64_t{d.m}), int64_t{1} << 30);
    ASSERT_GE(d.s, 1);
    ASSERT_LE(d.s, 62);
    ASSERT_LE(std::fabs(value(d.m, d.s) - ratio), std::fabs(ratio) * 0x1p-31) << ratio;
  }
}

TEST(Ratio, FewerBits) {
  Random random(test::seed());
  for (int bits = 1; bits <= 31; ++bits)
    for (int i = 0; i < 1000; ++i) {
      const double mantissa = 0.5 + std::ldexp(static_cast<double>(random.below(uint64_t{1} << 50)), -51);
      const double ratio = std::ldexp(mantissa, bits - 2 - static_cast<int>(random.below(30)));
      const Dyadic d = encode_ratio(ratio, "test", bits);
      ASSERT_EQ(signed_bits(d.m), bits) << ratio;
      ASSERT_LE(std::fabs(value(d.m, d.s) - ratio), std::ldexp(ratio, -bits)) << ratio;
      const CommonShift common = encode_ratios({ratio, ratio / 3}, "test", bits);
      ASSERT_EQ(common.m[0], d.m);
      ASSERT_EQ(common.s, d.s);
    }
  EXPECT_THROW(encode_ratio(128, "test", 8), Error);
  EXPECT_EQ(encode_ratio(127, "test", 8).m, 254);
}

TEST(Ratio, OneShiftServesAllChannels) {
  const std::vector<double> ratios = {0.3712, -0.01, 1e-12, 0.5, 0, -0.9999999999};
  const CommonShift common = encode_ratios(ratios, "test");
  EXPECT_EQ(common.s, encode_ratio(0.9999999999, "test").s);
  for (size_t i = 0; i < ratios.size(); ++i)
    EXPECT_LE(std::fabs(value(common.m[i], common.s) - ratios[i]), value(1, common.s + 1)) << i;
  EXPECT_EQ(common.m[2], 0);
  EXPECT_EQ(common.m[5], -(1 << 30));
  // Alone, every ratio keeps its 31 bits.
  EXPECT_EQ(encode_ratios({-0.3712}, "test").m[0], -1594291860);
}

TEST(Ratio, NoRatiosOrZerosOnlyAreZero) {
  EXPECT_TRUE(encode_ratios({}, "test").m.empty());
  const CommonShift zeros = encode_ratios({0, -0.0}, "test");
  EXPECT_EQ(zeros.s, 62);
  EXPECT_THAT(zeros.m, testing::ElementsAre(0, 0));
}

TEST(Ratio, OneBadChannelIsRefused) {
  for (double bad : {kNaN, kInfinity, -kInfinity, 0x1p30}) EXPECT_THROW(encode_ratios({0.5, bad}, "test"), Error);
}

TEST(Ratio, ParametersAreTensors) {
  const Tensor m = multiplier_tensor({1, -2, 3}), s = shift_tensor({1, 62});
  EXPECT_EQ(m.type(), DataType::kI32);
  EXPECT_THAT(m.to_int64(), testing::ElementsAre(1, -2, 3));
  EXPECT_EQ(s.type(), DataType::kU8);
  EXPECT_THAT(s.to_int64(), testing::ElementsAre(1, 62));
}

TEST(Ratio, OfASumTheLargerIsWhole) {
  const auto sum = encode_sum_ratios({100.3, 181.7}, 15);
  ASSERT_TRUE(sum);
  EXPECT_DOUBLE_EQ(sum->growth, 181.7 / 181);
  EXPECT_EQ(sum->s, 7);  // 181 * 2^7 is the largest below 2^15
  EXPECT_EQ(sum->m[1], 181 << 7);
  EXPECT_EQ(sum->m[0], std::lround(100.3 * 181 / 181.7 * 128));
  const auto swapped = encode_sum_ratios({-181.7, 100.3}, 15);
  EXPECT_EQ(swapped->m[0], -(181 << 7));
  EXPECT_EQ(swapped->m[1], sum->m[0]);
  for (int bits : {8, 10, 15}) {
    Random random(test::seed(), bits);
    for (int i = 0; i < 1000; ++i) {
      const auto uniform = [&] { return static_cast<double>(random.below(1'000'000)) * 1e-6; };
      const std::array<double, 2> ratios = {uniform() * 128 - 64, 64 + uniform() * 150};
      const auto any = encode_sum_ratios(ratios, bits);
      if (!any) continue;
      const double whole = std::max(std::fabs(ratios[0]), std::fabs(ratios[1])) / any->growth;
      EXPECT_GE(any->growth, 1);
      EXPECT_LT(any->growth, 1 + 1 / whole + 1e-12);
      for (int j = 0; j < 2; ++j) {
        EXPECT_LT(std::abs(any->m[j]), 1 << bits);
        EXPECT_LE(std::fabs(value(any->m[j], any->s) - ratios[j] / any->growth), value(1, any->s + 1) + 1e-9);
      }
    }
  }
}

TEST(Ratio, OfASumThatHasNoWholeRatioIsNothing) {
  EXPECT_FALSE(encode_sum_ratios({63.9, 3}, 15));
  EXPECT_FALSE(encode_sum_ratios({0, 0}, 15));
  EXPECT_FALSE(encode_sum_ratios({kNaN, kNaN}, 15));
  EXPECT_FALSE(encode_sum_ratios({kInfinity, 1}, 15));
  EXPECT_FALSE(encode_sum_ratios({16384, 1}, 15));
  EXPECT_TRUE(encode_sum_ratios({16383.5, 1}, 15));
  EXPECT_FALSE(encode_sum_ratios({128, 1}, 8));
}

}  // namespace
}  // namespace dyadic

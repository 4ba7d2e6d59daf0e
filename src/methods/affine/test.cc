#include <cmath>

#include "base/random.h"
#include "base/status.h"
#include "methods/methods.h"
#include "support.h"

namespace dyadic {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

const EncodePart& affine() { return registry().encode("affine"); }

Part part(std::map<std::string, Parameter> parameters) { return {"affine", std::move(parameters)}; }

Encoding fitted(const Part& p, std::vector<RealRange> ranges) {
  Encoding e = affine().prototype(p);
  for (const RealRange& range : ranges) affine().append(p, range, e);
  return e;
}

// The code of r by the definition of an encoding, and the real number it stands for.
int64_t encode(const Encoding& e, double r) {
  const double code = std::round(r / e.scale[0]) + static_cast<double>(e.zero_point[0]);
  return static_cast<int64_t>(std::clamp(code, static_cast<double>(e.codes.lo), static_cast<double>(e.codes.hi)));
}
double decode(const Encoding& e, int64_t code) { return e.scale[0] * static_cast<double>(code - e.zero_point[0]); }

TEST(Affine, CodesOfEveryWidth) {
  for (int64_t bits = 2; bits <= 15; ++bits) {
    const Encoding e = affine().prototype(part({{"bits", bits}}));
    EXPECT_EQ(e.bits, bits);
    EXPECT_EQ(e.storage, bits <= 8 ? DataType::kI8 : DataType::kI16);
    EXPECT_EQ(e.codes.hi, (int64_t{1} << (bits - 1)) - 1);
    EXPECT_EQ(e.codes.lo, -e.codes.hi);
  }
  const Encoding widest = affine().prototype(part({{"bits", int64_t{16}}}));
  EXPECT_EQ(widest.codes.lo, -32768);
  EXPECT_EQ(widest.codes.hi, 32767);
  EXPECT_EQ(affine().prototype(part({})).bits, 8);
}

TEST(Affine, Granularity) {
  EXPECT_TRUE(affine().prototype(part({})).granularity.axes.empty());
  for (const char* each : {"channel", "row"})
    EXPECT_THAT(affine().prototype(part({{"granularity", std::string(each)}})).granularity.axes, ElementsAre(0));
  const Encoding e = fitted(part({{"granularity", std::string("channel")}}), {{-1, 2}, {-254, 0}, {0, 0}});
  EXPECT_THAT(e.scale, ElementsAre(DoubleEq(2.0 / 127), DoubleEq(2), DoubleEq(1)));
  EXPECT_THAT(e.zero_point, ElementsAre(0, 0, 0));
}

TEST(Affine, SymmetricScaleReachesTheLargerEnd) {
  EXPECT_TRUE(affine().symmetric(part({})));
  for (const RealRange range : {RealRange{-3, 1}, RealRange{-1, 3}, RealRange{1, 3}, RealRange{-3, -1}})
    for (int64_t bits : {2, 4, 8, 16}) {
      const Encoding e = fitted(part({{"bits", bits}}), {range});
      EXPECT_DOUBLE_EQ(e.scale[0], 3.0 / static_cast<double>(e.codes.hi));
      EXPECT_EQ(e.zero_point[0], 0);
    }
}

TEST(Affine, AsymmetricRangeHoldsZeroExactly) {
  const Part p = part({{"symmetric", false}});
  EXPECT_FALSE(affine().symmetric(p));
  const Encoding relu6 = fitted(p, {{0, 6}}), negative = fitted(p, {{-5, -1}}), positive = fitted(p, {{0.5, 3}}),
                 even = fitted(p, {{-1, 1}}), empty = fitted(p, {{0, 0}});
  EXPECT_DOUBLE_EQ(relu6.scale[0], 6.0 / 254);
  EXPECT_EQ(relu6.zero_point[0], -127);
  EXPECT_DOUBLE_EQ(negative.scale[0], 5.0 / 254);
  EXPECT_EQ(negative.zero_point[0], 127);
  EXPECT_DOUBLE_EQ(positive.scale[0], 3.0 / 254);
  EXPECT_EQ(positive.zero_point[0], -127);
  EXPECT_EQ(even.zero_point[0], 0);
  EXPECT_EQ(empty.scale[0], 1);
  EXPECT_EQ(empty.zero_point[0], 0);
  EXPECT_EQ(encode(relu6, 0), -127);
  EXPECT_EQ(encode(relu6, 6), 127);
}

TEST(Affine, ErrorIsAtMostHalfAStepInsideTheRange) {
  Random random(test::seed());
  const auto uniform = [&] { return static_cast<double>(random()) * 0x1p-31 - 1; };
  for (bool symmetric : {true, false})
    for (int64_t bits : {2, 3, 7, 8, 16})
      for (int i = 0; i < 200; ++i) {
        const double a = 5 * uniform(), b = 5 * uniform();
        const RealRange range{std::min(a, b), std::max(a, b)};
        const Encoding e = fitted(part({{"bits", bits}, {"symmetric", symmetric}}), {range});
        ASSERT_GE(e.zero_point[0], e.codes.lo);
        ASSERT_LE(e.zero_point[0], e.codes.hi);
        ASSERT_EQ(decode(e, encode(e, 0)), 0);
        // The zero point is rounded, which moves the range's ends by up to half a step.
        const double ends = symmetric ? 0.5 : 1;
        for (double share : {0.0, 0.3, 0.5, 1.0}) {
          const double r = range.lo + share * (range.hi - range.lo);
          ASSERT_LE(std::fabs(decode(e, encode(e, r)) - r), (ends + 1e-9) * e.scale[0]) << r << " bits " << bits;
        }
      }
}

TEST(Affine, ImpossibleParametersAreRefused) {
  for (int64_t bits : {-1, 0, 1, 17, 64}) EXPECT_THROW(affine().prototype(part({{"bits", bits}})), Error) << bits;
  EXPECT_THROW(affine().prototype(part({{"bits", 8.0}})), Error);
  EXPECT_THROW(affine().prototype(part({{"granularity", std::string("group")}})), Error);
  EXPECT_THROW(affine().symmetric(part({{"symmetric", int64_t{1}}})), Error);
  for (int64_t bits : {-1, 0, 1, 32}) EXPECT_THROW(affine().multiplier_bits(part({{"multiplier_bits", bits}})), Error);
  for (const Part& bad :
       {part({{"bits", int64_t{17}}}), part({{"symmetric", int64_t{1}}}), part({{"multiplier_bits", int64_t{1}}})})
    EXPECT_THROW(affine().info.check(bad), Error);
}

}  // namespace
}  // namespace dyadic

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status.h"
#include "methods/methods.h"
#include "recipes/toy_graphs.h"

namespace dyadic {
namespace {

constexpr Interval kCodes8{-127, 127}, kCodes4{-7, 7};

Part part(const std::string& name, std::map<std::string, Parameter> parameters = {}) {
  return {name, std::move(parameters)};
}

std::unique_ptr<RangeObserver> observer(const Part& p) { return registry().fit(p.name).make(p); }

RealRange fitted(const Part& p, const std::vector<float>& values, Interval codes = kCodes8, bool symmetric = true) {
  const auto o = observer(p);
  o->observe(values);
  return o->fit(codes, symmetric);
}

const std::vector<Part>& all_parts() {
  static const std::vector<Part> parts = {part("min-max", {{"headroom", 1.25}}),
                                          part("percentile", {{"percent", 99.0}}), part("mse")};
  return parts;
}

std::vector<float> normals(int count, uint64_t stream) {
  Random random(test::seed(), stream);
  std::vector<float> values(count);
  for (float& v : values) v = test::normal(random);
  return values;
}

void expect_equal(const RangeObserver& a, const RangeObserver& b, const std::string& what) {
  for (const Interval codes : {kCodes8, kCodes4, range_of(DataType::kI16)})
    for (bool symmetric : {true, false}) {
      const RealRange x = a.fit(codes, symmetric), y = b.fit(codes, symmetric);
      EXPECT_EQ(x.lo, y.lo) << what;
      EXPECT_EQ(x.hi, y.hi) << what;
    }
}

TEST(CalibrationRanges, MinMaxTimesHeadroom) {
  const std::vector<float> values = {0.5f, -2, 8, 1};
  const RealRange plain = fitted(part("min-max"), values), wide = fitted(part("min-max", {{"headroom", 1.25}}), values);
  EXPECT_EQ(plain.lo, -2);
  EXPECT_EQ(plain.hi, 8);
  EXPECT_EQ(wide.lo, -2.5);
  EXPECT_EQ(wide.hi, 10);
}

TEST(CalibrationRanges, HeadroomNeverCutsWhatWasSeen) {
  const RealRange positive = fitted(part("min-max", {{"headroom", int64_t{2}}}), {3, 5});
  EXPECT_LE(positive.lo, 3);
  EXPECT_EQ(positive.hi, 10);
  const RealRange negative = fitted(part("min-max", {{"headroom", int64_t{2}}}), {-3, -5});
  EXPECT_EQ(negative.lo, -10);
  EXPECT_GE(negative.hi, -3);
}

TEST(CalibrationRanges, PercentileLeavesItsShareOutside) {
  // -1 .. 1 evenly: one percent on either side ends at -0.98 and 0.98; a bin is 1/1024 wide.
  std::vector<float> even;
  for (int i = -10000; i <= 10000; ++i) even.push_back(static_cast<float>(i) / 10000);
  const RealRange r = fitted(part("percentile", {{"percent", int64_t{99}}}), even);
  EXPECT_NEAR(r.lo, -0.98, 1.0 / 1024);
  EXPECT_NEAR(r.hi, 0.98, 1.0 / 1024);
  for (double percent : {90.0, 99.0, 99.9, 100.0}) {
    const auto values = normals(50000, 1);
    const RealRange range = fitted(part("percentile", {{"percent", percent}}), values);
    const auto below = std::count_if(values.begin(), values.end(), [&](float v) { return v < range.lo; });
    const auto above = std::count_if(values.begin(), values.end(), [&](float v) { return v > range.hi; });
    const double allowed = 50000 * (1 - percent / 100);
    EXPECT_LE(static_cast<double>(below), allowed + 1e-6) << percent;
    EXPECT_LE(static_cast<double>(above), allowed + 1e-6) << percent;
    // Not more than a bin beyond the outermost value that counts.
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const auto rank = static_cast<size_t>(std::max(allowed - 1e-6, 0.0));
    EXPECT_LE(sorted[rank] - range.lo, 1.0 / 128) << percent;
    EXPECT_LE(range.hi - sorted[sorted.size() - 1 - rank], 1.0 / 128) << percent;
  }
}

TEST(CalibrationRanges, PercentileIgnoresRareOutliers) {
  auto values = normals(100000, 2);
  values[17] = 1000;
  EXPECT_LT(fitted(part("percentile"), values).hi, 6);
  EXPECT_EQ(fitted(part("min-max"), values).hi, 1000);
}

// Mean squared error of symmetric codes of [-top, top], from the values themselves.
double error(const std::vector<float>& values, double top, Interval codes) {
  const double scale = top / static_cast<double>(codes.hi);
  double sum = 0;
  for (double v : values) {
    const double y = std::clamp(std::round(v / scale), -static_cast<double>(codes.hi), static_cast<double>(codes.hi));
    sum += (v - y * scale) * (v - y * scale);
  }
  return sum;
}

TEST(CalibrationRanges, MseFindsTheLeastErrorOfItsCandidates) {
  auto values = normals(20000, 3);
  for (const Interval codes : {kCodes4, kCodes8})
    for (float outlier : {0.0f, 12.0f}) {
      values[5] = outlier;
      const RealRange range = fitted(part("mse"), values, codes);
      EXPECT_EQ(range.lo, -range.hi);
      const double widest = fitted(part("min-max"), values).hi;
      double best = std::numeric_limits<double>::infinity();
      for (int step = 25; step <= 100; ++step) best = std::min(best, error(values, widest * step / 100, codes));
      EXPECT_LE(error(values, range.hi, codes), 1.02 * best) << codes.hi << " " << outlier;
    }
  // Four bits of a normal distribution with an outlier are clipped, to about 2.8 deviations.
  EXPECT_NEAR(fitted(part("mse"), values, kCodes4).hi, 2.8, 0.4);
}

TEST(CalibrationRanges, MseOfASkewedDistributionKeepsZeroAndThePositiveSide) {
  auto values = normals(20000, 4);
  for (float& v : values) v = std::max(v, 0.0f);
  const RealRange range = fitted(part("mse"), values, kCodes8, false);
  EXPECT_EQ(range.lo, 0);
  EXPECT_GT(range.hi, 2.5);
}

TEST(CalibrationRanges, MergingIsObservingEverything) {
  const auto values = normals(6000, 5);
  for (const Part& p : all_parts()) {
    const auto whole = observer(p);
    whole->observe(values);
    Random random(test::seed(), 6);
    for (int round = 0; round < 5; ++round) {
      // Values of very different sizes, cut at random, merged in random order.
      std::vector<std::unique_ptr<RangeObserver>> pieces;
      for (size_t at = 0; at < values.size();) {
        const size_t count = std::min<size_t>(1 + random.below(2000), values.size() - at);
        pieces.push_back(observer(p));
        pieces.back()->observe(std::span(values).subspan(at, count));
        at += count;
      }
      pieces.push_back(observer(p));  // one that has seen nothing
      while (pieces.size() > 1) {
        const size_t from = 1 + random.below(pieces.size() - 1);
        const size_t to = random.below(from);
        pieces[to]->merge(*pieces[from]);
        pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(from));
      }
      expect_equal(*pieces[0], *whole, p.name);
    }
  }
}

TEST(CalibrationRanges, OrderDoesNotMatter) {
  auto values = normals(3000, 7);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::ldexp(values[i], static_cast<int>(i % 60) - 40);
  for (const Part& p : all_parts()) {
    const auto one = observer(p), other = observer(p), sorted = observer(p);
    one->observe(values);
    auto shuffled = values;
    Random random(test::seed(), 8);
    for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.below(i)]);
    for (float v : shuffled) other->observe({&v, 1});
    std::sort(shuffled.begin(), shuffled.end());
    sorted->observe(shuffled);
    expect_equal(*one, *other, p.name);
    expect_equal(*one, *sorted, p.name);
  }
}

TEST(CalibrationRanges, MemoryIsConstant) {
  for (const Part& p : all_parts()) {
    const auto o = observer(p);
    const size_t before = o->bytes();
    for (uint64_t i = 0; i < 20; ++i) o->observe(normals(10000, i));
    EXPECT_EQ(o->bytes(), before) << p.name;
    EXPECT_LE(before, size_t{1} << 16) << p.name;
  }
}

TEST(CalibrationRanges, ExtremesAndNothing) {
  constexpr float kTiny = std::numeric_limits<float>::denorm_min(), kHuge = std::numeric_limits<float>::max();
  for (const Part& p : all_parts()) {
    const RealRange none = fitted(p, {}), zeros = fitted(p, {0, 0, -0.0f});
    for (double end : {none.lo, none.hi, zeros.lo, zeros.hi}) EXPECT_EQ(end, 0) << p.name;
    for (bool symmetric : {true, false}) {
      const RealRange range = fitted(p, {kTiny, -kTiny, 0, kHuge, -kHuge, -1, 1, -0.5f}, kCodes8, symmetric);
      EXPECT_TRUE(std::isfinite(range.lo) && std::isfinite(range.hi)) << p.name;
      EXPECT_LE(range.lo, 0) << p.name;
      EXPECT_GE(range.hi, 0) << p.name;
    }
    const RealRange tiny = fitted(p, {kTiny, -kTiny});
    EXPECT_TRUE(tiny.hi >= 0 && tiny.hi <= 4.0 * kTiny) << p.name << " " << tiny.hi;
  }
  // An observer that saw nothing changes nothing.
  for (const Part& p : all_parts()) {
    const auto o = observer(p), empty = observer(p), same = observer(p);
    o->observe(std::vector<float>{1, -3, 0.25f});
    same->observe(std::vector<float>{1, -3, 0.25f});
    o->merge(*empty);
    empty->merge(*same);
    expect_equal(*o, *same, p.name);
    expect_equal(*empty, *same, p.name);
  }
}

TEST(CalibrationRanges, ImpossibleParametersAreRefused) {
  for (const Part& bad : {part("min-max", {{"headroom", 0.99}}), part("min-max", {{"headroom", 2000.0}}),
                          part("min-max", {{"headroom", std::string("2")}}), part("percentile", {{"percent", 50.0}}),
                          part("percentile", {{"percent", 100.1}}), part("percentile", {{"percent", true}})}) {
    EXPECT_THROW(observer(bad), Error) << to_string(bad);
    EXPECT_THROW(registry().fit(bad.name).info.check(bad), Error) << to_string(bad);
  }
}

}  // namespace
}  // namespace dyadic

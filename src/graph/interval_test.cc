#include "graph/interval.h"

#include <functional>
#include <optional>

#include "base/random.h"
#include "support.h"

namespace dyadic {
namespace {

using interval::normalize;
using ::testing::HasSubstr;

constexpr auto kFloor = Rounding::kFloor, kHalfUp = Rounding::kHalfUp, kHalfAway = Rounding::kHalfAway;

// All intervals with ends in [lo, hi].
std::vector<Wide> intervals(int lo, int hi) {
  std::vector<Wide> result;
  for (int a = lo; a <= hi; ++a)
    for (int b = a; b <= hi; ++b) result.emplace_back(a, b);
  return result;
}

Wide enumerated(const Wide& a, const Wide& b, const std::function<int128(int64_t, int64_t)>& f) {
  std::optional<Wide> result;
  for (auto x = static_cast<int64_t>(a.lo); x <= a.hi; ++x)
    for (auto y = static_cast<int64_t>(b.lo); y <= b.hi; ++y) {
      const Wide point{f(x, y), f(x, y)};
      result = result ? interval::hull(*result, point) : point;
    }
  return *result;
}

using Rule = std::function<Wide(const Wide&, const Wide&)>;
using Function = std::function<int128(int64_t, int64_t)>;

void expect_exact(const char* what, const std::vector<Wide>& as, const std::vector<Wide>& bs, const Rule& rule,
                  const Function& f) {
  for (const Wide& a : as)
    for (const Wide& b : bs)
      ASSERT_EQ(to_string(rule(a, b)), to_string(enumerated(a, b, f))) << what << to_string(a) << to_string(b);
}

void expect_sound(const char* what, const std::vector<Wide>& as, const std::vector<Wide>& bs, const Rule& rule,
                  const Function& f) {
  for (const Wide& a : as)
    for (const Wide& b : bs) {
      const Wide got = rule(a, b), want = enumerated(a, b, f);
      ASSERT_TRUE(got.lo <= want.lo && want.hi <= got.hi)
          << what << to_string(a) << to_string(b) << " gives " << to_string(got) << ", not " << to_string(want);
    }
}

// The rule for any operands, of the two that share a name.
Rule wide(Wide (*rule)(const Wide&, const Wide&)) { return rule; }

int64_t rounded(int64_t x, int64_t k, Rounding rounding) { return shift_right(x, static_cast<int>(k), rounding); }

TEST(Interval, ArithmeticIsExact) {
  const auto all = intervals(-5, 5), positive = intervals(1, 7);
  expect_exact("add", all, all, wide(interval::add), [](int64_t x, int64_t y) { return x + y; });
  expect_exact("sub", all, all, wide(interval::subtract), [](int64_t x, int64_t y) { return x - y; });
  expect_exact("mul", all, all, wide(interval::multiply), [](int64_t x, int64_t y) { return x * y; });
  expect_exact("min", all, all, wide(interval::minimum), [](int64_t x, int64_t y) { return std::min(x, y); });
  expect_exact("max", all, all, wide(interval::maximum), [](int64_t x, int64_t y) { return std::max(x, y); });
  expect_exact("div", all, positive, interval::quotient, [](int64_t x, int64_t y) { return div_floor(x, y); });
}

TEST(Interval, RulesForNarrowOperandsAreThoseForAny) {
  Random random(5);
  // Ends of any length, those of 32 bits included.
  const auto end = [&] {
    return static_cast<int64_t>(static_cast<int32_t>(random.next64() >> 32)) >> random.below(32);
  };
  const auto any = [&] {
    const int64_t a = end(), b = random.below(4) ? end() : a;
    return Narrow({std::min(a, b), std::max(a, b)});
  };
  const auto check = [](const char* what, const Interval& narrow, const Wide& wide) {
    ASSERT_EQ(to_string(Wide(narrow)), to_string(wide)) << what;
  };
  for (int i = 0; i < 20000; ++i) {
    const Narrow x = any(), y = any(), z = any();
    const Wide a(x), b(y), c(z);
    check("add", interval::add(x, y), interval::add(a, b));
    check("subtract", interval::subtract(x, y), interval::subtract(a, b));
    check("multiply", interval::multiply(x, y), interval::corners<Wide>(a.lo, a.hi, b.lo, b.hi, std::multiplies<>()));
    check("square", interval::square(x), interval::square(a));
    check("minimum", interval::minimum(x, y), interval::minimum(a, b));
    check("maximum", interval::maximum(x, y), interval::maximum(a, b));
    check("clamp", interval::clamp(x, y, z), interval::clamp(a, b, c));
    for (const DataType type : {DataType::kI8, DataType::kU8, DataType::kI32, DataType::kU32, DataType::kI64})
      check("saturate", interval::saturate(x, type), interval::saturate(a, type));
    for (const Rounding rounding : {kFloor, kHalfUp, kHalfAway}) {
      const auto low = static_cast<int64_t>(random.below(63)), high = random.below(2) ? low : int64_t{62};
      const Narrow k({low, high});
      check("mul_shift", interval::mul_shift(x, y, k, rounding), interval::mul_shift(a, b, Wide(k), rounding));
      check("shift_right", interval::shift_right(x, k, 64, rounding), interval::shift_right(a, Wide(k), 64, rounding));
    }
  }
  const Narrow x({-1, 1}), beyond({0, 63}), negative({-1, 3});
  EXPECT_THROW(interval::mul_shift(x, x, beyond, kHalfUp), RangeRefusal);
  EXPECT_THROW(interval::mul_shift(x, x, negative, kHalfUp), RangeRefusal);
  EXPECT_THROW(interval::shift_right(x, beyond, 32, kHalfUp), RangeRefusal);
  EXPECT_THROW(interval::shift_right(x, negative, 32, kHalfUp), RangeRefusal);
  check("63 bits", interval::shift_right(x, beyond, 64, kHalfUp),
        interval::shift_right(Wide(x), Wide(beyond), 64, kHalfUp));
  EXPECT_FALSE(Narrow::holds({INT32_MIN, int64_t{1} << 31}));
  EXPECT_FALSE(Narrow::holds({-(int64_t{1} << 31) - 1, 0}));
  EXPECT_TRUE(Narrow::holds({INT32_MIN, INT32_MAX}));
}

TEST(Interval, UnaryRulesAreExact) {
  const std::vector<Wide> none = {{0, 0}};
  const auto unary = [&](const char* what, const std::vector<Wide>& x, const std::function<Wide(const Wide&)>& rule,
                         const std::function<int128(int64_t)>& f) {
    expect_exact(
        what, x, none, [&](const Wide& a, const Wide&) { return rule(a); }, [&](int64_t v, int64_t) { return f(v); });
  };
  unary(
      "square", intervals(-9, 9), [](const Wide& x) { return interval::square(x); }, [](int64_t x) { return x * x; });
  unary("abs", intervals(-9, 9), interval::absolute, [](int64_t x) { return x < 0 ? -x : x; });
  unary("isqrt", intervals(0, 40), interval::square_root,
        [](int64_t x) { return static_cast<int128>(isqrt(static_cast<uint64_t>(x))); });
  unary(
      "cast", intervals(-3, 300), [](const Wide& x) { return interval::saturate(x, DataType::kU8); },
      [](int64_t x) { return clamp64(x, 0, 255); });
}

using Ternary = std::function<int128(int64_t, int64_t, int64_t)>;

// Exactness of a rule of three operands: the second one's ends are enumerated too.
void expect_exact(const char* what, const std::vector<Wide>& as, const std::vector<Wide>& bs,
                  const std::vector<Wide>& cs, const std::function<Wide(const Wide&, const Wide&, const Wide&)>& rule,
                  const Ternary& f) {
  for (const Wide& a : as)
    for (const Wide& b : bs)
      for (const Wide& c : cs) {
        std::optional<Wide> want;
        for (auto y = static_cast<int64_t>(b.lo); y <= b.hi; ++y) {
          const Wide part = enumerated(a, c, [&](int64_t x, int64_t z) { return f(x, y, z); });
          want = want ? interval::hull(*want, part) : part;
        }
        ASSERT_EQ(to_string(rule(a, b, c)), to_string(*want)) << what << to_string(a) << to_string(b) << to_string(c);
      }
}

TEST(Interval, ClampIsExact) {
  expect_exact(
      "clamp", intervals(-4, 4), intervals(-3, 1), intervals(-2, 3),
      [](const Wide& x, const Wide& lo, const Wide& hi) { return interval::clamp(x, lo, hi); },
      [](int64_t x, int64_t lo, int64_t hi) { return std::min(std::max(x, lo), hi); });
}

TEST(Interval, ShiftsAreExactForEveryRounding) {
  const auto all = intervals(-9, 9), counts = intervals(0, 5);
  expect_exact(
      "shl", all, counts, [](const Wide& x, const Wide& k) { return interval::shift_left(x, k, 8); },
      [](int64_t x, int64_t k) { return x * (int64_t{1} << k); });
  for (const Rounding rounding : {kFloor, kHalfUp, kHalfAway}) {
    expect_exact(
        "shr", all, counts, [&](const Wide& x, const Wide& k) { return interval::shift_right(x, k, 8, rounding); },
        [&](int64_t x, int64_t k) { return rounded(x, k, rounding); });
    expect_exact(
        "mul_shift", intervals(-4, 4), intervals(-3, 3), intervals(0, 3),
        [&](const Wide& x, const Wide& m, const Wide& s) { return interval::mul_shift(x, m, s, rounding); },
        [&](int64_t x, int64_t m, int64_t s) { return rounded(x * m, s, rounding); });
  }
}

TEST(Interval, RemainderIsExactForOneDivisor) {
  std::vector<Wide> points;
  for (int d = 1; d <= 7; ++d) points.emplace_back(d, d);
  const auto f = [](int64_t x, int64_t y) { return x - y * div_floor(x, y); };
  expect_sound("rem", intervals(-9, 9), intervals(1, 7), interval::remainder, f);
  for (const Wide& d : points)
    for (const Wide& x : intervals(-9, 9)) {
      const Wide got = interval::remainder(x, d), want = enumerated(x, d, f);
      // Exact where no multiple of d is crossed; else the whole of [0, d - 1] but for x >= 0 below d.
      if (div_floor(static_cast<int64_t>(x.lo), static_cast<int64_t>(d.lo)) ==
          div_floor(static_cast<int64_t>(x.hi), static_cast<int64_t>(d.lo))) {
        EXPECT_EQ(got, want) << to_string(x) << to_string(d);
      }
      EXPECT_TRUE(got.lo >= 0 && got.hi < d.hi);
    }
}

TEST(Interval, NormalizeIsExact) {
  for (const int top : {6, 7})
    for (const bool even : {false, true})
      for (const Wide& x : intervals(0, (1 << (top + 1)) - 1)) {
        const auto shift = [&](int64_t v) {
          const int k = top - log2_floor(static_cast<uint64_t>(std::max<int64_t>(v, 1)));
          return even ? k & ~1 : k;
        };
        const auto [y, k] = normalize(x, top, even);
        // 130 values of x at most: enough to enumerate every interval.
        int64_t y_lo = INT64_MAX, y_hi = 0, k_lo = 64, k_hi = 0;
        for (auto v = static_cast<int64_t>(x.lo); v <= x.hi; ++v) {
          y_lo = std::min(y_lo, v << shift(v)), y_hi = std::max(y_hi, v << shift(v));
          k_lo = std::min<int64_t>(k_lo, shift(v)), k_hi = std::max<int64_t>(k_hi, shift(v));
        }
        ASSERT_EQ(y, (Wide{y_lo, y_hi})) << to_string(x) << top << even;
        ASSERT_EQ(k, (Wide{k_lo, k_hi})) << to_string(x) << top << even;
      }
  EXPECT_EQ(normalize({0, INT64_MAX / 2}, 61, true).first, (Wide{0, INT64_MAX / 2}));
}

TEST(Interval, BitsAreSound) {
  const auto all = intervals(-5, 5);
  expect_sound(
      "and", all, all, [](auto& a, auto& b) { return interval::bitwise(CoreOp::k_and, a, b); },
      [](int64_t x, int64_t y) { return x & y; });
  expect_sound(
      "or", all, all, [](auto& a, auto& b) { return interval::bitwise(CoreOp::k_or, a, b); },
      [](int64_t x, int64_t y) { return x | y; });
  expect_sound(
      "xor", all, all, [](auto& a, auto& b) { return interval::bitwise(CoreOp::k_xor, a, b); },
      [](int64_t x, int64_t y) { return x ^ y; });
  EXPECT_EQ(interval::bitwise(CoreOp::k_and, {0, 1}, {0, 1}), (Wide{0, 1}));
  EXPECT_EQ(interval::bitwise(CoreOp::k_and, {-100, 100}, {254, 254}), (Wide{0, 254}));
}

TEST(Interval, ComparisonsAreExact) {
  const auto all = intervals(-3, 3);
  expect_exact(
      "eq", all, all, [](auto& a, auto& b) { return interval::compare(CoreOp::k_eq, a, b); },
      [](int64_t x, int64_t y) { return x == y; });
  expect_exact(
      "lt", all, all, [](auto& a, auto& b) { return interval::compare(CoreOp::k_lt, a, b); },
      [](int64_t x, int64_t y) { return x < y; });
  expect_exact(
      "le", all, all, [](auto& a, auto& b) { return interval::compare(CoreOp::k_le, a, b); },
      [](int64_t x, int64_t y) { return x <= y; });
  EXPECT_EQ(interval::select({0, 0}, {1, 2}, {5, 6}), (Wide{5, 6}));
  EXPECT_EQ(interval::select({1, 3}, {1, 2}, {5, 6}), (Wide{1, 2}));
  EXPECT_EQ(interval::select({0, 1}, {1, 2}, {5, 6}), (Wide{1, 6}));
}

TEST(Interval, EndsOfTheTypesDoNotOverflow) {
  const Wide all{INT64_MIN, INT64_MAX};
  EXPECT_EQ(to_string(interval::multiply(all, all)),
            "[-85070591730234615856620279821087277056,85070591730234615865843651857942052864]");
  EXPECT_EQ(to_string(interval::shift_left(all, {62, 62}, 64)),
            "[-42535295865117307932921825928971026432,42535295865117307928310139910543638528]");
  EXPECT_EQ(interval::absolute(all).hi, int128{1} << 63);
}

// Shifts by one count take 64 bits where the ends allow, shifts by several 128: at the edge between them, and beside
// it.
TEST(Interval, ShiftsOfLargeEndsAreExact) {
  const int128 edge = int128{1} << 62;
  for (const Rounding rounding : {Rounding::kFloor, Rounding::kHalfUp, Rounding::kHalfAway})
    for (const int128 end : {edge - 2, edge - 1, edge, edge + 1, 2 * edge - 1})
      for (const int128 sign : {-1, 1})
        for (int k = 0; k <= 62; ++k) {
          const int128 x = sign * end, half = k == 0 ? 0 : int128{1} << (k - 1);
          int128 want = rounding == Rounding::kFloor ? x >> k : (x + half) >> k;
          if (rounding == Rounding::kHalfAway && x < 0) want = -((-x + half) >> k);
          const Wide got = interval::shifted({x, x}, {k, k}, rounding),
                     wider = interval::shifted({x, x}, {k, 62}, rounding);
          ASSERT_TRUE(got.lo == want && got.hi == want)
              << to_string(Wide{x, x}) << " by " << k << ": " << to_string(got);
          ASSERT_TRUE(wider.lo <= want && want <= wider.hi) << to_string(Wide{x, x}) << " by " << k << "..62";
        }
}

TEST(Interval, RefusalsSayWhy) {
  const auto why = [](const std::function<Wide()>& rule) {
    try {
      rule();
    } catch (const RangeRefusal& refusal) {
      return refusal.why;
    }
    return std::string("accepted");
  };
  EXPECT_THAT(why([] {
                return interval::quotient({1, 2}, {0, 3});
              }),
              HasSubstr("divisor must be positive; it may lie in [0,3]"));
  EXPECT_THAT(why([] { return interval::remainder({1, 2}, {-1, 3}); }), HasSubstr("divisor"));
  EXPECT_THAT(why([] { return interval::square_root({-1, 3}); }), HasSubstr("negative"));
  EXPECT_THAT(why([] { return interval::shift_right({0, 1}, {0, 8}, 8, kFloor); }), HasSubstr("bits of the type"));
  EXPECT_THAT(why([] { return interval::shift_left({0, 1}, {-1, 3}, 8); }), HasSubstr("bits of the type"));
  EXPECT_THAT(why([] { return interval::mul_shift({0, 1}, {0, 1}, {0, 63}, kFloor); }), HasSubstr("[0,62]"));
  EXPECT_THAT(why([] { return interval::mul_shift({0, INT64_MAX}, {0, 1}, {1, 1}, kHalfUp); }), HasSubstr("2^63"));
  EXPECT_EQ(why([] { return interval::mul_shift({0, INT64_MAX}, {0, 1}, {0, 0}, kHalfUp); }), "accepted");
  EXPECT_THAT(why([] { return normalize({0, 128}, 6, false).first; }), HasSubstr("2^(top+1)"));
}

}  // namespace
}  // namespace dyadic

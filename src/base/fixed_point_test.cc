#include "base/fixed_point.h"

#include <random>

#include "support.h"

namespace dyadic {
namespace {

TEST(IsqrtNormalized, EqualsIsqrtAtSquaresSeedsAndAtRandom) {
  constexpr uint64_t kLow = uint64_t{1} << 60, kHigh = uint64_t{1} << 62;
  auto check = [&](uint64_t x) {
    if (x < kLow || x >= kHigh) return;
    ASSERT_EQ(isqrt_normalized(x), isqrt(x)) << x;
  };
  std::mt19937_64 random(test::seed());
  for (int i = 0; i < 300000; ++i) {
    check(kLow + random() % (kHigh - kLow));
    const uint64_t r = (uint64_t{1} << 30) + random() % (uint64_t{1} << 30);
    for (int d = -1; d <= 1; ++d) check(r * r + d);
  }
  for (uint64_t r : {uint64_t{1} << 30, (uint64_t{1} << 31) - 1, uint64_t{1} << 31})
    for (int d = -2; d <= 2; ++d) check(r * r + d);
  for (uint64_t i = 64; i <= 256; ++i)
    for (int d = -2; d <= 2; ++d) {
      check((i << 54) + d);
      check((i << 54) + (uint64_t{1} << 53) + d);
    }
}

TEST(FloorDivisor, EqualsDivFloor) {
  std::mt19937_64 random(test::seed());
  constexpr int64_t kMost = int64_t{1} << 40;
  for (int64_t d : {int64_t{2}, int64_t{3}, int64_t{7}, int64_t{64}, int64_t{768}, int64_t{32767}, int64_t{32768},
                    (int64_t{1} << 17) - 1, int64_t{1} << 17}) {
    const FloorDivisor by(d);
    const auto check = [&](int64_t a) {
      if (std::abs(a) > kMost) return;
      ASSERT_EQ(by(a), div_floor(a, d)) << a << " / " << d;
    };
    for (int64_t e = -3; e <= 3; ++e)
      for (int64_t a : {int64_t{0}, kMost, -kMost, d, -d, kMost / d * d, -kMost / d * d}) check(a + e);
    for (int i = 0; i < 20000; ++i) {
      const auto a = static_cast<int64_t>(random() % (uint64_t{2} << 40)) - kMost;
      check(a >> random() % 41);
      for (int64_t e : {-1, 0, 1}) check(a / d * d + e);
    }
  }
}

// What lanes of 32 bits do.
int64_t by_high_half(int64_t x, int64_t m, const HighShift& h) {
  const int64_t left = x << h.x_left, right = m << h.m_left;
  EXPECT_EQ(left, static_cast<int32_t>(left));
  EXPECT_EQ(right, static_cast<int32_t>(right));
  const int64_t sum = ((left * right) >> 32) + h.add;
  EXPECT_EQ(sum, static_cast<int32_t>(sum));
  EXPECT_LT(h.right, 32);
  return sum >> h.right;
}

TEST(HighShift, EqualsMulShiftWhereverItExists) {
  std::mt19937_64 random(test::seed());
  auto of_bits = [&](int bits) -> int64_t {
    const int64_t end = int64_t{1} << bits;
    switch (random() % 4) {
      case 0:
        return -end;
      case 1:
        return end - 1;
      default:
        return static_cast<int64_t>(random() % static_cast<uint64_t>(2 * end)) - end;
    }
  };
  int exists = 0;
  for (int x_bits = 0; x_bits <= 31; ++x_bits)
    for (int m_bits = 0; m_bits <= 31; ++m_bits)
      for (int s = 0; s <= 62; ++s) {
        const std::optional<HighShift> h = high_shift(x_bits, m_bits, s);
        ASSERT_EQ(h.has_value(), x_bits + m_bits + std::max(0, 33 - s) <= 62);
        if (!h) continue;
        ++exists;
        for (int i = 0; i < 8; ++i) {
          const int64_t x = of_bits(x_bits), m = of_bits(m_bits);
          ASSERT_EQ(by_high_half(x, m, *h), mul_shift(x, m, s)) << x << " * " << m << " / 2^" << s;
        }
      }
  EXPECT_GT(exists, 30000);
}

TEST(SignedBits, IsTheSmallest) {
  for (int64_t x : {0, -1}) EXPECT_EQ(signed_bits(x), 0);
  for (int b = 1; b < 63; ++b) {
    EXPECT_EQ(signed_bits((int64_t{1} << b) - 1), b);
    EXPECT_EQ(signed_bits(-(int64_t{1} << b)), b);
    EXPECT_EQ(signed_bits(int64_t{1} << b), b + 1);
    EXPECT_EQ(signed_bits(-(int64_t{1} << b) - 1), b + 1);
  }
}

}  // namespace
}  // namespace dyadic

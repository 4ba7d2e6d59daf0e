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
    for (int d = -2; d <= 2; ++d) check((i << 54) + d);
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

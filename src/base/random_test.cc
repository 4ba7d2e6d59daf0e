#include "base/random.h"

#include <set>

#include "support.h"

namespace dyadic {
namespace {

TEST(Philox, KnownAnswers) {  // the vectors published with Random123
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t f = 0xffffffff;
  EXPECT_EQ(philox4x32({f, f, f, f}, {f, f}), (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, IsPhiloxInCounterOrder) {
  Random random(0x0123456789abcdefull, 7);
  for (uint32_t block = 0; block < 3; ++block)
    for (uint32_t word : philox4x32({block, 0, 7, 0}, {0x89abcdef, 0x01234567})) EXPECT_EQ(random(), word);
  Random words(5), pairs(5);
  const uint64_t lo = words(), hi = words();
  EXPECT_EQ(pairs.next64(), lo | hi << 32);
}

TEST(Random, StreamsAndSeedsDiffer) {
  std::set<uint64_t> seen;
  for (uint64_t seed : {0, 1, 2})
    for (uint64_t stream : {0, 1, 2}) seen.insert(Random(seed, stream).next64());
  EXPECT_EQ(seen.size(), 9u);
}

TEST(Random, BelowIsInRangeAndUniform) {
  Random random(test::seed());
  EXPECT_EQ(random.below(1), 0u);
  // A bound above 2^63 rejects nearly half of the words; the results must still reach both halves and stay below it.
  const uint64_t bound = (uint64_t{1} << 63) + 1;
  bool upper = false, lower = false;
  for (int i = 0; i < 200; ++i) {
    const uint64_t x = random.below(bound);
    ASSERT_LT(x, bound);
    (x < bound / 2 ? lower : upper) = true;
  }
  EXPECT_TRUE(upper && lower);
  // Chi-square with 6 degrees of freedom: above 45 has a probability below 1e-7.
  constexpr int kDraws = 70000;
  int count[7] = {};
  for (int i = 0; i < kDraws; ++i) ++count[random.below(7)];
  double chi = 0;
  for (int c : count) chi += (c - kDraws / 7.0) * (c - kDraws / 7.0) / (kDraws / 7.0);
  EXPECT_LT(chi, 45);
}

TEST(Mix64, KnownAnswersAndAvalanche) {
  // SplitMix64 seeded with 0 returns mix64 of multiples of the golden gamma.
  EXPECT_EQ(mix64(0x9e3779b97f4a7c15ull), 0xe220a8397b1dcdafull);
  EXPECT_EQ(mix64(0x9e3779b97f4a7c15ull * 2), 0x6e789e6aa1b965f4ull);
  for (int bit = 0; bit < 64; ++bit) {
    int flips = 0;
    for (uint64_t x = 1; x <= 64; ++x) flips += __builtin_popcountll(mix64(x) ^ mix64(x ^ uint64_t{1} << bit));
    EXPECT_NEAR(flips / 64.0, 32, 4) << "input bit " << bit;
  }
}

}  // namespace
}  // namespace dyadic

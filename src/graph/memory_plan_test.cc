#include "graph/memory_plan.h"

#include <algorithm>

#include "base/random.h"
#include "base/status.h"
#include "support.h"

namespace dyadic {
namespace {

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

bool live_together(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

// The most bytes that are live at one step: no plan can be smaller.
int64_t peak(const std::vector<Lifetime>& lifetimes) {
  int64_t result = 0;
  for (const auto& at : lifetimes) {
    int64_t live = 0;
    for (const auto& other : lifetimes)
      if (other.first <= at.first && at.first <= other.last) live += aligned(other.bytes);
    result = std::max(result, live);
  }
  return result;
}

void expect_sound(const std::vector<Lifetime>& lifetimes, const MemoryPlan& plan) {
  ASSERT_EQ(plan.offsets.size(), lifetimes.size());
  for (size_t i = 0; i < lifetimes.size(); ++i) {
    EXPECT_EQ(plan.offsets[i] % 64, 0);
    EXPECT_GE(plan.offsets[i], 0);
    EXPECT_LE(plan.offsets[i] + lifetimes[i].bytes, plan.arena_bytes);
    for (size_t j = 0; j < i; ++j) {
      if (!live_together(lifetimes[i], lifetimes[j]) || lifetimes[i].bytes == 0 || lifetimes[j].bytes == 0) continue;
      EXPECT_TRUE(plan.offsets[i] + lifetimes[i].bytes <= plan.offsets[j] ||
                  plan.offsets[j] + lifetimes[j].bytes <= plan.offsets[i])
          << i << " and " << j;
    }
  }
}

TEST(MemoryPlan, NothingNeedsNothing) {
  EXPECT_EQ(plan_memory({}).arena_bytes, 0);
  EXPECT_EQ(plan_memory({{0, 0, 3}}).arena_bytes, 0);
}

TEST(MemoryPlan, AChainAlternatesBetweenTwoPlaces) {
  std::vector<Lifetime> chain;
  for (int step = 0; step < 20; ++step) chain.push_back({1000, step, step + 1});
  const MemoryPlan plan = plan_memory(chain);
  expect_sound(chain, plan);
  EXPECT_EQ(plan.arena_bytes, 2 * aligned(1000));
}

TEST(MemoryPlan, ASmallBufferTakesTheSmallestGap) {
  // The first and the third buffer end early and leave gaps of 640 and 128 bytes.
  const std::vector<Lifetime> lifetimes = {{640, 0, 1}, {512, 0, 9}, {128, 0, 1}, {128, 0, 9}, {120, 2, 9}};
  const MemoryPlan plan = plan_memory(lifetimes);
  expect_sound(lifetimes, plan);
  EXPECT_EQ(plan.arena_bytes, peak(lifetimes));
  EXPECT_EQ(plan.offsets[4], plan.offsets[2]);
}

TEST(MemoryPlan, RandomLifetimesNeverOverlapAndStayNearThePeak) {
  Random random(test::seed());
  double worst = 1, sum = 0;
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<Lifetime> lifetimes(1 + random.below(60));
    for (auto& lifetime : lifetimes) {
      lifetime.first = static_cast<int>(random.below(40));
      lifetime.last = lifetime.first + static_cast<int>(random.below(8));
      lifetime.bytes = static_cast<int64_t>(random.below(uint64_t{1} << (4 + random.below(16))));
    }
    const MemoryPlan plan = plan_memory(lifetimes);
    expect_sound(lifetimes, plan);
    const int64_t least = std::max<int64_t>(peak(lifetimes), 1);
    EXPECT_GE(plan.arena_bytes, peak(lifetimes));
    const double ratio = static_cast<double>(std::max<int64_t>(plan.arena_bytes, 1)) / static_cast<double>(least);
    worst = std::max(worst, ratio);
    sum += ratio;
  }
  EXPECT_LT(worst, 1.5);
  EXPECT_LT(sum / kRounds, 1.05);
}

TEST(MemoryPlan, EqualRequestsGiveEqualPlans) {
  std::vector<Lifetime> lifetimes;
  for (int i = 0; i < 30; ++i) lifetimes.push_back({64 * (1 + i % 3), i / 4, i / 4 + i % 5});
  EXPECT_EQ(plan_memory(lifetimes).offsets, plan_memory(lifetimes).offsets);
}

TEST(MemoryPlan, ImpossibleLifetimesAreRefused) {
  for (const Lifetime& bad : {Lifetime{-1, 0, 1}, Lifetime{1, 2, 1}, Lifetime{INT64_MAX, 0, 0}}) {
    try {
      plan_memory({bad});
      FAIL() << bad.bytes;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kContract);
    }
  }
  EXPECT_THROW(plan_memory({{int64_t{1} << 62, 0, 0}, {int64_t{1} << 62, 0, 0}}), Error);
}

}  // namespace
}  // namespace dyadic

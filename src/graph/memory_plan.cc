#include "graph/memory_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/status.h"

namespace dyadic {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kMaxBytes = int64_t{1} << 62;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void check(const Lifetime& lifetime, size_t index) {
  if (lifetime.bytes < 0 || lifetime.bytes > kMaxBytes || lifetime.first > lifetime.last)
    fail(ErrorKind::kContract, "memory plan: buffer ", index, " of ", lifetime.bytes, " bytes, live from step ",
         lifetime.first, " to ", lifetime.last, ", is not possible");
}

}  // namespace

// Greedy by size (Pisarchyk, Lee, "Efficient memory management for deep neural net inference", 2020): the largest
// buffer first, each into the smallest gap between the buffers that live at the same time.
MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes) {
  for (size_t i = 0; i < lifetimes.size(); ++i) check(lifetimes[i], i);
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });

  MemoryPlan plan;
  plan.offsets.assign(lifetimes.size(), 0);
  std::vector<size_t> placed;  // by offset
  for (const size_t i : order) {
    const Lifetime& buffer = lifetimes[i];
    if (buffer.bytes == 0) break;
    const int64_t size = aligned(buffer.bytes);
    int64_t end = 0, best = -1, best_gap = std::numeric_limits<int64_t>::max();
    for (const size_t j : placed) {
      const Lifetime& other = lifetimes[j];
      if (other.last < buffer.first || buffer.last < other.first) continue;
      const int64_t gap = plan.offsets[j] - end;
      if (gap >= size && gap < best_gap) best = end, best_gap = gap;
      end = std::max(end, plan.offsets[j] + aligned(other.bytes));
    }
    const int64_t offset = best >= 0 ? best : end;
    if (offset > kMaxBytes - size) fail(ErrorKind::kContract, "memory plan: the arena exceeds 2^62 bytes");
    plan.offsets[i] = offset;
    plan.arena_bytes = std::max(plan.arena_bytes, offset + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), offset,
                                   [&](int64_t value, size_t j) { return value < plan.offsets[j]; }),
                  i);
  }
  return plan;
}

}  // namespace dyadic

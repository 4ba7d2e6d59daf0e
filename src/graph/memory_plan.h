// Static memory with lifetime reuse: where each buffer lies in one arena.
#pragma once
#include <cstdint>
#include <vector>

namespace dyadic {

struct Lifetime {
  int64_t bytes;
  int first, last;  // steps, inclusive, during which the buffer holds live data
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // one a Lifetime, multiples of 64
  int64_t arena_bytes = 0;
};

// Best fit by decreasing size; buffers whose lifetimes overlap never share bytes.
MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes);

}  // namespace dyadic

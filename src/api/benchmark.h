// `dyadic bench`: times a .dyad file, after checking that its results equal the portable kernels'.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu.h"

namespace dyadic {

struct BenchRequest {
  std::string model, baseline;  // baseline: a float model folder, interleaved with ours
  std::vector<int64_t> batches = {1}, lengths = {16, 128};
  int threads = 1, repetitions = 0;  // 0: until about a second has been spent on a shape, at least 5
  Isa isa = Isa::kPortable;
  uint64_t seed = 0;
};

struct Spread {
  double min = 0, median = 0, max = 0;  // milliseconds
};

struct BenchLayer {
  std::string name, executor;
  double ms = 0;  // median
  int64_t macs = 0;
};

struct BenchResult {
  int64_t batch = 0, length = 0;
  Spread ms;
  std::optional<Spread> baseline;
  int64_t macs = 0;
  std::vector<BenchLayer> layers;
  // Multiply-accumulates a nanosecond of the median, and their share of BenchReport::limit_gmacs (0 without a limit).
  double gmacs = 0, fraction = 0;
};

struct BenchReport {
  std::string cpu;
  Isa isa = Isa::kPortable;
  int threads = 1;
  double limit_gmacs = 0;  // what the threads could do at most with this instruction set's products; 0: not known
  std::vector<BenchResult> results;
};

// kFailed if a result differs from the portable kernels'.
BenchReport bench_model(const BenchRequest& request);

}  // namespace dyadic

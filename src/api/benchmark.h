// `dyadic bench`: times a .dyad file, after checking that its results equal the portable kernels'.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/encoder.h"
#include "base/cpu.h"
#include "graph/model.h"

namespace dyadic {

struct BenchRequest {
  std::string model, baseline;  // baseline: a float model folder, interleaved with ours
  std::vector<int64_t> batches = {1}, lengths = {16, 128};
  // A file of texts, run with their own lengths instead of `lengths`: columns (none: lines), how many are drawn (0:
  // all).
  std::string text;
  std::vector<int> columns;
  int64_t sample = 256;
  int threads = 1, repetitions = 0;  // 0: until about a second has been spent on a shape, at least 5
  Isa isa = Isa::kPortable;
  uint64_t seed = 0;
};

struct Spread {
  double min = 0, median = 0, max = 0;  // milliseconds
};

struct BenchLayer {
  std::string name, executor;
  double ms = 0;                      // of the profiled run
  int64_t macs = 0, narrow_macs = 0;  // narrow: of at most 8 x 8 bits
  double fraction = 0;                // of one thread's limit, by narrow products; 0: none, or no limit known
};

// One pass over some batches: of random ids of one length, or of texts.
struct BenchResult {
  int64_t batch = 0, length = 0;  // length 0: texts as they come
  int64_t texts = 0, tokens = 0;  // of a pass
  Spread ms;
  std::optional<Spread> baseline;
  int64_t macs = 0;
  // Of the run with the median time of some with profiling on, so that the layers and what is outside them add up to
  // it.
  std::vector<BenchLayer> layers;
  double profiled_ms = 0;
  // Multiply-accumulates a nanosecond of the median, and their share of BenchReport::limit_gmacs (0 without a limit).
  double gmacs = 0, fraction = 0;
};

struct BenchReport {
  std::string cpu;
  Isa isa = Isa::kPortable;
  int threads = 1;
  double limit_gmacs = 0;  // what the threads could do at most with this instruction set's products; 0: not known
  TextCounts texts;        // of a file of texts
  std::vector<BenchResult> results;
};

// kUsage for a text longer than the model is proved for.
void require_length(const Model& model, int64_t length);

// kFailed if a result differs from the portable kernels'.
BenchReport bench_model(const BenchRequest& request);

}  // namespace dyadic

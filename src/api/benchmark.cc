#include "api/benchmark.h"

#include <algorithm>
#include <chrono>

#include "api/doctor.h"
#include "api/encoder.h"
#include "api/inspect.h"
#include "api/verify.h"
#include "base/progress.h"
#include "base/status.h"
#include "io/huggingface/importer.h"
#include "real/executor.h"
#include "runtime/container.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Spread spread(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return {samples.front(), samples[samples.size() / 2], samples.back()};
}

std::vector<TokenIds> random_batch(Random& random, int64_t vocabulary, int64_t batch, int64_t length) {
  std::vector<TokenIds> texts;
  for (int64_t b = 0; b < batch; ++b) texts.push_back(random_tokens(random, vocabulary, length));
  return texts;
}

}  // namespace

BenchReport bench_model(const BenchRequest& request) {
  const auto model = load_model(request.model);
  Session session(model, {Backend::kKernels, request.isa, request.threads});
  Session portable(model, {Backend::kKernels, Isa::kPortable, request.threads});
  std::unique_ptr<RealExecutor> baseline;
  if (!request.baseline.empty())
    baseline = std::make_unique<RealExecutor>(import_huggingface(request.baseline).graph, request.threads);
  const int64_t vocabulary = input_range(*model, "token").hi + 1;
  const std::string output = model->main().value(model->main().outputs.at(0)).name;

  Random random(request.seed, 1);
  BenchReport report;
  report.cpu = cpu_model();
  report.isa = request.isa;
  report.threads = request.threads;
  report.limit_gmacs = dot_limit(request.isa, request.threads) * 1e-9;
  for (int64_t batch : request.batches)
    for (int64_t length : request.lengths) {
      check_interrupted();
      BenchResult result;
      result.batch = batch;
      result.length = length;
      auto feeds = pack_tokens(random_batch(random, vocabulary, batch, length)).feeds;
      const Tensor expected = portable.run(feeds).at(output);
      if (!(session.run(feeds).at(output) == expected))
        fail(ErrorKind::kFailed, "batch ", batch, ", length ", length,
             ": the result differs from the portable kernels'; run `dyadic verify`");
      if (baseline) baseline->run(feeds);

      std::vector<double> ours, theirs;
      std::vector<std::vector<double>> layers;
      session.set_profiling(false);
      const double begin = now_ms();
      constexpr double kBudget = 1000;  // milliseconds a shape
      for (uint32_t round = 1; request.repetitions ? round <= static_cast<uint32_t>(request.repetitions)
                                                   : round <= 5 || now_ms() - begin < kBudget;
           ++round) {
        feeds = pack_tokens(random_batch(random, vocabulary, batch, length)).feeds;
        double t = now_ms();
        session.run(feeds);
        ours.push_back(now_ms() - t);
        if (baseline) {
          t = now_ms();
          baseline->run(feeds);
          theirs.push_back(now_ms() - t);
        }
      }
      session.set_profiling(true);
      for (int round = 0; round < 5; ++round) {
        session.run(feeds);
        const auto times = session.times();
        layers.resize(times.size());
        for (size_t i = 0; i < times.size(); ++i) layers[i].push_back(static_cast<double>(times[i].nanoseconds) / 1e6);
      }
      const auto times = session.times();
      const Bindings bindings = {{"T", batch * length}, {"B", batch}, {"L", length}};
      for (size_t i = 0; i < times.size(); ++i) {
        int64_t macs = 0;
        for (const auto& [operands, count] : count_macs(model->body(model->main().nodes[i]), bindings)) macs += count;
        result.layers.push_back({times[i].name, times[i].executor, spread(layers[i]).median, macs});
        result.macs += macs;
      }
      result.ms = spread(std::move(ours));
      result.gmacs = static_cast<double>(result.macs) / result.ms.median * 1e-6;
      if (report.limit_gmacs > 0) result.fraction = result.gmacs / report.limit_gmacs;
      if (baseline) result.baseline = spread(std::move(theirs));
      report.results.push_back(std::move(result));
    }
  return report;
}

}  // namespace dyadic

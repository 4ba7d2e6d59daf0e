#include "api/benchmark.h"

#include <algorithm>
#include <chrono>

#include "api/doctor.h"
#include "api/encoder.h"
#include "api/inspect.h"
#include "api/verify.h"
#include "base/progress.h"
#include "base/status.h"
#include "io/datasets/text.h"
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

// The batches of one pass.
using Pass = std::vector<TokenBatch>;

Pass random_pass(Random& random, int64_t vocabulary, int64_t batch, int64_t length) {
  std::vector<TokenIds> texts;
  for (int64_t b = 0; b < batch; ++b) texts.push_back(random_tokens(random, vocabulary, length));
  return {pack_tokens(texts)};
}

TokenizedTexts read_ids(const BenchRequest& request) {
  std::vector<std::string> texts = read_texts(request.text, request.columns);
  if (request.sample > 0) texts = sample_texts(std::move(texts), static_cast<size_t>(request.sample), request.seed);
  if (texts.empty()) fail(ErrorKind::kMalformed, request.text, ": no texts");
  return open_encoder(request.model, {{Backend::kKernels, request.isa}})->tokenize_all(texts);
}

Pass text_pass(std::span<const TokenIds> texts, int64_t batch) {
  Pass pass;
  for (size_t i = 0; i < texts.size(); i += static_cast<size_t>(batch))
    pass.push_back(pack_tokens(texts.subspan(i, std::min(static_cast<size_t>(batch), texts.size() - i))));
  return pass;
}

class Bench {
 public:
  explicit Bench(const BenchRequest& request)
      : request_(request),
        model_(load_model(request.model)),
        session_(model_, {Backend::kKernels, request.isa, request.threads}),
        portable_(model_, {Backend::kKernels, Isa::kPortable, request.threads}),
        output_(model_->main().value(model_->main().outputs.at(0)).name) {
    if (!request.baseline.empty()) baseline_.emplace(import_huggingface(request.baseline).graph, request.threads);
    report_.cpu = cpu_model();
    report_.isa = request.isa;
    report_.threads = request.threads;
    core_limit_ = dot_limit(request.isa, 1) * 1e-9;
  }

  BenchReport run() {
    if (request_.text.empty()) {
      Random random(request_.seed, 1);
      const int64_t vocabulary = input_range(*model_, "token").hi + 1;
      for (int64_t length : request_.lengths) require_length(*model_, length);
      for (int64_t batch : request_.batches)
        for (int64_t length : request_.lengths)
          measure(batch, length, [&] { return random_pass(random, vocabulary, batch, length); });
    } else {
      const auto [ids, counts] = read_ids(request_);
      report_.texts = counts;
      for (int64_t batch : request_.batches) measure(batch, 0, [&, &ids = ids] { return text_pass(ids, batch); });
    }
    set_fractions();
    return std::move(report_);
  }

 private:
  template <class MakePass>
  void measure(int64_t batch, int64_t length, const MakePass& make_pass) {
    check_interrupted();
    Pass pass = make_pass();
    check(pass);
    BenchResult result;
    result.batch = batch;
    result.length = length;
    for (const TokenBatch& b : pass) {
      result.texts += b.texts;
      result.tokens += b.tokens;
    }
    if (baseline_) run_pass(*baseline_, pass);
    std::vector<double> ours, theirs;
    session_.set_profiling(false);
    const double begin = now_ms();
    constexpr double kBudget = 1000;  // milliseconds a shape
    const auto enough = [&](size_t rounds) {
      return request_.repetitions ? rounds >= static_cast<size_t>(request_.repetitions)
                                  : rounds >= 5 && now_ms() - begin >= kBudget;
    };
    // Two models push each other's weights out of the caches: behind the other one, the first runs do not count.
    const auto warm = [&](auto& executor) {
      constexpr double kWarm = 5;  // milliseconds
      const double from = now_ms();
      do run_pass(executor, make_pass());
      while (now_ms() - from < kWarm);
    };
    while (!enough(ours.size())) {
      pass = make_pass();
      if (baseline_) warm(session_);
      ours.push_back(run_pass(session_, pass));
      if (!baseline_) continue;
      warm(*baseline_);
      theirs.push_back(run_pass(*baseline_, pass));
    }
    result.ms = spread(std::move(ours));
    if (baseline_) result.baseline = spread(std::move(theirs));
    profile(pass, result);
    result.gmacs = static_cast<double>(result.macs) / result.ms.median * 1e-6;
    report_.results.push_back(std::move(result));
  }

  void check(const Pass& pass) {
    for (const TokenBatch& b : pass)
      if (!(session_.run(b.feeds).at(output_) == portable_.run(b.feeds).at(output_)))
        fail(ErrorKind::kFailed, b.texts, " texts, ", b.tokens,
             " tokens: the result differs from the portable kernels'; run `dyadic verify`");
  }

  template <class Executor>
  static double run_pass(Executor& executor, const Pass& pass) {
    check_interrupted();
    const double begin = now_ms();
    for (const TokenBatch& b : pass) executor.run(b.feeds);
    return now_ms() - begin;
  }

  void profile(const Pass& pass, BenchResult& result) {
    struct Profile {
      double total = 0;
      std::vector<double> layers;
    };
    const auto session = session_.sibling();
    session->set_profiling(true);
    for (const TokenBatch& b : pass) session->run(b.feeds);  // makes its plans
    std::vector<Profile> profiles(9);
    for (Profile& p : profiles)
      for (const TokenBatch& b : pass) {
        check_interrupted();
        const double begin = now_ms();
        session->run(b.feeds);
        p.total += now_ms() - begin;
        const auto times = session->times();
        p.layers.resize(times.size());
        for (size_t i = 0; i < times.size(); ++i) p.layers[i] += static_cast<double>(times[i].nanoseconds) * 1e-6;
      }
    const auto middle = profiles.begin() + static_cast<std::ptrdiff_t>(profiles.size() / 2);
    std::nth_element(profiles.begin(), middle, profiles.end(),
                     [](const Profile& a, const Profile& b) { return a.total < b.total; });
    result.profiled_ms = middle->total;

    const auto times = session->times();
    for (size_t i = 0; i < times.size(); ++i) {
      BenchLayer layer{times[i].name, times[i].executor, middle->layers[i]};
      for (const TokenBatch& b : pass)
        for (const auto& [operands, count] : macs(i, b)) {
          layer.macs += count;
          if (operands == "8x8") layer.narrow_macs += count;
        }
      result.macs += layer.macs;
      result.layers.push_back(std::move(layer));
    }
  }

  // Neighbours and clocks change what a core can do: the limit is the higher of two measurements, before and after.
  void set_fractions() {
    core_limit_ = std::max(core_limit_, dot_limit(request_.isa, 1) * 1e-9);
    report_.limit_gmacs = core_limit_ * std::min(request_.threads, core_count());
    const auto share = [](double gmacs, double limit) { return limit > 0 ? gmacs / limit : 0; };
    for (BenchResult& result : report_.results) {
      result.fraction = share(result.gmacs, report_.limit_gmacs);
      for (BenchLayer& layer : result.layers)
        layer.fraction = share(static_cast<double>(layer.narrow_macs) / layer.ms * 1e-6, core_limit_);
    }
  }

  // Attention's products are those of each text with itself, while its body speaks of the longest text.
  std::map<std::string, int64_t> macs(size_t step, const TokenBatch& b) const {
    const Body& body = model_->body(model_->main().nodes[step]);
    std::map<std::string, int64_t> sum;
    const Tensor& length = b.feeds.at("length");
    for (int64_t text = 0; text < b.texts; ++text)
      for (const auto& [operands, count] : count_macs(body, {{"T", length.at(text)}, {"B", 1}, {"L", length.at(text)}}))
        sum[operands] += count;
    return sum;
  }

  const BenchRequest& request_;
  std::shared_ptr<const Model> model_;
  Session session_, portable_;
  std::optional<RealExecutor> baseline_;
  std::string output_;
  double core_limit_ = 0;  // GMAC/s of one core
  BenchReport report_;
};

}  // namespace

void require_length(const Model& model, int64_t length) {
  const auto longest = model.symbols.find("L");
  if (longest != model.symbols.end() && length > longest->second.maximum)
    fail(ErrorKind::kUsage, "--length must be 1..", longest->second.maximum, " for this model, not ", length);
}

BenchReport bench_model(const BenchRequest& request) { return Bench(request).run(); }

}  // namespace dyadic

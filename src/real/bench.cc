// Milliseconds of the float executor, the baseline that integer models are compared with.
//
// usage: bench_real MODEL_FOLDER [THREADS]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/random.h"
#include "base/status.h"
#include "io/huggingface/importer.h"
#include "real/executor.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

TokenBatch random_batch(int64_t texts, int64_t length, int64_t vocabulary) {
  Random random(1);
  std::vector<std::vector<int32_t>> ids(texts, std::vector<int32_t>(length));
  for (auto& text : ids)
    for (auto& id : text) id = static_cast<int32_t>(random.below(vocabulary));
  return pack_tokens(ids);
}

void check_finite(const Tensor& embedding) {
  for (float v : embedding.span<float>())
    if (!std::isfinite(v)) fail(ErrorKind::kFailed, "an embedding is not finite");
}

void bench(const std::string& folder, int threads) {
  const ImportedModel model = import_huggingface(folder);
  RealExecutor executor(model.graph, threads);
  const int64_t vocabulary = model.graph.value(model.graph.find("embeddings.word_embeddings.weight")).constant.dim(0);
  std::printf("%s, %d thread(s)\n%8s %8s %10s %10s %10s\n", folder.c_str(), threads, "texts", "tokens", "min ms",
              "median ms", "tokens/s");
  for (const auto& [texts, length] : {std::pair<int64_t, int64_t>{1, 16}, {1, 128}, {1, 384}, {32, 128}}) {
    if (length > model.max_positions) continue;
    const TokenBatch batch = random_batch(texts, length, vocabulary);
    std::vector<double> ms;
    for (double total = 0; ms.size() < 5 || total < 1500;) {
      const auto begin = std::chrono::steady_clock::now();
      const auto results = executor.run(batch.feeds);
      ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
      check_finite(results.at("embedding"));
      total += ms.back();
    }
    std::ranges::sort(ms);
    const double median = ms[ms.size() / 2];
    std::printf("%8ld %8ld %10.3f %10.3f %10.0f\n", static_cast<long>(texts), static_cast<long>(length), ms[0], median,
                1000.0 * static_cast<double>(batch.tokens) / median);
  }
}

}  // namespace
}  // namespace dyadic

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: bench_real MODEL_FOLDER [THREADS]\n");
    return 2;
  }
  try {
    dyadic::bench(argv[1], argc > 2 ? std::atoi(argv[2]) : 1);
  } catch (const dyadic::Error& error) {
    std::fprintf(stderr, "bench_real: %s\n", error.what());
    return static_cast<int>(error.kind());
  }
}

#include "api/executors.h"

#include <algorithm>
#include <memory>

#include "api/benchmark.h"
#include "api/compiled_c.h"
#include "api/verify.h"
#include "api/verify_backends.h"
#include "base/progress.h"
#include "base/status.h"
#include "graph/island.h"
#include "graph/ranges.h"
#include "runtime/container.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

// What gcc and clang understand alike.
std::string flags(Isa isa) {
  constexpr char kVnni[] =
      " -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi -mfma -mprefer-vector-width=512";
  const char* const sets[] = {"", " -mavx2 -mfma", kVnni, kVnni};  // no compiler makes products of tiles from C
  return cat("-std=c99 -O3", sets[static_cast<int>(isa)]);
}

// The whole model by one executor.
struct Contestant {
  std::string name;
  std::unique_ptr<Session> session;
  std::map<std::string, std::vector<double>> ms;  // by body: the sum of its composites, one a round
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::string ExecutorRow::fastest() const {
  return std::min_element(ms.begin(), ms.end(), [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

double ExecutorRow::gain() const {
  double others = 0;
  for (const auto& [name, time] : ms)
    if (name != "hand") others = others == 0 ? time : std::min(others, time);
  const auto hand = ms.find("hand");
  return hand == ms.end() ? 0 : others / hand->second;
}

ExecutorReport bench_executors(const std::string& path, int64_t batch, int64_t length, Isa isa, int rounds,
                               uint64_t seed) {
  const auto model = load_model(path);
  require_length(*model, length);
  const auto proof = std::make_shared<const std::vector<Ranges>>(prove_model(*model));
  const auto& nodes = model->main().nodes;
  ExecutorReport report;
  report.cpu = cpu_model();
  report.batch = batch;
  report.length = length;
  std::vector<std::string> compilers;
  for (const char* compiler : {"gcc", "clang"})
    if (has_compiler(compiler))
      compilers.emplace_back(compiler);
    else
      report.skipped.push_back(cat(compiler, ": SKIPPED: there is no such command"));

  Random random(seed, 1);
  const int64_t vocabulary = input_range(*model, "token").hi + 1;
  std::vector<std::vector<int32_t>> texts;
  for (int64_t b = 0; b < batch; ++b) texts.push_back(random_tokens(random, vocabulary, length));
  const auto feeds = pack_tokens(texts).feeds;
  const auto expected = Session(model, {Backend::kKernels, Isa::kPortable, 1, {}, proof}).run(feeds);

  for (const Isa level : kAllIsas) {
    if (level > isa) break;
    std::vector<Contestant> all;
    const auto add = [&](const std::string& name, Backend backend, MakeKernel make = {}) {
      check_interrupted();
      const SessionOptions options{backend, level, 1, std::move(make), proof};
      Contestant c{name, std::make_unique<Session>(model, options), {}};
      if (c.session->run(feeds) != expected)
        fail(ErrorKind::kFailed, name, " with ", isa_name(level),
             ": the result differs from the portable kernels'; run `dyadic verify`");
      c.session->set_profiling(true);
      all.push_back(std::move(c));
    };
    add("hand", Backend::kKernels);
    add("tile", Backend::kTile);
    for (const std::string& compiler : compilers)
      add(compiler, Backend::kKernels, printed_c(model, *proof, compiler, flags(level)));

    for (int round = 0; round < rounds; ++round)
      for (Contestant& c : all) {
        check_interrupted();
        c.session->run(feeds);
        std::map<std::string, double> sum;
        const auto times = c.session->times();
        for (size_t n = 0; n < nodes.size(); ++n)
          sum[nodes[n].body] += static_cast<double>(times[n].nanoseconds) * 1e-6;
        for (const auto& [body, ms] : sum) c.ms[body].push_back(ms);
      }

    const auto used = all[0].session->times();
    std::map<std::string, size_t> row_of;
    for (size_t n = 0; n < nodes.size(); ++n) {
      if (is_island(model->body(nodes[n]).graph)) continue;
      const auto [row, fresh] = row_of.try_emplace(nodes[n].body, report.rows.size());
      if (fresh) {
        report.rows.push_back({nodes[n].op, nodes[n].name, 0, level, used[n].executor, {}});
        for (const Contestant& c : all)
          if (c.name != "hand" || used[n].executor != "tile program")
            report.rows.back().ms[c.name] = median(c.ms.at(nodes[n].body));
      }
      ++report.rows[row->second].layers;
    }
  }
  return report;
}

}  // namespace dyadic

#include "api/benchmark.h"

#include <fmt/format.h>

#include "commands.h"

namespace dyadic::cli {
namespace {

Json to_json(const Spread& s) { return {{"min", s.min}, {"median", s.median}, {"max", s.max}}; }

Json to_json(const BenchReport& r) {
  Json json = {{"cpu", r.cpu},
               {"isa", std::string(isa_name(r.isa))},
               {"threads", r.threads},
               {"limit_gmacs", r.limit_gmacs > 0 ? Json(r.limit_gmacs) : Json()},
               {"results", Json::array()}};
  for (const auto& result : r.results) {
    Json row = {{"batch", result.batch},
                {"length", result.length},
                {"ms", to_json(result.ms)},
                {"baseline_ms", result.baseline ? to_json(*result.baseline) : Json()},
                {"macs", result.macs},
                {"gmacs", result.gmacs},
                {"fraction", r.limit_gmacs > 0 ? Json(result.fraction) : Json()},
                {"layers", Json::array()}};
    for (const auto& layer : result.layers)
      row["layers"].push_back(
          {{"name", layer.name}, {"executor", layer.executor}, {"ms", layer.ms}, {"macs", layer.macs}});
    json["results"].push_back(std::move(row));
  }
  return json;
}

int bench(BenchRequest request, const std::string& batches, const std::string& lengths, bool layers,
          const Common& common) {
  request.batches.clear();
  request.lengths.clear();
  for (int b : parse_numbers(batches, "--batch")) request.batches.push_back(b);
  for (int l : parse_numbers(lengths, "--length")) request.lengths.push_back(l);
  request.threads = common.threads;
  request.seed = common.seed;
  request.isa = active_isa();
  const BenchReport r = bench_model(request);
  if (common.json) {
    fmt::print("{}\n", to_json(r).dump());
    return 0;
  }
  fmt::print("{}, {}, {} thread{}; results checked against the portable kernels\n", r.cpu, isa_name(r.isa), r.threads,
             r.threads == 1 ? "" : "s");
  if (r.limit_gmacs > 0) fmt::print("limit of its 8-bit products, measured now: {:.1f} GMAC/s\n", r.limit_gmacs);
  fmt::print("\n");
  std::vector<std::vector<std::string>> rows;
  for (const auto& result : r.results) {
    rows.push_back({fmt::format("{} x {}", result.batch, result.length), fmt::format("{:.3f}", result.ms.median),
                    fmt::format("{:.3f}", result.ms.min), fmt::format("{:.3f}", result.ms.max),
                    fmt::format("{:.1f}", result.gmacs),
                    r.limit_gmacs > 0 ? fmt::format("{:.0f} %", 100 * result.fraction) : "-",
                    result.baseline ? fmt::format("{:.2f}", result.baseline->median) : "-",
                    result.baseline ? fmt::format("{:.2f}x", result.baseline->median / result.ms.median) : "-"});
  }
  print_table({"batch x length", "median ms", "min", "max", "GMAC/s", "of limit", "float ms", "speed-up"}, rows);
  if (layers)
    for (const auto& result : r.results) {
      fmt::print("\n{} x {}\n", result.batch, result.length);
      rows.clear();
      for (const auto& layer : result.layers)
        rows.push_back({layer.name, layer.executor, fmt::format("{:.4f}", layer.ms),
                        layer.macs ? fmt::format("{:.1f}", static_cast<double>(layer.macs) / layer.ms / 1e6) : "-"});
      print_table({"layer", "executor", "ms", "GMAC/s"}, rows);
    }
  return 0;
}

}  // namespace

Action add_bench(CLI::App& app) {
  auto request = std::make_shared<BenchRequest>();
  auto batches = std::make_shared<std::string>("1,32"), lengths = std::make_shared<std::string>("16,128,384");
  auto layers = std::make_shared<bool>(false);
  app.add_option("MODEL", request->model, "A .dyad file")->required();
  app.add_option("--batch", *batches, "Batch sizes")->capture_default_str();
  app.add_option("--length", *lengths, "Tokens a text")->capture_default_str();
  app.add_option("--baseline", request->baseline, "A float model folder, timed in turn with ours");
  app.add_option("--repetitions", request->repetitions, "Runs a shape; 0: about a second's worth, at least 5")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  app.add_flag("--layers", *layers, "Also time every layer");
  set_help(
      app,
      "Runs every batch size with every length on random token ids, after comparing the result with the portable\n"
      "kernels' in every bit. Prints median, minimum and maximum milliseconds, GMAC/s, and their share of what the\n"
      "processor's products could do at most, measured in the same run (see `dyadic doctor`).\n"
      "JSON: {\"cpu\", \"isa\", \"threads\", \"limit_gmacs\", \"results\": [{\"batch\", \"length\", \"ms\": {\"min\",\n"
      "\"median\", \"max\"}, \"baseline_ms\", \"macs\", \"gmacs\", \"fraction\", \"layers\"}]}",
      {"dyadic bench minilm.dyad --batch 1,32 --length 16,128,384 --baseline all-MiniLM-L6-v2",
       "dyadic bench minilm.dyad --batch 1 --length 128 --layers"});
  return [=](const Common& common) { return bench(*request, *batches, *lengths, *layers, common); };
}

}  // namespace dyadic::cli

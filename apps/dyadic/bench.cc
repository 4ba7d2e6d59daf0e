#include "api/benchmark.h"
#include "api/executors.h"

#include <fmt/format.h>

#include "base/status.h"
#include "commands.h"
#include "commit.h"

namespace dyadic::cli {
namespace {

Json to_json(const Spread& s) { return {{"min", s.min}, {"median", s.median}, {"max", s.max}}; }

Json to_json(const BenchReport& r) {
  const auto limited = [&](double fraction) { return r.limit_gmacs > 0 ? Json(fraction) : Json(); };
  Json json = {{"cpu", r.cpu},
               {"isa", std::string(isa_name(r.isa))},
               {"threads", r.threads},
               {"commit", DYADIC_COMMIT},
               {"limit_gmacs", limited(r.limit_gmacs)},
               {"texts_cut", r.texts.cut},
               {"results", Json::array()}};
  for (const auto& result : r.results) {
    Json row = {{"batch", result.batch},
                {"length", result.length ? Json(result.length) : Json()},
                {"texts", result.texts},
                {"tokens", result.tokens},
                {"ms", to_json(result.ms)},
                {"baseline_ms", result.baseline ? to_json(*result.baseline) : Json()},
                {"macs", result.macs},
                {"gmacs", result.gmacs},
                {"fraction", limited(result.fraction)},
                {"profiled_ms", result.profiled_ms},
                {"layers", Json::array()}};
    for (const auto& layer : result.layers)
      row["layers"].push_back({{"name", layer.name},
                               {"executor", layer.executor},
                               {"ms", layer.ms},
                               {"macs", layer.macs},
                               {"fraction", limited(layer.fraction)}});
    json["results"].push_back(std::move(row));
  }
  return json;
}

std::string shape_name(const BenchResult& result) {
  return result.length ? fmt::format("{} x {}", result.batch, result.length) : fmt::format("{} x text", result.batch);
}

// A line a shape, or with `layers` a line a layer; "outside" is what a run spends outside its layers.
void print_csv(const BenchReport& r, bool layers) {
  const auto line = [&](const BenchResult& result, const std::string& layer, double ms, double min, double max,
                        int64_t macs, double fraction) {
    fmt::print("\"{}\",{},{},{},{},{},{},{},{},{:.6g},{:.6g},{:.6g},{},{:.4f}\n", r.cpu, isa_name(r.isa), r.threads,
               DYADIC_COMMIT, result.batch, result.length ? std::to_string(result.length) : "text", result.texts,
               result.tokens, layer, ms, min, max, macs, fraction);
  };
  fmt::print("cpu,isa,threads,commit,batch,length,texts,tokens,layer,ms,min_ms,max_ms,macs,fraction\n");
  for (const auto& result : r.results) {
    line(result, "", result.ms.median, result.ms.min, result.ms.max, result.macs, result.fraction);
    if (!layers) continue;
    double outside = result.profiled_ms;
    for (const auto& layer : result.layers) {
      line(result, layer.name, layer.ms, layer.ms, layer.ms, layer.macs, layer.fraction);
      outside -= layer.ms;
    }
    line(result, "outside", outside, outside, outside, 0, 0);
  }
}

// Each layer's share of one run, what all of them are together, and what is outside them.
void print_layers(const BenchReport& r, const BenchResult& result) {
  fmt::print("\n{}{}\n", shape_name(result), r.threads > 1 ? ", by one thread" : "");
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const std::string& executor, double ms, int64_t macs, double fraction) {
    rows.push_back({name, executor, fmt::format("{:.4f}", ms), fmt::format("{:.1f} %", 100 * ms / result.profiled_ms),
                    macs ? fmt::format("{:.1f}", static_cast<double>(macs) / ms / 1e6) : "-",
                    fraction > 0 ? fmt::format("{:.0f} %", 100 * fraction) : "-"});
  };
  double sum = 0, narrow = 0;  // narrow: what the 8-bit products would take at the limit
  for (const auto& layer : result.layers) {
    add(layer.name, layer.executor, layer.ms, layer.macs, layer.fraction);
    sum += layer.ms;
    narrow += layer.fraction * layer.ms;
  }
  add("all layers", "", sum, result.macs, narrow / sum);
  add("outside them", "", result.profiled_ms - sum, 0, 0);
  add("this run", "", result.profiled_ms, result.macs, narrow / result.profiled_ms);
  print_table({"layer", "executor", "ms", "share", "GMAC/s", "of limit"}, rows);
}

void print_results(const BenchReport& r) {
  fmt::print("{}, {}, {} thread{}; results checked against the portable kernels\n", r.cpu, isa_name(r.isa), r.threads,
             r.threads == 1 ? "" : "s");
  if (r.limit_gmacs > 0) fmt::print("limit of its 8-bit products, measured now: {:.1f} GMAC/s\n", r.limit_gmacs);
  fmt::print("\n");
  std::vector<std::vector<std::string>> rows;
  for (const auto& result : r.results) {
    const double seconds = result.ms.median * 1e-3;
    rows.push_back({shape_name(result), fmt::format("{:.3f}", result.ms.median), fmt::format("{:.3f}", result.ms.min),
                    fmt::format("{:.3f}", result.ms.max), fmt::format("{:.0f}", result.texts / seconds),
                    fmt::format("{:.0f}", result.tokens / seconds), fmt::format("{:.1f}", result.gmacs),
                    r.limit_gmacs > 0 ? fmt::format("{:.0f} %", 100 * result.fraction) : "-",
                    result.baseline ? fmt::format("{:.2f}", result.baseline->median) : "-",
                    result.baseline ? fmt::format("{:.2f}x", result.baseline->median / result.ms.median) : "-"});
  }
  print_table({"batch x length", "median ms", "min", "max", "texts/s", "tokens/s", "GMAC/s", "of limit", "float ms",
               "speed-up"},
              rows);
}

constexpr const char* kExecutors[] = {"hand", "gcc", "clang", "tile"};

Json to_json(const ExecutorReport& r) {
  Json json = {{"cpu", r.cpu},       {"commit", DYADIC_COMMIT}, {"batch", r.batch},
               {"length", r.length}, {"rows", Json::array()},   {"skipped", r.skipped}};
  for (const auto& row : r.rows)
    json["rows"].push_back({{"composite", row.composite},
                            {"layer", row.layer},
                            {"layers", row.layers},
                            {"isa", std::string(isa_name(row.isa))},
                            {"used", row.used},
                            {"ms", row.ms},
                            {"fastest", row.fastest()},
                            {"gain", row.gain()}});
  return json;
}

void print_executors(const ExecutorReport& r) {
  fmt::print("{}, {} x {}, 1 thread; results equal; ms of all layers that share a body\n\n", r.cpu, r.batch, r.length);
  std::vector<std::vector<std::string>> rows;
  for (const auto& row : r.rows) {
    rows.push_back({row.composite, fmt::format("{} ({})", row.layer, row.layers), std::string(isa_name(row.isa))});
    for (const char* name : kExecutors)
      rows.back().push_back(row.ms.count(name) ? fmt::format("{:.3f}", row.ms.at(name)) : "-");
    rows.back().push_back(row.gain() > 0 ? fmt::format("{:.1f}x", row.gain()) : "-");
    rows.back().push_back(row.used);
  }
  print_table({"composite", "first layer", "isa", "hand", "gcc", "clang", "tile", "gain by hand", "used"}, rows);
  for (const auto& line : r.skipped) fmt::print("{}\n", line);
}

struct BenchOptions {
  BenchRequest request;
  std::string batches = "1,32", lengths = "16,128,384", columns;
  bool layers = false, csv = false, executors = false;
  const CLI::Option *batch = nullptr, *length = nullptr;
};

int bench(BenchOptions options, const Common& common) {
  if (options.csv && common.json) fail(ErrorKind::kUsage, "--csv and --json exclude each other");
  BenchRequest& request = options.request;
  request.batches.clear();
  request.lengths.clear();
  for (int b : parse_numbers(options.batches, "--batch")) request.batches.push_back(b);
  for (int l : parse_numbers(options.lengths, "--length")) request.lengths.push_back(l);
  if (!options.columns.empty()) request.columns = parse_numbers(options.columns, "--columns");
  request.threads = common.threads;
  request.seed = common.seed;
  request.isa = active_isa();
  if (options.executors) {
    if ((options.batch->count() && request.batches.size() > 1) ||
        (options.length->count() && request.lengths.size() > 1) || request.threads > 1)
      fail(ErrorKind::kUsage, "--executors measures one --batch and one --length by one thread");
    const int rounds = request.repetitions ? request.repetitions : 7;
    const auto r =
        bench_executors(request.model, request.batches[0], request.lengths[0], request.isa, rounds, common.seed);
    if (common.json)
      fmt::print("{}\n", to_json(r).dump());
    else
      print_executors(r);
    return 0;
  }
  const BenchReport r = bench_model(request);
  warn_of_cut_texts(r.texts);
  if (common.json) {
    fmt::print("{}\n", to_json(r).dump());
  } else if (options.csv) {
    print_csv(r, options.layers);
  } else {
    print_results(r);
    if (options.layers)
      for (const auto& result : r.results) print_layers(r, result);
  }
  return 0;
}

}  // namespace

Action add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  BenchRequest& request = options->request;
  app.add_option("MODEL", request.model, "A .dyad file")->required();
  options->batch = app.add_option("--batch", options->batches, "Batch sizes")->capture_default_str();
  auto* length = app.add_option("--length", options->lengths, "Tokens a text")->capture_default_str();
  options->length = length;
  auto* text =
      app.add_option("--text", request.text, "A file of texts, plain or .zst: run them with their own lengths");
  text->excludes(length);
  app.add_option("--columns", options->columns, "Columns of a .tsv of texts, e.g. 6,7")->needs(text);
  app.add_option("--sample", request.sample, "At most this many of the texts, drawn by --seed; 0: all")
      ->check(whole_number(0, 10000000))
      ->capture_default_str()
      ->needs(text);
  auto* baseline = app.add_option("--baseline", request.baseline, "A float model folder, timed in turn with ours");
  app.add_option("--repetitions", request.repetitions, "Runs a shape; 0: about a second's worth, at least 5")
      ->check(whole_number(0, 1000000))
      ->capture_default_str();
  auto* layers =
      app.add_flag("--layers", options->layers, "Also the layers of one run by one thread, which add up to it");
  auto* csv = app.add_flag("--csv", options->csv, "Comma-separated values instead of tables");
  app.add_flag("--executors", options->executors,
               "Instead: each kind of layer by hand, as generated C, as tile program")
      ->excludes(text)
      ->excludes(csv)
      ->excludes(layers)
      ->excludes(baseline);
  set_help(
      app,
      "Runs every batch size with every length on random token ids, or with --text packed batches of texts as they\n"
      "come, after comparing the result with the portable kernels' in every bit. Prints median, minimum and maximum\n"
      "milliseconds (of all the texts, with --text), GMAC/s, and their share of what the processor's 8-bit products\n"
      "could do at most, measured in the same run (see `dyadic doctor`).\n"
      "JSON: {\"cpu\", \"isa\", \"threads\", \"commit\", \"limit_gmacs\", \"texts_cut\", \"results\": [{\"batch\", "
      "\"length\",\n"
      "\"texts\", \"tokens\", \"ms\": {\"min\", \"median\", \"max\"}, \"baseline_ms\", \"macs\", \"gmacs\",\n"
      "\"fraction\", \"profiled_ms\", \"layers\": [{\"name\", \"executor\", \"ms\", \"macs\", \"fraction\"}]}]};\n"
      "with --executors {\"cpu\", \"commit\", \"batch\", \"length\", \"rows\": [{\"composite\", \"layer\", "
      "\"layers\",\n"
      "\"isa\", \"used\", \"ms\": {\"hand\", \"gcc\", \"clang\", \"tile\"}, \"fastest\", \"gain\"}], \"skipped\"}",
      {"dyadic bench minilm.dyad --batch 1,32 --length 16,128,384 --baseline all-MiniLM-L6-v2",
       "dyadic bench minilm.dyad --batch 1 --length 128 --layers",
       "dyadic bench minilm.dyad --batch 32 --text sentences.txt"});
  return [options](const Common& common) { return bench(*options, common); };
}

}  // namespace dyadic::cli

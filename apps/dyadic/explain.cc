#include "api/explain_flow.h"

#include <fmt/format.h>

#include "api/explain_html.h"
#include "api/files.h"
#include "base/status.h"
#include "commands.h"

namespace dyadic::cli {
namespace {

Json to_json(const ExplainReport& r) {
  Json json = {{"texts", r.texts.count},
               {"texts_cut", r.texts.cut},
               {"tokens", r.tokens},
               {"cosine", {{"mean", r.agreement.mean}, {"p01", r.agreement.p01}, {"min", r.agreement.min}}},
               {"layers", Json::array()}};
  for (const LayerLoss& l : r.layers)
    json["layers"].push_back({{"name", l.name},
                              {"composite", l.composite},
                              {"total", l.total},
                              {"causes",
                               {{"weight", l.weight},
                                {"approximation", l.approximation},
                                {"clipping", l.clipping},
                                {"requantization", l.requantization}}},
                              {"propagated", l.propagated},
                              {"sqnr_db", l.sqnr_db},
                              {"cosine", l.cosine},
                              {"cosine_to_float", l.cosine_to_float},
                              {"residual", l.residual}});
  json["suggestions"] = Json::array();
  for (const Suggestion& s : r.suggestions) {
    Json entry = {{"what", s.what}, {"rule", s.rule}};
    if (s.refused.empty()) {
      int64_t operations = 0;
      for (const auto& [kind, count] : s.operations) operations += count;
      entry.update({{"gain", s.gain},
                    {"bytes", s.bytes},
                    {"ops", operations},
                    {"ops_by_kind", s.operations},
                    {"cosine", {{"mean", s.agreement.mean}, {"p01", s.agreement.p01}, {"min", s.agreement.min}}},
                    {"local", {{"before", s.local_before}, {"after", s.local_after}}}});
    } else {
      entry.update({{"gain", nullptr}, {"bytes", nullptr}, {"ops", nullptr}, {"refused", s.refused}});
    }
    json["suggestions"].push_back(std::move(entry));
  }
  return json;
}

void print_suggestions(const ExplainReport& r) {
  fmt::print("\nrepairs, each alone behind the recipe, quantized on --calib and measured on --data");
  if (!r.same_calibration)
    fmt::print(";\nthe calibration is not the file's: without a repair it gives mean {:.5f}", r.baseline.mean);
  fmt::print("\n");
  std::vector<std::string> useless;
  for (const Suggestion& s : r.suggestions) {
    if (!s.refused.empty()) {
      useless.push_back(fmt::format("{}: refused: {}", s.what, s.refused));
      continue;
    }
    if (!(s.gain > 0)) {
      useless.push_back(fmt::format("{}: {:+.5f}", s.what, s.gain));
      continue;
    }
    std::string price;
    for (const auto& [kind, count] : s.operations) price += fmt::format(", {:+} {}", count, kind);
    fmt::print(
        "\n# {}\n# mean cosine {:+.5f} to {:.5f}, minimum {:.5f}; loss there {:.2e} -> {:.2e}\n"
        "# price: {:+} bytes{}\n{}",
        s.what, s.gain, s.agreement.mean, s.agreement.min, s.local_before, s.local_after, s.bytes,
        price.empty() ? ", no operation more" : price, s.rule);
  }
  if (!useless.empty()) fmt::print("\ntried without gain:\n");
  for (const auto& line : useless) fmt::print("  {}\n", line);
}

// "12-40" or "12-" as numbers.
std::pair<int64_t, int64_t> parse_rows(const std::string& text) {
  const size_t dash = text.find('-');
  const auto number = [&](const std::string& part, int64_t fallback) {
    return part.empty() ? fallback : int64_t{parse_numbers(part, "--rows").front()};
  };
  if (dash == std::string::npos) fail(ErrorKind::kUsage, "--rows: '", text, "' is not a range like 1-750 or 751-");
  return {number(text.substr(0, dash), 1), number(text.substr(dash + 1), 0)};
}

int explain(ExplainRequest request, const std::string& columns, const std::string& rows, const std::string& html,
            size_t top, const Common& common) {
  if (!columns.empty()) request.columns = parse_numbers(columns, "--columns");
  if (!rows.empty()) std::tie(request.first, request.last) = parse_rows(rows);
  if (!html.empty())
    require_output(html, "--html", {request.model, request.reference, request.data, request.calibration});
  request.seed = common.seed;
  request.threads = common.threads;
  const ExplainReport r = explain_model(request);
  warn_of_cut_texts(r.texts);
  if (!html.empty()) write_explain_html(html, r, request.model);
  if (common.json) {
    fmt::print("{}\n", to_json(r).dump());
    return 0;
  }
  fmt::print("{}, {}; cosine to the reference: mean {:.5f}, 1st percentile {:.5f}, minimum {:.5f}\n\n",
             counted(r.texts.count, "text"), counted(r.tokens, "token"), r.agreement.mean, r.agreement.p01,
             r.agreement.min);
  const auto percent = [](double share) { return fmt::format("{:.1f}", 100 * share); };
  std::vector<std::vector<std::string>> table;
  for (const LayerLoss& l : r.layers) {
    if (top && table.size() == top) break;
    table.push_back({fmt::format("{:.2e}", l.total), percent(l.weight), percent(l.approximation), percent(l.clipping),
                     percent(l.requantization), fmt::format("{:.2e}", l.propagated), fmt::format("{:.1f}", l.sqnr_db),
                     fmt::format("{:.6f}", l.cosine), l.composite, l.name});
  }
  print_table({"total", "weight %", "approx. %", "clip %", "requant. %", "propagated", "SQNR dB", "cosine", "composite",
               "layer"},
              table);
  if (table.size() < r.layers.size()) fmt::print("({} more layers: --top 0)\n", r.layers.size() - table.size());
  if (request.calibration.empty())
    fmt::print("\nno repairs: give --calib FILE, the texts to try them on\n");
  else if (request.repairs > 0)
    print_suggestions(r);
  return 0;
}

}  // namespace

Action add_explain(CLI::App& app) {
  auto request = std::make_shared<ExplainRequest>();
  auto columns = std::make_shared<std::string>(), rows = std::make_shared<std::string>();
  auto html = std::make_shared<std::string>();
  auto top = std::make_shared<size_t>(10);
  app.add_option("MODEL", request->model, "A .dyad file")->required();
  app.add_option("--reference", request->reference, "The float model folder that it was made of")->required();
  app.add_option("--data", request->data, "Texts to explain on: .txt (one a line) or .tsv, plain or .zst")->required();
  app.add_option("--columns", *columns, "Columns of a .tsv that hold text (of both files), counted from 1, e.g. 6,7");
  app.add_option("--rows", *rows, "Texts of --data to choose from, counted from 1: e.g. 1-1500, 1501-");
  app.add_option("--sample", request->sample, "Texts to draw from these by --seed; 0: all")
      ->check(whole_number(0, 10000000))
      ->capture_default_str();
  CLI::Option* calibration = app.add_option(
      "--calib", request->calibration,
      "Calibration texts, drawn as `dyadic quantize` does: repairs are tried on them; without it none is");
  app.add_option("--calib-sample", request->calibration_sample, "Texts to calibrate on; 0: the recipe's number")
      ->check(whole_number(0, 10000000))
      ->needs(calibration)
      ->capture_default_str();
  app.add_option("--repairs", request->repairs, "Repairs to try")->check(whole_number(0, 8))->capture_default_str();
  app.add_option("--html", *html, "Write a page with a bar for each layer and the repairs; it needs no network");
  app.add_option("--top", *top, "Layers to print, worst first; 0: all")
      ->check(whole_number(0, 1000000))
      ->capture_default_str();
  set_help(
      app,
      "Each layer's loss is split on the codes it really got. With F the float function it replaced, x^ and w^ "
      "decoded\n"
      "codes, w the float weights, A its result before the last rounding, y^ its result:\n"
      "  weight F(x^,w^)-F(x^,w)   approximation A-F(x^,w^)   clipping clip(A)-A   requantization y^-clip(A)\n"
      "sum to total = y^-F(x^,w). `total` is printed as its energy divided by that of F(x^,w), and sorts the layers; "
      "a\n"
      "cause as <cause,total>/<total,total>. `propagated` is the energy of F(x^,w)-F(x,w), x the float network's own\n"
      "values: what earlier layers have added.\n"
      "With --calib, repairs of the largest losses are tried: rules behind the recipe that change a fit, an encoding,\n"
      "biases or the scale classes. Each is quantized, measured on --data, priced in bytes and in operations of 128\n"
      "tokens, and printed as recipe lines to paste.\n"
      "JSON: {\"texts\", \"texts_cut\", \"tokens\", \"cosine\", \"layers\": [{\"name\", \"composite\", \"total\", "
      "\"causes\": {..}, "
      "\"propagated\",\n\"sqnr_db\", \"cosine\", \"cosine_to_float\", \"residual\"}], \"suggestions\": [{\"what\", "
      "\"rule\", "
      "\"gain\", \"bytes\", \"ops\", ..}]}",
      {"dyadic explain minilm.dyad --reference all-MiniLM-L6-v2 --data sts-dev.tsv --columns 6,7 --rows 1-1500",
       "dyadic explain minilm.dyad --reference all-MiniLM-L6-v2 --data sts-dev.tsv --columns 6,7 --calib sts-train.tsv "
       "--repairs 2",
       "dyadic explain minilm.dyad --reference all-MiniLM-L6-v2 --data sentences.txt --html losses.html --top 3"});
  return [=](const Common& common) { return explain(*request, *columns, *rows, *html, *top, common); };
}

}  // namespace dyadic::cli

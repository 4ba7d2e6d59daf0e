#include "api/compare.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"
#include "commands.h"

namespace dyadic::cli {
namespace {

double ratio(int64_t bytes, const CompareReport& r) {
  return static_cast<double>(bytes) / static_cast<double>(r.float_bytes);
}

Json to_json(const CompareReport& r) {
  Json json = {{"task", r.task},
               {"texts", r.texts.count},
               {"texts_cut", r.texts.cut},
               {"float", {{"bytes", r.float_bytes}}},
               {"rows", Json::array()}};
  if (r.float_spearman) json["float"]["spearman"] = *r.float_spearman;
  for (const auto& row : r.rows) {
    Json entry = {{"recipe", row.recipe}, {"digest", row.digest}, {"resumed", row.resumed}};
    if (!row.error.empty()) {
      entry["error"] = row.error;
    } else {
      entry["islands"] = row.islands;
      entry["bytes"] = row.bytes;
      entry["ratio"] = ratio(row.bytes, r);
      entry["cosine"] = {
          {"mean", row.cosine.mean}, {"p01", row.cosine.p01}, {"min", row.cosine.min}, {"count", row.cosine.count}};
      if (row.spearman) entry["spearman"] = *row.spearman;
      if (row.spearman && r.float_spearman) entry["difference"] = *row.spearman - *r.float_spearman;
      entry["texts_per_second"] = row.texts_per_second;
    }
    json["rows"].push_back(std::move(entry));
  }
  return json;
}

void print(const CompareReport& r) {
  const auto number = [](const std::optional<double>& x) { return x ? score_text(*x) : std::string("-"); };
  std::vector<std::vector<std::string>> rows;
  for (const auto& row : r.rows) {
    if (!row.error.empty()) continue;
    const bool differs = row.spearman && r.float_spearman;
    rows.push_back({row.recipe, fmt::format("{}", row.islands.size()), bytes_text(row.bytes),
                    fmt::format("{:.3f}", ratio(row.bytes, r)), number(row.cosine.mean), number(row.cosine.p01),
                    number(row.cosine.min), number(row.spearman),
                    differs ? difference_text(*row.spearman - *r.float_spearman) : "-",
                    fmt::format("{:.1f}", row.texts_per_second)});
  }
  fmt::print("task {}: {}; float model {}{}\n\n", r.task, counted(r.texts.count, "text"), bytes_text(r.float_bytes),
             r.float_spearman ? ", Spearman " + score_text(*r.float_spearman) : "");
  print_table({"recipe", "islands", "file", "ratio", "mean cosine", "1st percentile", "minimum", "Spearman",
               "difference", "texts/s"},
              rows);
  for (const auto& row : r.rows)
    if (!row.error.empty()) fmt::print("{}: not possible here: {}\n", row.recipe, row.error);
  int64_t resumed = 0;
  for (const auto& row : r.rows) resumed += row.resumed;
  if (resumed) fmt::print("\n{} of {} rows were taken from an earlier run\n", resumed, r.rows.size());
}

int compare(CompareRequest request, const std::string& recipes, const std::string& columns, const Common& common) {
  std::istringstream in(recipes);
  for (std::string name; std::getline(in, name, ',');)
    if (!name.empty()) request.recipes.push_back(name);
  if (!columns.empty()) request.columns = parse_numbers(columns, "--columns");
  request.threads = common.threads;
  request.seed = common.seed;
  const CompareReport r = compare_recipes(request);
  warn_of_cut_texts(r.texts);
  if (common.json)
    fmt::print("{}\n", to_json(r).dump());
  else
    print(r);
  const bool all_failed = std::all_of(r.rows.begin(), r.rows.end(), [](const auto& row) { return !row.error.empty(); });
  return all_failed ? static_cast<int>(ErrorKind::kContract) : 0;
}

}  // namespace

Action add_compare(CLI::App& app) {
  auto request = std::make_shared<CompareRequest>();
  auto recipes = std::make_shared<std::string>(), columns = std::make_shared<std::string>();
  app.add_option("MODEL", request->model, "A model folder; embeddings are compared with its own")->required();
  app.add_option("--recipes", *recipes, "Recipes by name (see `dyadic list`) or .toml files, separated by commas")
      ->required();
  app.add_option("--task", request->task, "sts: pairs with scores (TSV, fields 5-7); cosine: any text file")
      ->check(CLI::IsMember({"sts", "cosine"}))
      ->capture_default_str();
  app.add_option("--data", request->data, "The data of the task, plain or .zst")->required();
  app.add_option("--calib", request->calibration, "Calibration texts, as of `dyadic quantize`")->required();
  app.add_option("--columns", *columns,
                 "Columns that hold text, e.g. 6,7, where --calib (or --data of task cosine) is a .tsv");
  app.add_option("--sample", request->sample, "Texts to calibrate on; 0: each recipe's own number")
      ->check(whole_number(0, 10000000))
      ->capture_default_str();
  app.add_option("--work", request->work,
                 "A folder that keeps each recipe's .dyad file and row; without it nothing is");
  app.add_flag("--resume", request->resume,
               "Take finished rows from --work, whose model, recipe, texts, data and options are the same");
  set_help(
      app,
      "Quantizes the model by each recipe, on the same texts and with the same seed, and measures each on the same "
      "data.\n"
      "A row: float islands, bytes of the file and their ratio to the float model's, cosine to the float "
      "embeddings,\n"
      "Spearman's correlation (task sts: with people's scores; task cosine: of all pairs' similarities), "
      "texts a second.\n"
      "A recipe whose contract is unmet stands in its place with the reason; exit code 4 if all are.\n"
      "JSON: {\"task\", \"texts\", \"texts_cut\", \"float\": {\"bytes\", \"spearman\"}, \"rows\": [{\"recipe\", "
      "\"digest\", "
      "\"resumed\", \"islands\",\n"
      "\"bytes\", \"ratio\", \"cosine\", \"spearman\", \"difference\", \"texts_per_second\"} or {.., \"error\"}]}",
      {"dyadic compare all-MiniLM-L6-v2 --recipes default,int8 --data sts-dev.tsv --calib sts-train.tsv "
       "--columns 6,7",
       "dyadic compare all-MiniLM-L6-v2 --recipes default,int8 --task cosine --data sentences.txt --calib "
       "sentences.txt --work compared --resume"});
  return [request, recipes, columns](const Common& common) { return compare(*request, *recipes, *columns, common); };
}

}  // namespace dyadic::cli

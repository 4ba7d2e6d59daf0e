#include <fmt/format.h>

#include <map>

#include "api/files.h"
#include "api/quantize_flow.h"
#include "commands.h"

namespace dyadic::cli {
namespace {

Json agreement_json(const Agreement& a) {
  return {{"count", a.count}, {"mean", a.mean}, {"p01", a.p01}, {"min", a.min}};
}

Json to_json(const QuantizeRequest& request, const QuantizeReport& r) {
  Json json = {{"recipe", r.recipe},
               {"output", request.output},
               {"calibration_texts", r.calibration.count},
               {"texts_cut", r.calibration.cut},
               {"calibration_tokens", r.calibration_tokens},
               {"bytes_before", r.bytes_before},
               {"bytes_after", r.bytes_after},
               {"islands", r.islands},
               {"warnings", r.warnings},
               {"restructured", r.restructured},
               {"held_back", r.held_back.count ? agreement_json(r.held_back) : Json()},
               {"coverage", Json::array()}};
  for (const auto& row : r.coverage)
    json["coverage"].push_back({{"node", row.node},
                                {"op", row.op},
                                {"composite", row.composite},
                                {"integer", !row.composite.empty() && !row.island}});
  return json;
}

int quantize(QuantizeRequest request, const std::string& columns, const Common& common) {
  if (!columns.empty()) request.columns = parse_numbers(columns, "--columns");
  require_output(request.output, "-o", {request.model, request.calibration, recipe_path(request.recipe)});
  request.seed = common.seed;
  request.threads = common.threads;
  const QuantizeReport r = quantize_model(request);
  warn_of_cut_texts(r.calibration);
  for (const auto& warning : r.warnings) say("warning: " + warning);
  if (common.json) {
    fmt::print("{}\n", to_json(request, r).dump());
    return 0;
  }
  std::map<std::string, int64_t> integer;
  std::map<std::string, int64_t> total;
  for (const auto& row : r.coverage) {
    ++total[row.op];
    integer[row.op] += !row.composite.empty() && !row.island;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [op, count] : total) rows.push_back({op, fmt::format("{}", count), fmt::format("{}", integer[op])});
  fmt::print("recipe {}: calibrated on {}, {}\n\n", r.recipe, counted(r.calibration.count, "text"),
             counted(r.calibration_tokens, "token"));
  print_table({"operator", "nodes", "integer"}, rows);
  fmt::print("\nislands: {}\n",
             r.islands.empty() ? "none, integer-only" : fmt::format("{}", fmt::join(r.islands, "; ")));
  fmt::print("size: {} -> {} ({:.3f}x)\n", bytes_text(r.bytes_before), bytes_text(r.bytes_after),
             static_cast<double>(r.bytes_after) / static_cast<double>(r.bytes_before));
  if (r.held_back.count)
    fmt::print(
        "agreement with float on {} held-back texts: cosine mean {:.5f}, 1st percentile {:.5f}, minimum {:.5f}\n",
        r.held_back.count, r.held_back.mean, r.held_back.p01, r.held_back.min);
  fmt::print("wrote {}\n", request.output);
  return 0;
}

}  // namespace

Action add_quantize(CLI::App& app) {
  auto request = std::make_shared<QuantizeRequest>();
  auto columns = std::make_shared<std::string>();
  app.add_option("MODEL", request->model, "A model folder (config.json, *.safetensors, tokenizer files)")->required();
  app.add_option("--recipe", request->recipe, "A recipe by name (see `dyadic list`) or a .toml file")
      ->capture_default_str();
  app.add_option("--calib", request->calibration, "Calibration texts: .txt (one a line) or .tsv, plain or .zst")
      ->required();
  app.add_option("--columns", *columns, "Columns of a .tsv that hold text, counted from 1, e.g. 6,7");
  app.add_option("--sample", request->sample, "Texts to calibrate on; 0: the recipe's number")
      ->check(whole_number(0, 10000000))
      ->capture_default_str();
  app.add_option("--max-length", request->max_length,
                 "Tokens a text is cut to, special tokens included; 0: the model's own")
      ->check(whole_number(0, 1000000))
      ->capture_default_str();
  app.add_flag("--require-integer", request->require_integer,
               "Fail (exit 4) unless the result computes with integers only");
  app.add_option("-o,--output", request->output, "The .dyad file to write")->required();
  set_help(
      app,
      "Calibrates on a sample of the texts and holds others back, on which it reports the cosine to the float model.\n"
      "Prints how many nodes of each operator became integer, float islands and sizes. The same arguments write the\n"
      "same bytes; the file appears as a whole or not at all.\n"
      "JSON: {\"recipe\", \"output\", \"calibration_texts\", \"texts_cut\", \"calibration_tokens\", \"bytes_before\", "
      "\"bytes_after\",\n"
      "\"islands\", \"warnings\", \"restructured\", \"held_back\": {\"count\", \"mean\", \"p01\", \"min\"} or null, "
      "\"coverage\"}",
      {"dyadic quantize all-MiniLM-L6-v2 --calib sentences.txt --require-integer -o minilm.dyad",
       "dyadic quantize all-MiniLM-L6-v2 --calib sts-train.tsv --columns 6,7 --sample 512 -o minilm.dyad"});
  return [request, columns](const Common& common) { return quantize(*request, *columns, common); };
}

}  // namespace dyadic::cli

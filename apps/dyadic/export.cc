#include "api/export.h"

#include <fmt/format.h>

#include "commands.h"

namespace dyadic::cli {
namespace {

int export_c(ExportRequest request, const Common& common) {
  request.seed = common.seed;
  const ExportReport r = export_c_folder(request);
  warn_of_cut_texts(r.texts);
  if (common.json) {
    fmt::print("{}\n", Json{{"output", request.output},
                            {"files", r.files},
                            {"layers", r.layers},
                            {"bodies", r.bodies},
                            {"source_lines", r.source_lines},
                            {"max_length", r.max_length},
                            {"arena_bytes", r.arena_bytes},
                            {"weight_bytes", r.weight_bytes},
                            {"texts", r.texts.count},
                            {"texts_cut", r.texts.cut}}
                           .dump());
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, bytes] : r.files) rows.push_back({name, bytes_text(bytes)});
  print_table({"file", "size"}, rows);
  fmt::print("\n{} layers call {} bodies: {} lines of C\n", r.layers, r.bodies, r.source_lines);
  fmt::print("static memory for texts of up to {} tokens: {}; weights: {}\n", r.max_length, bytes_text(r.arena_bytes),
             bytes_text(r.weight_bytes));
  fmt::print("wrote {}; check it with: make -C {} test\n", request.output, request.output);
  return 0;
}

}  // namespace

Action add_export(CLI::App& app) {
  auto request = std::make_shared<ExportRequest>();
  auto language = std::make_shared<std::string>(), weights = std::make_shared<std::string>("auto");
  app.add_option("LANGUAGE", *language, "What to write; only c so far")->required()->check(CLI::IsMember({"c"}));
  app.add_option("MODEL", request->model, "A .dyad file")->required();
  app.add_option("-o,--output", request->output, "The folder to make; an earlier export there is replaced")->required();
  app.add_option("--max-length", request->max_length,
                 "Tokens of the longest text, special tokens included; 0: the model's own")
      ->check(whole_number(0, 1000000))
      ->capture_default_str();
  app.add_option("--weights", *weights,
                 "arrays: constants in C; binary: one file that your program loads or links; auto: arrays up to 4 MB")
      ->check(CLI::IsMember({"auto", "arrays", "binary"}))
      ->capture_default_str();
  app.add_option("--texts", request->texts, "Test vectors of the lines of this file instead of random texts");
  app.add_option("--prefix", request->prefix, "Begins the names of files and functions")->capture_default_str();
  app.add_flag("--force", request->force, "Replace the folder and everything in it, whatever it holds");
  set_help(
      app,
      "Writes C99 that needs <stdint.h> and <string.h> alone: no float, no heap, static memory, one function a layer,\n"
      "test vectors and a Makefile that checks them.\n"
      "JSON: {\"output\", \"files\": {NAME: bytes}, \"layers\", \"bodies\", \"source_lines\", \"max_length\",\n"
      "\"arena_bytes\", \"weight_bytes\", \"texts\", \"texts_cut\"}",
      {"dyadic export c minilm.dyad -o minilm_c --max-length 128 && make -C minilm_c test"});
  return [request, language, weights](const Common& common) {
    request->weights = *weights == "arrays"   ? CWeights::kArrays
                       : *weights == "binary" ? CWeights::kBinary
                                              : CWeights::kAuto;
    return export_c(*request, common);
  };
}

}  // namespace dyadic::cli

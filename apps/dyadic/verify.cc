#include "api/verify.h"

#include <fmt/format.h>

#include "base/status.h"
#include "commands.h"

namespace dyadic::cli {
namespace {

Json to_json(const PlantedFault& f, const char* last) {
  return {{"layer", f.layer}, {"backend", f.backend}, {"constant", f.constant},
          {"byte", f.byte},   {"bit", f.bit},         {last, f.found_by}};
}

Json to_json(const std::vector<PlantedFault>& faults, const char* last) {
  Json list = Json::array();
  for (const auto& f : faults) list.push_back(to_json(f, last));
  return list;
}

Json to_json(const VerifyReport& r) {
  Json json = {{"integer_only", r.integer_only},
               {"islands", r.islands},
               {"lemmas", r.lemmas},
               {"texts", r.texts.count},
               {"texts_cut", r.texts.cut},
               {"tokens", r.tokens},
               {"longest", r.longest},
               {"extreme", {{"batches", r.extreme_feeds}, {"rows", r.extreme_rows}}},
               {"backends", r.backends},
               {"skipped", r.skipped},
               {"layers", Json::array()},
               {"equal", r.equal}};
  for (const auto& layer : r.layers) {
    Json hashes;
    for (const auto& backend : r.backends) hashes[backend] = layer.hashes.at(backend);
    json["layers"].push_back({{"name", layer.name}, {"composite", layer.composite}, {"hashes", hashes}});
  }
  json["first_difference"] = nullptr;
  for (const auto& d : r.differences) {
    const Json entry = {{"layer", d.layer}, {"backend", d.backend},   {"inputs", d.inputs},
                        {"index", d.index}, {"expected", d.expected}, {"found", d.found}};
    if (json["first_difference"].is_null()) json["first_difference"] = entry;
    json["differences"].push_back(entry);
  }
  if (r.inject)
    json["inject"] = {{"planted", r.inject->planted},
                      {"found", r.inject->found},
                      {"missed", to_json(r.inject->missed, "why")},
                      {"faults", to_json(r.inject->faults, "found_by")},
                      {"equivalent", to_json(r.inject->equivalent, "why")}};
  return json;
}

void print_faults(const std::string& what, const std::vector<PlantedFault>& faults) {
  for (const auto& f : faults)
    fmt::print("{}: layer {}, backend {}: bit {} of byte {} of {}: {}\n", what, f.layer, f.backend, f.bit, f.byte,
               f.constant, f.found_by);
}

void print_injection(const InjectReport& inject) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& f : inject.faults)
    rows.push_back({f.layer, f.backend, f.constant, std::to_string(f.byte), std::to_string(f.bit), f.found_by});
  print_table({"layer with a planted fault", "backend", "constant", "byte", "bit", "found by"}, rows);
  fmt::print("\n");
  print_faults("MISSED", inject.missed);
  print_faults("not planted", inject.equivalent);
  fmt::print("found {} of {} planted faults", inject.found, inject.planted);
  for (const auto& [how, count] : inject.found_by) fmt::print("{} {} by {}", count == 0 ? "" : ",", count, how);
  fmt::print("\n");
}

int verify(VerifyRequest request, bool require_integer, const Common& common) {
  request.seed = common.seed;
  const VerifyReport r = verify_model_file(request);
  warn_of_cut_texts(r.texts);
  const bool passed = r.equal && (!r.inject || r.inject->missed.empty());
  const int code = !passed                              ? static_cast<int>(ErrorKind::kFailed)
                   : require_integer && !r.integer_only ? static_cast<int>(ErrorKind::kContract)
                                                        : 0;
  if (common.json) {
    fmt::print("{}\n", to_json(r).dump());
    return code;
  }
  fmt::print("integer-only: {}\n", r.integer_only ? "yes" : fmt::format("no: {}", fmt::join(r.islands, "; ")));
  fmt::print("overflow: proved for every composite; lemmas: {}\n", fmt::join(r.lemmas, "; "));
  fmt::print("{} of 1 to {}, {} in all, and {} rows of extreme codes; {} backends\n\n", counted(r.texts.count, "text"),
             counted(r.longest, "token"), r.tokens, r.extreme_rows, r.backends.size());
  std::vector<std::vector<std::string>> rows;
  for (const auto& layer : r.layers) {
    int64_t same = 0;
    for (const auto& [backend, hash] : layer.hashes) same += hash == layer.hashes.at(r.backends.front());
    rows.push_back({layer.name, layer.composite, layer.hashes.at(r.backends.front()),
                    fmt::format("{}/{}", same, layer.hashes.size())});
  }
  print_table({"layer", "composite", "hash (evaluator)", "equal"}, rows);
  fmt::print("\nbackends: {}\n", fmt::join(r.backends, ", "));
  for (const auto& skipped : r.skipped) fmt::print("{}\n", skipped);
  for (const auto& d : r.differences)
    fmt::print("DIFFERENT on {}: layer {}, backend {}, index {}: expected {}, found {}\n", d.inputs, d.layer, d.backend,
               d.index, d.expected, d.found);
  fmt::print("{}\n", r.equal ? "all equal in every bit" : "NOT EQUAL");
  if (r.inject) {
    fmt::print("\n");
    print_injection(*r.inject);
  }
  return code;
}

}  // namespace

Action add_verify(CLI::App& app) {
  auto request = std::make_shared<VerifyRequest>();
  auto require_integer = std::make_shared<bool>(false);
  app.add_option("MODEL", request->model, "A .dyad file")->required();
  app.add_option("--texts", request->texts, "Verify on the lines of this file instead of 64 random texts");
  app.add_option(
         "--inject", request->inject,
         "Then flip this many bits of constants, one at a time, each in one layer of one backend, and find them")
      ->check(whole_number(0, 1000000));
  app.add_flag("--require-integer", *require_integer, "Exit code 4 unless the model computes with integers only");
  set_help(
      app,
      "Runs the evaluator, tile programs, kernels of every instruction set and generated C (gcc, clang) on texts and "
      "on\n"
      "the extreme codes of every layer, and compares all codes. --seed draws the texts, the codes and the faults.\n"
      "Exit code 1 and the first difference (layer, backend, index) if any executor disagrees, or if a planted fault\n"
      "is missed. The first line says whether the model is integer-only.\n"
      "JSON: {\"integer_only\", \"islands\", \"lemmas\", \"texts\", \"texts_cut\", \"tokens\", \"longest\", "
      "\"extreme\": "
      "{\"batches\", "
      "\"rows\"},\n"
      "\"backends\", \"skipped\", \"layers\": [{\"name\", \"composite\", \"hashes\"}], \"equal\", "
      "\"first_difference\", \"differences\", \"inject\"}",
      {"dyadic verify minilm.dyad", "dyadic verify minilm.dyad --inject 50 --seed 7 --json"});
  return [=](const Common& common) { return verify(*request, *require_integer, common); };
}

}  // namespace dyadic::cli

#include "api/verify.h"

#include <fmt/format.h>

#include "base/status.h"
#include "commands.h"

namespace dyadic::cli {
namespace {

Json to_json(const VerifyReport& r) {
  Json json = {{"integer_only", r.integer_only},
               {"islands", r.islands},
               {"lemmas", r.lemmas},
               {"texts", r.texts},
               {"tokens", r.tokens},
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
    const Json entry = {
        {"layer", d.layer}, {"backend", d.backend}, {"index", d.index}, {"expected", d.expected}, {"found", d.found}};
    if (json["first_difference"].is_null()) json["first_difference"] = entry;
    json["differences"].push_back(entry);
  }
  return json;
}

int verify(VerifyRequest request, const Common& common) {
  request.seed = common.seed;
  const VerifyReport r = verify_model_file(request);
  const int code = r.equal ? 0 : static_cast<int>(ErrorKind::kFailed);
  if (common.json) {
    fmt::print("{}\n", to_json(r).dump());
    return code;
  }
  fmt::print("integer-only: {}\n", r.integer_only ? "yes" : fmt::format("no: {}", fmt::join(r.islands, "; ")));
  fmt::print("overflow: proved for every composite; lemmas: {}\n", fmt::join(r.lemmas, "; "));
  fmt::print("{} texts, {} tokens, {} backends\n\n", r.texts, r.tokens, r.backends.size());
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
    fmt::print("DIFFERENT: layer {}, backend {}, index {}: expected {}, found {}\n", d.layer, d.backend, d.index,
               d.expected, d.found);
  fmt::print("{}\n", r.equal ? "all equal in every bit" : "NOT EQUAL");
  return code;
}

}  // namespace

Action add_verify(CLI::App& app) {
  auto request = std::make_shared<VerifyRequest>();
  app.add_option("MODEL", request->model, "A .dyad file")->required();
  app.add_option("--texts", request->texts, "Verify on the lines of this file instead of 64 random texts");
  app.footer(
      "Exit code 1 and the first difference (layer, backend, index) if any executor disagrees.\nExample: dyadic verify "
      "minilm.dyad");
  return [request](const Common& common) { return verify(*request, common); };
}

}  // namespace dyadic::cli

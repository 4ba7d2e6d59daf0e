#include "api/inspect.h"

#include <fmt/format.h>

#include "api/quantize_flow.h"
#include "commands.h"

namespace dyadic::cli {
namespace {

struct InspectOptions {
  std::string model;
  int64_t length = 128;
  bool bodies = false;
};

Json to_json(const Inspection& r) {
  Json json = {{"kind", r.kind},
               {"length", r.length},
               {"parameters", r.parameters},
               {"file_bytes", r.file_bytes},
               {"table_bytes", r.table_bytes},
               {"total_macs", r.total_macs},
               {"macs", r.macs},
               {"islands", r.islands},
               {"lemmas", r.lemmas}};
  for (auto& e = json["edges"] = Json::array(); const auto& edge : r.edges)
    e.push_back({{"name", edge.name},
                 {"type", edge.type},
                 {"bits", edge.bits},
                 {"shape", edge.shape},
                 {"scale", edge.scale},
                 {"producer", edge.producer}});
  for (auto& c = json["composites"] = Json::array(); const auto& info : r.composites)
    c.push_back({{"name", info.name},
                 {"composite", info.composite},
                 {"body", info.body},
                 {"macs", info.macs},
                 {"operands", info.operands},
                 {"parameter_bytes", info.parameter_bytes},
                 {"bound", info.bound}});
  for (auto& c = json["constants"] = Json::array(); const auto& info : r.constants)
    c.push_back({{"name", info.name},
                 {"type", info.type},
                 {"shape", info.shape},
                 {"bytes", info.bytes},
                 {"distinct", info.distinct},
                 {"range", {info.range.lo, info.range.hi}}});
  json["metadata"] = r.metadata;
  return json;
}

int inspect(const InspectOptions& options, const Common& common) {
  const Inspection r = inspect_model(options.model, options.length);
  if (common.json) {
    fmt::print("{}\n", to_json(r).dump());
    return 0;
  }
  fmt::print("{} model, {} parameters, file {}, tables {}\n", r.kind, r.parameters, bytes_text(r.file_bytes),
             bytes_text(r.table_bytes));
  for (const auto& [key, value] : r.metadata)
    if (value.find('\n') == std::string::npos) fmt::print("  {}: {}\n", key, value);
  fmt::print("{:.3f} GMAC for one sequence of {} tokens:", static_cast<double>(r.total_macs) / 1e9, r.length);
  for (const auto& [operands, share] : r.macs) fmt::print(" {} {:.3f} %", operands, 100 * share);
  fmt::print("\nislands: {}\n", r.kind == "float"   ? "all of it: `dyadic quantize` makes it integer"
                                : r.islands.empty() ? "none, integer-only"
                                                    : fmt::format("{}", fmt::join(r.islands, "; ")));
  if (!r.lemmas.empty()) fmt::print("lemmas: {}\n", fmt::join(r.lemmas, "; "));
  fmt::print("\n");
  std::vector<std::vector<std::string>> rows;
  for (const auto& c : r.composites)
    rows.push_back({c.name, c.composite, fmt::format("{}", c.macs), c.operands, bytes_text(c.parameter_bytes),
                    fmt::format("{:.2f}", fmt::join(c.bound, " "))});
  print_table({"composite", "kind", "MACs", "operands", "parameters", "bound (steps)"}, rows);
  fmt::print("\n");
  rows.clear();
  for (const auto& e : r.edges)
    rows.push_back({e.name, e.type, fmt::format("{}", e.bits), e.shape, fmt::format("{:.6g}", e.scale)});
  print_table({"edge", "type", "bits", "shape", "scale"}, rows);
  if (!r.constants.empty()) fmt::print("\n");
  rows.clear();
  for (const auto& c : r.constants)
    rows.push_back(
        {c.name, c.type, c.shape, fmt::format("{}", c.distinct), fmt::format("[{}, {}]", c.range.lo, c.range.hi)});
  if (!rows.empty()) print_table({"codes of", "type", "shape", "different", "range"}, rows);
  if (options.bodies)
    for (const auto& [key, text] : r.bodies) fmt::print("\n{}\n{}", key, text);
  return 0;
}

int list(const Common& common) {
  Json json = {{"recipes", Json::array()}, {"parts", Json::array()}};
  std::vector<std::vector<std::string>> recipes, parts;
  for (const auto& name : recipe_names()) {
    const Recipe recipe = load_recipe(name);
    json["recipes"].push_back({{"name", name}, {"description", recipe.description}, {"source", recipe.source}});
    recipes.push_back({name, recipe.description, recipe.source});
  }
  for (const auto& [question, info] : list_parts()) {
    json["parts"].push_back({{"question", question},
                             {"name", info.name},
                             {"summary", info.summary},
                             {"source", info.source},
                             {"parameters", info.parameters}});
    parts.push_back({question, info.name, info.summary, info.source});
  }
  if (common.json) {
    fmt::print("{}\n", json.dump());
    return 0;
  }
  print_table({"recipe", "what it is", "source"}, recipes);
  fmt::print("\n");
  print_table({"question", "part", "answer", "source"}, parts);
  fmt::print("\nparameters\n");
  for (const auto& [question, info] : list_parts())
    for (const auto& [key, meaning] : info.parameters) fmt::print("  {}.{}: {}\n", info.name, key, meaning);
  return 0;
}

}  // namespace

Action add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  app.add_option("MODEL", options->model, "A .dyad file or a model folder")->required();
  app.add_option("--length", options->length, "Tokens of the sequence whose MACs are counted")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  app.add_flag("--bodies", options->bodies, "Print every integer body in its text form");
  set_help(
      app,
      "Prints size, multiply-accumulates by operand widths, float islands, the lemmas that its proof rests on, and a\n"
      "line for each composite (its bound: how far from its meaning, in steps of its code) and each edge between "
      "them.\n"
      "JSON: {\"kind\", \"length\", \"parameters\", \"file_bytes\", \"table_bytes\", \"total_macs\", \"macs\", "
      "\"islands\",\n"
      "\"lemmas\", \"edges\", \"composites\", \"constants\", \"metadata\"}",
      {"dyadic inspect minilm.dyad --length 128", "dyadic inspect minilm.dyad --bodies",
       "dyadic inspect all-MiniLM-L6-v2"});
  return [options](const Common& common) { return inspect(*options, common); };
}

Action add_list(CLI::App& app) {
  set_help(
      app,
      "The recipes that ship, then what a recipe's rules may answer: parts by the question they answer, with their\n"
      "sources and parameters. JSON: {\"recipes\": [..], \"parts\": [..]}",
      {"dyadic list", "dyadic list --json"});
  return [](const Common& common) { return list(common); };
}

}  // namespace dyadic::cli

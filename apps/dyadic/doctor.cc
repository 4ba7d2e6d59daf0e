#include "api/doctor.h"

#include <fmt/format.h>

#include "commands.h"

namespace dyadic::cli {
namespace {

Json to_json(const DoctorReport& r) {
  Json json = {{"cpu", r.cpu},
               {"cores", r.cores},
               {"hardware_threads", r.hardware_threads},
               {"load", r.load >= 0 ? Json(r.load) : Json()},
               {"isa", {{"detected", std::string(isa_name(r.detected))}, {"active", std::string(isa_name(r.active))}}},
               {"features", Json::object()},
               {"limits", Json::array()},
               {"memory", Json::array()},
               {"kernels", Json::object()},
               {"found", Json::object()},
               {"costs", r.costs}};
  for (const auto& f : r.features) json["features"][f.name] = f.present;
  for (const auto& l : r.limits)
    json["limits"].push_back(
        {{"what", l.what}, {"isa", l.isa}, {"instructions", l.instructions}, {"per_second", l.per_second}});
  for (const auto& m : r.memory)
    json["memory"].push_back({{"level", m.level},
                              {"cache_bytes", m.cache_bytes},
                              {"buffer_bytes", m.buffer_bytes},
                              {"bytes_per_second", m.bytes_per_second}});
  for (const auto& k : r.kernels) json["kernels"][k.composite] = k.kernel;
  for (const auto& f : r.findings) json["found"][f.what] = f.where.empty() ? Json() : Json(f.where);
  return json;
}

struct Caption {
  const char *what, *text, *unit;
};
constexpr Caption kCaptions[] = {{"dot", "products, 8-bit", "GMAC/s"},
                                 {"float", "products, f32", "GMAC/s"},
                                 {"lookup_16", "look-ups, 16 entries", "G/s"},
                                 {"lookup_256", "look-ups, 256 entries", "G/s"},
                                 {"mul_shift", "multiply and shift", "G/s"}};

int doctor(const Common& common) {
  const DoctorReport r = examine_machine();
  if (common.json) {
    fmt::print("{}\n", to_json(r).dump());
    return 0;
  }
  fmt::print("{}, {} core{}, {} hardware thread{}", r.cpu, r.cores, r.cores == 1 ? "" : "s", r.hardware_threads,
             r.hardware_threads == 1 ? "" : "s");
  if (r.load >= 0) fmt::print(", load {:.1f}", r.load);
  fmt::print("\ninstruction set: {}{}\n", isa_name(r.active),
             r.active < r.detected ? fmt::format(" (DYADIC_ISA; this CPU has {})", isa_name(r.detected)) : "");
  for (const bool present : {true, false}) {
    std::vector<std::string> names;
    for (const auto& f : r.features)
      if (f.present == present) names.push_back(f.name);
    if (!names.empty()) fmt::print("{}: {}\n", present ? "has" : "has not", fmt::join(names, " "));
  }

  fmt::print("\nLimits of one core, measured now\n\n");
  std::vector<std::vector<std::string>> rows;
  for (const Caption& caption : kCaptions)
    for (const auto& l : r.limits)
      if (l.what == caption.what)
        rows.push_back({caption.text, l.isa, l.instructions, fmt::format("{:.1f}", l.per_second / 1e9), caption.unit});
  print_table({"operation", "kernels", "instructions", "rate", ""}, rows);
  rows.clear();
  for (const auto& m : r.memory)
    rows.push_back({m.level, m.cache_bytes ? bytes_text(m.cache_bytes) : "-", bytes_text(m.buffer_bytes),
                    fmt::format("{:.1f}", m.bytes_per_second / 1e9), "GB/s"});
  fmt::print("\n");
  print_table({"memory", "size", "read", "rate", ""}, rows);

  fmt::print("\nKernels tried first\n\n");
  rows.clear();
  for (const auto& k : r.kernels) rows.push_back({k.composite, k.kernel});
  print_table({"composite", "kernel"}, rows);

  fmt::print("\nFound\n\n");
  rows.clear();
  for (const auto& f : r.findings) rows.push_back({f.what, f.where.empty() ? "missing" : f.where, f.purpose});
  print_table({"what", "where", "for"}, rows);

  fmt::print("\n{}\n", r.costs.empty() ? "Nothing is missing." : "What is missing, and what that costs");
  for (const auto& cost : r.costs) fmt::print("- {}\n", cost);
  return 0;
}

}  // namespace

Action add_doctor(CLI::App& app) {
  set_help(
      app,
      "Measures for about a second what one core can do: 8-bit and float products, look-ups, products that are\n"
      "shifted, and reading each level of memory. Says which instruction set is used and which kernels are tried\n"
      "first, finds recipes, models, data and programs, and tells what each missing one costs.\n"
      "JSON: {\"cpu\", \"cores\", \"hardware_threads\", \"load\", \"isa\": {\"detected\", \"active\"}, \"features\",\n"
      "\"limits\": [{\"what\", \"isa\", \"instructions\", \"per_second\"}], \"memory\", \"kernels\", \"found\", "
      "\"costs\"}",
      {"dyadic doctor", "dyadic doctor --json > machine.json"});
  return doctor;
}

}  // namespace dyadic::cli

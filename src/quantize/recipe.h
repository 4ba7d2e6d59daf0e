// Recipes: TOML files of rules that cascade. A rule selects nodes of the real graph and answers the four questions
// (encode, fit, approximate, restructure) for their roles. docs/recipes.md is the user's view.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "graph/graph.h"

namespace dyadic {

using Parameter = std::variant<bool, int64_t, double, std::string>;

// One part of a method with its parameters: affine = { bits = 8, granularity = "channel" }.
struct Part {
  std::string name;
  std::map<std::string, Parameter> parameters;

  bool operator==(const Part&) const = default;
  bool operator<(const Part& other) const {
    return std::tie(name, parameters) < std::tie(other.name, other.parameters);
  }
  // Typed access with a default; kMalformed naming part and parameter if the type does not fit (an integer serves as a
  // number).
  int64_t integer(const std::string& key, int64_t fallback) const;
  double number(const std::string& key, double fallback) const;
  bool boolean(const std::string& key, bool fallback) const;
  std::string text(const std::string& key, const std::string& fallback) const;
};
std::string to_string(const Part& part);  // "affine(bits=8, symmetric=true)"

// What the recipe says about one node.
struct Answers {
  std::map<std::string, Part> encode, fit;  // by role: weight, input, output, q, k, v; fit: bias
  std::optional<Part> approximate;
  std::map<std::string, Part> restructure;  // by part name
};

// approximate = "float": the node stays a float island (graph/island.h).
inline constexpr const char* kFloatPart = "float";
inline bool is_float(const Answers& answers) { return answers.approximate && answers.approximate->name == kFloatPart; }

struct Rule {
  std::vector<std::string> ops, patterns;  // empty: any; a pattern is a glob over node names (* and ?)
  std::optional<bool> constant_weight,
      residual;                    // where.weight = "constant"; where.residual = an Add of two computed values
  std::vector<std::string> reads;  // where.reads: operators one of which computes the node's first operand
  std::vector<int64_t> layers;     // where.layer: indices of the "layer.N" part of the name; negative from the end
  Answers answers;
  int line = 0;  // of the [[rule]] header
};

struct Recipe {
  std::string name, description, source;
  std::string text;  // the file as it was read
  bool require_integer = false;
  int64_t calibration_sample = 512;
  std::vector<Rule> rules;
};

// What a recipe may say about one part.
struct PartVocabulary {
  std::set<std::string> parameters;
  void (*check)(const Part& part) = nullptr;  // throws for a parameter of the wrong type or outside its range
};

// Names that a recipe may use; filled from the registry of methods.
struct RecipeVocabulary {
  // By question ("encode", "fit", "approximate", "restructure") and part name. A question with a role ("fit.bias") has
  // parts of its own.
  std::map<std::string, std::map<std::string, PartVocabulary>> parts;
};

// kMalformed naming `where`, line and key: invalid TOML, an unknown key, part or parameter, a value of the wrong type
// or outside its range. At most 256 KiB and 128 dots a line.
Recipe parse_recipe(std::string_view toml, const std::string& where, const RecipeVocabulary& vocabulary);

// The cascade: later rules override earlier ones, key by key; a part of another name replaces the earlier part.
// `matched`, if given, collects the indices of rules that matched (rules that match nothing deserve a warning).
Answers answers_for(const Recipe& recipe, const Graph& graph, const Node& node, std::set<size_t>* matched = nullptr);

}  // namespace dyadic

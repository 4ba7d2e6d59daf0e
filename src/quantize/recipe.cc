#include "quantize/recipe.h"

#include <toml++/toml.h>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "base/status.h"
#include "quantize/rewrite.h"

namespace dyadic {
namespace {

const std::set<std::string> kRoles = {"weight", "input", "output", "q", "k", "v"};

std::string joined(const std::set<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// Knows where it is in the file, so that every message can say so.
class Reader {
 public:
  Reader(std::string where, const RecipeVocabulary& vocabulary) : where_(std::move(where)), vocabulary_(vocabulary) {}

  template <class... Args>
  [[noreturn]] void refuse(const toml::node& node, Args&&... args) const {
    fail(ErrorKind::kMalformed, where_, ":", node.source().begin.line, ": ", std::forward<Args>(args)...);
  }

  std::string text(const toml::node& node, std::string_view key) const {
    if (!node.is_string()) refuse(node, "'", key, "' must be a string");
    return node.as_string()->get();
  }

  std::vector<std::string> texts(const toml::node& node, std::string_view key) const {
    if (node.is_string()) return {text(node, key)};
    if (!node.is_array()) refuse(node, "'", key, "' must be a string or a list of strings");
    std::vector<std::string> list;
    for (const auto& entry : *node.as_array()) list.push_back(text(entry, key));
    return list;
  }

  Parameter parameter(const toml::node& node, std::string_view key) const {
    if (const auto* v = node.as_boolean()) return v->get();
    if (const auto* v = node.as_integer()) return v->get();
    if (const auto* v = node.as_floating_point(); v && std::isfinite(v->get())) return v->get();
    if (const auto* v = node.as_string()) return v->get();
    refuse(node, "parameter '", key, "' must be a finite number, a string or true/false");
  }

  // "min-max", { min-max = true } or { min-max = { headroom = 1.25 } }.
  Part part(const toml::node& node, const std::string& question) const {
    Part part;
    const toml::node* parameters = nullptr;
    if (node.is_string()) {
      part.name = node.as_string()->get();
    } else if (const auto* table = node.as_table(); table && table->size() == 1) {
      part.name = std::string(table->begin()->first.str());
      parameters = &table->begin()->second;
    } else {
      refuse(node, "an answer to '", question, "' is a part's name or a table with one part, { name = { .. } }");
    }
    return with_parameters(node, std::move(part), parameters, question);
  }

  Part with_parameters(const toml::node& at, Part part, const toml::node* parameters,
                       const std::string& question) const {
    const auto& known = vocabulary_.parts.at(question);
    const auto row = known.find(part.name);
    if (row == known.end()) {
      std::set<std::string> names;
      for (const auto& [name, unused] : known) names.insert(name);
      refuse(at, "unknown part '", part.name, "' for '", question, "'; known: ", joined(names));
    }
    if (!parameters || (parameters->is_boolean() && parameters->as_boolean()->get())) return part;
    const auto* table = parameters->as_table();
    if (!table) refuse(*parameters, "the parameters of '", part.name, "' must be a table");
    for (const auto& [key, value] : *table) {
      const std::string name(key.str());
      if (!row->second.parameters.count(name)) refuse(value, "part '", part.name, "' has no parameter '", name, "'");
      part.parameters[name] = parameter(value, name);
    }
    if (row->second.check) try {
        row->second.check(part);
      } catch (const Error& error) {
        refuse(at, error.what());
      }
    return part;
  }

  std::map<std::string, Part> roles(const toml::node& node, const std::string& question) const {
    const auto* table = node.as_table();
    if (!table) refuse(node, "'", question, "' must name roles, e.g. ", question, ".input");
    std::map<std::string, Part> result;
    for (const auto& [key, value] : *table) {
      const std::string role(key.str());
      const std::string own = cat(question, ".", role);  // a role with parts of its own, e.g. fit.bias
      const bool has_own = vocabulary_.parts.count(own) != 0;
      if (!has_own && !kRoles.count(role))
        refuse(value, "unknown role '", role, "' in '", question, "'; known: ", joined(kRoles));
      result[role] = part(value, has_own ? own : question);
    }
    return result;
  }

  Rule rule(const toml::node& node) const {
    const auto* table = node.as_table();
    if (!table) refuse(node, "a rule must be a table");
    Rule rule;
    rule.line = static_cast<int>(node.source().begin.line);
    for (const auto& [key, value] : *table) {
      const std::string name(key.str());
      if (name == "op")
        rule.ops = texts(value, name);
      else if (name == "match")
        rule.patterns = texts(value, name);
      else if (name == "where")
        where(value, rule);
      else if (name == "encode")
        rule.answers.encode = roles(value, name);
      else if (name == "fit")
        rule.answers.fit = roles(value, name);
      else if (name == "approximate")
        rule.answers.approximate = part(value, name);
      else if (name == "restructure")
        restructure(value, rule);
      else
        refuse(value, "unknown key '", name, "' in a rule");
    }
    return rule;
  }

  void where(const toml::node& node, Rule& rule) const {
    const auto* table = node.as_table();
    if (!table) refuse(node, "'where' must be a table");
    for (const auto& [key, value] : *table) {
      const std::string name(key.str());
      if (name == "weight" && value.is_string() && value.as_string()->get() == "constant")
        rule.constant_weight = true;
      else if (name == "residual" && value.is_boolean())
        rule.residual = value.as_boolean()->get();
      else if (name == "reads")
        rule.reads = texts(value, name);
      else if (name == "layer" && value.is_array() && value.as_array()->is_homogeneous<int64_t>())
        for (const auto& entry : *value.as_array()) rule.layers.push_back(entry.as_integer()->get());
      else
        refuse(value, "unknown predicate '", name,
               "' (weight = \"constant\", residual = true, reads = \"Gelu\", layer = [0, -1])");
    }
  }

  void restructure(const toml::node& node, Rule& rule) const {
    if (node.is_string()) {
      const Part p = part(node, "restructure");
      rule.answers.restructure[p.name] = p;
      return;
    }
    const auto* table = node.as_table();
    if (!table) refuse(node, "'restructure' must be a part's name or a table of parts");
    for (const auto& [key, value] : *table) {
      Part p;
      p.name = std::string(key.str());
      rule.answers.restructure[p.name] = with_parameters(value, p, &value, "restructure");
    }
  }

 private:
  std::string where_;
  const RecipeVocabulary& vocabulary_;
};

bool glob(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p, ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// N of the "layer.N" part of a node's name, or -1.
int64_t layer_of(const std::string& name) {
  constexpr std::string_view kKey = "layer.";
  uint32_t layer = 0;
  const auto at = name.find(kKey);
  if (at == std::string::npos) return -1;
  const auto parsed = std::from_chars(name.data() + at + kKey.size(), name.data() + name.size(), layer);
  return parsed.ec == std::errc() ? int64_t{layer} : -1;
}

bool matches(const Rule& rule, const Graph& graph, const Node& node) {
  if (!rule.ops.empty() && std::find(rule.ops.begin(), rule.ops.end(), node.op) == rule.ops.end()) return false;
  if (!rule.patterns.empty() &&
      std::none_of(rule.patterns.begin(), rule.patterns.end(), [&](const auto& p) { return glob(p, node.name); }))
    return false;
  const auto constant_inputs = std::count_if(node.inputs.begin(), node.inputs.end(),
                                             [&](ValueId v) { return v >= 0 && graph.value(v).is_constant(); });
  if (rule.constant_weight && constant_inputs == 0) return false;
  if (rule.residual && *rule.residual != (node.op == "Add" && node.inputs.size() == 2 && constant_inputs == 0))
    return false;
  if (!rule.reads.empty()) {
    int producer = node.inputs.empty() ? -1 : graph.producer(node.inputs[0]);
    while (producer >= 0 && is_channel_mul(graph, graph.nodes[producer]))  // factors of restructuring
      producer = graph.producer(graph.nodes[producer].inputs[0]);
    if (producer < 0 || !std::count(rule.reads.begin(), rule.reads.end(), graph.nodes[producer].op)) return false;
  }
  if (!rule.layers.empty()) {
    int64_t count = 0;
    for (const auto& other : graph.nodes) count = std::max(count, layer_of(other.name) + 1);
    const int64_t layer = layer_of(node.name);
    if (layer < 0 || std::none_of(rule.layers.begin(), rule.layers.end(),
                                  [&](int64_t l) { return (l < 0 ? l + count : l) == layer; }))
      return false;
  }
  return true;
}

void override_part(Part& target, const Part& source) {
  if (target.name != source.name) {
    target = source;
  } else {
    for (const auto& [key, value] : source.parameters) target.parameters[key] = value;
  }
}

void override_parts(std::map<std::string, Part>& target, const std::map<std::string, Part>& source) {
  for (const auto& [key, part] : source) override_part(target[key], part);
}

template <class T>
const T* find(const Part& part, const std::string& key) {
  const auto it = part.parameters.find(key);
  if (it == part.parameters.end()) return nullptr;
  const T* value = std::get_if<T>(&it->second);
  if (!value) fail(ErrorKind::kMalformed, part.name, ": parameter '", key, "' has the wrong type");
  return value;
}

// The parser recurses into every part of a dotted key, which nothing but its stack limits. Values nest at most 256 deep
// by its own rule; with these two limits 2 MiB of stack are enough for any file.
void refuse_depth(std::string_view text, const std::string& where) {
  constexpr size_t kBytes = size_t{1} << 18;
  constexpr int kDots = 128;
  if (text.size() > kBytes) fail(ErrorKind::kMalformed, where, ": a recipe may have at most 256 KiB");
  int line = 1, dots = 0;
  for (const char c : text) {
    if (c == '.' && ++dots > kDots)
      fail(ErrorKind::kMalformed, where, ":", line, ": more than ", kDots,
           " dots in one line; write a long list over several lines");
    if (c == '\n') ++line, dots = 0;
  }
}

}  // namespace

int64_t Part::integer(const std::string& key, int64_t fallback) const {
  const auto* v = find<int64_t>(*this, key);
  return v ? *v : fallback;
}
bool Part::boolean(const std::string& key, bool fallback) const {
  const auto* v = find<bool>(*this, key);
  return v ? *v : fallback;
}
std::string Part::text(const std::string& key, const std::string& fallback) const {
  const auto* v = find<std::string>(*this, key);
  return v ? *v : fallback;
}
double Part::number(const std::string& key, double fallback) const {
  const auto it = parameters.find(key);
  if (it != parameters.end() && std::holds_alternative<int64_t>(it->second))
    return static_cast<double>(std::get<int64_t>(it->second));
  const auto* v = find<double>(*this, key);
  return v ? *v : fallback;
}

std::string to_string(const Part& part) {
  std::ostringstream out;
  out << std::boolalpha << part.name;
  const char* separator = "(";
  for (const auto& [key, value] : part.parameters) {
    out << separator << key << '=';
    std::visit([&](const auto& v) { out << v; }, value);
    separator = ", ";
  }
  if (!part.parameters.empty()) out << ')';
  return out.str();
}

Recipe parse_recipe(std::string_view text, const std::string& where, const RecipeVocabulary& vocabulary) {
  refuse_depth(text, where);
  toml::table file;
  try {
    file = toml::parse(text, where);
  } catch (const toml::parse_error& error) {
    fail(ErrorKind::kMalformed, where, ":", error.source().begin.line, ": not valid TOML: ", error.description());
  }
  const Reader reader(where, vocabulary);
  Recipe recipe;
  recipe.text = std::string(text);
  for (const auto& [key, value] : file) {
    const std::string name(key.str());
    if (name == "name")
      recipe.name = reader.text(value, name);
    else if (name == "description")
      recipe.description = reader.text(value, name);
    else if (name == "source")
      recipe.source = reader.text(value, name);
    else if (name == "require") {
      if (reader.text(value, name) != "integer") reader.refuse(value, "'require' can only be \"integer\"");
      recipe.require_integer = true;
    } else if (name == "calibration") {
      const auto* table = value.as_table();
      if (!table) reader.refuse(value, "'calibration' must be a table");
      for (const auto& [k, v] : *table) {
        if (k.str() != "sample" || !v.is_integer() || v.as_integer()->get() < 1)
          reader.refuse(v, "unknown key '", std::string(k.str()), "' in 'calibration' (sample = a positive integer)");
        recipe.calibration_sample = v.as_integer()->get();
      }
    } else if (name == "rule") {
      const auto* rules = value.as_array();
      if (!rules) reader.refuse(value, "'rule' must be written [[rule]]");
      for (const auto& entry : *rules) recipe.rules.push_back(reader.rule(entry));
    } else {
      reader.refuse(value, "unknown key '", name, "'");
    }
  }
  if (recipe.name.empty()) fail(ErrorKind::kMalformed, where, ": key 'name' is missing");
  return recipe;
}

Answers answers_for(const Recipe& recipe, const Graph& graph, const Node& node, std::set<size_t>* matched) {
  Answers result;
  for (size_t i = 0; i < recipe.rules.size(); ++i) {
    const Rule& rule = recipe.rules[i];
    if (!matches(rule, graph, node)) continue;
    if (matched) matched->insert(i);
    override_parts(result.encode, rule.answers.encode);
    override_parts(result.fit, rule.answers.fit);
    override_parts(result.restructure, rule.answers.restructure);
    if (rule.answers.approximate) {
      if (!result.approximate) result.approximate.emplace();
      override_part(*result.approximate, *rule.answers.approximate);
    }
  }
  return result;
}

}  // namespace dyadic

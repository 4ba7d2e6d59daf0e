#include "quantize/repair.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "base/status.h"

namespace dyadic {
namespace {

// Where a rule acts: a node's answer for a role.
struct Place {
  std::string node, role;
  Part encode, fit;
};

std::string kind_of(const std::string& name) {
  std::string kind;
  for (const char c : name) kind += std::isdigit(static_cast<unsigned char>(c)) ? '#' : c;
  return kind;
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "\"" : ", \"") + name + '"';
  return names.size() == 1 ? text : '[' + text + ']';
}

// One rule for each list of nodes: `answer(role)` is its line for a role.
template <class Answer>
std::string rule_text(const std::vector<Place>& places, const Answer& answer) {
  std::map<std::string, std::set<std::string>> roles_of;  // by node
  for (const Place& place : places) roles_of[place.node].insert(place.role);
  std::map<std::set<std::string>, std::vector<std::string>> nodes_of;
  for (const auto& [node, roles] : roles_of) nodes_of[roles].push_back(node);
  std::string text;
  for (const auto& [roles, nodes] : nodes_of) {
    text += "[[rule]]\nmatch = " + quoted_list(nodes) + '\n';
    for (const auto& role : roles) text += answer(role) + '\n';
  }
  return text;
}

class Proposer {
 public:
  Proposer(const Relowered& reference, const Recipe& recipe, const Registry& registry)
      : real_(reference.real),
        parts_(reference.parts),
        carried_(reference.provenance.carried),
        main_(reference.model.main()),
        recipe_(recipe),
        vocabulary_(registry.vocabulary()),
        default_fit_(registry.default_fit()) {}

  void propose(const std::string& cause, const std::vector<std::string>& layers) {
    const std::string whom = layers[0] + (layers.size() > 1 ? cat(" and ", layers.size() - 1, " more") : "");
    if (cause == "weight") {
      change_fit(layers, "the weights of " + whom, weights(layers));
    } else if (cause == "approximation") {
      const auto inner = wishes(layers, true);
      more_classes(layers, whom);
      change_codes(layers, "codes inside " + whom, inner);
    } else {
      change_codes(layers, "the result of " + whom, wishes(layers, false));
    }
  }

  // What a bias can be corrected by, at every product that has no such answer yet.
  void correct_biases() {
    const auto parts = vocabulary_.parts.find("fit.bias");
    if (parts == vocabulary_.parts.end() || parts->second.empty()) return;
    std::vector<std::string> layers;
    std::set<std::string> ops;
    for (const auto& [lowering, region] : parts_.regions)
      for (int n : region.part("product")) {
        if (answers_for(recipe_, real_, real_.nodes[n]).fit.count("bias")) continue;
        ops.insert(real_.nodes[n].op);
        if (layers.empty() || layers.back() != region.name) layers.push_back(region.name);
      }
    if (layers.empty()) return;
    add(layers, "corrected biases of all products",
        "[[rule]]\nop = " + quoted_list({ops.begin(), ops.end()}) + "\nfit.bias = \"" + parts->second.begin()->first +
            "\"\n");
  }

  std::vector<Repair> repairs;

 private:
  const Region& region(const std::string& name) const {
    return std::find_if(parts_.regions.begin(), parts_.regions.end(),
                        [&](const auto& r) { return r.second.name == name; })
        ->second;
  }

  bool knows(const Part& part, const std::string& parameter) const {
    return vocabulary_.parts.at("encode").at(part.name).parameters.count(parameter) != 0;
  }

  // Wishes of values inside the layers' regions, or of their results: of each value those with the fewest bits.
  std::vector<Place> wishes(const std::vector<std::string>& layers, bool inside) const {
    std::set<ValueId> values;
    for (const auto& layer : layers) {
      std::set<ValueId> results;
      for (const Node& node : main_.nodes)
        if (node.name == layer)
          for (ValueId id : node.outputs) results.insert(carried_.at(main_.value(id).name));
      for (int n : region(layer).nodes) {
        const ValueId value = real_.nodes[n].outputs[0];
        if (results.count(value) != static_cast<size_t>(inside)) values.insert(value);
      }
    }
    std::map<ValueId, int64_t> least;
    std::vector<std::pair<ValueId, Place>> found;
    for (const auto& [lowering, region] : parts_.regions)
      for (const Wish& wish : lowering->wishes(real_, region)) {
        if (!values.count(wish.value)) continue;
        const Place place = place_of(wish.node, wish.role);
        const int64_t bits = place.encode.integer("bits", 8);
        const auto it = least.try_emplace(wish.value, bits).first;
        it->second = std::min(it->second, bits);
        found.emplace_back(wish.value, place);
      }
    std::vector<Place> places;
    for (auto& [value, place] : found)
      if (place.encode.integer("bits", 8) == least[value]) places.push_back(std::move(place));
    return places;
  }

  std::vector<Place> weights(const std::vector<std::string>& layers) const {
    std::vector<Place> places;
    for (const auto& layer : layers)
      for (int n : region(layer).nodes)
        if (answers_for(recipe_, real_, real_.nodes[n]).encode.count("weight")) places.push_back(place_of(n, "weight"));
    return places;
  }

  Place place_of(int n, const std::string& role) const {
    const Answers answers = answers_for(recipe_, real_, real_.nodes[n]);
    const auto find = [&](const std::map<std::string, Part>& parts) {
      for (const std::string& key : {role, std::string("input")})
        if (const auto it = parts.find(key); it != parts.end()) return it->second;
      return Part{};
    };
    return {real_.nodes[n].name, role, find(answers.encode),
            role == "weight" && !answers.fit.count(role) ? Part{} : find(answers.fit)};
  }

  void add(const std::vector<std::string>& layers, const std::string& what, std::string rule) {
    for (const Repair& known : repairs)
      if (known.rule == rule) return;
    repairs.push_back({what, std::move(rule), layers});
  }

  void change_codes(const std::vector<std::string>& layers, const std::string& of, const std::vector<Place>& places) {
    if (places.empty() || places[0].encode.name.empty()) return;
    const Part& encode = places[0].encode;
    const auto with = [&](const std::string& parameter) {
      return rule_text(places, [&](const std::string& role) {
        return "encode." + role + " = { " + encode.name + " = { " + parameter + " } }";
      });
    };
    if (knows(encode, "symmetric") && encode.boolean("symmetric", true))
      add(layers, "zero point for " + of, with("symmetric = false"));
    change_fit(layers, of, places);
    if (knows(encode, "bits") && encode.integer("bits", 8) < 16) add(layers, "16 bits for " + of, with("bits = 16"));
  }

  void change_fit(const std::vector<std::string>& layers, const std::string& of, const std::vector<Place>& places) {
    if (places.empty()) return;
    const std::string now = places[0].fit.name.empty() ? default_fit_.name : places[0].fit.name;
    for (const auto& [name, part] : vocabulary_.parts.at("fit")) {
      if (name == now) continue;
      const auto line = [&fit = name](const std::string& role) { return cat("fit.", role, " = \"", fit, '"'); };
      add(layers, cat(name, " fit of ", of), rule_text(places, line));
    }
  }

  // One class more for every node that a restructuring in classes is given to.
  void more_classes(const std::vector<std::string>& layers, const std::string& whom) {
    std::vector<Place> places;
    std::string name;
    int64_t classes = 0;
    for (const auto& layer : layers)
      for (int n : region(layer).nodes)
        for (const auto& [part, answer] : answers_for(recipe_, real_, real_.nodes[n]).restructure) {
          if (!vocabulary_.parts.at("restructure").at(part).parameters.count("classes")) continue;
          if (std::any_of(places.begin(), places.end(), [&](const Place& p) { return p.node == real_.nodes[n].name; }))
            continue;
          name = part;
          classes = std::max(classes, answer.integer("classes", 3));
          places.push_back({real_.nodes[n].name, part, {}, {}});
        }
    if (places.empty() || classes >= 8) return;
    add(layers, cat(classes + 1, " scale classes in ", whom), rule_text(places, [&](const std::string& role) {
          return cat("restructure.", role, " = { classes = ", classes + 1, " }");
        }));
  }

  const Graph& real_;
  const Partition& parts_;
  const std::map<std::string, ValueId>& carried_;
  const Graph& main_;
  const Recipe& recipe_;
  const RecipeVocabulary vocabulary_;
  const Part default_fit_;
};

}  // namespace

std::vector<Repair> propose_repairs(const std::vector<LayerLoss>& losses, const Relowered& reference,
                                    const Recipe& recipe, const Registry& registry) {
  struct Group {
    double loss = 0, worst = 0;
    std::string cause;
    std::vector<std::pair<double, std::string>> layers;
  };
  std::map<std::pair<std::string, std::string>, Group> groups;
  for (const LayerLoss& l : losses)
    for (const auto& [cause, share] :
         {std::pair("weight", l.weight), std::pair("approximation", l.approximation), std::pair("clipping", l.clipping),
          std::pair("requantization", l.requantization)}) {
      const double loss = l.total * share;
      if (!(loss > 0)) continue;
      Group& group = groups[{kind_of(l.name), cause}];
      group.cause = cause;
      group.loss += loss;
      group.worst = std::max(group.worst, loss);
      group.layers.emplace_back(loss, l.name);
    }
  std::vector<Group> order;
  for (auto& [key, group] : groups) order.push_back(std::move(group));
  std::stable_sort(order.begin(), order.end(), [](const Group& a, const Group& b) { return a.loss > b.loss; });
  Proposer proposer(reference, recipe, registry);
  for (Group& group : order) {
    std::sort(group.layers.rbegin(), group.layers.rend());
    std::vector<std::string> names;
    for (const auto& [loss, name] : group.layers)
      if (loss >= group.worst / 4) names.push_back(name);
    proposer.propose(group.cause, names);
    if (&group == order.data()) proposer.correct_biases();
  }
  return std::move(proposer.repairs);
}

}  // namespace dyadic

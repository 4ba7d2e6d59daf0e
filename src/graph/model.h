// A Model: named graphs of composites over one set of bodies, with everything that travels in a .dyad file.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "graph/graph.h"

namespace dyadic {

// A symbolic dimension. Range facts are proved at `maximum`; a Plan above it is refused. `largest_of` names an input of
// the main graph whose largest element is the symbol's value (L is the largest `length`); empty if input shapes bind
// it.
struct Symbol {
  int64_t maximum = 1;
  std::string largest_of;
  bool operator==(const Symbol&) const = default;
};
using Symbols = std::map<std::string, Symbol>;
Bindings maxima(const Symbols& symbols);

// The integer definition of a composite: a graph of core operations over its inputs and parameters. The text of a body
// does not depend on the layer; equal bodies are stored once.
struct Body {
  int version = 1;          // a changed body is a changed model
  Graph graph;              // graph.name is the composite's name, e.g. "attention"
  std::string key() const;  // "attention@1:" and 16 hexadecimal digits of the hash of its text form
};

struct Model {
  Symbols symbols;
  std::map<std::string, Body> bodies;           // by Body::key()
  std::map<std::string, Graph> graphs;          // "main"; nodes are composites, parameters are constants
  std::map<std::string, std::string> metadata;  // "recipe", "calibration", "task", "max_length", ..
  std::map<std::string, Tensor> assets;         // files that travel along (u8), e.g. "tokenizer.json"

  const Graph& main() const { return graphs.at("main"); }
  Graph& main() { return graphs.at("main"); }
  const Body& body(const Node& composite) const { return bodies.at(composite.body); }
};

// A model whose main graph is one composite of `model`, its only node. Values keep their names; symbols are those that
// they or its body speak of, and those that are the largest of one of them.
Model lone_model(const Model& model, const Node& node);

// graph.json of a .dyad file: everything but constants and assets, which are tensors of the file, referred to by name.
std::string model_to_json(const Model& model);
// Throws kMalformed naming `where` and the key; verifies every graph. `constant(name)` returns the tensor of the file.
Model model_from_json(std::string_view text, const std::string& where,
                      const std::function<Tensor(const std::string& name)>& constant);
// The names of tensors in the file: of a constant of a graph (or of a body, by its key: those over 64 elements), and of
// an asset.
std::string constant_name(const std::string& graph, const Value& value);
std::string asset_name(const std::string& asset);

}  // namespace dyadic

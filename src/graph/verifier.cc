#include "graph/verifier.h"

#include <algorithm>
#include <set>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/core_ops.h"
#include "graph/island.h"

namespace dyadic {
namespace {

template <class... Why>
[[noreturn]] void refuse(const Graph& graph, Why&&... why) {
  fail(ErrorKind::kContract, "graph ", graph.name, ": ", std::forward<Why>(why)...);
}

std::string label(const Graph& graph, size_t n) {
  const Node& node = graph.nodes[n];
  std::string text = cat("node ", n, " (", node.op, ')');
  if (!node.name.empty()) text += cat(" '", node.name, "'");
  if (!node.outputs.empty() && node.outputs[0] >= 0 && node.outputs[0] < static_cast<int>(graph.values.size()))
    text += cat(" of value ", graph.value(node.outputs[0]).name);
  return text;
}

// What holds in every graph: ids that exist, unique names, constants as declared, one definition before each use.
void verify_definitions(const Graph& graph) {
  const int count = static_cast<int>(graph.values.size());
  const auto known = [&](ValueId id) { return id >= 0 && id < count; };
  std::set<std::string> names;
  std::vector<bool> defined(count);
  for (int i = 0; i < count; ++i) {
    const Value& v = graph.values[i];
    if (v.name.empty() || !names.insert(v.name).second)
      refuse(graph, "value ", i, ": name '", v.name, "' is empty or taken");
    for (const Dim& dim : v.shape)
      if (dim.factor < 0) refuse(graph, "value ", v.name, ": negative dimension in ", to_string(v.shape));
    if (v.fact && (v.is_constant() || is_real(v.type) || v.fact->range.lo > v.fact->range.hi ||
                   !range_of(v.type).contains(v.fact->range)))
      refuse(graph, "value ", v.name, ": fact [", v.fact->range.lo, ",", v.fact->range.hi, "] is no range of ",
             name(v.type), " or narrows a constant");
    if (!v.is_constant()) continue;
    if (v.constant.type() != v.type || to_shape(v.constant.dims()) != v.shape)
      refuse(graph, "constant ", v.name, " is declared ", name(v.type), to_string(v.shape), " and holds ",
             name(v.constant.type()), to_string(v.constant.dims()));
    defined[i] = true;
  }
  // `where()` is asked only of what is refused: models are verified at every start.
  const auto define = [&](ValueId id, auto where) {
    if (!known(id)) refuse(graph, where(), ": value ", id, " does not exist");
    if (defined[id]) refuse(graph, where(), ": value ", graph.value(id).name, " is defined twice");
    defined[id] = true;
  };
  const auto use = [&](ValueId id, auto where) {
    if (!known(id)) refuse(graph, where(), ": value ", id, " does not exist");
    if (!defined[id]) refuse(graph, where(), ": value ", graph.value(id).name, " is used before its definition");
  };
  for (ValueId id : graph.inputs) define(id, [] { return "inputs"; });
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto here = [&] { return label(graph, n); };
    const bool optional_inputs = graph.nodes[n].body.empty() && !find_core_op(graph.nodes[n].op);  // real dialect
    for (ValueId id : graph.nodes[n].inputs)
      if (id >= 0 || !optional_inputs) use(id, here);
    for (ValueId id : graph.nodes[n].outputs) define(id, here);
  }
  for (ValueId id : graph.outputs) use(id, [] { return "outputs"; });
  for (int i = 0; i < count; ++i)
    if (!defined[i]) refuse(graph, "value ", graph.values[i].name, " is never defined");
}

void verify_core_node(const Graph& graph, size_t n) {
  const Node& node = graph.nodes[n];
  std::vector<const Value*> operands;
  for (ValueId id : node.inputs) operands.push_back(&graph.value(id));
  std::vector<ResultType> results;
  try {
    results = infer_core_op(node, operands);
  } catch (const Error& e) {
    fail(e.kind(), "graph ", graph.name, ": ", label(graph, n), ": ", e.what());
  }
  if (results.size() != node.outputs.size())
    refuse(graph, label(graph, n), " has ", results.size(), " results, not ", node.outputs.size());
  for (size_t i = 0; i < results.size(); ++i) {
    const Value& v = graph.value(node.outputs[i]);
    if (v.type != results[i].type || v.shape != results[i].shape)
      refuse(graph, label(graph, n), ": value ", v.name, " is declared ", name(v.type), to_string(v.shape), " and is ",
             name(results[i].type), to_string(results[i].shape));
  }
}

bool touches_real(const Node& node) { return node.op == "quantize" || node.op == "dequantize"; }

// The body of a float island: coded inputs are dequantized, what lies between is real and runs elsewhere (whether its
// operators exist and fit is checked by who runs them), results are quantized.
void verify_island(const Graph& body) {
  for (size_t n = 0; n < body.nodes.size(); ++n) {
    const Node& node = body.nodes[n];
    if (find_core_op(node.op)) {
      if (!touches_real(node)) refuse(body, label(body, n), " is neither an edge nor an operator of the real dialect");
      verify_core_node(body, n);
      if (node.op == "dequantize" && body.producer(node.inputs[0]) >= 0)
        refuse(body, label(body, n), " reads no input of the island");
    } else if (!node.body.empty() || node.outputs.size() != 1 || body.value(node.outputs[0]).type != DataType::kF32) {
      refuse(body, label(body, n), " must be an operator with one f32 result");
    }
    for (ValueId id : node.inputs)
      if (const int p = id < 0 ? -1 : body.producer(id); p >= 0 && body.nodes[p].op == "quantize")
        refuse(body, label(body, n), " reads ", body.value(id).name, ", a result of the island");
  }
  for (ValueId id : body.outputs)
    if (const int p = body.producer(id); p < 0 || body.nodes[p].op != "quantize")
      refuse(body, "output ", body.value(id).name, " is not the result of a quantize");
}

// The symbols of a body in terms of the calling graph's dimensions.
using Substitution = std::map<std::string, Dim>;

Dim substitute(const Dim& dim, const Substitution& bound) {
  Dim result(dim.factor);
  for (const auto& symbol : dim.symbols) {
    const auto it = bound.find(symbol);
    result = result * (it == bound.end() ? Dim(symbol) : it->second);
  }
  return result;
}

// A symbol that stands alone in a formal dimension takes the actual one; every other dimension must then agree.
bool match(const Shape& formal, const Shape& actual, Substitution& bound) {
  if (formal.size() != actual.size()) return false;
  for (size_t i = 0; i < formal.size(); ++i)
    if (formal[i].factor == 1 && formal[i].symbols.size() == 1) bound.emplace(formal[i].symbols[0], actual[i]);
  for (size_t i = 0; i < formal.size(); ++i)
    if (substitute(formal[i], bound) != actual[i]) return false;
  return true;
}

void verify_composite(const Model& model, const Graph& graph, size_t n) {
  const Node& node = graph.nodes[n];
  const auto found = model.bodies.find(node.body);
  if (found == model.bodies.end()) refuse(graph, label(graph, n), ": body ", node.body, " is not in the model");
  const Graph& body = found->second.graph;
  if ((node.op == "island") != is_island(body))
    refuse(graph, label(graph, n), ": its body ", node.body, node.op == "island" ? " is not" : " is",
           " that of a float island");
  Substitution bound;
  const auto check = [&](const char* side, const std::vector<ValueId>& actual, const std::vector<ValueId>& formal) {
    if (actual.size() != formal.size())
      refuse(graph, label(graph, n), " has ", actual.size(), " ", side, ", its body ", formal.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      const Value &a = graph.value(actual[i]), &f = body.value(formal[i]);
      if (a.type != f.type || !match(f.shape, a.shape, bound))
        refuse(graph, label(graph, n), ": ", side, " ", i, " (", a.name, ") is ", name(a.type), to_string(a.shape),
               ", its body's ", f.name, " is ", name(f.type), to_string(f.shape));
    }
  };
  check("inputs", node.inputs, body.inputs);
  check("outputs", node.outputs, body.outputs);
  for (const Value& v : body.values)
    for (const Dim& dim : v.shape)
      for (const auto& symbol : dim.symbols)
        if (!bound.count(symbol) && !model.symbols.count(symbol))
          refuse(graph, label(graph, n), ": no input of its body binds symbol ", symbol,
                 " and the model does not declare it");
}

}  // namespace

void verify_body(const Graph& body) {
  verify_definitions(body);
  if (is_island(body)) return verify_island(body);
  for (size_t n = 0; n < body.nodes.size(); ++n) verify_core_node(body, n);
  for (size_t i = 0; i < body.values.size(); ++i) {
    const Value& v = body.values[i];
    if (!is_real(v.type)) continue;
    // infer_core_op lets only quantize read a real value and only dequantize make one; here the value is at an edge.
    const auto id = static_cast<ValueId>(i);
    const int producer = body.producer(id);
    const bool enters = std::count(body.inputs.begin(), body.inputs.end(), id) != 0;
    if (v.type != DataType::kF32 || (producer < 0 ? !enters : !body.consumers(id).empty()))
      refuse(body, "value ", v.name, " of type ", name(v.type), " is not at an edge (quantize, dequantize)");
  }
}

void verify_model(const Model& model) {
  for (const auto& [key, body] : model.bodies) {
    verify_body(body.graph);
    if (const std::string made = body.key(); made != key)
      fail(ErrorKind::kMalformed, "the key of body ", key, " does not follow from its text, which gives ", made);
  }
  if (!model.graphs.count("main")) fail(ErrorKind::kMalformed, "the model has no graph 'main'");
  for (const auto& [symbol, declared] : model.symbols) {
    if (declared.maximum < 1) fail(ErrorKind::kMalformed, "symbol ", symbol, " has the maximum ", declared.maximum);
    const Graph& main = model.main();
    const ValueId source = declared.largest_of.empty() ? -1 : main.find(declared.largest_of);
    if (!declared.largest_of.empty() && !std::count(main.inputs.begin(), main.inputs.end(), source))
      fail(ErrorKind::kMalformed, "symbol ", symbol, ": '", declared.largest_of, "' is not an input of graph main");
  }
  for (const auto& [key, graph] : model.graphs) {
    verify_definitions(graph);
    for (const Value& v : graph.values)
      for (const Dim& dim : v.shape)
        for (const auto& symbol : dim.symbols)
          if (!model.symbols.count(symbol)) refuse(graph, "value ", v.name, ": symbol ", symbol, " is not declared");
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      if (!graph.nodes[n].body.empty())
        verify_composite(model, graph, n);
      else if (find_core_op(graph.nodes[n].op))
        verify_core_node(graph, n);
    }
  }
}

bool is_integer_only(const Model& model, std::string* why) {
  const auto refuse_with = [&](std::string reason) {
    if (why) *why = std::move(reason);
    return false;
  };
  const auto real_value = [](const Graph& graph, const Node& node) {
    for (const auto* ids : {&node.inputs, &node.outputs})
      for (ValueId id : *ids)
        if (id >= 0 && is_real(graph.value(id).type)) return true;
    return false;
  };
  if (const auto islands = float_islands(model); !islands.empty()) {
    std::string names;
    for (const auto& island : islands) names += (names.empty() ? "" : ", ") + island;
    return refuse_with(cat(islands.size(), islands.size() == 1 ? " float island: " : " float islands: ", names));
  }
  for (const auto& [key, body] : model.bodies)
    for (size_t n = 0; n < body.graph.nodes.size(); ++n)
      if (!find_core_op(body.graph.nodes[n].op) ||
          (real_value(body.graph, body.graph.nodes[n]) && !touches_real(body.graph.nodes[n])))
        return refuse_with(cat("body ", key, ", ", label(body.graph, n), " is real"));
  for (const auto& [key, graph] : model.graphs)
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      if (real_value(graph, node) && node.body.empty() && !touches_real(node))
        return refuse_with(cat("graph ", key, ", ", label(graph, n), " touches real numbers"));
    }
  return true;
}

}  // namespace dyadic

#include "api/inspect.h"

#include <algorithm>
#include <bitset>
#include <filesystem>

#include "base/located.h"
#include "base/status.h"
#include "graph/core_ops.h"
#include "graph/island.h"
#include "graph/ranges.h"
#include "graph/stages.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "io/huggingface/importer.h"
#include "runtime/container.h"

namespace dyadic {
namespace {
namespace fs = std::filesystem;

// The largest value each symbol takes for one sequence of `length` tokens.
Bindings one_sequence(const Symbols& symbols, int64_t length) {
  Bindings b;
  for (const auto& [name, symbol] : symbols) b[name] = name == "B" ? 1 : std::min(length, symbol.maximum);
  return b;
}

Inspection inspect_float(const std::string& path, int64_t length) {
  const ImportedModel model = import_huggingface(path);
  Inspection result;
  result.kind = "float";
  result.length = length;
  result.metadata = model.metadata;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.path().extension() == ".safetensors" && entry.exists())
      result.file_bytes += static_cast<int64_t>(entry.file_size());
  const Bindings b = one_sequence(model.symbols, length);
  for (const Value& value : model.graph.values) {
    if (value.is_constant())
      result.parameters += value.constant.count();
    else
      result.edges.push_back(
          {value.name, std::string(name(value.type)), to_string(value.shape), bits(value.type), 0, ""});
  }
  for (const Node& node : model.graph.nodes) {
    CompositeInfo info{node.name, node.op, "", 0, "", 0, {}};
    if (node.op == "Gemm") info.macs = b.at("T") * model.graph.value(node.inputs[1]).constant.count();
    if (node.op == "Attention")
      info.macs = 2 * b.at("L") * b.at("L") * node.integer("heads") * node.integer("head_dim");
    info.operands = info.macs ? "f32xf32" : "";
    for (const ValueId input : node.inputs)
      if (input >= 0 && model.graph.value(input).is_constant())
        info.parameter_bytes += model.graph.value(input).constant.bytes();
    result.total_macs += info.macs;
    result.composites.push_back(std::move(info));
  }
  result.macs["f32xf32"] = 1;
  return result;
}

ConstantInfo inspect_codes(const Value& value) {
  const Tensor& t = value.constant;
  ConstantInfo info{value.name, std::string(name(t.type())), to_string(value.shape), static_cast<int64_t>(t.bytes()),
                    0,          range_of(t.type())};
  std::bitset<256> seen;
  const auto* codes = reinterpret_cast<const uint8_t*>(t.raw());
  for (int64_t i = 0; i < t.count(); ++i) seen.set(codes[i]);
  info.distinct = static_cast<int>(seen.count());
  const auto occurs = [&](int64_t code) { return seen.test(static_cast<uint8_t>(code)); };
  while (info.range.lo < info.range.hi && !occurs(info.range.lo)) ++info.range.lo;
  while (info.range.hi > info.range.lo && !occurs(info.range.hi)) --info.range.hi;
  return info;
}

// Of a product or attention of a float island, whose shapes nobody has checked yet: 0 if they do not fit.
int64_t real_macs(const Graph& body, const Node& node, const Bindings& bindings) {
  const auto l = bindings.find("L");
  if ((node.op != "Gemm" && (node.op != "Attention" || l == bindings.end())) || node.inputs.empty() ||
      node.inputs[0] < 0 || body.value(node.inputs[0]).shape.size() != 2)
    return 0;
  Shape all = body.value(node.outputs[0]).shape;
  all.push_back(body.value(node.inputs[0]).shape[1]);
  if (node.op == "Attention") all = {Dim(2), Dim(l->second), Dim(l->second), all.back()};
  return element_count(all).value(bindings);
}

}  // namespace

std::map<std::string, int64_t> count_macs(const Body& body, const Bindings& bindings) {
  std::map<std::string, int64_t> macs;
  for (const Node& node : body.graph.nodes) {
    if (const int64_t count = real_macs(body.graph, node, bindings)) macs["f32xf32"] += count;
    if (find_core_op(node.op) != CoreOp::k_dot) continue;
    const Value& a = body.graph.value(node.inputs[0]);
    const Value& b = body.graph.value(node.inputs[1]);
    int64_t count = element_count(bind(body.graph.value(node.outputs[0]).shape, bindings));
    for (int64_t axis : node.integers("contract_a")) {
      const auto rank = static_cast<int64_t>(a.shape.size());
      const int64_t terms = a.shape[static_cast<size_t>(axis < 0 ? axis + rank : axis)].value(bindings);
      if (__builtin_mul_overflow(count, terms, &count))
        fail(ErrorKind::kContract, "body ", body.graph.name, ": more than 2^63 multiplications");
    }
    macs[cat(bits(a.type), "x", bits(b.type))] += count;
  }
  return macs;
}

std::map<std::string, int64_t> count_operations(const Model& model, int64_t length) {
  const Bindings bindings = one_sequence(model.symbols, length);
  std::map<std::string, int64_t> operations;
  for (const Node& composite : model.main().nodes) {
    const Body& body = model.body(composite);
    for (const auto& [operands, count] : count_macs(body, bindings)) operations["mac " + operands] += count;
    for (const Node& node : body.graph.nodes) {
      const auto op = find_core_op(node.op);
      if (!op || !is_elementwise(*op)) continue;
      const bool multiply = *op == CoreOp::k_mul || *op == CoreOp::k_mul_shift || *op == CoreOp::k_div;
      operations[multiply                  ? "multiply"
                 : *op == CoreOp::k_lookup ? "lookup"
                                           : "other"] +=
          element_count(bind(body.graph.value(node.outputs[0]).shape, bindings));
    }
  }
  return operations;
}

int64_t model_bytes(const Model& model) {
  auto bytes = static_cast<int64_t>(model_to_json(model).size());
  for (const auto& [name, asset] : model.assets) bytes += asset.bytes();
  for (const auto& [name, graph] : model.graphs)
    for (const Value& value : graph.values)
      if (value.is_constant()) bytes += value.constant.bytes();
  return bytes;
}

Inspection inspect_model(const std::string& path, int64_t length) {
  std::error_code error;
  if (fs::is_directory(path, error)) return inspect_float(path, length);
  const auto model = load_model(path);
  Inspection result;
  result.kind = "integer";
  result.length = length;
  result.file_bytes = static_cast<int64_t>(fs::file_size(path));
  result.metadata = model->metadata;
  for (const auto& [key, body] : model->bodies) result.bodies[key] = to_text(body.graph);
  result.islands = float_islands(*model);
  if (!result.islands.empty()) result.kind = "mixed";
  for (const Ranges& proof : located(path, [&] { return prove_model(*model); }))
    for (const auto& lemma : proof.lemmas)
      if (!std::count(result.lemmas.begin(), result.lemmas.end(), lemma)) result.lemmas.push_back(lemma);

  const Graph& main = model->main();
  for (size_t v = 0; v < main.values.size(); ++v) {
    const Value& value = main.values[v];
    if (value.is_constant()) {
      if (value.shape.size() >= 2 && bits(value.type) == 8) result.constants.push_back(inspect_codes(value));
      continue;
    }
    const int producer = main.producer(static_cast<ValueId>(v));
    EdgeInfo edge{value.name,
                  std::string(name(value.type)),
                  to_string(value.shape),
                  bits(value.type),
                  0,
                  producer < 0 ? "" : main.nodes[producer].name};
    if (value.encoding) {
      edge.bits = value.encoding->bits;
      if (value.encoding->scale.size() == 1) edge.scale = value.encoding->scale[0];
    }
    result.edges.push_back(std::move(edge));
  }
  const Bindings bindings = one_sequence(model->symbols, length);
  std::map<std::string, int64_t> widths;
  for (const Node& node : main.nodes) {
    CompositeInfo info{node.name, node.op, node.body, 0, "", 0, {}};
    const Body& body = model->body(node);
    for (const auto& [operands, count] : count_macs(body, bindings)) {
      info.macs += count;
      info.operands += (info.operands.empty() ? "" : " ") + operands;
      widths[operands] += count;
    }
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Tensor& constant = main.value(node.inputs[i]).constant;
      if (!constant.defined()) continue;
      info.parameter_bytes += constant.bytes();
      result.parameters += constant.count();
      const std::string& formal = body.graph.value(body.graph.inputs[i]).name;
      if (formal == "table" || formal == "tables") result.table_bytes += constant.bytes();
    }
    if (const auto it = node.attributes.find("bound"); it != node.attributes.end())
      if (const auto* bound = std::get_if<std::vector<double>>(&it->second)) info.bound = *bound;
    result.total_macs += info.macs;
    result.composites.push_back(std::move(info));
  }
  for (const auto& [operands, count] : widths)
    result.macs[operands] = static_cast<double>(count) / static_cast<double>(std::max<int64_t>(1, result.total_macs));
  return result;
}

}  // namespace dyadic

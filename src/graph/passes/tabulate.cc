#include <algorithm>
#include <map>

#include "graph/passes/passes.h"
#include "graph/passes/subgraph.h"

namespace dyadic {
namespace {

constexpr int64_t kEntries = 256;

bool is_code(const Value& value) { return value.type == DataType::kI8 || value.type == DataType::kU8; }

// Entry code - lowest(type) for every code of the source; those that it is promised not to take repeat their neighbour.
Tensor table_of(const Tensor& results, DataType source, Interval codes) {
  Tensor table(results.type(), {kEntries});
  for (int64_t i = 0; i < kEntries; ++i)
    table.set(i, results.at(std::clamp(i + lowest(source), codes.lo, codes.hi) - codes.lo));
  return table;
}

class Tabulation {
 public:
  explicit Tabulation(Graph body) : body_(std::move(body)) {
    for (size_t n = 0; n < body_.nodes.size(); ++n) {
      const auto part =
          unary_part(body_, static_cast<int>(n), constant_, [&](ValueId id) { return is_code(body_.value(id)); });
      parts_.push_back(part.value_or(UnaryPart{}));
    }
  }

  Graph run() {
    std::vector<std::vector<Node>> added(body_.nodes.size());
    const size_t count = body_.nodes.size();
    for (size_t n = 0; n < count; ++n)
      if (const auto& part = parts_[n]; part.nodes.size() >= 2 && !is_table(part))
        for (size_t i = 0; i < body_.nodes[n].outputs.size(); ++i)
          if (leaves_part(n, body_.nodes[n].outputs[i])) replace(n, i, added[n]);
    std::vector<Node> nodes;
    for (size_t n = 0; n < count; ++n) {
      nodes.push_back(std::move(body_.nodes[n]));
      for (Node& node : added[n]) nodes.push_back(std::move(node));
    }
    body_.nodes = std::move(nodes);
    body_.remove_dead();
    return std::move(body_);
  }

 private:
  // Already what this pass makes of an i8 source: cast, add, lookup.
  bool is_table(const UnaryPart& part) const {
    const auto is = [&](size_t i, const char* op) { return body_.nodes[part.nodes[i]].op == op; };
    return part.nodes.size() == 3 && is(0, "cast") && is(1, "add") && is(2, "lookup");
  }

  bool is_inside(size_t consumer, size_t n) const { return parts_[consumer].source == parts_[n].source; }

  // True if anything but a longer part of the same source reads the value.
  bool leaves_part(size_t n, ValueId id) const {
    if (body_.is_output(id)) return true;
    const auto consumers = body_.consumers(id);
    return std::any_of(consumers.begin(), consumers.end(),
                       [&](int c) { return !is_inside(static_cast<size_t>(c), n); });
  }

  void replace(size_t n, size_t i, std::vector<Node>& added) {
    const UnaryPart& part = parts_[n];
    const Value source = body_.value(part.source);
    const Interval codes = source.fact ? source.fact->range : range_of(source.type);
    Tensor table;
    try {
      table = table_of(evaluate_unary(body_, part, constant_, codes)[i], source.type, codes);
    } catch (const Error&) {
      return;  // for some code the chain does not hold: the range pass has the word
    }
    const ValueId old = body_.nodes[n].outputs[i];
    const ValueId entries = body_.add_constant(body_.value(old).name + "_table", std::move(table));
    const ValueId index = source.type == DataType::kU8 ? part.source : shifted(part.source, added);
    const ValueId result = body_.add_value({"", body_.value(old).type, body_.value(old).shape, {}, {}, {}});
    std::swap(body_.value(result).name, body_.value(old).name);
    body_.value(result).fact = body_.value(old).fact;
    add(added, "lookup", {entries, index}, result, {});
    for (size_t c = 0; c < body_.nodes.size(); ++c)
      if (!is_inside(c, n)) std::replace(body_.nodes[c].inputs.begin(), body_.nodes[c].inputs.end(), old, result);
    std::replace(body_.outputs.begin(), body_.outputs.end(), old, result);
  }

  // The index code + 128 of an i8 source.
  ValueId shifted(ValueId source, std::vector<Node>& added) {
    const auto [it, is_new] = index_.emplace(source, -1);
    if (!is_new) return it->second;
    const Shape shape = body_.value(source).shape;
    const std::string name = body_.value(source).name;
    Tensor offset(DataType::kI32, {});
    offset.set(0, -lowest(DataType::kI8));
    const ValueId wide = body_.add_value({name + "_wide", DataType::kI32, shape, {}, {}, {}});
    const ValueId c128 = body_.add_constant(name + "_offset", std::move(offset));
    it->second = body_.add_value({name + "_index", DataType::kI32, shape, {}, {}, {}});
    add(added, "cast", {source}, wide, {{"type", "i32"}});
    add(added, "add", {wide, c128}, it->second, {});
    return it->second;
  }

  static void add(std::vector<Node>& nodes, const char* op, std::vector<ValueId> inputs, ValueId output,
                  Attributes attributes) {
    Node node;
    node.op = op;
    node.inputs = std::move(inputs);
    node.outputs = {output};
    node.attributes = std::move(attributes);
    nodes.push_back(std::move(node));
  }

  Graph body_;
  ConstantOf constant_ = [this](ValueId id) {
    return body_.value(id).is_constant() ? &body_.value(id).constant : nullptr;
  };
  std::vector<UnaryPart> parts_;
  std::map<ValueId, ValueId> index_;
};

}  // namespace

Graph tabulate(Graph body) { return Tabulation(std::move(body)).run(); }

}  // namespace dyadic

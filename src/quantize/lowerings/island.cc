// Nodes that a recipe keeps in floating point, with what their integer composites would have covered: coded operands
// are dequantized, the real operators run as they are, and each wished encoding of a result is a quantize of it.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/status.h"
#include "graph/edges.h"
#include "quantize/lowering.h"
#include "quantize/rewrite.h"
#include "real/dialect.h"

namespace dyadic {
namespace {

// How far an island may be from its meaning before its results are rounded, as a share of the largest code. The sums of
// a product or an attention have up to some thousand terms in f32; the others are a few roundings of f32 and sums in
// f64.
double relative_error(const Graph& real, const Region& region) {
  const bool has_long_sums = std::any_of(region.nodes.begin(), region.nodes.end(), [&](int n) {
    return real.nodes[n].op == "Gemm" || real.nodes[n].op == "Attention";
  });
  return has_long_sums ? 0x1p-14 : 0x1p-18;
}

bool is_sequence_input(const Node& node, size_t i) {
  return (node.op == "Attention" && i >= 3) || (node.op == "MeanPool" && i >= 1);
}

std::set<int> own_nodes(const Region& region) { return {region.nodes.begin(), region.nodes.end()}; }

struct CodedOperand {
  int node;  // that reads it
  size_t index;
  ValueId value;
  int asker;  // the node whose answers hold for it: the float node itself where a factor of restructuring is read first
  std::string role;
};

// Every f32 operand that other regions compute.
std::vector<CodedOperand> operands_of(const Graph& real, const Region& region) {
  constexpr const char* kOfAttention[] = {"q", "k", "v"};
  const std::set<int> own = own_nodes(region);
  std::vector<CodedOperand> operands;
  for (int n : own)
    for (size_t i = 0; i < real.nodes[n].inputs.size(); ++i) {
      const ValueId id = real.nodes[n].inputs[i];
      if (id < 0 || real.value(id).is_constant() || !is_real(real.value(id).type) || own.count(real.producer(id)))
        continue;
      const int asker = is_channel_mul(real, real.nodes[n]) ? region.only("float") : n;
      operands.push_back({n, i, id, asker, real.nodes[n].op == "Attention" ? kOfAttention[i] : "input"});
    }
  return operands;
}

// Results that other regions or the caller read.
std::vector<ValueId> results_of(const Graph& real, const std::set<int>& own) {
  std::vector<ValueId> results;
  for (int n : own) {
    const ValueId id = real.nodes[n].outputs[0];
    const auto consumers = real.consumers(id);
    if (real.is_output(id) || std::any_of(consumers.begin(), consumers.end(), [&](int c) { return !own.count(c); }))
      results.push_back(id);
  }
  return results;
}

// The body under construction and the main graph's Values that its inputs stand for.
class IslandBuilder {
 public:
  IslandBuilder(LoweringContext& context, const Region& region) : context_(context), region_(region) {
    body_.name = "island";
  }

  void lower() {
    const Graph& real = context_.real;
    const std::set<int> own = own_nodes(region_);
    for (const CodedOperand& o : operands_of(real, region_))
      operands_[{o.node, o.index}] = dequantized(context_.input(o.value, o.asker, o.role), real.value(o.value).name);
    for (int n : own)
      for (size_t i = 0; i < real.nodes[n].inputs.size(); ++i)
        if (const ValueId id = real.nodes[n].inputs[i]; id >= 0 && is_integer(real.value(id).type))
          operands_[{n, i}] = index(real.nodes[n], i);
    for (int n : own) add(n);
    std::vector<ValueId> outputs;
    std::vector<double> bound;
    const double error = relative_error(real, region_);
    for (ValueId id : results_of(real, own)) {
      const auto edges = context_.edges(id);
      if (edges.empty() || (real.is_output(id) && edges.size() > 1))
        fail(ErrorKind::kContract, region_.name, ": its result ", real.value(id).name, " is wished in ", edges.size(),
             " encodings", edges.empty() ? "" : ", one of them by the network's caller; one is supported");
      for (Edge* edge : edges) {
        outputs.push_back(quantized(id, *edge, outputs.empty() && edges.size() == 1));
        const auto& codes = edge->encoding.codes;
        bound.push_back(0.5 + error * static_cast<double>(std::max(codes.hi, -codes.lo)));
      }
    }
    context_.emit(region_, {1, std::move(body_)}, std::move(inputs_), std::move(outputs), std::move(bound));
  }

 private:
  // An input of the body for a Value of the main graph.
  ValueId input(ValueId core, const std::string& name, DataType type, Shape shape,
                std::optional<Fact> fact = std::nullopt) {
    Value formal;
    formal.name = name;
    formal.type = type;
    formal.shape = std::move(shape);
    formal.fact = std::move(fact);
    inputs_.push_back(core);
    return body_.add_input(std::move(formal));
  }

  ValueId parameter(const std::string& name, Tensor tensor) {
    const DataType type = tensor.type();
    Shape shape = to_shape(tensor.dims());
    return input(context_.constant(region_.name + "/" + name, std::move(tensor)), name, type, std::move(shape));
  }

  ValueId dequantize(ValueId codes, const std::string& name, double scale, int64_t zero_point) {
    if (!is_scale(scale)) fail(ErrorKind::kContract, region_.name, ": ", name, " has the scale ", scale);
    Value real;
    real.name = name;
    real.type = DataType::kF32;
    real.shape = body_.value(codes).shape;
    const ValueId id = body_.add_value(std::move(real));
    Node node{"dequantize", "", {codes}, {id}, {{"scale", scale}}, ""};
    if (zero_point != 0) node.attributes["zero_point"] = zero_point;
    body_.add_node(std::move(node));
    return id;
  }

  ValueId dequantized(ValueId core, const std::string& name) {
    if (const auto known = known_.find(core); known != known_.end()) return known->second;
    const Value& value = context_.core(core);
    const Encoding& e = *value.encoding;
    const ValueId codes = input(core, name + ".codes", value.type, value.shape);
    return known_[core] = dequantize(codes, name, tensor_scale(e, region_.name), e.zero_point[0]);
  }

  // Indices, starts and lengths go in as they are.
  ValueId index(const Node& node, size_t i) {
    const ValueId id = node.inputs[i], core = context_.index_input(id);
    if (const auto known = known_.find(core); known != known_.end()) return known->second;
    const Value& value = context_.real.value(id);
    Fact fact{{0, highest(value.type)}, "input"};
    std::string name = value.name;
    if (node.op == "Gather") fact.range.hi = context_.real.value(node.inputs[0]).shape[0].factor - 1;
    if (is_sequence_input(node, i)) name = i + 1 == node.inputs.size() ? "length" : "start";
    return known_[core] = input(core, name, value.type, value.shape, fact);
  }

  ValueId constant(ValueId id) {
    const auto [known, fresh] = constants_.try_emplace(id, -1);
    if (fresh) known->second = parameter(context_.real.value(id).name, context_.real.value(id).constant);
    return known->second;
  }

  void add(int n) {
    const Node& node = context_.real.nodes[n];
    if (node.op == "Gather" && context_.answers(n).encode.count("weight")) return add_coded_gather(n);
    std::vector<ValueId> inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) inputs.push_back(node.inputs[i] < 0 ? -1 : operand(n, i));
    made_[node.outputs[0]] =
        add_real_node(body_, node.op, node.name, inputs, node.attributes, context_.real.value(node.outputs[0]).name);
  }

  ValueId operand(int n, size_t i) {
    if (const auto given = operands_.find({n, i}); given != operands_.end()) return given->second;
    const ValueId id = context_.real.nodes[n].inputs[i];
    return context_.real.value(id).is_constant() ? constant(id) : made_.at(id);
  }

  // A table that the recipe encodes stays coded in the file: its codes are looked up and multiplied by their row's
  // scale.
  void add_coded_gather(int n) {
    const Node& node = context_.real.nodes[n];
    const Tensor& table = context_.real.value(node.inputs[0]).constant;
    if (!table.defined() || table.rank() != 2)
      fail(ErrorKind::kContract, node.name, ": encode.weight is for a constant table [rows, n]");
    const Encoding e = context_.weight_encoding(n, "weight", table);
    const auto code_of = context_.weight_code(n, "weight", e);
    const int64_t rows = table.dim(0), columns = table.dim(1);
    Tensor codes(e.storage, table.dims()), scales(DataType::kF32, {rows, 1});
    for (int64_t r = 0; r < rows; ++r) {
      const size_t at = e.scale.size() == 1 ? 0 : static_cast<size_t>(r);
      if (e.zero_point[at] != 0) fail(ErrorKind::kContract, node.name, ": encode.weight must be symmetric");
      scales.mutable_data<float>()[r] = static_cast<float>(e.scale[at]);
      for (int64_t i = r * columns; i < (r + 1) * columns; ++i)
        codes.set(i, code_of(table.data<float>()[i] / e.scale[at]));
    }
    const std::string name = context_.real.value(node.inputs[0]).name;
    if (context_.provenance) {
      std::vector<double> row_scale = e.scale;
      row_scale.resize(static_cast<size_t>(rows), row_scale[0]);
      context_.provenance->coded[region_.name][node.inputs[0]] = {
          region_.name + "/" + name + ".codes", 0, std::move(row_scale), {}};
    }
    const bool per_row = e.scale.size() > 1;
    const ValueId indices = operand(n, 1), formal = parameter(name + ".codes", std::move(codes));
    const ValueId decoded = dequantize(formal, name, per_row ? 1.0 : e.scale[0], 0);
    const std::string result = context_.real.value(node.outputs[0]).name;
    const ValueId rows_of =
        add_real_node(body_, "Gather", node.name, {decoded, indices}, {}, per_row ? result + ".codes" : result);
    made_[node.outputs[0]] = rows_of;
    if (!per_row) return;
    const ValueId factors =
        add_real_node(body_, "Gather", node.name + ".scale", {parameter(name + ".scale", std::move(scales)), indices});
    made_[node.outputs[0]] = add_real_node(body_, "Mul", node.name + ".decoded", {rows_of, factors}, {}, result);
  }

  ValueId quantized(ValueId id, Edge& edge, bool only) {
    const Encoding& e = edge.encoding;
    const std::string type(name(e.storage));
    const double scale = tensor_scale(e, region_.name);
    if (!is_scale(scale)) fail(ErrorKind::kContract, region_.name, ": its result has the scale ", scale);
    edge.core = context_.define(id, e.storage, e, only ? "" : ":" + type);
    const ValueId source = made_.at(id);
    Value result;
    result.name = body_.value(source).name + "." + type;
    result.type = e.storage;
    result.shape = body_.value(source).shape;
    const ValueId codes = body_.add_value(std::move(result));
    Node node{"quantize", "", {source}, {codes}, {{"scale", scale}, {"type", type}}, ""};
    node.attributes["lo"] = e.codes.lo;
    node.attributes["hi"] = e.codes.hi;
    if (e.zero_point[0] != 0) node.attributes["zero_point"] = e.zero_point[0];
    body_.add_node(std::move(node));
    body_.outputs.push_back(codes);
    return edge.core;
  }

  LoweringContext& context_;
  const Region& region_;
  Graph body_;
  std::vector<ValueId> inputs_;                         // of the main graph, one an input of the body
  std::map<ValueId, ValueId> known_;                    // of the main graph -> of the body
  std::map<ValueId, ValueId> constants_, made_;         // of the real graph -> of the body
  std::map<std::pair<int, size_t>, ValueId> operands_;  // (node, operand) -> of the body
};

}  // namespace

// The constant Muls of restructuring around a float node belong to it: no other composite takes them.
void take_channel_muls(const Graph& real, Region& region) {
  std::set<int> own = own_nodes(region);
  for (int n : std::vector<int>(own.begin(), own.end())) {
    for (ValueId at = real.nodes[n].inputs.empty() ? -1 : real.nodes[n].inputs[0]; at >= 0;) {
      const int p = real.producer(at);
      if (p < 0 || !is_channel_mul(real, real.nodes[p]) || real.consumers(at).size() != 1 || real.is_output(at)) break;
      own.insert(p);
      at = real.nodes[p].inputs[0];
    }
    for (int c : real.consumers(real.nodes[n].outputs[0]))
      if (is_channel_mul(real, real.nodes[c]) && real.nodes[c].inputs[0] == real.nodes[n].outputs[0]) own.insert(c);
  }
  region.nodes.assign(own.begin(), own.end());
}

std::vector<Wish> wishes_island(const Graph& real, const Region& region) {
  std::vector<Wish> wishes;
  for (const CodedOperand& o : operands_of(real, region)) wishes.push_back({o.value, o.asker, o.role, {}});
  for (ValueId id : results_of(real, own_nodes(region)))
    if (real.is_output(id)) wishes.push_back({id, region.only("float"), "output", {}});
  return wishes;
}

void lower_island(LoweringContext& context, const Region& region) { IslandBuilder(context, region).lower(); }

}  // namespace dyadic

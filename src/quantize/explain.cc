#include "quantize/explain.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/progress.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "quantize/unrounded.h"
#include "real/executor.h"
#include "runtime/session.h"

namespace dyadic {
namespace {

double decode(const Encoding& e, double code) { return e.scale[0] * (code - static_cast<double>(e.zero_point[0])); }

Tensor decode(const Encoding& e, const Tensor& codes) {
  Tensor real(DataType::kF32, codes.dims());
  for (int64_t i = 0; i < codes.count(); ++i)
    real.mutable_data<float>()[i] = static_cast<float>(decode(e, static_cast<double>(codes.at(i))));
  return real;
}

// The real constant that a parameter's codes stand for.
Tensor decode(const Provenance::Coded& coded, const Tensor& parameter, const Dims& dims) {
  Tensor real(DataType::kF32, dims);
  const auto rows = static_cast<int64_t>(coded.scale.size()), columns = rows ? real.count() / rows : 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t code = parameter.at((coded.first_row + r) * columns + c);
      const int64_t zero = coded.zero_point.empty() ? 0 : coded.zero_point[r];
      real.mutable_data<float>()[r * columns + c] =
          static_cast<float>(coded.scale[r] * static_cast<double>(code - zero));
    }
  return real;
}

// A region's nodes as a graph of their own; constants for which `replace` has a Tensor are exchanged. Its inputs and
// outputs keep their names.
Graph region_graph(const Graph& real, const Region& region, const std::vector<ValueId>& outputs,
                   const std::map<ValueId, Tensor>& replace) {
  Graph graph;
  graph.name = region.name;
  std::map<ValueId, ValueId> ids;
  const auto carry = [&](ValueId id) {
    if (id < 0) return id;
    const auto [it, fresh] = ids.try_emplace(id, -1);
    if (!fresh) return it->second;
    Value value = real.value(id);
    if (const auto other = replace.find(id); other != replace.end()) value.constant = other->second;
    it->second = graph.add_value(std::move(value));
    if (!graph.value(it->second).is_constant() && real.producer(id) < 0) graph.inputs.push_back(it->second);
    return it->second;
  };
  std::vector<int> nodes = region.nodes;
  std::sort(nodes.begin(), nodes.end());
  for (int n : nodes) {
    Node node = real.nodes[n];
    for (ValueId& id : node.inputs) {
      const bool outside = id >= 0 && !ids.count(id) && real.producer(id) >= 0;
      id = carry(id);
      if (outside) graph.inputs.push_back(id);
    }
    for (ValueId& id : node.outputs) id = carry(id);
    graph.add_node(std::move(node));
  }
  for (ValueId id : outputs)
    if (!graph.is_output(ids.at(id))) graph.outputs.push_back(ids.at(id));
  return graph;
}

// Sums over the elements of one result of one composite.
struct Sums {
  double weight = 0, approximation = 0, clipping = 0, requantization = 0;  // <part, total>
  double total = 0, propagated = 0, residual = 0;                          // energies
  double signal = 0, result = 0, product = 0;                              // of F(x^,w) and y^
  double network = 0, network_product = 0;                                 // of F(x,w)
};

struct Layer {
  const Node* node = nullptr;
  bool island = false;                         // computed in float: its body is its meaning
  Graph body;                                  // with unrounded outputs; empty for an island
  std::vector<Tensor> operands;                // of the body; data is filled in for each batch
  std::unique_ptr<RealExecutor> coded, exact;  // F(.,w^) and F(.,w)
  std::vector<ValueId> inputs;                 // of coded and exact: real Values
  std::vector<ValueId> outputs;                // real Values by output
  std::vector<Sums> sums;                      // by output
};

class Explainer {
 public:
  Explainer(const std::shared_ptr<const Model>& model, const Relowered& reference, int threads)
      : model_(*model),
        reference_(reference),
        real_(reference.real),
        executor_(reference.real, threads),
        session_(model, {Backend::kKernels, active_isa(), threads}) {
    const Graph &main = model_.main(), &again = reference.model.main();
    const auto names = [](const Graph& graph) {
      std::vector<std::string> all;
      for (const Node& node : graph.nodes) {
        all.push_back(node.name + ' ' + node.body);
        for (ValueId id : node.outputs) all.push_back(graph.value(id).name);
      }
      return all;
    };
    if (names(main) != names(again))
      fail(ErrorKind::kContract, "the reference is not what this model was made of: its composites differ");
    for (const Node& node : main.nodes) prepare(node, threads);
  }

  void add(const Feeds& feeds) {
    std::map<ValueId, Tensor> network, codes;  // by real Value; by core Value
    executor_.run(feeds, [&](ValueId id, const Tensor& tensor) {
      if (wanted_.count(id)) network[id] = tensor;
    });
    const Graph& main = model_.main();
    for (ValueId id : main.inputs) codes[id] = feeds.at(main.value(id).name);
    session_.run(feeds, [&](const Node& node, size_t output, const TensorView& view) {
      Tensor copy(view.type, view.dims);
      std::memcpy(copy.mutable_raw(), view.data, static_cast<size_t>(copy.bytes()));
      codes[node.outputs[output]] = std::move(copy);
    });
    Bindings bindings;
    for (const auto& [name, symbol] : model_.symbols)
      if (!symbol.largest_of.empty()) {
        const auto lengths = feeds.at(symbol.largest_of).to_int64();
        bindings[name] = std::max<int64_t>(1, *std::max_element(lengths.begin(), lengths.end()));
      }
    for (Layer& layer : layers_) {
      check_interrupted();
      add(layer, codes, network, bindings);
    }
  }

  std::vector<LayerLoss> losses() const {
    std::vector<LayerLoss> all;
    for (const Layer& layer : layers_) all.push_back(loss(layer));
    return all;
  }

 private:
  void prepare(const Node& node, int threads) {
    const Graph& main = model_.main();
    Layer layer;
    layer.node = &node;
    const auto region = std::find_if(reference_.parts.regions.begin(), reference_.parts.regions.end(),
                                     [&](const auto& r) { return r.second.name == node.name; });
    DYADIC_CHECK(region != reference_.parts.regions.end(), node.name);
    std::vector<Interval> ends;
    for (ValueId id : node.outputs) {
      const Value& value = main.value(id);
      if (!value.encoding || value.encoding->scale.size() != 1)
        fail(ErrorKind::kContract, node.name, ": ", value.name, " needs an encoding of one scale");
      ends.push_back(value.encoding->codes);
      layer.outputs.push_back(reference_.provenance.carried.at(value.name));
      wanted_.insert(layer.outputs.back());
    }
    layer.sums.resize(node.outputs.size());

    const Graph& body = model_.body(node).graph;
    layer.island = node.op == "island";
    std::map<std::string, std::vector<double>> tables;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Value& value = main.value(node.inputs[i]);
      layer.operands.push_back(value.constant);
      if (const auto table = reference_.provenance.unrounded.find(value.name);
          table != reference_.provenance.unrounded.end())
        tables[body.value(body.inputs[i]).name] = table->second;
    }
    if (!layer.island) layer.body = with_unrounded_outputs(body, ends, tables);

    std::map<ValueId, Tensor> decoded;
    if (const auto coded = reference_.provenance.coded.find(node.name); coded != reference_.provenance.coded.end())
      for (const auto& [constant, meaning] : coded->second) {
        const ValueId parameter = main.find(meaning.parameter);
        if (parameter < 0) fail(ErrorKind::kContract, node.name, ": the model has no parameter ", meaning.parameter);
        const Tensor& exact = real_.value(constant).constant;
        const auto rows = static_cast<int64_t>(meaning.scale.size());
        const int64_t columns = rows ? exact.count() / rows : 0;
        if (main.value(parameter).constant.count() < (meaning.first_row + rows) * columns)
          fail(ErrorKind::kContract, node.name, ": parameter ", meaning.parameter, " is smaller than its reference");
        decoded[constant] = decode(meaning, main.value(parameter).constant, exact.dims());
      }
    const Graph exact = region_graph(real_, region->second, layer.outputs, {});
    layer.exact = std::make_unique<RealExecutor>(exact, threads);
    layer.coded = std::make_unique<RealExecutor>(region_graph(real_, region->second, layer.outputs, decoded), threads);
    for (ValueId id : exact.inputs) layer.inputs.push_back(real_.find(exact.value(id).name));
    layers_.push_back(std::move(layer));
  }

  void add(Layer& layer, const std::map<ValueId, Tensor>& codes, const std::map<ValueId, Tensor>& network,
           const Bindings& bindings) {
    const Graph& main = model_.main();
    const Node& node = *layer.node;
    std::vector<Tensor> operands = layer.operands;
    Feeds decoded;
    for (size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].defined()) continue;
      const Value& value = main.value(node.inputs[i]);
      operands[i] = codes.at(node.inputs[i]);
      if (value.encoding)
        decoded[real_.value(reference_.provenance.carried.at(value.name)).name] = decode(*value.encoding, operands[i]);
      else
        decoded[value.name] = operands[i];
    }
    const auto coded = layer.coded->run(decoded), exact = layer.exact->run(decoded);
    std::vector<Tensor> results;
    if (!layer.island) results = evaluate(layer.body, operands, bindings);
    const size_t count = node.outputs.size();
    for (size_t j = 0; j < count; ++j) {
      const Tensor& y = codes.at(node.outputs[j]);
      if (!layer.island && !(results[j] == y))
        fail(ErrorKind::kFailed, node.name, ": a kernel's codes are not the body's; run dyadic verify");
      const std::string& name = real_.value(layer.outputs[j]).name;
      accumulate(layer.sums[j], *main.value(node.outputs[j]).encoding, y, layer.island ? Tensor() : results[count + j],
                 coded.at(name), exact.at(name), network.at(layer.outputs[j]));
    }
  }

  // `unrounded` is not defined for an island.
  static void accumulate(Sums& s, const Encoding& e, const Tensor& codes, const Tensor& unrounded, const Tensor& coded,
                         const Tensor& exact, const Tensor& network) {
    const auto lo = static_cast<double>(e.codes.lo), hi = static_cast<double>(e.codes.hi);
    const int64_t* finer = unrounded.defined() ? unrounded.data<int64_t>() : nullptr;
    for (int64_t i = 0; i < codes.count(); ++i) {
      const double y = decode(e, static_cast<double>(codes.at(i)));
      const double f_coded = coded.data<float>()[i], f = exact.data<float>()[i], f_network = network.data<float>()[i];
      const double code = finer ? std::ldexp(static_cast<double>(finer[i]), -kUnroundedBits)
                                : f_coded / e.scale[0] + static_cast<double>(e.zero_point[0]);
      const double a = decode(e, code), clipped = decode(e, std::clamp(code, lo, hi));
      const double weight = f_coded - f, approximation = a - f_coded, clipping = clipped - a,
                   requantization = y - clipped, total = y - f, propagated = f - f_network;
      const double residual = weight + approximation + clipping + requantization - total;
      s.weight += weight * total;
      s.approximation += approximation * total;
      s.clipping += clipping * total;
      s.requantization += requantization * total;
      s.total += total * total;
      s.propagated += propagated * propagated;
      s.residual += residual * residual;
      s.signal += f * f;
      s.result += y * y;
      s.product += y * f;
      s.network += f_network * f_network;
      s.network_product += y * f_network;
    }
  }

  static LayerLoss loss(const Layer& layer) {
    Sums all;
    int results = 0;
    for (const Sums& s : layer.sums) {
      if (!(s.signal > 0)) continue;
      ++results;
      const auto add = [&](double Sums::*member) { all.*member += s.*member / s.signal; };
      for (const auto member : {&Sums::weight, &Sums::approximation, &Sums::clipping, &Sums::requantization,
                                &Sums::total, &Sums::propagated, &Sums::residual, &Sums::signal, &Sums::result,
                                &Sums::product, &Sums::network, &Sums::network_product})
        add(member);
    }
    LayerLoss loss{layer.node->name, layer.node->op};
    if (results == 0) return loss;
    loss.total = all.total / results;
    loss.propagated = all.propagated / results;
    loss.sqnr_db = -10 * std::log10(std::max(loss.total, 1e-30));
    const auto cosine = [](double product, double a, double b) {
      return a > 0 && b > 0 ? product / std::sqrt(a * b) : 0;
    };
    loss.cosine = cosine(all.product, all.result, all.signal);
    loss.cosine_to_float = cosine(all.network_product, all.result, all.network);
    if (!(all.total > 0)) return loss;
    loss.weight = all.weight / all.total;
    loss.approximation = all.approximation / all.total;
    loss.clipping = all.clipping / all.total;
    loss.requantization = all.requantization / all.total;
    loss.residual = std::sqrt(all.residual / all.total);
    return loss;
  }

  const Model& model_;
  const Relowered& reference_;
  const Graph& real_;
  RealExecutor executor_;
  Session session_;
  std::set<ValueId> wanted_;
  std::vector<Layer> layers_;
};

}  // namespace

std::vector<LayerLoss> explain_layers(const std::shared_ptr<const Model>& model, const Relowered& reference,
                                      const std::vector<Feeds>& batches, int threads) {
  Explainer explainer(model, reference, threads);
  Progress progress("explain", static_cast<int64_t>(batches.size()));
  for (const Feeds& feeds : batches) {
    explainer.add(feeds);
    progress.add();
  }
  return explainer.losses();
}

}  // namespace dyadic

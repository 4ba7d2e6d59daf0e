// Small graphs of the real dialect with random weights, for tests of what rewrites, covers and lowers them.
#pragma once
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "graph/model.h"
#include "quantize/quantize.h"
#include "real/dialect.h"
#include "real/executor.h"
#include "support.h"

namespace dyadic::test {

// Sums of twelve uniform numbers are normal enough, and the same on every machine.
inline float normal(Random& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random() * 0x1p-32;
  return static_cast<float>(sum);
}

inline Tensor normal_tensor(Dims dims, double mean, double deviation, Random& random) {
  Tensor t(DataType::kF32, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i)
    t.mutable_data<float>()[i] = static_cast<float>(mean + deviation * normal(random));
  return t;
}

// A graph under construction. Node names are the caller's; a node's value has its name.
class GraphMaker {
 public:
  explicit GraphMaker(uint64_t stream = 0) : random_(seed(), stream) {}

  ValueId input(const std::string& name, Shape shape, DataType type = DataType::kF32) {
    Value value;
    value.name = name;
    value.type = type;
    value.shape = std::move(shape);
    return graph.add_input(std::move(value));
  }
  ValueId constant(const std::string& name, Dims dims, double mean, double deviation) {
    return graph.add_constant(name, normal_tensor(std::move(dims), mean, deviation, random_));
  }
  ValueId node(const std::string& op, const std::string& name, std::vector<ValueId> inputs,
               Attributes attributes = {}) {
    return add_real_node(graph, op, name, std::move(inputs), std::move(attributes));
  }
  ValueId linear(const std::string& name, ValueId x, int64_t n, double gain = 1) {
    const int64_t k = graph.value(x).shape.back().factor;
    return node("Gemm", name,
                {x, constant(name + ".weight", {n, k}, 0, gain / std::sqrt(k)), constant(name + ".bias", {n}, 0, 0.1)},
                {{"transB", int64_t{1}}});
  }
  ValueId norm(const std::string& name, ValueId x) {
    const int64_t n = graph.value(x).shape.back().factor;
    return node("LayerNormalization", name,
                {x, constant(name + ".weight", {n}, 1, 0.3), constant(name + ".bias", {n}, 0, 0.2)},
                {{"axis", int64_t{-1}}, {"epsilon", 1e-12}});
  }

  Graph graph;

 private:
  Random random_;
};

// What an importer makes of a BERT-like encoder: one head width of 8, mean pooling, unit vectors.
struct ToyEncoder {
  int64_t vocabulary = 60, positions = 40, width = 32, heads = 4, hidden = 64, layers = 2;
  std::string function = "Gelu";

  Graph graph() const {
    GraphMaker m;
    const ValueId token = m.input("token", {"T"}, DataType::kI32),
                  position = m.input("position", {"T"}, DataType::kI32), type = m.input("type", {"T"}, DataType::kI32),
                  start = m.input("start", {"B"}, DataType::kI32), length = m.input("length", {"B"}, DataType::kI32);
    const auto gather = [&](const std::string& name, int64_t rows, double deviation, ValueId index) {
      return m.node("Gather", name, {m.constant(name + ".weight", {rows, width}, 0, deviation), index},
                    {{"axis", int64_t{0}}});
    };
    const ValueId words = gather("embeddings/words", vocabulary, 1, token),
                  types = gather("embeddings/types", 2, 0.2, type),
                  places = gather("embeddings/positions", positions, 0.3, position);
    ValueId x = m.norm("embeddings/LayerNorm",
                       m.node("Add", "embeddings/add2", {m.node("Add", "embeddings/add1", {words, types}), places}));
    for (int64_t i = 0; i < layers; ++i) {
      const std::string layer = cat("encoder/layer.", i), self = layer + "/attention/self";
      const ValueId q = m.linear(self + "/query", x, width), k = m.linear(self + "/key", x, width),
                    v = m.linear(self + "/value", x, width);
      const ValueId context =
          m.node("Attention", self, {q, k, v, start, length}, {{"heads", heads}, {"head_dim", width / heads}});
      const auto residual = [&](const std::string& name, ValueId y) {
        return m.norm(name + "/LayerNorm", m.node("Add", name + "/add", {m.linear(name + "/dense", y, width), x}));
      };
      x = residual(layer + "/attention/output", context);
      const ValueId h = m.linear(layer + "/intermediate/dense", x, hidden, 1.5);
      x = residual(layer + "/output", m.node(function, layer + "/intermediate/function", {h}));
    }
    const ValueId pooled = m.node("MeanPool", "pooling/mean", {x, start, length});
    m.graph.outputs = {m.node("LpNormalization", "normalize", {pooled}, {{"axis", int64_t{-1}}, {"p", int64_t{2}}})};
    return std::move(m.graph);
  }

  Symbols symbols() const { return {{"T", {1 << 12, ""}}, {"B", {1 << 8, ""}}, {"L", {positions, "length"}}}; }

  // One batch of random texts.
  Feeds feeds(int64_t texts, uint64_t stream) const { return random_feeds(vocabulary, positions, texts, stream); }

  static Feeds random_feeds(int64_t vocabulary, int64_t longest, int64_t texts, uint64_t stream) {
    Random random(seed(), stream);
    std::vector<int32_t> token, position, type, start, length;
    for (int64_t b = 0; b < texts; ++b) {
      start.push_back(static_cast<int32_t>(token.size()));
      length.push_back(static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(longest))));
      for (int32_t t = 0; t < length.back(); ++t) {
        token.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
        position.push_back(t);
        type.push_back(0);
      }
    }
    const auto tensor = [](const std::vector<int32_t>& v) {
      return Tensor::from<int32_t>({static_cast<int64_t>(v.size())}, v);
    };
    return {{"token", tensor(token)},
            {"position", tensor(position)},
            {"type", tensor(type)},
            {"start", tensor(start)},
            {"length", tensor(length)}};
  }
};

// The float result of a graph with one output.
inline Tensor run_real(const Graph& graph, const Feeds& feeds) {
  auto results = RealExecutor(graph, 1).run(feeds);
  return results.at(graph.value(graph.outputs.at(0)).name);
}

// max |a - b| / max |a|.
inline double relative_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.dims(), b.dims());
  double difference = 0, largest = 0;
  for (int64_t i = 0; i < a.count(); ++i) {
    difference = std::max(difference, std::fabs(double{a.data<float>()[i]} - b.data<float>()[i]));
    largest = std::max(largest, std::fabs(double{a.data<float>()[i]}));
  }
  return largest > 0 ? difference / largest : difference;
}

}  // namespace dyadic::test

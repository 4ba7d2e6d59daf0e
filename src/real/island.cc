#include "real/island.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <optional>

#include "base/buffer.h"
#include "base/status.h"
#include "graph/edges.h"
#include "real/executor.h"

namespace dyadic {
namespace {

constexpr int64_t kGrain = 4096;  // elements that are worth handing to a thread

// A coded operand or result of the island.
struct Edge {
  Edge(const Node& node, size_t index, const std::string& value)
      : index(index), value(value), scale(node.number("scale")), zero_point(node.integer("zero_point", 0)) {
    if (node.op == "quantize") codes = {node.integer("lo"), node.integer("hi")};
  }
  size_t index;       // among the views that run() gets
  std::string value;  // of the real graph
  double scale;
  int64_t zero_point;
  Interval codes{0, 0};
};

class RealIsland final : public IslandExecutor {
 public:
  RealIsland(const Graph& body, std::span<const Tensor> parameters, ThreadPool& pool) : pool_(pool) {
    Graph real = body;
    real.nodes.clear();
    real.inputs.clear();
    real.outputs.clear();
    std::map<ValueId, size_t> fed;  // inputs that are no parameters
    for (size_t i = 0; i < body.inputs.size(); ++i) {
      const ValueId id = body.inputs[i];
      if (parameters[i].defined())
        real.value(id).constant = parameters[i];
      else
        fed.emplace(id, fed.size());
    }
    for (const Node& node : body.nodes) {
      const ValueId in = node.inputs.empty() ? -1 : node.inputs[0], out = node.outputs[0];
      if (node.op == "dequantize") {
        if (fed.count(in)) {
          coded_.emplace_back(node, fed.at(in), body.value(out).name);
          real.inputs.push_back(out);
        } else {
          real.value(out).constant = decoded(Edge(node, 0, ""), real.value(in).constant);
        }
      } else if (node.op == "quantize") {
        const auto at = std::find(body.outputs.begin(), body.outputs.end(), out);
        if (at == body.outputs.end()) continue;
        results_.emplace_back(node, at - body.outputs.begin(), body.value(in).name);
        if (!real.is_output(in)) real.outputs.push_back(in);
      } else {
        real.nodes.push_back(node);
      }
    }
    for (const auto& [id, index] : fed)
      if (!real.consumers(id).empty()) {
        plain_.emplace_back(index, real.value(id).name);
        real.inputs.push_back(id);
      }
    buffers_.resize(coded_.size());
    executor_.emplace(real, pool);
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs) override {
    std::map<std::string, Tensor> feeds;
    const std::shared_ptr<const void> borrowed(this, [](const void*) {});
    for (const auto& [index, name] : plain_)
      feeds[name] = Tensor(inputs[index].type, inputs[index].dims, inputs[index].data, borrowed);
    for (size_t i = 0; i < coded_.size(); ++i) {
      const Edge& edge = coded_[i];
      const TensorView& codes = inputs[edge.index];
      const auto bytes = static_cast<size_t>(storage_bytes(DataType::kF32, codes.count()));
      if (buffers_[i].size() <= bytes) buffers_[i] = AlignedBuffer(bytes + 1);  // there is one for no element too
      dequantize(edge, codes, buffers_[i].as<float>());
      feeds[edge.value] = Tensor(DataType::kF32, codes.dims, buffers_[i].data(), borrowed);
    }
    const auto reals = executor_->run(feeds);
    for (const Edge& edge : results_) quantize(edge, reals.at(edge.value).data<float>(), outputs[edge.index]);
  }

 private:
  void dequantize(const Edge& edge, const TensorView& codes, float* out) const {
    dispatch(codes.type, [&](auto zero) {
      const auto* in = codes.as<decltype(zero)>();
      pool_.parallel_for(codes.count(), kGrain, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) out[i] = real_of(in[i], edge.scale, edge.zero_point);
      });
    });
  }

  void quantize(const Edge& edge, const float* in, const TensorView& codes) const {
    dispatch(codes.type, [&](auto zero) {
      auto* out = codes.as<decltype(zero)>();
      pool_.parallel_for(codes.count(), kGrain, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i)
          out[i] =
              static_cast<decltype(zero)>(code_of(in[i], edge.scale, edge.zero_point, edge.codes, edge.value.c_str()));
      });
    });
  }

  Tensor decoded(const Edge& edge, const Tensor& codes) const {
    Tensor real(DataType::kF32, codes.dims());
    dequantize(edge, {codes.type(), codes.dims(), const_cast<std::byte*>(codes.raw())}, real.mutable_data<float>());
    return real;
  }

  ThreadPool& pool_;
  std::optional<RealExecutor> executor_;
  std::vector<Edge> coded_, results_;
  std::vector<std::pair<size_t, std::string>> plain_;  // inputs that are read as they are: indices, lengths
  std::vector<AlignedBuffer> buffers_;                 // one a coded input
};

}  // namespace

// The product in double is off by at most half of its last place. Its rounding to float can be wrong only where that
// reaches over the middle of two floats, or below the normal floats.
float real_of(int64_t code, double scale, int64_t zero_point) {
  constexpr uint64_t kRest = (uint64_t{1} << 29) - 1, kMiddle = uint64_t{1} << 28;  // what f32 does not hold
  const int64_t steps = code - zero_point;
  const double product = scale * static_cast<double>(steps), magnitude = std::fabs(product);
  const uint64_t rest = std::bit_cast<uint64_t>(product) & kRest;
  const bool near_middle = rest + 1 >= kMiddle && rest <= kMiddle + 1;
  const bool is_normal = steps == 0 || (magnitude > 0x1p-120 && magnitude < 0x1p120);
  if (near_middle || !is_normal || steps > int64_t{1} << 53 || steps < -(int64_t{1} << 53))
    return std::bit_cast<float>(dequantize_float(code, scale, zero_point));
  return static_cast<float>(product);
}

// The quotient in double is off by less than 2^-20 while it is below 2^30; its floor is right unless an integer is that
// near.
int64_t code_of(float x, double scale, int64_t zero_point, Interval codes, const char* what) {
  const double y = static_cast<double>(x) / scale + 0.5;
  if (std::fabs(y) < 0x1p30) {
    auto floor = static_cast<int64_t>(y);
    floor -= static_cast<double>(floor) > y;
    const double rest = y - static_cast<double>(floor);
    if (rest > 0x1p-20 && rest < 1 - 0x1p-20) return std::clamp(floor + zero_point, codes.lo, codes.hi);
  }
  const auto code = quantize_float(std::bit_cast<uint32_t>(x), scale, zero_point, codes);
  if (!code) fail(ErrorKind::kContract, "float island: ", what, " is not a number");
  return *code;
}

std::unique_ptr<IslandExecutor> make_real_island(const Graph& body, std::span<const Tensor> parameters,
                                                 ThreadPool& pool) {
  return std::make_unique<RealIsland>(body, parameters, pool);
}

}  // namespace dyadic

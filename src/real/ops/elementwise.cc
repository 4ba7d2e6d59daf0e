#include <algorithm>
#include <cmath>

#include "real/onednn.h"
#include "real/ops/ops.h"
#include "real/stated_order.h"

namespace dyadic {
namespace {

constexpr int64_t kGrain = 4096;  // elements that are worth handing to a thread

Shape infer_binary(const Node& node, RealInputs inputs) {
  const Shape &a = operand(node, inputs, 0, DataType::kF32), &b = operand(node, inputs, 1, DataType::kF32);
  try {
    return broadcast(a, b);
  } catch (const Error& error) {
    refuse(node, error.what());
  }
}

Shape infer_unary(const Node& node, RealInputs inputs) { return operand(node, inputs, 0, DataType::kF32); }

// How an operand is walked along with the rows (last dimension) of the result.
class Rows {
 public:
  Rows(const Tensor& tensor, const Dims& out) : data_(tensor.data<float>()), strides_(out.size(), 0) {
    int64_t stride = 1;
    const size_t lead = out.size() - tensor.dims().size();
    for (size_t i = out.size(); i-- > lead;) {
      const int64_t dim = tensor.dims()[i - lead];
      strides_[i] = dim == 1 ? 0 : stride;
      stride *= dim;
    }
  }
  int64_t step() const { return strides_.empty() ? 0 : strides_.back(); }
  const float* row(int64_t index, const Dims& out) const {
    int64_t offset = 0;
    for (size_t i = out.size() - std::min<size_t>(1, out.size()); i-- > 0;) {
      offset += index % out[i] * strides_[i];
      index /= out[i];
    }
    return data_ + offset;
  }

 private:
  const float* data_;
  std::vector<int64_t> strides_;
};

template <class F>
void run_binary(const RealCall& call, F f) {
  const Dims& out = call.output.dims;
  float* y = call.output.as<float>();
  const Rows a(call.inputs[0], out), b(call.inputs[1], out);
  const int64_t columns = out.empty() ? 1 : out.back(), sa = a.step(), sb = b.step();
  if (call.output.count() == 0) return;
  call.pool.parallel_for(call.output.count() / columns, kGrain / columns + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float *pa = a.row(r, out), *pb = b.row(r, out);
      float* py = y + r * columns;
      if (sa == 1 && sb == 1)
        for (int64_t j = 0; j < columns; ++j) py[j] = f(pa[j], pb[j]);
      else
        for (int64_t j = 0; j < columns; ++j) py[j] = f(pa[j * sa], pb[j * sb]);
    }
  });
}

void run_add(const RealCall& call) {
  run_binary(call, [](float a, float b) { return a + b; });
}
void run_sub(const RealCall& call) {
  run_binary(call, [](float a, float b) { return a - b; });
}
void run_mul(const RealCall& call) {
  run_binary(call, [](float a, float b) { return a * b; });
}
void run_div(const RealCall& call) {
  run_binary(call, [](float a, float b) { return a / b; });
}

template <class F>
void run_unary(const RealCall& call, F f) {  // f(x, y, count)
  const float* x = call.inputs[0].data<float>();
  float* y = call.output.as<float>();
  call.pool.parallel_for(call.output.count(), kGrain,
                         [&](int64_t begin, int64_t end, int) { f(x + begin, y + begin, end - begin); });
}

template <float (*F)(float)>
void run_map(const RealCall& call) {
  run_unary(call, [](const float* x, float* y, int64_t count) { std::transform(x, x + count, y, F); });
}
float relu(float x) { return x < 0 ? 0 : x; }  // keeps NaN
float erf_of(float x) { return std::erf(x); }
float sqrt_of(float x) { return std::sqrt(x); }

template <class Library, Activation F>
void run_activation(const RealCall& call) {
  run_unary(call, [](const float* x, float* y, int64_t count) { Library::activate(F, x, y, count); });
}

// "none": x/2 (1 + erf(x / sqrt 2)); "tanh": x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Hendrycks, Gimpel,
// arXiv:1606.08415.
Shape infer_gelu(const Node& node, RealInputs inputs) {
  const std::string approximate = node.text("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    refuse(node, "attribute 'approximate' is '", approximate, "'; supported are none, tanh");
  return infer_unary(node, inputs);
}

template <class Library>
void run_gelu(const RealCall& call) {
  call.node.text("approximate", "none") == "tanh" ? run_activation<Library, Activation::kGeluTanh>(call)
                                                  : run_activation<Library, Activation::kGeluErf>(call);
}

}  // namespace

std::span<const RealOp> elementwise_ops() {
  static constexpr RealOp kRows[] = {
      {"Add", 2, 2, "", infer_binary, run_add},
      {"Sub", 2, 2, "", infer_binary, run_sub},
      {"Mul", 2, 2, "", infer_binary, run_mul},
      {"Div", 2, 2, "", infer_binary, run_div},
      {"Relu", 1, 1, "", infer_unary, run_map<relu>},
      {"Sqrt", 1, 1, "", infer_unary, run_map<sqrt_of>},
      {"Erf", 1, 1, "", infer_unary, run_map<erf_of>},
      {"Tanh", 1, 1, "", infer_unary, run_activation<OneDnn, Activation::kTanh>, nullptr,
       run_activation<StatedOrder, Activation::kTanh>},
      {"Sigmoid", 1, 1, "", infer_unary, run_activation<OneDnn, Activation::kSigmoid>, nullptr,
       run_activation<StatedOrder, Activation::kSigmoid>},
      {"Gelu", 1, 1, "approximate", infer_gelu, run_gelu<OneDnn>, nullptr, run_gelu<StatedOrder>},
  };
  return kRows;
}

}  // namespace dyadic

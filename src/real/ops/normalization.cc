#include <algorithm>
#include <cmath>

#include "real/onednn.h"
#include "real/ops/ops.h"
#include "real/stated_order.h"

namespace dyadic {
namespace {

constexpr double kDefaultEpsilon = 1e-5;  // of ONNX LayerNormalization

// Sum of f(x[i]) in double, in eight partial sums so that it vectorises and has a stated order.
template <class F>
double sum(const float* x, int64_t n, F f) {
  constexpr int kLanes = 8;
  double partial[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) partial[l] += f(x[i + l]);
  for (; i < n; ++i) partial[i % kLanes] += f(x[i]);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) partial[l] += partial[l + half];
  return partial[0];
}

// Calls f(x's row, y's row, columns) for every row of the last axis.
template <class F>
void run_rows(const RealCall& call, F f) {
  const float* x = call.inputs[0].data<float>();
  float* y = call.output.as<float>();
  const int64_t columns = call.output.dims.back();
  if (call.output.count() == 0) return;
  call.pool.parallel_for(call.output.count() / columns, 4096 / columns + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) f(x + r * columns, y + r * columns, columns);
  });
}

double epsilon_of(const Node& node) { return node.has("epsilon") ? node.number("epsilon") : kDefaultEpsilon; }

// x [..,n], scale [n], bias [n]? -> (x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis. Ba, Kiros,
// Hinton, arXiv:1607.06450.
Shape infer_layer_normalization(const Node& node, RealInputs inputs) {
  const Shape& x = operand(node, inputs, 0, DataType::kF32);
  expect_last_axis(node, x);
  expect_shape(node, inputs, 1, DataType::kF32, {x.back()});
  if (inputs.size() > 2 && inputs[2]) expect_shape(node, inputs, 2, DataType::kF32, {x.back()});
  if (!(epsilon_of(node) >= 0)) refuse(node, "attribute 'epsilon' is ", epsilon_of(node), "; it must not be negative");
  return x;
}

void run_layer_normalization(const RealCall& call) {
  const double epsilon = epsilon_of(call.node);
  const float* scale = call.inputs[1].data<float>();
  const float* bias = call.inputs.size() > 2 && call.inputs[2].defined() ? call.inputs[2].data<float>() : nullptr;
  run_rows(call, [&](const float* x, float* y, int64_t n) {
    const double mean = sum(x, n, [](float v) { return double{v}; }) / static_cast<double>(n);
    const double variance = sum(x, n, [mean](float v) { return (v - mean) * (v - mean); }) / static_cast<double>(n);
    const auto center = static_cast<float>(mean), inverse = static_cast<float>(1 / std::sqrt(variance + epsilon));
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - center) * inverse * scale[i];
    if (bias)
      for (int64_t i = 0; i < n; ++i) y[i] += bias[i];
  });
}

// x / ||x||_2 over the last axis; a row of zeros stays zero.
Shape infer_lp_normalization(const Node& node, RealInputs inputs) {
  const Shape& x = operand(node, inputs, 0, DataType::kF32);
  expect_last_axis(node, x);
  expect_integer(node, "p", 2, 2);
  return x;
}

void run_lp_normalization(const RealCall& call) {
  run_rows(call, [](const float* x, float* y, int64_t n) {
    const double norm = std::sqrt(sum(x, n, [](float v) { return double{v} * v; }));
    const double inverse = norm > 0 ? 1 / norm : 0;
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] * inverse);
  });
}

Shape infer_softmax(const Node& node, RealInputs inputs) {
  const Shape& x = operand(node, inputs, 0, DataType::kF32);
  expect_last_axis(node, x);
  return x;
}

template <class Library>
void run_softmax(const RealCall& call) {
  run_rows(call, [](const float* x, float* y, int64_t n) {
    std::copy(x, x + n, y);
    Library::softmax_rows(y, 1, n);
  });
}

}  // namespace

std::span<const RealOp> normalization_ops() {
  static constexpr RealOp kRows[] = {
      {"LayerNormalization", 2, 3, "axis epsilon", infer_layer_normalization, run_layer_normalization},
      {"LpNormalization", 1, 1, "axis p", infer_lp_normalization, run_lp_normalization},
      {"Softmax", 1, 1, "axis", infer_softmax, run_softmax<OneDnn>, nullptr, run_softmax<StatedOrder>},
  };
  return kRows;
}

}  // namespace dyadic

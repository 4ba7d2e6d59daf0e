#include "real/stated_order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

namespace dyadic {
namespace {

constexpr int64_t kColumns = 32;  // of a product that are computed together: what fits the registers

// out[c] = x[0] * w[0][c] + x[1] * w[1][c] + .., from left to right.
void dot_columns(const float* __restrict x, int64_t k, const float* __restrict w, int64_t stride,
                 float* __restrict out) {
  float sum[kColumns] = {};
  for (int64_t i = 0; i < k; ++i)
    for (int64_t c = 0; c < kColumns; ++c) sum[c] += x[i] * w[i * stride + c];
  std::copy(sum, sum + kColumns, out);
}

inline float exp_below_0(float x) {
  constexpr float kRound = 0x1.8p23f;  // adding it rounds to an integer
  const float not_a_number = x - x;    // else 0
  x = x > -87.0f ? x : -87.0f;
  const float n = (x * std::numbers::log2e_v<float> + kRound) - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = p * r + c;
  return ((p * r) * r + r + 1.0f) * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23) + not_a_number;
}

inline float erf_of(float z) {
  const float a = std::fabs(z), t = 1.0f / (1.0f + 0.3275911f * a);
  float p = 1.061405429f;
  for (float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) p = p * t + c;
  return std::copysign(1.0f - p * t * exp_below_0(-a * a), z);
}

inline float tanh_of(float x) {
  const float e = exp_below_0(-2.0f * std::fabs(x));
  return std::copysign((1.0f - e) / (1.0f + e), x);
}

inline float logistic(float x) {
  const float e = exp_below_0(-std::fabs(x));
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

template <class F>
void map(const float* x, float* y, int64_t count, F f) {
  for (int64_t i = 0; i < count; ++i) y[i] = f(x[i]);
}

}  // namespace

float exp_of_negative(float x) { return exp_below_0(x); }

void StatedOrder::sgemm(int64_t m, int64_t n, int64_t k, float alpha, ConstMatrix x, ConstMatrix w, bool transposed,
                        float beta, Matrix y) {
  std::vector<float> packed;
  float sums[kColumns];
  for (int64_t c0 = 0; c0 < n; c0 += kColumns) {
    const int64_t width = std::min(kColumns, n - c0);
    const float* columns = w.data + c0;
    int64_t stride = w.stride;
    if (transposed || width < kColumns) {
      packed.assign(static_cast<size_t>(k * kColumns), 0.0f);
      for (int64_t i = 0; i < k; ++i)
        for (int64_t c = 0; c < width; ++c)
          packed[i * kColumns + c] = transposed ? w.data[(c0 + c) * w.stride + i] : columns[i * w.stride + c];
      columns = packed.data();
      stride = kColumns;
    }
    for (int64_t r = 0; r < m; ++r) {
      dot_columns(x.data + r * x.stride, k, columns, stride, sums);
      float* out = y.data + r * y.stride + c0;
      for (int64_t c = 0; c < width; ++c) out[c] = beta == 0 ? alpha * sums[c] : alpha * sums[c] + beta * out[c];
    }
  }
}

void StatedOrder::activate(Activation f, const float* x, float* y, int64_t count) {
  switch (f) {
    case Activation::kGeluErf:
      return map(x, y, count, [](float v) { return 0.5f * v * (1.0f + erf_of(v * 0.70710678f)); });
    case Activation::kGeluTanh:
      return map(x, y, count,
                 [](float v) { return 0.5f * v * (1.0f + tanh_of(0.79788456f * (v + 0.044715f * v * v * v))); });
    case Activation::kTanh:
      return map(x, y, count, tanh_of);
    case Activation::kSigmoid:
      return map(x, y, count, logistic);
  }
}

void StatedOrder::softmax_rows(float* x, int64_t rows, int64_t columns) {
  constexpr int64_t kLanes = 8;
  for (; rows > 0; --rows, x += columns) {
    const float top = *std::max_element(x, x + columns);
    for (int64_t i = 0; i < columns; ++i) x[i] = exp_below_0(x[i] - top);
    float partial[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= columns; i += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) partial[l] += x[i + l];
    for (int64_t l = 0; i < columns; ++i, ++l) partial[l] += x[i];
    float total = 0;
    for (float sum : partial) total += sum;
    for (int64_t j = 0; j < columns; ++j) x[j] /= total;
  }
}

}  // namespace dyadic

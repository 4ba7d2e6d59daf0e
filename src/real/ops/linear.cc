#include <algorithm>

#include "real/onednn.h"
#include "real/ops/ops.h"
#include "real/stated_order.h"

namespace dyadic {
namespace {

constexpr int64_t kRowBlock = 256;         // rows of y that stay in the second-level cache until the next operator
constexpr int64_t kRowsWorthAThread = 32;  // with fewer rows, threads split the columns

// Constant weights are stored as column panels [K, kPanel], one after the other (the last may be narrower), so that a
// product reads memory in order. Measured with weights that are not in cache, 16 rows: 38 GMAC/s; row-major [K, N] 27,
// [N, K] 14 to 23. Other widths (32, 64, 96, 192): 27 to 32.
constexpr int64_t kPanel = 48;

bool transposed(const Node& node) { return node.integer("transB", 0) != 0; }

// x [M,K], W [K,N] or with transB=1 [N,K], b [N]? -> x W + b [M,N].
Shape infer_gemm(const Node& node, RealInputs inputs) {
  expect_integer(node, "transA", 0, 0);
  for (const char* key : {"alpha", "beta"})
    if (node.has(key) && node.number(key) != 1)
      refuse(node, "attribute '", key, "' is ", node.number(key), "; only 1 is supported");
  const Shape &x = operand(node, inputs, 0, DataType::kF32, 2), &w = operand(node, inputs, 1, DataType::kF32, 2);
  const Dim &k = w[transposed(node) ? 1 : 0], &n = w[transposed(node) ? 0 : 1];
  if (!(x[1] == k)) refuse(node, "x ", to_string(x), " does not multiply W ", to_string(w));
  if (inputs.size() > 2 && inputs[2]) expect_shape(node, inputs, 2, DataType::kF32, {n});
  return {x[0], n};
}

Tensor prepare_gemm(const Node& node, RealInputs inputs) {
  if (!inputs[1]->is_constant()) return {};
  const Tensor& w = inputs[1]->constant;
  const bool t = transposed(node);
  const int64_t k = w.dim(t ? 1 : 0), n = w.dim(t ? 0 : 1);
  const int64_t step_k = t ? 1 : n, step_n = t ? k : 1;
  Tensor panels(DataType::kF32, {k * n});
  const float* from = w.data<float>();
  float* to = panels.mutable_data<float>();
  for (int64_t c0 = 0; c0 < n; c0 += kPanel) {
    const int64_t width = std::min(kPanel, n - c0);
    for (int64_t i = 0; i < k; ++i)
      for (int64_t c = c0; c < c0 + width; ++c) *to++ = from[i * step_k + c * step_n];
  }
  return panels;
}

template <class Library>
void run_gemm(const RealCall& call) {
  const float *x = call.inputs[0].data<float>(), *w = call.inputs[1].data<float>();
  const float* panels = call.prepared.defined() ? call.prepared.data<float>() : nullptr;
  const float* bias = call.inputs.size() > 2 && call.inputs[2].defined() ? call.inputs[2].data<float>() : nullptr;
  const bool t = transposed(call.node);
  float* y = call.output.as<float>();
  const int64_t m = call.output.dims[0], n = call.output.dims[1], k = call.inputs[0].dim(1);
  // Rows [r0, r1) and columns [begin, end) of y. The bias goes in first, so that the products add to it.
  const auto block = [&](int64_t r0, int64_t r1, int64_t begin, int64_t end) {
    if (bias)
      for (int64_t r = r0; r < r1; ++r) std::copy(bias + begin, bias + end, y + r * n + begin);
    for (int64_t c = begin; c < end; c += kPanel) {
      const int64_t width = std::min(kPanel, end - c);
      const ConstMatrix weights = panels ? ConstMatrix{panels + c * k, width}
                                  : t    ? ConstMatrix{w + c * k, k}
                                         : ConstMatrix{w + c, n};
      Library::sgemm(r1 - r0, width, k, 1.0f, {x + r0 * k, k}, weights, t && !panels, bias ? 1.0f : 0.0f,
                     {y + r0 * n + c, n});
    }
  };
  if (m >= kRowsWorthAThread * call.pool.threads())
    call.pool.parallel_for(m, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; r += kRowBlock) block(r, std::min(end, r + kRowBlock), 0, n);
    });
  else
    call.pool.parallel_for(n, kPanel, [&](int64_t begin, int64_t end, int) { block(0, m, begin, end); });
}

}  // namespace

std::span<const RealOp> linear_ops() {
  static constexpr RealOp kRows[] = {
      {"Gemm", 2, 3, "transA transB alpha beta", infer_gemm, run_gemm<OneDnn>, prepare_gemm, run_gemm<StatedOrder>},
  };
  return kRows;
}

}  // namespace dyadic

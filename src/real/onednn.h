// What the real dialect takes from oneDNN; StatedOrder (real/stated_order.h) has the same functions. Every function
// runs on the calling thread alone, so that work is split in one place (ThreadPool) and the same split gives the same
// bits.
#pragma once
#include <cstdint>

namespace dyadic {

// A row-major matrix: element (i, j) is data[i * stride + j].
struct ConstMatrix {
  const float* data;
  int64_t stride;
};
struct Matrix {
  float* data;
  int64_t stride;
};

enum class Activation { kGeluErf, kGeluTanh, kTanh, kSigmoid };

struct OneDnn {
  // y [m,n] = alpha * x [m,k] * w + beta * y, where w is [k,n], or [n,k] if `transposed`.
  static void sgemm(int64_t m, int64_t n, int64_t k, float alpha, ConstMatrix x, ConstMatrix w, bool transposed,
                    float beta, Matrix y);
  // y[i] = f(x[i]), absolute error below 1e-6; y may be x.
  static void activate(Activation f, const float* x, float* y, int64_t count);
  // Each row of x [rows, columns] becomes exp(x - max) / sum of these, in place.
  static void softmax_rows(float* x, int64_t rows, int64_t columns);
};

}  // namespace dyadic

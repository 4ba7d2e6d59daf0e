// The functions of OneDnn (real/onednn.h) as plain loops, for float islands: every result is computed in the order
// stated here, from left to right, without contraction. So a row's bits depend on nothing but the row, and on no
// library.
#pragma once
#include "real/onednn.h"

namespace dyadic {

struct StatedOrder {
  // As OneDnn::sgemm; an element is alpha * (x_0 w_0 + x_1 w_1 + ..) + beta * y.
  static void sgemm(int64_t m, int64_t n, int64_t k, float alpha, ConstMatrix x, ConstMatrix w, bool transposed,
                    float beta, Matrix y);
  // erf is 1 - (a_1 t + .. + a_5 t^5) exp(-z^2), t = 1 / (1 + p |z|) (Abramowitz, Stegun, formula 7.1.26); tanh and the
  // logistic function are quotients of exp(-|x|). Absolute error below 1e-6.
  static void activate(Activation f, const float* x, float* y, int64_t count);
  // The sum of a row's exponentials is that of eight partial sums, element i going to i mod 8.
  static void softmax_rows(float* x, int64_t rows, int64_t columns);
};

// e^x for x <= 0, relative error below 2^-22; below e^-87 it stays there. The reduction and the polynomial are those of
// Moshier's Cephes library.
float exp_of_negative(float x);

}  // namespace dyadic

#include "real/stated_order.h"

#include <cmath>
#include <cstring>

#include "base/random.h"
#include "graph/edges.h"
#include "real/island.h"
#include "support.h"

namespace dyadic {
namespace {

float uniform(Random& random, double lo, double hi) {
  return static_cast<float>(lo + (hi - lo) * (random() * 0x1p-32));
}

std::vector<float> uniforms(size_t count, double lo, double hi, uint64_t stream) {
  Random random(test::seed(), stream);
  std::vector<float> values(count);
  for (float& v : values) v = uniform(random, lo, hi);
  return values;
}

TEST(StatedOrder, TheExponentialIsWithinItsBound) {
  double worst = 0;
  for (int i = 0; i <= 1 << 20; ++i) {
    const float x = -87.0f * static_cast<float>(i) / (1 << 20);
    const double exact = std::exp(double{x});
    worst = std::max(worst, std::fabs(exp_of_negative(x) - exact) / exact);
  }
  EXPECT_LT(worst, 0x1p-22);
  EXPECT_EQ(exp_of_negative(0), 1);
  EXPECT_LT(exp_of_negative(-1e30f), 1e-37f);
  EXPECT_TRUE(std::isnan(exp_of_negative(NAN)));
}

TEST(StatedOrder, ActivationsAreWithinTheirBound) {
  const auto exact = [](Activation f, double x) {
    switch (f) {
      case Activation::kGeluErf:
        return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
      case Activation::kGeluTanh:
        return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      case Activation::kTanh:
        return std::tanh(x);
      case Activation::kSigmoid:
        return 1 / (1 + std::exp(-x));
    }
    return 0.0;
  };
  for (Activation f : {Activation::kGeluErf, Activation::kGeluTanh, Activation::kTanh, Activation::kSigmoid})
    for (const double reach : {0.01, 1.0, 8.0, 30.0}) {
      const auto x = uniforms(20001, -reach, reach, 3);
      std::vector<float> y(x.size());
      StatedOrder::activate(f, x.data(), y.data(), static_cast<int64_t>(x.size()));
      for (size_t i = 0; i < x.size(); ++i)
        ASSERT_NEAR(y[i], exact(f, x[i]), 1e-6 + 2e-7 * std::fabs(x[i])) << static_cast<int>(f) << " " << x[i];
    }
}

// One element after the other, as the header states it.
void plain_product(int64_t m, int64_t n, int64_t k, float alpha, const float* x, const float* w, bool transposed,
                   float beta, float* y) {
  for (int64_t r = 0; r < m; ++r)
    for (int64_t c = 0; c < n; ++c) {
      float sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += x[r * k + i] * (transposed ? w[c * k + i] : w[i * n + c]);
      y[r * n + c] = beta == 0 ? alpha * sum : alpha * sum + beta * y[r * n + c];
    }
}

TEST(StatedOrder, ProductsAreSummedFromLeftToRight) {
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{1, 1, 1}, {3, 31, 5}, {2, 32, 7}, {4, 33, 64}, {5, 100, 3}, {1, 4, 0}})
    for (bool transposed : {false, true})
      for (float beta : {0.0f, 1.0f}) {
        const auto x = uniforms(static_cast<size_t>(m * k), -1, 1, 4),
                   w = uniforms(static_cast<size_t>(n * k), -1, 1, 5);
        auto expected = uniforms(static_cast<size_t>(m * n), -1, 1, 6), y = expected;
        plain_product(m, n, k, 0.3f, x.data(), w.data(), transposed, beta, expected.data());
        StatedOrder::sgemm(m, n, k, 0.3f, {x.data(), k}, {w.data(), transposed ? k : n}, transposed, beta,
                           {y.data(), n});
        EXPECT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0) << m << " " << n << " " << k;
      }
}

TEST(StatedOrder, SoftmaxRowsAddUpToOne) {
  for (int64_t columns : {1, 7, 8, 9, 100}) {
    auto x = uniforms(static_cast<size_t>(3 * columns), -20, 20, 7);
    const auto before = x;
    StatedOrder::softmax_rows(x.data(), 3, columns);
    for (int64_t r = 0; r < 3; ++r) {
      double total = 0;
      for (int64_t i = 0; i < columns; ++i) total += std::exp(double{before[r * columns + i]});
      for (int64_t i = 0; i < columns; ++i)
        ASSERT_NEAR(x[r * columns + i], std::exp(double{before[r * columns + i]}) / total, 1e-6);
    }
  }
}

// The edges are exact, although they compute in double: the same as graph/edges.h, which takes floats apart.
TEST(IslandEdges, EqualTheExactOnes) {
  Random random(test::seed(), 8);
  for (int i = 0; i < 300000; ++i) {
    // Every other scale has few bits, so that products and quotients meet the middle of two results often.
    double scale = std::ldexp(1 + random() * 0x1p-32, static_cast<int>(random.below(40)) - 30);
    if (i % 2) scale = std::ldexp(static_cast<double>(1 + random.below(16)), static_cast<int>(random.below(20)) - 10);
    const int64_t zero = static_cast<int64_t>(random.below(256)) - 128;
    const int64_t code = static_cast<int64_t>(random.below(1 << 25)) - (1 << 24);
    const float decoded = real_of(code, scale, zero);
    ASSERT_EQ(std::bit_cast<uint32_t>(decoded), dequantize_float(code, scale, zero)) << code << " " << scale;
    const Interval codes{-32768, 32767};
    const float x = i % 3 ? uniform(random, -40000 * scale, 40000 * scale)
                          : static_cast<float>(scale * (static_cast<double>(random.below(1000)) - 500.5));
    ASSERT_EQ(code_of(x, scale, zero, codes, "x"), *quantize_float(std::bit_cast<uint32_t>(x), scale, zero, codes))
        << x << " " << scale;
  }
  for (const float x : {0.0f, -0.0f, HUGE_VALF, -HUGE_VALF, 1e-40f, 3e38f})
    EXPECT_EQ(code_of(x, 1e-3, 5, {-127, 127}, "x"), *quantize_float(std::bit_cast<uint32_t>(x), 1e-3, 5, {-127, 127}));
  EXPECT_THROW(code_of(NAN, 1, 0, {-127, 127}, "x"), Error);
  for (const double scale : {1e-44, 1e-300, 1e38, 1e300})
    for (const int64_t code : {int64_t{0}, int64_t{3}, int64_t{-7}, (int64_t{1} << 60) + 1})
      EXPECT_EQ(std::bit_cast<uint32_t>(real_of(code, scale, 0)), dequantize_float(code, scale, 0));
}

}  // namespace
}  // namespace dyadic

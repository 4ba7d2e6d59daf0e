#include <cmath>

#include "graph/bodies/testing.h"
#include "methods/methods.h"
#include "quantize/ratio.h"
#include "recipes/toy_graphs.h"

namespace dyadic {
namespace {

const NormPart& norm() { return *registry().norm("integer-layer-norm"); }

struct Row {
  std::vector<double> gamma, beta;
  double scale = 1;
};

// The norm of one row of integers (the identity operand is zero), as codes of one 16-bit output.
std::vector<int64_t> codes(const std::vector<int64_t>& q, const Row& row) {
  const auto n = static_cast<int64_t>(q.size());
  const Body body = add_norm_body(n, {DataType::kI16}, norm().core({}));
  std::vector<double> ratio;
  test::Ints beta;
  for (int64_t c = 0; c < n; ++c) {
    ratio.push_back(row.gamma[c] * norm().unit({}, n) / row.scale * 256);
    beta.push_back(std::llround(row.beta[c] / row.scale * 256));
  }
  const Dyadic sum = encode_ratio(256, "sum");
  const CommonShift m = encode_ratios(ratio, "gamma");
  return test::run(body, {{"sublayer", test::tensor(DataType::kI16, {1, n}, q)},
                          {"identity", test::tensor(DataType::kI16, {1, n}, test::Ints(q.size(), 0))},
                          {"sublayer_m", multiplier_tensor({sum.m})},
                          {"sublayer_s", shift_tensor({sum.s})},
                          {"identity_m", multiplier_tensor({sum.m})},
                          {"identity_s", shift_tensor({sum.s})},
                          {"out0_m", multiplier_tensor(m.m)},
                          {"out0_s", shift_tensor({m.s})},
                          {"out0_beta", test::tensor(DataType::kI32, {n}, beta)}})[0]
      .to_int64();
}

std::vector<double> exact(const std::vector<int64_t>& q, const Row& row) {
  const auto n = static_cast<double>(q.size());
  double mean = 0, variance = 0;
  for (int64_t v : q) mean += static_cast<double>(v) / n;
  for (int64_t v : q) variance += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / n;
  std::vector<double> y;
  for (size_t c = 0; c < q.size(); ++c)
    y.push_back((static_cast<double>(q[c]) - mean) / std::sqrt(variance) * row.gamma[c] + row.beta[c]);
  return y;
}

TEST(IntegerLayerNorm, UnitIsWhatYMeans) {
  EXPECT_EQ(norm().unit({}, 1), 0x1p-20);
  EXPECT_DOUBLE_EQ(norm().unit({}, 384), std::sqrt(384.0) / (1 << 20));
}

TEST(IntegerLayerNorm, IsTheNormOfTheSameIntegersToWithinRounding) {
  Random random(test::seed());
  for (int64_t n : {2, 7, 64, 384})
    for (double deviation : {40.0, 1000.0, 8000.0})
      for (int64_t outlier : {0, 32767}) {
        std::vector<int64_t> q;
        for (int64_t c = 0; c < n; ++c)
          q.push_back(std::clamp<int64_t>(std::lround(deviation * (0.3 + test::normal(random))), -32768, 32767));
        if (outlier) q[0] = outlier;
        Row row{{}, {}, std::sqrt(static_cast<double>(n)) * 2 / 30000};
        for (int64_t c = 0; c < n; ++c) {
          row.gamma.push_back((c % 3 == 1 ? -1 : 1) * (1 + 0.3 * test::normal(random)));
          row.beta.push_back(0.3 * test::normal(random));
        }
        const auto integer = codes(q, row);
        const auto real = exact(q, row);
        for (int64_t c = 0; c < n; ++c)
          EXPECT_NEAR(static_cast<double>(integer[c]) * row.scale, real[c],
                      (0.5 + 0x1p-7) * row.scale + 1e-4 * std::fabs(row.gamma[c]))
              << n << " " << deviation << " " << c;
      }
}

TEST(IntegerLayerNorm, ConstantRowsAndDeadChannelsGiveBeta) {
  const Row row{{1, -1, 0.5, 3}, {0.5, -0.25, 0, 100}, 0.01};
  EXPECT_THAT(codes({7, 7, 7, 7}, row), testing::ElementsAre(50, -25, 0, 10000));
  EXPECT_THAT(codes({-32768, -32768, -32768, -32768}, row), testing::ElementsAre(50, -25, 0, 10000));
  const Row dead{{-6e-33, 4.8e-33, 0, 1}, {0.5, -0.25, 0, 0}, 0.01};
  EXPECT_THAT(codes({5000, -3000, 100, -2100}, dead), testing::ElementsAre(50, -25, 0, testing::_));
}

// The mean over tokens does not see a beta that was rounded to the output's grid for all of them alike.
TEST(IntegerLayerNorm, BetaKeepsItsFraction) {
  Random random(test::seed(), 1);
  constexpr int kTokens = 2000;
  const Row row{{1, 1, 1, 1}, {0.44, -0.31, 0.27, 0.4}, 1};  // a grid as coarse as the values
  std::vector<double> error(4);
  for (int t = 0; t < kTokens; ++t) {
    std::vector<int64_t> q;
    for (int c = 0; c < 4; ++c) q.push_back(std::lround(1000 * test::normal(random)));
    const auto integer = codes(q, row);
    const auto real = exact(q, row);
    for (int c = 0; c < 4; ++c) error[c] += (static_cast<double>(integer[c]) - real[c]) / kTokens;
  }
  for (double e : error) EXPECT_LT(std::fabs(e), 0.05);
}

TEST(IntegerLayerNorm, ImpossibleParametersAreRefused) {
  const auto part = [](int64_t bits) { return Part{"integer-layer-norm", {{"multiplier_bits", bits}}}; };
  EXPECT_EQ(norm().multiplier_bits({}), 31);
  EXPECT_EQ(norm().multiplier_bits(part(10)), 10);
  for (int64_t bits : {-1, 0, 1, 32}) EXPECT_THROW(norm().info.check(part(bits)), Error) << bits;
  const auto sum = [](int64_t bits) { return Part{"integer-layer-norm", {{"sum_bits", bits}}}; };
  EXPECT_EQ(norm().sum_bits({}), 31);
  EXPECT_EQ(norm().sum_bits(sum(15)), 15);
  for (int64_t bits : {-1, 0, 11, 16, 30, 32}) EXPECT_THROW(norm().info.check(sum(bits)), Error) << bits;
  const auto lanes = [](int64_t bits) { return Part{"integer-layer-norm", {{"lane_bits", bits}}}; };
  EXPECT_EQ(norm().lane_bits({}), 32);
  EXPECT_EQ(norm().lane_bits(lanes(16)), 16);
  for (int64_t bits : {-1, 0, 8, 15, 17, 31, 64}) EXPECT_THROW(norm().info.check(lanes(bits)), Error) << bits;
  for (const char* narrow : {"multiplier_bits", "sum_bits"})
    EXPECT_THAT(
        [&] {
          norm().info.check({"integer-layer-norm", {{"lane_bits", int64_t{16}}, {narrow, int64_t{12}}}});
        },
        testing::ThrowsMessage<Error>(testing::HasSubstr("leave multiplier_bits and sum_bits out")));
}

}  // namespace
}  // namespace dyadic

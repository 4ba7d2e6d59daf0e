#include <cmath>

#include "base/status.h"
#include "methods/methods.h"
#include "support.h"

namespace dyadic {
namespace {

Part part(std::map<std::string, Parameter> parameters) { return {"table-softmax", std::move(parameters)}; }
const SoftmaxPart& softmax() { return *registry().softmax("table-softmax"); }

TEST(TableSoftmax, DefaultEntries) {
  const auto e = softmax().table(part({}));
  ASSERT_EQ(e.size(), 256u);
  EXPECT_EQ(softmax().steps_per_unit(part({})), 16);
  const std::pair<int, int> known[] = {{0, 255}, {1, 240}, {2, 225}, {3, 211}, {8, 155}, {16, 94},
                                       {32, 35}, {98, 1},  {99, 1},  {100, 0}, {255, 0}};
  for (const auto& [d, value] : known) EXPECT_EQ(e[d], value) << d;
}

TEST(TableSoftmax, EveryEntryIsTheRoundedExponential) {
  for (int64_t steps : {1, 8, 16, 32, 64})
    for (int64_t one : {3, 127, 255}) {
      const auto e = softmax().table(part({{"steps", steps}, {"one", one}}));
      EXPECT_EQ(e[0], one);
      for (int d = 0; d < 256; ++d) {
        const double exact = static_cast<double>(one) * std::exp(-static_cast<double>(d) / static_cast<double>(steps));
        EXPECT_LE(std::fabs(e[d] - exact), 0.5 + 1e-9) << steps << " " << one << " " << d;
        EXPECT_LE(e[d], e[std::max(d, 1) - 1]);
      }
    }
}

// Weights of the table against exp, for rows of integer distances: what a probability is off by.
TEST(TableSoftmax, ProbabilitiesAreWithinHalfAUnitOfTheSum) {
  const auto e = softmax().table(part({}));
  for (int n : {2, 16, 128, 256}) {
    double table_sum = 0, exact_sum = 0;
    for (int d = 0; d < n; ++d) {
      table_sum += e[d];
      exact_sum += std::exp(-d / 16.0);
    }
    for (int d = 0; d < n; ++d) EXPECT_NEAR(e[d] / table_sum, std::exp(-d / 16.0) / exact_sum, 0.5 / 255) << n;
  }
}

TEST(TableSoftmax, ImpossibleParametersAreRefused) {
  for (int64_t bad : {-1, 0, 65}) EXPECT_THROW(softmax().steps_per_unit(part({{"steps", bad}})), Error);
  for (int64_t bad : {-1, 0, 2, 256}) EXPECT_THROW(softmax().table(part({{"one", bad}})), Error);
  for (int64_t bad : {-1, 1, 32}) EXPECT_THROW(softmax().info.check(part({{"multiplier_bits", bad}})), Error);
  for (const char* key : {"steps", "one"}) {
    EXPECT_THROW(softmax().info.check(part({{key, int64_t{0}}})), Error);
    EXPECT_THROW(softmax().info.check(part({{key, 16.0}})), Error);
  }
}

}  // namespace
}  // namespace dyadic

#include "api/metrics.h"

#include <cmath>
#include <random>

#include "base/status.h"
#include "support.h"

namespace dyadic {
namespace {

using Values = std::vector<double>;
using testing::DoubleEq;
using testing::ElementsAre;
using testing::Pointwise;

double pearson(const Values& x, const Values& y) { return dyadic::pearson(x, y); }
double spearman(const Values& x, const Values& y) { return dyadic::spearman(x, y); }

TEST(Pearson, HandComputed) {
  EXPECT_DOUBLE_EQ(pearson({1, 2, 3}, {2, 4, 6}), 1);
  EXPECT_DOUBLE_EQ(pearson({1, 2, 3}, {3, 2, 1}), -1);
  // Deviations (-1.5, -0.5, 0.5, 1.5) and (-1, 1, -2, 2): products sum to 3, squares to 5 and 10.
  EXPECT_DOUBLE_EQ(pearson({1, 2, 3, 4}, {2, 4, 1, 5}), 3 / std::sqrt(50));
  EXPECT_DOUBLE_EQ(pearson({1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4}, {2, 4, 1, 5}), 3 / std::sqrt(50));  // no cancellation
  EXPECT_TRUE(std::isnan(pearson({1, 1, 1}, {1, 2, 3})));
  EXPECT_TRUE(std::isnan(pearson({1, 2, 3}, {1, 1, 1})));
  EXPECT_TRUE(std::isnan(pearson({0.1, 0.1, 0.1}, {1, 2, 3})));  // whose mean is not 0.1
  EXPECT_TRUE(std::isnan(pearson({1}, {1})));
  EXPECT_TRUE(std::isnan(pearson({}, {})));
  EXPECT_THROW(pearson({1, 2}, {1}), Error);
}

TEST(Spearman, TiesTakeTheAverageRank) {
  EXPECT_THAT(average_ranks(Values{30, 10, 20, 10, 10, 30}), ElementsAre(5.5, 2, 4, 2, 2, 5.5));
  EXPECT_THAT(average_ranks(Values{7}), ElementsAre(1));
  EXPECT_DOUBLE_EQ(spearman({1, 2, 3, 4}, {1, 8, 27, 1000}), 1);  // monotone, not linear
  // Ranks (1, 2.5, 2.5, 4) and (1, 2, 3, 4): products of deviations sum to 4.5, squares to 4.5 and 5.
  EXPECT_DOUBLE_EQ(spearman({1, 2, 2, 3}, {1, 2, 3, 4}), 4.5 / std::sqrt(4.5 * 5));
  // Ranks (1.5, 1.5, 3.5, 3.5, 5) and (4, 1.5, 5, 1.5, 3): products 1.5*(-1+1.5) + 0.5*(2-1.5) + 0 = 1, squares 9
  // and 9.5.
  EXPECT_DOUBLE_EQ(spearman({0, 0, 1, 1, 2}, {5, 2, 9, 2, 4}), 1 / std::sqrt(9 * 9.5));
  EXPECT_TRUE(std::isnan(spearman({2, 2}, {1, 3})));
}

TEST(Spearman, IgnoresOrderAndMonotoneMaps) {
  std::mt19937_64 random(test::seed());
  Values x(200), y(200), cubes(200);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<double>(random() % 50);
    y[i] = x[i] + static_cast<double>(random() % 50);
    cubes[i] = x[i] * x[i] * x[i] - 5;
  }
  EXPECT_DOUBLE_EQ(spearman(x, y), spearman(cubes, y));
  EXPECT_DOUBLE_EQ(spearman(x, y), spearman(y, x));
  double sum = 0;
  for (double rank : average_ranks(x)) sum += rank;
  EXPECT_DOUBLE_EQ(sum, 200 * 201 / 2);
}

TEST(Cosine, HandComputed) {
  EXPECT_DOUBLE_EQ(cosine(Values{1, 2, 2}, Values{2, 1, 2}), 8.0 / 9);
  EXPECT_DOUBLE_EQ(cosine(Values{1, 0}, Values{0, 5}), 0);
  EXPECT_DOUBLE_EQ(cosine(std::vector<float>{3, 4}, std::vector<float>{-3, -4}), -1);
  EXPECT_EQ(cosine(Values{0, 0}, Values{1, 1}), 0);
  EXPECT_EQ(cosine(Values{0, 0}, Values{0, 0}), 0);
  for (const Values& y : {Values{0, 1}, Values{0, 0}}) EXPECT_TRUE(std::isnan(cosine(Values{std::nan(""), 0}, y)));
  EXPECT_THROW(cosine(Values{1}, Values{1, 2}), Error);
  const std::vector<float> rows = {1, 0, 3, 4, 0, 2};
  EXPECT_THAT(cosine_matrix(rows, 3), Pointwise(DoubleEq(), Values{1, 0.6, 0, 0.6, 1, 0.8, 0, 0.8, 1}));
  EXPECT_TRUE(cosine_matrix({}, 0).empty());
  EXPECT_THROW(cosine_matrix(rows, 4), Error);
}

TEST(Summaries, MeanMinimumPercentile) {
  const Values v = {4, 1, 3, 2};
  EXPECT_EQ(mean(v), 2.5);
  EXPECT_EQ(minimum(v), 1);
  EXPECT_EQ(percentile(v, 0), 1);
  EXPECT_EQ(percentile(v, 100), 4);
  EXPECT_DOUBLE_EQ(percentile(v, 50), 2.5);
  EXPECT_DOUBLE_EQ(percentile(v, 10), 1.3);  // position 0.3
  EXPECT_DOUBLE_EQ(percentile(v, 75), 3.25);
  EXPECT_EQ(percentile(Values{7}, 1), 7);
  EXPECT_TRUE(std::isnan(mean({})) && std::isnan(minimum({})) && std::isnan(percentile({}, 50)));
  EXPECT_THROW(percentile(v, 101), Error);
  for (const Values& broken : {Values{std::nan(""), 1, 2}, Values{1, std::nan(""), 2}, Values{1, 2, std::nan("")}}) {
    EXPECT_TRUE(std::isnan(mean(broken)) && std::isnan(minimum(broken)) && std::isnan(percentile(broken, 50)));
    EXPECT_TRUE(std::isnan(spearman(broken, {1, 2, 3})) && std::isnan(pearson({1, 2, 3}, broken)));
  }
}

TEST(RetrievalAgreement, HandComputed) {
  // Nearest in a: 1, 0, 1, 2; in b: 1, 2, 1, 2. The diagonal never counts; rows of b tie and the first wins.
  const Values a = {1, .9, .2, .1, .9, 1, .5, .3, .2, .5, 1, .4, .1, .3, .4, 1};
  const Values b = {1, .9, .9, .1, .6, 1, .7, .7, .2, .5, 1, .5, .1, .3, .4, 1};
  EXPECT_EQ(retrieval_agreement(a, a, 4), 1);
  EXPECT_EQ(retrieval_agreement(a, b, 4), 0.75);
  EXPECT_EQ(retrieval_agreement(Values{1, 0, 0, 1}, Values{0, -1, -1, 0}, 2), 1);
  EXPECT_TRUE(std::isnan(retrieval_agreement(Values{1}, Values{1}, 1)));
  EXPECT_TRUE(std::isnan(retrieval_agreement(Values{1, 0, 0, 1}, Values{1, std::nan(""), 0, 1}, 2)));
  EXPECT_THROW(retrieval_agreement(a, b, 3), Error);
}

}  // namespace
}  // namespace dyadic

#include "api/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "base/status.h"

namespace dyadic {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

bool any_nan(std::span<const double> values) {
  return std::ranges::any_of(values, [](double v) { return std::isnan(v); });
}

// Fewer than two different values. Sums of squares do not tell: a mean that is rounded leaves deviations of equal
// values.
bool constant(std::span<const double> values) {
  return std::ranges::adjacent_find(values, std::not_equal_to()) == values.end();
}

template <class T>
double cosine_of(std::span<const T> x, std::span<const T> y) {
  DYADIC_CHECK(x.size() == y.size(), "cosine of ", x.size(), " and ", y.size(), " values");
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double a = x[i], b = y[i];
    xy += a * b;
    xx += a * a;
    yy += b * b;
  }
  return xx == 0 || yy == 0 ? xy : xy / (std::sqrt(xx) * std::sqrt(yy));
}

size_t nearest_other(std::span<const double> row, size_t self) {
  size_t best = self == 0 ? 1 : 0;
  for (size_t i = best + 1; i < row.size(); ++i)
    if (i != self && row[i] > row[best]) best = i;
  return best;
}

}  // namespace

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double minimum(std::span<const double> values) {
  return values.empty() || any_nan(values) ? kUndefined : std::ranges::min(values);
}

double percentile(std::span<const double> values, double p) {
  DYADIC_CHECK(p >= 0 && p <= 100, "percentile ", p);
  if (values.empty() || any_nan(values)) return kUndefined;
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  const double position = p / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

double pearson(std::span<const double> x, std::span<const double> y) {
  DYADIC_CHECK(x.size() == y.size(), "correlation of ", x.size(), " and ", y.size(), " values");
  if (constant(x) || constant(y)) return kUndefined;
  const double mean_x = mean(x), mean_y = mean(y);
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double a = x[i] - mean_x, b = y[i] - mean_y;
    xy += a * b;
    xx += a * a;
    yy += b * b;
  }
  return std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

std::vector<double> average_ranks(std::span<const double> values) {
  if (any_nan(values)) return std::vector<double>(values.size(), kUndefined);
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = static_cast<double>(begin + 1 + end) / 2;  // the mean of begin + 1 .. end
    for (; begin < end; ++begin) ranks[order[begin]] = rank;
  }
  return ranks;
}

double spearman(std::span<const double> x, std::span<const double> y) {
  return pearson(average_ranks(x), average_ranks(y));
}

double cosine(std::span<const double> x, std::span<const double> y) { return cosine_of(x, y); }
double cosine(std::span<const float> x, std::span<const float> y) { return cosine_of(x, y); }

std::vector<double> cosine_matrix(std::span<const float> rows, size_t n) {
  const size_t size = n == 0 ? 0 : rows.size() / n;
  DYADIC_CHECK(size * n == rows.size(), rows.size(), " values in ", n, " rows");
  std::vector<double> matrix(n * n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j <= i; ++j)
      matrix[i * n + j] = matrix[j * n + i] = cosine(rows.subspan(i * size, size), rows.subspan(j * size, size));
  return matrix;
}

double retrieval_agreement(std::span<const double> a, std::span<const double> b, size_t n) {
  DYADIC_CHECK(a.size() == n * n && b.size() == n * n, "similarities of ", n, " items");
  if (n < 2 || any_nan(a) || any_nan(b)) return kUndefined;
  size_t same = 0;
  for (size_t i = 0; i < n; ++i) same += nearest_other(a.subspan(i * n, n), i) == nearest_other(b.subspan(i * n, n), i);
  return static_cast<double>(same) / static_cast<double>(n);
}

}  // namespace dyadic

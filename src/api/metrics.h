// What evaluations measure, in double precision. Undefined results (stated at each function) are NaN; a NaN among the
// values makes the result NaN too, so that a broken embedding cannot hide behind good ones.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace dyadic {

// Pearson's correlation of x and y, which have the same size. NaN for fewer than two values or if all of x or y are
// equal.
double pearson(std::span<const double> x, std::span<const double> y);

// Spearman's correlation: Pearson's of the ranks. NaN as there.
double spearman(std::span<const double> x, std::span<const double> y);

// Ranks from 1, ascending; equal values share the average of the ranks they take up. All NaN if one
// is.
std::vector<double> average_ranks(std::span<const double> values);

// x.y / (|x| |y|) for vectors of the same size; 0 if one of them is zero, as it then shares no direction.
double cosine(std::span<const double> x, std::span<const double> y);
double cosine(std::span<const float> x, std::span<const float> y);

// The cosine of every row of `rows` [n, size / n] with every other: [n, n], row-major.
std::vector<double> cosine_matrix(std::span<const float> rows, size_t n);

double mean(std::span<const double> values);     // NaN if there are none
double minimum(std::span<const double> values);  // NaN if there are none

// The value at position p / 100 * (n - 1) of the n sorted values, between two of them by linear interpolation; p is
// 0..100. NaN if there are none.
double percentile(std::span<const double> values, double p);

// The share of items 0..n-1 whose nearest other item (the largest entry of its row off the diagonal, the first of equal
// ones) is the same in two similarity matrices [n, n], row-major. NaN if n < 2.
double retrieval_agreement(std::span<const double> a, std::span<const double> b, size_t n);

}  // namespace dyadic

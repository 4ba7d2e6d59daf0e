// Piecewise-linear functions: fitted in real numbers, made integer tables, written as a body. The tables are those of
// NN-LUT (Yu, Park, Park, Kim, Lee, Lee, Choi, DAC 2022, arXiv:2112.02191).
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "graph/interval.h"
#include "graph/model.h"

namespace dyadic::nn_lut {

struct Line {
  double slope = 0, intercept = 0;
};

// lines[k] holds where k knots are <= x. Knots ascend; there is one line more than knots.
struct PiecewiseLinear {
  std::vector<double> knots;
  std::vector<Line> lines;
  double operator()(double x) const;
};

// What a fit keeps exactly, and where it looks: the function is `left` below lo and `right` above hi, for good.
struct Shape {
  double lo = 0, hi = 0;
  Line left, right;
};

// The shapes of ONNX's Gelu, Tanh, Sigmoid and Erf.
const std::map<std::string, Shape>& shapes();

// A continuous function of `entries` lines near f. The outermost are the shape's; a knot lies at 0, where f is kept
// exactly; the other knots begin at equal quantiles of |f''|^(1/2) and move, with their values, to where the largest
// error over [lo, hi] is a local minimum. lo < 0 < hi, entries >= 4.
PiecewiseLinear fit(const std::function<double(double)>& f, const Shape& shape, int entries);

// Integer table over integers x that stand for in_scale * x: slope[k] x + intercept[k], with k thresholds <= x, in
// steps of in_scale * 2^-14.
struct Table {
  std::vector<int64_t> threshold, slope, intercept;
};
inline constexpr int kSlopeBits = 14;

// The table for x in `range`; lines without an integer in it are left out. A slope's rounding error is zero in the
// middle of its segment, or at 0 where the segment ends there. kContract if in_scale is not positive and finite, or so
// small that an intercept does not fit 30 bits.
Table integers(const PiecewiseLinear& f, double in_scale, Interval range);

// x i32[N] in `range` -> y i32[N] = clamp(requantize(slope x + intercept, ratio) + zero, codes): one search, two
// lookups, one multiply-add, one requantization.
Body table_body(const Table& table, Interval range, double ratio, int64_t zero, Interval codes);

}  // namespace dyadic::nn_lut

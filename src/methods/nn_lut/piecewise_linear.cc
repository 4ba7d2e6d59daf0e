#include "methods/nn_lut/piecewise_linear.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/status.h"
#include "graph/builder.h"
#include "quantize/ratio.h"

namespace dyadic::nn_lut {
namespace {

double at(const Line& line, double x) { return line.slope * x + line.intercept; }

// A continuous function by its values at knots.
struct Nodes {
  std::vector<double> x, y;
  double slope(size_t segment) const { return (y[segment + 1] - y[segment]) / (x[segment + 1] - x[segment]); }
};

// Knots at equal quantiles of |f''|^(1/2) over [lo, hi], where segments of equal error end; the one nearest to 0 is
// moved there.
std::vector<double> quantiles(const std::function<double(double)>& f, const Shape& shape, size_t count) {
  constexpr int kCells = 1 << 12;
  constexpr double kStep = 1e-3;
  const double width = (shape.hi - shape.lo) / kCells;
  std::vector<double> mass(kCells + 1, 0);
  for (int i = 0; i < kCells; ++i) {
    const double x = shape.lo + (i + 0.5) * width;
    mass[i + 1] = mass[i] + std::sqrt(std::fabs(f(x - kStep) - 2 * f(x) + f(x + kStep)));
  }
  std::vector<double> knots;
  for (size_t j = 1; j <= count; ++j) {
    const double target = mass.back() * static_cast<double>(j) / static_cast<double>(count + 1);
    const auto i = std::lower_bound(mass.begin() + 1, mass.end(), target) - mass.begin();
    const double inside = (target - mass[i - 1]) / (mass[i] - mass[i - 1]);
    knots.push_back(shape.lo + (static_cast<double>(i - 1) + inside) * width);
  }
  *std::min_element(knots.begin(), knots.end(), [](double a, double b) { return std::fabs(a) < std::fabs(b); }) = 0;
  return knots;
}

// A symmetric positive definite matrix of four bands: row i holds elements (i, i) to (i, i + 3).
using Bands = std::vector<std::array<double, 4>>;

std::vector<double> solve(Bands a, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t i = 0; i < n; ++i)
    for (size_t r = 1; r < 4 && i + r < n; ++r) {
      const double factor = a[i][r] / a[i][0];
      for (size_t c = r; c < 4; ++c) a[i + r][c - r] -= factor * a[i][c];
      b[i + r] -= factor * b[i];
    }
  for (size_t i = n; i-- > 0;) {
    for (size_t c = 1; c < 4 && i + c < n; ++c) b[i] -= a[i][c] * b[i + c];
    b[i] /= a[i][0];
  }
  return b;
}

// Moves knots and values to a least largest error by Lawson's algorithm: weighted least squares, here one damped
// Gauss-Newton step, whose weights are multiplied by the errors it leaves, over and over. Unknowns 2k and 2k + 1 are
// knot k and its value. The outermost nodes stay on the shape's lines, the one at 0 stays where it is.
Nodes minimise_largest_error(const std::function<double(double)>& f, const Shape& shape, Nodes nodes) {
  constexpr int kRounds = 300;
  constexpr size_t kSamples = 65;  // a segment, its ends included
  constexpr double kDamping = 1e-4, kLeastWeight = 1e-9;
  const size_t n = nodes.x.size();
  std::vector<double> weight((n - 1) * kSamples, 1), error(weight.size());
  Nodes best;
  double best_error = HUGE_VAL;
  for (int round = 0; round < kRounds; ++round) {
    const auto share = [](size_t sample) { return static_cast<double>(sample % kSamples) / (kSamples - 1); };
    double largest = 0, heaviest = 0;
    for (size_t i = 0; i < error.size(); ++i) {
      const size_t k = i / kSamples;
      const double t = share(i);
      error[i] = (1 - t) * nodes.y[k] + t * nodes.y[k + 1] - f((1 - t) * nodes.x[k] + t * nodes.x[k + 1]);
      largest = std::max(largest, std::fabs(error[i]));
      heaviest = std::max(heaviest, weight[i] *= std::fabs(error[i]));
    }
    if (largest < best_error) {
      best_error = largest;
      best = nodes;
    }
    if (!(heaviest > 0)) break;
    Bands normal(2 * n, {kLeastWeight * kLeastWeight});
    std::vector<double> right(2 * n, 0);
    for (size_t i = 0; i < error.size(); ++i) {
      weight[i] = std::max(weight[i] / heaviest, kLeastWeight);
      // The error's derivative: a hat function by the value, and minus the slope times the same by the knot.
      const size_t k = i / kSamples;
      const double t = share(i), slope = nodes.slope(k);
      std::array<double, 4> gradient = {-(1 - t) * slope, 1 - t, -t * slope, t};
      if (k == 0) gradient[0] += (1 - t) * shape.left.slope, gradient[1] = 0;
      if (k + 2 == n) gradient[2] += t * shape.right.slope, gradient[3] = 0;
      if (nodes.x[k] == 0) gradient[0] = gradient[1] = 0;
      if (nodes.x[k + 1] == 0) gradient[2] = gradient[3] = 0;
      for (size_t r = 0; r < 4; ++r) {
        for (size_t c = r; c < 4; ++c) normal[2 * k + r][c - r] += weight[i] * gradient[r] * gradient[c];
        right[2 * k + r] -= weight[i] * gradient[r] * error[i];
      }
    }
    for (auto& row : normal) row[0] *= 1 + kDamping;
    const std::vector<double> step = solve(std::move(normal), std::move(right));
    double part = 1;  // of the step, so that no knot comes nearer to its neighbour than half way
    for (size_t k = 0; k + 1 < n; ++k)
      part = std::min(part, (nodes.x[k + 1] - nodes.x[k]) / std::max(2 * (step[2 * k] - step[2 * k + 2]), 1e-300));
    for (size_t k = 0; k < n; ++k) {
      nodes.x[k] += part * step[2 * k];
      nodes.y[k] += part * step[2 * k + 1];
    }
    nodes.y.front() = at(shape.left, nodes.x.front());
    nodes.y.back() = at(shape.right, nodes.x.back());
  }
  return best;
}

}  // namespace

const std::map<std::string, Shape>& shapes() {
  static const auto* const all = new std::map<std::string, Shape>{
      {"Gelu", {-5, 5, {0, 0}, {1, 0}}},
      {"Tanh", {-5, 5, {0, -1}, {0, 1}}},
      {"Sigmoid", {-10, 10, {0, 0}, {0, 1}}},
      {"Erf", {-3.5, 3.5, {0, -1}, {0, 1}}},
  };
  return *all;
}

double PiecewiseLinear::operator()(double x) const {
  return at(lines[std::upper_bound(knots.begin(), knots.end(), x) - knots.begin()], x);
}

PiecewiseLinear fit(const std::function<double(double)>& f, const Shape& shape, int entries) {
  Nodes nodes;
  nodes.x = quantiles(f, shape, static_cast<size_t>(entries - 1));
  for (const double x : nodes.x) nodes.y.push_back(f(x));
  nodes.y.front() = at(shape.left, nodes.x.front());
  nodes.y.back() = at(shape.right, nodes.x.back());
  nodes = minimise_largest_error(f, shape, std::move(nodes));
  PiecewiseLinear result{nodes.x, {shape.left}};
  for (size_t k = 0; k + 1 < nodes.x.size(); ++k) {
    const size_t through = nodes.x[k] == 0 ? k : k + 1;
    result.lines.push_back({nodes.slope(k), nodes.y[through] - nodes.slope(k) * nodes.x[through]});
  }
  result.lines.push_back(shape.right);
  return result;
}

Table integers(const PiecewiseLinear& f, double in_scale, Interval range) {
  if (!(in_scale > 0 && std::isfinite(in_scale)))
    fail(ErrorKind::kContract, "nn-lut: the input's scale must be positive and finite, not ", in_scale);
  const auto lowest = static_cast<double>(range.lo), highest = static_cast<double>(range.hi);
  Table table;
  for (size_t k = 0; k < f.lines.size(); ++k) {
    // The integers of this line: x >= knot is x >= ceil(knot / in_scale).
    const double first = k == 0 ? lowest : std::max(lowest, std::ceil(f.knots[k - 1] / in_scale));
    const double last = k == f.knots.size() ? highest : std::min(highest, std::ceil(f.knots[k] / in_scale) - 1);
    if (first > last) continue;
    const bool touches_zero = (k > 0 && f.knots[k - 1] == 0) || (k < f.knots.size() && f.knots[k] == 0);
    const double middle = touches_zero ? 0 : (first + last) / 2;
    const double slope = std::ldexp(f.lines[k].slope, kSlopeBits);
    const double rounded = std::round(slope);
    const double intercept =
        std::round(std::ldexp(f.lines[k].intercept, kSlopeBits) / in_scale + (slope - rounded) * middle);
    if (!(std::fabs(intercept) < 0x1p30))
      fail(ErrorKind::kContract, "nn-lut: an input scale of ", in_scale, " is too fine for a table in 32 bits");
    if (!table.slope.empty()) table.threshold.push_back(static_cast<int64_t>(first));
    table.slope.push_back(static_cast<int64_t>(rounded));
    table.intercept.push_back(static_cast<int64_t>(intercept));
  }
  return table;
}

Body table_body(const Table& table, Interval range, double ratio, int64_t zero, Interval codes) {
  const auto constant = [](DataType type, const std::vector<int64_t>& values) {
    Tensor t(type, {static_cast<int64_t>(values.size())});
    for (size_t i = 0; i < values.size(); ++i) t.set(static_cast<int64_t>(i), values[i]);
    return t;
  };
  const Dyadic requantize = encode_ratio(ratio, "nn-lut: one step of the output");
  BodyBuilder b("nn_lut");
  const Var x = b.input("x", DataType::kI32, {"N"}, range);
  Var segment = b.scalar(DataType::kU8, 0);
  if (!table.threshold.empty()) segment = b.bucketize(x, b.constant(constant(DataType::kI32, table.threshold)));
  const Var slope = b.lookup(b.constant(constant(DataType::kI16, table.slope)), segment);
  const Var intercept = b.lookup(b.constant(constant(DataType::kI32, table.intercept)), segment);
  const Var line = b.add(b.mul(b.cast(slope, DataType::kI32), x), intercept);
  const Var s = b.scalar(DataType::kU8, requantize.s), m = b.scalar(DataType::kI32, requantize.m);
  const Var code = b.mul_shift(line, m, s, DataType::kI64);
  b.output(b.cast(b.clamp(b.add(code, zero), codes.lo, codes.hi), DataType::kI32), "y");
  return {1, b.build()};
}

}  // namespace dyadic::nn_lut

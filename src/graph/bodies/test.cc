// Each body against plain loops over the same integers, and against its meaning in double within a derived bound.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "base/status.h"
#include "graph/bodies/testing.h"
#include "graph/text.h"
#include "support.h"

namespace dyadic {
namespace {

using test::Inputs;
using test::Ints;
using test::tensor;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr DataType kI8 = DataType::kI8, kU8 = DataType::kU8, kI16 = DataType::kI16, kI32 = DataType::kI32;

// ---------------------------------------------------------------- operands

std::mt19937_64& random_bits() {
  static std::mt19937_64 generator(test::seed());
  return generator;
}
double uniform(double lo, double hi) { return std::uniform_real_distribution<double>(lo, hi)(random_bits()); }
int64_t uniform_integer(int64_t lo, int64_t hi) {
  return std::uniform_int_distribution<int64_t>(lo, hi)(random_bits());
}

// Normal codes of a standard deviation, cut at the type's range (i8: at +-127).
Tensor normal(DataType type, Dims dims, double deviation) {
  std::normal_distribution<double> distribution(0, deviation);
  const Interval range = type == kI8 ? Interval{-127, 127} : range_of(type);
  Tensor t(type, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i)
    t.set(i, std::llround(std::min(std::max(distribution(random_bits()), double(range.lo)), double(range.hi))));
  return t;
}

Tensor filled(DataType type, Dims dims, int64_t value) {
  Tensor t(type, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, value);
  return t;
}

Tensor row(DataType type, const Ints& values) { return tensor(type, {static_cast<int64_t>(values.size())}, values); }

// A ratio as multiplier and shift: the nearest m / 2^s with m in [2^30, 2^31), or 0 below 2^-32.
struct Ratio {
  int64_t m, s;
};
Ratio ratio(double r) {
  if (std::abs(r) < std::ldexp(1, -32)) return {0, 62};
  int e;
  int64_t m = std::llround(std::ldexp(std::frexp(std::abs(r), &e), 31));
  if (m == int64_t{1} << 31) m /= 2, ++e;
  return {r < 0 ? -m : m, 31 - e};
}
// Ratios with one shift, that of the largest.
void set_common(Inputs& in, const std::string& name, const std::vector<double>& ratios) {
  double largest = 0;
  for (double r : ratios) largest = std::max(largest, std::abs(r));
  const int64_t s = ratio(largest).s;
  Ints m;
  for (double r : ratios) m.push_back(static_cast<int64_t>(std::floor(std::ldexp(r, static_cast<int>(s)) + 0.5)));
  in[name + "_m"] = row(kI32, m);
  in[name + "_s"] = row(kU8, {s});
}
void set_one(Inputs& in, const std::string& name, double r) { set_common(in, name, {r}); }
void set_each(Inputs& in, const std::string& m_name, const std::string& s_name, const std::vector<double>& ratios) {
  Ints m, s;
  for (double r : ratios) m.push_back(ratio(r).m), s.push_back(ratio(r).s);
  in[m_name] = row(kI32, m);
  in[s_name] = row(kU8, s);
}

int64_t element(const Inputs& in, const std::string& name, int64_t i) {
  const Tensor& t = in.at(name);
  return t.at(t.count() == 1 ? 0 : i);
}

// ---------------------------------------------------------------- the integers by plain loops

// x * m / 2^s to the nearest integer, ties up, by division.
int64_t scaled(__int128 x, int64_t m, int64_t s) {
  const __int128 divisor = static_cast<__int128>(1) << (s + 1), twice = 2 * x * m + divisor / 2;
  return static_cast<int64_t>(twice / divisor - (twice % divisor < 0));
}

int64_t saturated(int64_t x, DataType type) {
  const Interval range = type == kI8 ? Interval{-127, 127} : range_of(type);
  return std::min(std::max(x, range.lo), range.hi);
}

Ints loop_linear(const Inputs& in, DataType type, bool table) {
  const Tensor &x = in.at("x"), &w = in.at("weight");
  Ints y;
  for (int64_t t = 0; t < x.dim(0); ++t)
    for (int64_t c = 0; c < w.dim(0); ++c) {
      int64_t acc = in.at("bias").at(c);
      for (int64_t k = 0; k < x.dim(1); ++k) acc += x.at(t * x.dim(1) + k) * w.at(c * x.dim(1) + k);
      int64_t z = saturated(scaled(acc, element(in, "m", c), element(in, "s", c)), type);
      if (table) {
        int64_t g = 0;
        while (c >= in.at("ends").at(g)) ++g;
        z = in.at("tables").at(g * 256 + z + 128);
      }
      y.push_back(z);
    }
  return y;
}

// One sequence after the other, unpadded.
Ints loop_attention(const Inputs& in, int64_t heads, int64_t d) {
  const auto at = [&](const char* name, int64_t r, int64_t h, int64_t c) {
    return in.at(name).at((r * heads + h) * d + c);
  };
  Ints y(in.at("q").count());
  for (int64_t j = 0; j < in.at("start").count(); ++j) {
    const int64_t first = in.at("start").at(j), count = in.at("length").at(j);
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t r = first; r < first + count; ++r) {
        Ints score(count), e(count);
        for (int64_t k = 0; k < count; ++k)
          for (int64_t c = 0; c < d; ++c) score[k] += at("q", r, h, c) * at("k", first + k, h, c);
        const int64_t top = *std::max_element(score.begin(), score.end());
        for (int64_t k = 0; k < count; ++k) {
          const int64_t code = scaled(top - score[k], element(in, "distance_m", 0), element(in, "distance_s", 0));
          e[k] = in.at("table").at(std::min<int64_t>(code, 255));
        }
        const int64_t reciprocal = (int64_t{1} << 32) / std::accumulate(e.begin(), e.end(), int64_t{0});
        for (int64_t c = 0; c < d; ++c) {
          int64_t acc = 0;
          for (int64_t k = 0; k < count; ++k) acc += e[k] * at("v", first + k, h, c);
          const int64_t mean = scaled(acc, reciprocal, 16);
          y[(r * heads + h) * d + c] = saturated(scaled(mean, element(in, "out_m", 0), element(in, "out_s", 0)), kI8);
        }
      }
  }
  return y;
}

// floor(sqrt v) by bisection.
int64_t root(__int128 v) {
  int64_t lo = 0, hi = int64_t{1} << 32;
  while (hi - lo > 1) {
    const int64_t mid = lo + (hi - lo) / 2;
    (static_cast<__int128>(mid) * mid <= v ? lo : hi) = mid;
  }
  return lo;
}

// (2^61 - 1) / floor(sqrt(square * 4^e)), square * 4^e in [2^60, 2^62).
std::pair<int64_t, int64_t> loop_reciprocal(int64_t square) {
  if (square == 0) return {INT32_MAX, 30};
  int64_t e = 0;
  __int128 v = square;
  for (; v < (static_cast<__int128>(1) << 60); v *= 4) ++e;
  return {((int64_t{1} << 61) - 1) / root(v), e};
}

struct Moments {
  int64_t mean, reciprocal, e;
  bool constant;
};
Moments loop_moments(const Ints& q) {
  const auto n = static_cast<int64_t>(q.size());
  const int64_t total = std::accumulate(q.begin(), q.end(), int64_t{0});
  const int64_t mean = static_cast<int64_t>(std::floor(static_cast<long double>(512 * total + n) / (2 * n)));
  int64_t square = 0;
  for (int64_t x : q) square += (256 * x - mean) * (256 * x - mean);
  const auto [reciprocal, e] = loop_reciprocal(square);
  return {mean, reciprocal, e, square == 0};
}

// One row of i16 sums -> one row of each output.
std::vector<Ints> loop_norm(const Ints& q, const Inputs& in, const NormOutputs& outputs) {
  const Moments row = loop_moments(q);
  std::vector<Ints> results(outputs.size());
  for (size_t c = 0; c < q.size(); ++c) {
    const int64_t y = row.constant ? 0 : scaled(256 * q[c] - row.mean, row.reciprocal, 41 - row.e);
    for (size_t j = 0; j < outputs.size(); ++j) {
      const std::string name = cat("out", j);
      const int64_t z =
          scaled(y, element(in, name + "_m", c), element(in, name + "_s", c)) + in.at(name + "_beta").at(c);
      results[j].push_back(saturated(scaled(z, 1, 8), outputs[j]));
    }
  }
  return results;
}

// The same in Q15.
std::vector<Ints> loop_q15_norm(const Ints& q, const Inputs& in, const NormOutputs& outputs) {
  const Moments row = loop_moments(q);
  std::vector<Ints> results(outputs.size());
  for (size_t c = 0; c < q.size(); ++c) {
    const int64_t d = scaled((256 * q[c] - row.mean) * (int64_t{1} << row.e), 1, 16);
    const int64_t y = scaled(d, row.reciprocal / 65536, 15);
    for (size_t j = 0; j < outputs.size(); ++j) {
      const std::string name = cat("out", j);
      const int64_t z = scaled(y, element(in, name + "_m", c), 15) + element(in, name + "_beta", c);
      const int64_t shift = element(in, name + "_shift", 0);
      results[j].push_back(saturated(outputs[j] == kI8 ? scaled(z, 1, shift) : z * (1 << shift), outputs[j]));
    }
  }
  return results;
}

using LoopNorm = std::vector<Ints> (*)(const Ints& q, const Inputs& in, const NormOutputs& outputs);

std::vector<Ints> loop_rows(const std::vector<Ints>& sums, const Inputs& in, const NormOutputs& outputs,
                            LoopNorm norm = loop_norm) {
  std::vector<Ints> all(outputs.size());
  for (const Ints& q : sums) {
    const auto one = norm(q, in, outputs);
    for (size_t j = 0; j < one.size(); ++j) all[j].insert(all[j].end(), one[j].begin(), one[j].end());
  }
  return all;
}

std::vector<Ints> loop_add_norm(const Inputs& in, const NormOutputs& outputs) {
  const int64_t n = in.at("identity").dim(1);
  std::vector<Ints> sums(in.at("identity").dim(0), Ints(n));
  for (size_t t = 0; t < sums.size(); ++t)
    for (int64_t c = 0; c < n; ++c) {
      int64_t sum = 0;
      for (const char* name : {"sublayer", "identity"})
        sum += scaled(in.at(name).at(t * n + c), element(in, cat(name, "_m"), 0), element(in, cat(name, "_s"), 0));
      sums[t][c] = saturated(scaled(sum, 1, 8), kI16);
    }
  return loop_rows(sums, in, outputs);
}

std::vector<Ints> loop_q15_add_norm(const Inputs& in, const NormOutputs& outputs) {
  const int64_t n = in.at("identity").dim(1);
  std::vector<Ints> sums(in.at("identity").dim(0), Ints(n));
  for (size_t t = 0; t < sums.size(); ++t)
    for (int64_t c = 0; c < n; ++c)
      for (const char* name : {"sublayer", "identity"})
        sums[t][c] += scaled(in.at(name).at(t * n + c), element(in, cat(name, "_m"), 0), 15);
  return loop_rows(sums, in, outputs, loop_q15_norm);
}

std::vector<Ints> loop_embed_norm(const Inputs& in, int64_t n, const std::vector<TableShape>& tables,
                                  const NormOutputs& outputs, bool q15 = false) {
  std::vector<Ints> sums(in.at(tables[0].name).count(), Ints(n));
  for (size_t t = 0; t < sums.size(); ++t)
    for (int64_t c = 0; c < n; ++c) {
      int64_t sum = 0;
      for (const auto& table : tables) {
        const int64_t i = in.at(table.name).at(t);
        sum += scaled(in.at(table.name + "_codes").at(i * n + c), in.at(table.name + "_m").at(i),
                      in.at(table.name + "_s").at(i));
      }
      const int64_t q = scaled(sum, 1, 8);
      sums[t][c] = q15 ? std::clamp(q, -kLargestQ15Sum, kLargestQ15Sum) : saturated(q, kI16);
    }
  return loop_rows(sums, in, outputs, q15 ? loop_q15_norm : loop_norm);
}

Ints loop_pool(const Inputs& in, bool normalize) {
  const Tensor& x = in.at("x");
  const int64_t n = x.dim(1);
  Ints y;
  for (int64_t j = 0; j < in.at("start").count(); ++j) {
    const int64_t first = in.at("start").at(j), count = in.at("length").at(j);
    Ints mean(n);
    int64_t square = 0;
    for (int64_t c = 0; c < n; ++c) {
      int64_t total = 0;
      for (int64_t r = first; r < first + count; ++r) total += x.at(r * n + c);
      if (count > 0)
        mean[c] = static_cast<int64_t>(std::floor(static_cast<long double>(2 * total + count) / (2 * count)));
      square += mean[c] * mean[c];
    }
    const auto [reciprocal, e] = loop_reciprocal(square);
    for (int64_t m : mean) y.push_back(normalize ? saturated(scaled(m, reciprocal, 46 - e), kI16) : m);
  }
  return y;
}

// ---------------------------------------------------------------- linear

Inputs linear_operands(int64_t n, int64_t k, DataType out, bool common_shift, const Ints& ends) {
  Inputs in = {{"weight", normal(kI8, {n, k}, 50)}, {"bias", Tensor(kI32, {n})}};
  std::vector<double> ratios(n);
  for (int64_t c = 0; c < n; ++c) {
    in["bias"].set(c, uniform_integer(-20000, 20000));
    ratios[c] = (out == kI16 ? 300 : 1) * uniform(0.5, 2) / (40 * std::sqrt(k)) * (c == 0 ? -1 : c == 1 ? 1e-12 : 1);
  }
  if (common_shift) {
    set_common(in, "", ratios);
    in["m"] = in["_m"], in["s"] = in["_s"];
  } else {
    set_each(in, "m", "s", ratios);
  }
  for (int64_t i = 0; i < k; ++i) in["weight"].set(2 * k + i, 127), in["weight"].set(3 * k + i, -127);
  const auto classes = static_cast<int64_t>(ends.size());
  if (classes > 0) {
    in["ends"] = row(kI32, ends);
    in["tables"] = Tensor(kI8, {classes, 256});
    for (int64_t i = 0; i < classes * 256; ++i) in["tables"].set(i, uniform_integer(-127, 127));
  }
  in["x"] = normal(kI8, {12, k}, 50);
  for (int64_t i = 0; i < k; ++i) {  // extreme rows: all high, all low, aligned with a channel
    in["x"].set(i, 127), in["x"].set(k + i, -127);
    in["x"].set(2 * k + i, in["weight"].at(4 * k + i) > 0 ? 127 : -127);
  }
  return in;
}

Ints joined_columns(const std::vector<Tensor>& parts) {
  Ints all;
  for (int64_t t = 0; t < parts[0].dim(0); ++t)
    for (const Tensor& part : parts)
      for (int64_t j = 0; j < part.dim(1); ++j) all.push_back(part.at(t * part.dim(1) + j));
  return all;
}

TEST(Linear, EqualsPlainLoops) {
  struct {
    int64_t n, k;
    DataType out;
    bool common_shift;
    Ints ends;
  } cases[] = {{40, 384, kI8, true, {}},           {24, 1536, kI16, true, {}}, {24, 100, kI16, false, {}},
               {40, 65, kI8, false, {25, 37, 40}}, {5, 1, kI8, false, {}},     {5, 33, kI8, true, {5}},
               {6, 7, kI8, true, {0, 6, 6}}};
  for (const auto& c : cases) {
    const bool table = !c.ends.empty();
    const Body body = linear_body({.in = c.k,
                                   .out = c.n,
                                   .epilogue = test::epilogue(c.out, table),
                                   .splits = {1, c.n - 1},
                                   .shift_per_channel = !c.common_shift,
                                   .classes = static_cast<int64_t>(c.ends.size())});
    const Inputs in = linear_operands(c.n, c.k, c.out, c.common_shift, c.ends);
    EXPECT_EQ(joined_columns(test::run(body, in)), loop_linear(in, c.out, table)) << c.n << " x " << c.k;
  }
}

// The meaning is (x . w + bias) * r, cut at the clamp. One rounding costs at most 1/2 step; m / 2^s differs from r by
// at most 2^-31 of it, which costs at most 2^-31 * 2^15 steps where the result is not cut.
TEST(Linear, StaysWithinItsBound) {
  constexpr double kBound = 0.5 + 0x1p-16;
  for (const DataType out : {kI8, kI16}) {
    Inputs in = linear_operands(30, 200, out, false, {});
    std::vector<double> ratios(30);
    for (auto& r : ratios) r = (out == kI16 ? 300 : 1) * uniform(-2, 2) / (40 * std::sqrt(200));
    set_each(in, "m", "s", ratios);
    const auto y = test::run(
        linear_body(
            {.in = 200, .out = 30, .epilogue = test::epilogue(out, false), .splits = {30}, .shift_per_channel = true}),
        in)[0];
    const double end = out == kI8 ? 127 : 32767, low = out == kI8 ? -127 : -32768;
    for (int64_t t = 0; t < 12; ++t)
      for (int64_t c = 0; c < 30; ++c) {
        double acc = static_cast<double>(in["bias"].at(c));
        for (int64_t k = 0; k < 200; ++k)
          acc += static_cast<double>(in["x"].at(t * 200 + k) * in["weight"].at(c * 200 + k));
        EXPECT_NEAR(static_cast<double>(y.at(t * 30 + c)), std::min(std::max(acc * ratios[c], low), end), kBound);
      }
  }
}

TEST(Linear, TiesGoUpAndEndsSaturate) {
  const auto apply = [](const Ints& x, int64_t weight, int64_t m, int64_t s, DataType out) {
    const Body body = linear_body({.in = 1, .out = 1, .epilogue = test::epilogue(out, false), .splits = {1}});
    return test::run(body, {{"x", tensor(kI8, {static_cast<int64_t>(x.size()), 1}, x)},
                            {"weight", tensor(kI8, {1, 1}, {weight})},
                            {"bias", row(kI32, {0})},
                            {"m", row(kI32, {m})},
                            {"s", row(kU8, {s})}})[0]
        .to_int64();
  };
  EXPECT_EQ(apply({1, -1, 3, -3, 127, -127}, 1, 1 << 30, 31, kI8), (Ints{1, 0, 2, -1, 64, -63}));
  EXPECT_EQ(apply({1, -1, 3, -3, 127, -127}, 1, -(1 << 30), 31, kI8), (Ints{0, 1, -1, 2, -63, 64}));
  EXPECT_EQ(apply({127, -127}, 127, 1 << 30, 30, kI8), (Ints{127, -127}));
  EXPECT_EQ(apply({127, -127}, 127, 1 << 30, 27, kI16), (Ints{32767, -32768}));
}

TEST(Linear, ZeroPointResidualAndClamp) {
  const std::vector<EpilogueStage> stages = {{StageKind::kBias, kI32},
                                             {StageKind::kRequantize, kI8, {-127, 127}, 5},
                                             {StageKind::kAdd, kI16},
                                             {StageKind::kRequantize, kI8, {-100, 127}, -2},
                                             {StageKind::kClamp, kI8, {-4, 90}}};
  const Body body = linear_body({.in = 1, .out = 1, .epilogue = stages, .splits = {1}});
  Inputs in = {{"x", tensor(kI8, {4, 1}, {10, -127, 127, 0})},
               {"residual", tensor(kI8, {4, 1}, {3, 127, 127, 0})},
               {"weight", tensor(kI8, {1, 1}, {1})},
               {"bias", row(kI32, {1})}};
  set_each(in, "m", "s", {1});
  set_each(in, "m2", "s2", {0.5});
  // 10 + 1 + 5 + 3 = 19, halved 9.5 -> 10, less 2; (-127 + 1 + 5 + 127) / 2 - 2 = 1; (127 + 127) / 2 - 2 = 125 -> 90; 3
  // - 2.
  EXPECT_EQ(test::run(body, in)[0].to_int64(), (Ints{8, 1, 90, 1}));
}

TEST(Linear, RefusesWhatDoesNotFit) {
  EXPECT_THAT([] { linear_body({.in = 4, .out = 4, .epilogue = test::epilogue(kI8, false), .splits = {3}}); },
              ThrowsMessage<Error>(HasSubstr("splits of 3")));
  EXPECT_THAT([] { linear_body({.in = 4, .out = 4, .epilogue = test::epilogue(kI8, true), .splits = {4}}); },
              ThrowsMessage<Error>(HasSubstr("class")));
  EXPECT_THAT(
      [] {
        linear_body({.in = 4, .out = 4, .epilogue = {{StageKind::kBias, kI8}}, .splits = {4}});
      },
      ThrowsMessage<Error>(HasSubstr("stage 0")));
  Inputs in = linear_operands(5, 3, kI8, true, {});
  in["x"].set(0, -128);
  EXPECT_THAT(
      [&] { test::run(linear_body({.in = 3, .out = 5, .epilogue = test::epilogue(kI8, false), .splits = {5}}), in); },
      ThrowsMessage<Error>(HasSubstr("input x, element 0: -128 leaves [-127, 127]")));
}

// ---------------------------------------------------------------- attention

// exp(-code / 16), 255 for one.
double exponential(int64_t code) { return std::floor(255 * std::exp(-static_cast<double>(code) / 16) + 0.5); }

struct Packing {
  Ints start, length;
};

// Operands of attention: T rows; `distance` is the ratio of a score to 1/16, `out` that of a value code to an output
// step.
Inputs attention_operands(int64_t T, int64_t width, const Packing& p, double distance, double out,
                          double deviation = 60) {
  Inputs in = {{"start", row(kI32, p.start)}, {"length", row(kI32, p.length)}, {"table", Tensor(kU8, {256})}};
  for (const char* name : {"q", "k", "v"}) in[name] = normal(kI8, {T, width}, deviation);
  for (int64_t i = 0; i < 256; ++i) in["table"].set(i, static_cast<int64_t>(exponential(i)));
  set_one(in, "distance", distance);
  set_one(in, "out", out / 65536);
  return in;
}

Ints attend(const Inputs& in, int64_t heads, int64_t d, int64_t L) {
  return test::run(attention_body(heads, d), in, {{"L", L}})[0].to_int64();
}

constexpr int64_t kHeads = 3, kHeadDim = 8, kWidth = kHeads * kHeadDim;
const Packing kPacking = {{0, 5, 6, 15}, {5, 1, 9, 4}};
constexpr int64_t kRowCount = 19;
double usual_distance() { return 16 * uniform(0.5, 2) / (900 * std::sqrt(kHeadDim)); }

TEST(Attention, EqualsPlainLoops) {
  const Inputs base = attention_operands(kRowCount, kWidth, kPacking, usual_distance(), uniform(0.8, 1.6));
  const Ints y = attend(base, kHeads, kHeadDim, 9);
  EXPECT_EQ(y, loop_attention(base, kHeads, kHeadDim));
  for (int64_t L : {10, 16}) EXPECT_EQ(attend(base, kHeads, kHeadDim, L), y) << "the bound of the lengths is " << L;
  const int64_t extremes[][3] = {{127, 127, 127}, {127, -127, 127}, {1, 1, -127}, {0, 0, 0}};
  for (const auto& fill : extremes) {
    Inputs in = base;
    for (int i = 0; i < 3; ++i) in[std::string(1, "qkv"[i])] = filled(kI8, {kRowCount, kWidth}, fill[i]);
    EXPECT_EQ(attend(in, kHeads, kHeadDim, 9), loop_attention(in, kHeads, kHeadDim)) << fill[0] << fill[1] << fill[2];
  }
  for (int j = 0; j < 3; ++j) {  // signs times 127: the largest distances
    Inputs in = attention_operands(kRowCount, kWidth, kPacking, std::ldexp(1, -4 * j), 1);
    for (const char* name : {"q", "k", "v"})
      for (int64_t i = 0; i < in[name].count(); ++i) in[name].set(i, uniform_integer(0, 1) ? 127 : -127);
    EXPECT_EQ(attend(in, kHeads, kHeadDim, 9), loop_attention(in, kHeads, kHeadDim)) << j;
  }
}

// Rows [to, to + count) of b = rows [from, from + count) of a.
void copy_rows(const Tensor& a, int64_t from, Tensor& b, int64_t to, int64_t count) {
  const int64_t width = a.dim(1);
  for (int64_t i = 0; i < count * width; ++i) b.set(to * width + i, a.at(from * width + i));
}

TEST(Attention, RowsOutsideASequenceNeitherMatterNorResult) {
  const Inputs base = attention_operands(kRowCount, kWidth, kPacking, usual_distance(), 1.2);
  const Ints y = attend(base, kHeads, kHeadDim, 9);
  const Packing wide = {{3, 11, 14, 30}, kPacking.length};
  for (const int64_t fill : {-127, 0, 127, 1000}) {  // 1000: random
    Inputs in = attention_operands(40, kWidth, wide, 1, 1, 90);
    for (const char* name : {"table", "distance_m", "distance_s", "out_m", "out_s"}) in[name] = base.at(name);
    for (const char* name : {"q", "k", "v"}) {
      if (fill != 1000) in[name] = filled(kI8, {40, kWidth}, fill);
      for (int j = 0; j < 4; ++j) copy_rows(base.at(name), kPacking.start[j], in[name], wide.start[j], wide.length[j]);
    }
    const Ints got = attend(in, kHeads, kHeadDim, 12);
    Ints want(40 * kWidth);
    for (int j = 0; j < 4; ++j)
      std::copy_n(y.begin() + kPacking.start[j] * kWidth, wide.length[j] * kWidth,
                  want.begin() + wide.start[j] * kWidth);
    EXPECT_EQ(got, want) << fill;
  }
}

TEST(Attention, OrderOfSequencesDoesNotMatter) {
  const Inputs base = attention_operands(kRowCount, kWidth, kPacking, usual_distance(), 1.2);
  const Ints y = attend(base, kHeads, kHeadDim, 9);
  for (const auto& order : {std::vector<int>{2, 0, 3, 1}, {3, 2, 1, 0}}) {
    Ints from, length, to, want(y.size());
    for (int64_t next = 0; int j : order) {
      from.push_back(kPacking.start[j]);
      length.push_back(kPacking.length[j]);
      to.push_back(next);
      std::copy_n(y.begin() + from.back() * kWidth, length.back() * kWidth, want.begin() + next * kWidth);
      next += length.back();
    }
    Inputs listed = base, moved = base;  // the list permuted; the rows permuted as well
    listed["start"] = row(kI32, from), listed["length"] = row(kI32, length);
    moved["start"] = row(kI32, to), moved["length"] = row(kI32, length);
    for (const char* name : {"q", "k", "v"}) {
      moved[name] = Tensor(kI8, {kRowCount, kWidth});
      for (int j = 0; j < 4; ++j) copy_rows(base.at(name), from[j], moved[name], to[j], length[j]);
    }
    EXPECT_EQ(attend(listed, kHeads, kHeadDim, 9), y);
    EXPECT_EQ(attend(moved, kHeads, kHeadDim, 9), want);
  }
}

TEST(Attention, EmptySequences) {
  const Inputs base = attention_operands(kRowCount, kWidth, kPacking, usual_distance(), 1.2);
  Ints want = attend(base, kHeads, kHeadDim, 9);
  std::fill(want.begin() + 5 * kWidth, want.begin() + 15 * kWidth, 0);
  Inputs in = base;
  in["length"] = row(kI32, {5, 0, 0, 4});
  EXPECT_EQ(attend(in, kHeads, kHeadDim, 9), want);
  in["length"] = row(kI32, {0, 0, 0, 0});
  EXPECT_EQ(attend(in, kHeads, kHeadDim, 9), Ints(want.size()));
}

TEST(Attention, LongEqualRowsStayInTheHull) {
  for (const int64_t v : {127, -127}) {
    Inputs in = attention_operands(600, 1, {{0}, {600}}, 1, 1), seen = {{"mean", {}}};
    in["q"] = in["k"] = filled(kI8, {600, 1}, 0);
    in["v"] = filled(kI8, {600, 1}, v);
    const auto y = test::run(attention_body(1, 1), in, {{"L", 600}}, &seen)[0];
    EXPECT_EQ(y.at(0), v);
    EXPECT_LE(std::abs(seen["mean"].at(0)), 127 << 16);
    EXPECT_NEAR(static_cast<double>(seen["mean"].at(0)), static_cast<double>(v << 16), 400);
  }
}

// The meaning is sum w_j v_j / sum w_j with w_j = exp(-(distance of score j)), in output steps.
// A code is a distance within 1/2 of a sixteenth, so e_j = 255 w_j exp(+-1/32) +- 1/2; the cut at 255 costs less, for
// exp(-255/16) * 255 < 1/2. With a_j = 255 w_j, A = sum a_j and E = sum e_j >= 255:
//   |sum e v / E - sum a v / A| = |sum (e_j - a_j) (v_j - mean)| / E <= spread * (A (exp(1/32) - 1) + n / 2) / E,
// spread the largest |v_j - mean|. The reciprocal and the mean's rounding cost less than 2^-15 of a value code; the
// output's rounding 1/2 step.
constexpr double kRelative = 0.0317435, kAbsolute = 0.5, kFixed = 0x1p-14;

TEST(Attention, StaysWithinItsBound) {
  const double distance = usual_distance(), out = uniform(0.8, 1.6);
  const Inputs in = attention_operands(kRowCount, kWidth, kPacking, distance, out);
  const Ints y = attend(in, kHeads, kHeadDim, 9);
  const auto at = [&](const char* name, int64_t r, int64_t h, int64_t c) {
    return static_cast<double>(in.at(name).at((r * kHeads + h) * kHeadDim + c));
  };
  for (int j = 0; j < 4; ++j)
    for (int64_t h = 0; h < kHeads; ++h)
      for (int64_t r = kPacking.start[j]; r < kPacking.start[j] + kPacking.length[j]; ++r) {
        const int64_t count = kPacking.length[j], first = kPacking.start[j];
        std::vector<double> score(count), a(count);
        for (int64_t k = 0; k < count; ++k)
          for (int64_t c = 0; c < kHeadDim; ++c) score[k] += at("q", r, h, c) * at("k", first + k, h, c);
        const double top = *std::max_element(score.begin(), score.end());
        double total = 0;
        for (int64_t k = 0; k < count; ++k) total += a[k] = 255 * std::exp((score[k] - top) * distance / 16);
        for (int64_t c = 0; c < kHeadDim; ++c) {
          double mean = 0, spread = 0;
          for (int64_t k = 0; k < count; ++k) mean += a[k] * at("v", first + k, h, c) / total;
          for (int64_t k = 0; k < count; ++k) spread = std::max(spread, std::abs(at("v", first + k, h, c) - mean));
          const double least_sum = std::max(255.0, total * (1 - kRelative) - kAbsolute * static_cast<double>(count));
          const double bound =
              0.5 + out * (kFixed + spread * (total * kRelative + kAbsolute * static_cast<double>(count)) / least_sum);
          const double want = std::min(std::max(mean * out, -127.0), 127.0);
          EXPECT_NEAR(static_cast<double>(y[(r * kHeads + h) * kHeadDim + c]), want, bound);
        }
      }
}

// ---------------------------------------------------------------- layer norms

const NormOutputs kOutputs = {kI8, kI16};

struct NormReal {
  std::vector<double> gain[2], beta[2];  // of a layer norm of unit variance, in output steps
};

// Gains with a dead and a negative channel.
NormReal set_norm(Inputs& in, int64_t n) {
  NormReal real;
  for (int j : {0, 1}) {
    std::vector<double> ratios(n);
    Ints beta(n);
    for (int64_t c = 0; c < n; ++c) {
      const double step = j == 0 ? 0.03 * std::exp(uniform(-0.6, 0.6)) : 2e-4;
      double gamma = uniform(0.4, 1.6);
      if (c == 0) gamma = 1e-33;
      if (c == 1) gamma = -gamma;
      const double shift = uniform(-0.4, 0.4);
      real.gain[j].push_back(gamma / step);
      real.beta[j].push_back(shift / step);
      ratios[c] = gamma / step * std::sqrt(n) / (1 << 20) * 256;
      beta[c] = static_cast<int64_t>(std::floor(shift / step * 256 + 0.5));
    }
    set_common(in, cat("out", j), ratios);
    in[cat("out", j, "_beta")] = row(kI32, beta);
  }
  return real;
}

// Rows on which a layer norm is most likely to break; [1, -1, ..] of 16 reaches the largest reciprocal.
std::vector<Ints> hard_rows(int64_t n) {
  const auto one = [n](int64_t v, int64_t rest = 0) {
    Ints r(n, rest);
    r[0] = v;
    return r;
  };
  std::vector<Ints> rows = {Ints(n, 0), Ints(n, 32767),     Ints(n, -32768),    one(32767),        one(-32768), one(1),
                            one(-1),    one(32767, -32768), one(-32768, 32767), one(32767, 32766), one(8, 7)};
  Ints ramp(n), signs(n), ends(n), halves(n);
  for (int64_t i = 0; i < n; ++i) {
    ramp[i] = i, signs[i] = i % 2 ? -1 : 1, ends[i] = i % 2 ? -32768 : 32767, halves[i] = i < n / 2 ? 32767 : -32768;
  }
  rows.insert(rows.end(), {ramp, signs, ends, halves});
  return rows;
}

Tensor stacked(const std::vector<Ints>& rows) {
  Ints all;
  for (const Ints& r : rows) all.insert(all.end(), r.begin(), r.end());
  return tensor(kI16, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size())}, all);
}

TEST(AddNorm, EqualsPlainLoops) {
  for (const int64_t n : {2, 3, 16, 384, 1024}) {
    const auto hard = hard_rows(n);
    const std::vector<Ints> zero(hard.size(), Ints(n));
    auto x = hard, z = zero;
    x.insert(x.end(), zero.begin(), zero.end()), z.insert(z.end(), hard.begin(), hard.end());
    x.insert(x.end(), hard.begin(), hard.end()), z.insert(z.end(), hard.rbegin(), hard.rend());
    for (const double deviation : {0.5, 3.0, 100.0, 6000.0, 40000.0})
      for (int copies = 0; copies < 2; ++copies) {
        x.push_back(normal(kI16, {n}, deviation).to_int64());
        z.push_back(normal(kI16, {n}, 20000 / deviation).to_int64());
      }
    Inputs in = {{"sublayer", stacked(x)}, {"identity", stacked(z)}};
    set_norm(in, n);
    for (const bool unit : {false, true}) {
      set_one(in, "sublayer", unit ? 256 : 256 * uniform(0.3, 1.1));
      set_one(in, "identity", unit ? 256 : 256 * uniform(0.2, 0.9));
      const auto got = test::run(add_norm_body(n, kOutputs), in);
      const auto want = loop_add_norm(in, kOutputs);
      for (size_t j = 0; j < want.size(); ++j) EXPECT_EQ(got[j].to_int64(), want[j]) << "n " << n << " output " << j;
    }
  }
}

TEST(AddNorm, ConstantRowsGiveBeta) {
  for (const int64_t n : {1, 7}) {
    Inputs in = {{"sublayer", filled(kI16, {2, n}, 1234)}, {"identity", filled(kI16, {2, n}, -32768)}};
    set_one(in, "sublayer", 256), set_one(in, "identity", 256);
    in["out0_m"] = filled(kI32, {n}, INT32_MAX), in["out0_s"] = row(kU8, {20});
    in["out0_beta"] = filled(kI32, {n}, 384);
    EXPECT_EQ(test::run(add_norm_body(n, {kI8}), in)[0].to_int64(), Ints(2 * n, 2));  // 1.5 rounds up
  }
}

TEST(AddNorm, TheSumIsRoundedOnce) {
  Inputs in = {{"sublayer", tensor(kI16, {1, 4}, {1, 1, -1, 0})}, {"identity", tensor(kI16, {1, 4}, {1, -1, -1, 2})}},
         seen = {{"sum", {}}};
  set_one(in, "sublayer", 128), set_one(in, "identity", 64);
  set_norm(in, 4);
  test::run(add_norm_body(4, kOutputs), in, {}, &seen);  // 0.75, 0.25, -0.75, 0.5
  EXPECT_EQ(seen["sum"].to_int64(), (Ints{1, 0, -1, 1}));
}

// The meaning is gain * layer_norm(s) + beta of the real sum s, in output steps. Let q = s + (errors of at most
// `round`) be the rounded sum, sigma the deviation of s and |norm| an element of the layer norm of q. Then centring at
// most doubles an element's error, the deviation changes by at most `round`, hence
//   |layer norm of q - of s| <= round * (2 + |norm|) / sigma.
// From q on: the mean's 8 fraction bits add 2^-9 to `round`; y is rounded to sqrt(n) / 2^21; root and reciprocal cost
// 2^-29 of the norm, the multiplier half a unit of its common shift, 2^-31 of the largest gain. Requantization, beta
// and the output round by 1/512, 1/512 and 1/2.
double norm_bound(double gain, double largest_gain, double norm, double round, double sigma, double root_n) {
  round += 0x1p-9;
  return gain * (round * (2 + norm) / sigma + root_n * 0x1p-21 + norm * 0x1p-29) + largest_gain * norm * 0x1p-31 + 0.5 +
         2.0 / 512;
}

// bound(|gain|, largest |gain|, |norm|, round, sigma, output)
template <class Bound>
void expect_norm(const std::vector<double>& s, const NormReal& real, const std::vector<Tensor>& got, int64_t t,
                 double round, const Bound& bound) {
  const auto n = static_cast<int64_t>(s.size());
  const double mean = std::accumulate(s.begin(), s.end(), 0.0) / static_cast<double>(n);
  double square = 0;
  for (double v : s) square += (v - mean) * (v - mean);
  const double sigma = std::sqrt(square / static_cast<double>(n));
  for (int j : {0, 1}) {
    double largest = 0;
    for (double g : real.gain[j]) largest = std::max(largest, std::abs(g));
    for (int64_t c = 0; c < n; ++c) {
      const double norm = (s[c] - mean) / sigma, end = j == 0 ? 127 : 32767, low = j == 0 ? -127 : -32768;
      const double want = std::min(std::max(real.gain[j][c] * norm + real.beta[j][c], low), end);
      const double slack = std::abs(norm) + round * 3 / sigma;  // |norm| of q
      EXPECT_NEAR(static_cast<double>(got[j].at(t * n + c)), want,
                  bound(std::abs(real.gain[j][c]), largest, slack, round, sigma, j));
    }
  }
}

void expect_norm(const std::vector<double>& s, const NormReal& real, const std::vector<Tensor>& got, int64_t t,
                 double round) {
  const double root_n = std::sqrt(static_cast<double>(s.size()));
  expect_norm(s, real, got, t, round, [&](double gain, double largest, double norm, double errors, double sigma, int) {
    return norm_bound(gain, largest, norm, errors, sigma, root_n);
  });
}

TEST(AddNorm, StaysWithinItsBound) {
  // The sum is rounded to 1/2 after two terms with 8 more bits; multipliers differ by 2^-31 of at most 2^15.
  constexpr double kSumRound = 0.5 + 2 * 0x1p-9 + 2 * 0x1p-16;
  for (const int64_t n : {2, 16, 384})
    for (const double deviation : {40.0, 1000.0, 6000.0}) {
      const double a = uniform(0.3, 1.1), b = uniform(0.2, 0.9);
      Inputs in = {{"sublayer", normal(kI16, {5, n}, deviation)}, {"identity", normal(kI16, {5, n}, deviation)}};
      const NormReal real = set_norm(in, n);
      set_one(in, "sublayer", 256 * a), set_one(in, "identity", 256 * b);
      const auto got = test::run(add_norm_body(n, kOutputs), in);
      for (int64_t t = 0; t < 5; ++t) {
        std::vector<double> s(n);
        for (int64_t c = 0; c < n; ++c)
          s[c] = a * static_cast<double>(in["sublayer"].at(t * n + c)) +
                 b * static_cast<double>(in["identity"].at(t * n + c));
        expect_norm(s, real, got, t, kSumRound);
      }
    }
}

TEST(EmbedNorm, EqualsPlainLoopsAndStaysWithinItsBound) {
  constexpr double kSumRound = 0.5 + 3 * 0x1p-9 + 3 * 0x1p-16;
  for (const int64_t n : {2, 16, 384}) {
    const std::vector<TableShape> tables = {{"token", 40}, {"position", 12}, {"type", 2}};
    Inputs in;
    std::vector<std::vector<double>> ratios;
    for (const auto& table : tables) {
      in[table.name] = Tensor(kI32, {23});
      for (int64_t t = 0; t < 23; ++t) in[table.name].set(t, uniform_integer(0, table.rows - 1));
      in[table.name + "_codes"] = normal(kI8, {table.rows, n}, 50);
      ratios.emplace_back(table.rows);
      for (double& r : ratios.back()) r = uniform(0.3, 2) * (table.name == "token" ? 60 : 10);
      if (table.name == "token") ratios.back()[0] = 0;  // a row of zeros
      std::vector<double> fine = ratios.back();
      for (double& r : fine) r *= 256;
      set_each(in, table.name + "_m", table.name + "_s", fine);
    }
    in["token"].set(0, 0), in["position"].set(0, 11), in["type"].set(0, 1);
    const NormReal real = set_norm(in, n);
    const auto got = test::run(embed_norm_body(n, tables, kOutputs), in);
    const auto want = loop_embed_norm(in, n, tables, kOutputs);
    for (size_t j = 0; j < want.size(); ++j) EXPECT_EQ(got[j].to_int64(), want[j]) << "n " << n << " output " << j;
    for (int64_t t = 0; t < 23; ++t) {
      std::vector<double> s(n);
      for (int64_t c = 0; c < n; ++c)
        for (size_t i = 0; i < tables.size(); ++i) {
          const int64_t id = in[tables[i].name].at(t);
          s[c] += ratios[i][id] * static_cast<double>(in[tables[i].name + "_codes"].at(id * n + c));
        }
      expect_norm(s, real, got, t, kSumRound);
    }
    in["token"].set(3, 40);
    EXPECT_THAT([&] { test::run(embed_norm_body(n, tables, kOutputs), in); },
                ThrowsMessage<Error>(HasSubstr("input token, element 3: 40 leaves [0, 39]")));
  }
}

// ---- in Q15

// As set_norm, with as many fraction bits of the i8 output as leave its words room, and an i16 output in steps of 4.
constexpr int kQ15Fraction = 4, kQ15Left = 2;

NormReal set_q15_norm(Inputs& in, int64_t n) {
  NormReal real;
  for (int j : {0, 1}) {
    Ints m(n), beta(n);
    const int fraction = j == 0 ? kQ15Fraction : -kQ15Left;
    // Codes per unit: |gain| * 2 sqrt(n) * 2^fraction is at most 2^15.
    const double largest = std::ldexp(16000 / std::sqrt(static_cast<double>(n)), -fraction);
    for (int64_t c = 0; c < n; ++c) {
      const double gain = c == 0 ? 1e-33 : largest * uniform(0.1, 1) * (c == 1 ? -1 : 1);
      const double offset = std::ldexp(uniform(-9000, 9000), -fraction);
      real.gain[j].push_back(gain);
      real.beta[j].push_back(offset);
      m[c] = std::llround(std::ldexp(gain * 2 * std::sqrt(static_cast<double>(n)), fraction));
      beta[c] = std::llround(std::ldexp(offset, fraction));
    }
    const std::string name = cat("out", j);
    in[name + "_m"] = row(kI16, m), in[name + "_beta"] = row(kI16, beta);
    in[name + "_shift"] = row(kU8, {std::abs(fraction)});
  }
  return real;
}

void set_q15_sum(Inputs& in, int64_t sublayer, int64_t identity) {
  in["sublayer_m"] = row(kI16, {sublayer}), in["identity_m"] = row(kI16, {identity});
}

TEST(Q15AddNorm, EqualsPlainLoops) {
  for (const int64_t n : {1, 2, 3, 16, 384, 1024}) {
    const auto hard = hard_rows(n);
    auto x = hard, z = std::vector<Ints>(hard.rbegin(), hard.rend());
    for (const double deviation : {0.5, 3.0, 100.0, 6000.0, 40000.0})
      for (int copies = 0; copies < 2; ++copies) {
        x.push_back(normal(kI16, {n}, deviation).to_int64());
        z.push_back(normal(kI16, {n}, 20000 / deviation).to_int64());
      }
    Inputs in = {{"sublayer", stacked(x)}, {"identity", stacked(z)}};
    set_q15_norm(in, n);
    for (const auto& [a, b] : {std::pair<int64_t, int64_t>{kLargestQ15Sum, 0},
                               {0, -kLargestQ15Sum},
                               {9000, 7256},
                               {-5000, 11000},
                               {1, 1},
                               {32767, 32767}}) {
      set_q15_sum(in, a, b);
      const auto got = test::run(q15_add_norm_body(n, kOutputs), in);
      const auto want = loop_q15_add_norm(in, kOutputs);
      for (size_t j = 0; j < want.size(); ++j) EXPECT_EQ(got[j].to_int64(), want[j]) << "n " << n << " output " << j;
    }
  }
}

// Rows that come closest to |d| = |row|: one element alone, beside which the mean hardly moves. The evaluator checks
// that a shifted deviation stays below 2^31 - 2^15.
TEST(Q15AddNorm, OneElementAloneStaysBelowItsRow) {
  constexpr int64_t n = 16384;
  std::vector<Ints> rows;
  for (int64_t v : {1, 31, 32, 33, 63, 64, 127, 128, 255, 256, 511, 1023, 4095, 16255, 16256})
    for (int64_t sign : {1, -1}) {
      rows.emplace_back(n)[7] = sign * v;
    }
  for (Ints& r : rows)
    for (int64_t& v : r) v *= 2;
  Inputs in = {{"sublayer", stacked(rows)}, {"identity", filled(kI16, {static_cast<int64_t>(rows.size()), n}, 0)}};
  set_q15_norm(in, n);
  set_q15_sum(in, 1 << 14, 0);
  const auto got = test::run(q15_add_norm_body(n, kOutputs), in);
  const auto want = loop_q15_add_norm(in, kOutputs);
  for (size_t j = 0; j < want.size(); ++j) EXPECT_EQ(got[j].to_int64(), want[j]);
}

// As norm_bound. y is off by less than two units of sqrt(n) / 2^14: it and the deviation are rounded, and a reciprocal
// of 15 bits is rounded down. Product and beta are rounded to the fraction, and half a unit of a multiplier is a
// quarter of it at the largest y.
double q15_bound(double gain, double norm, double round, double sigma, double root_n, int j) {
  round += 0x1p-9;
  const double rounding = j == 0 ? 0.5 + std::ldexp(1.25, -kQ15Fraction) : std::ldexp(1.25, kQ15Left);
  return gain * (round * (2 + norm) / sigma + 2 * root_n * 0x1p-14) + rounding;
}

TEST(Q15AddNorm, StaysWithinItsBound) {
  for (const int64_t n : {2, 16, 384})
    for (const double deviation : {400.0, 1000.0, 6000.0}) {
      const int64_t a = uniform_integer(3000, 8000), b = uniform_integer(3000, 8000);
      Inputs in = {{"sublayer", normal(kI16, {5, n}, deviation)}, {"identity", normal(kI16, {5, n}, deviation)}};
      const NormReal real = set_q15_norm(in, n);
      set_q15_sum(in, a, b);
      const auto got = test::run(q15_add_norm_body(n, kOutputs), in);
      for (int64_t t = 0; t < 5; ++t) {
        std::vector<double> s(n);
        for (int64_t c = 0; c < n; ++c)
          s[c] =
              std::ldexp(static_cast<double>(a * in["sublayer"].at(t * n + c) + b * in["identity"].at(t * n + c)), -15);
        expect_norm(s, real, got, t, 1, [&](double gain, double, double norm, double round, double sigma, int j) {
          return q15_bound(gain, norm, round, sigma, std::sqrt(n), j);
        });
      }
    }
}

TEST(Q15EmbedNorm, EqualsPlainLoopsAndClampsItsSums) {
  const std::vector<TableShape> tables = {{"token", 4}, {"position", 2}};
  for (const int64_t n : {2, 16, 384}) {
    Inputs in = {{"token", row(kI32, {0, 1, 2, 3, 0})}, {"position", row(kI32, {0, 1, 0, 1, 1})}};
    std::vector<double> ratios[] = {{120000, 9000, 0, 100}, {900, 3}};  // the first: sums beyond a word
    for (size_t i = 0; i < tables.size(); ++i) {
      in[tables[i].name + "_codes"] = normal(kI8, {tables[i].rows, n}, 50);
      set_each(in, tables[i].name + "_m", tables[i].name + "_s", ratios[i]);
    }
    set_q15_norm(in, n);
    Inputs seen = {{"sum", {}}};
    const auto got = test::run(q15_embed_norm_body(n, tables, kOutputs), in, {}, &seen);
    const auto want = loop_embed_norm(in, n, tables, kOutputs, true);
    for (size_t j = 0; j < want.size(); ++j) EXPECT_EQ(got[j].to_int64(), want[j]) << "n " << n << " output " << j;
    if (n < 384) continue;
    EXPECT_THAT(seen["sum"].to_int64(), testing::Contains(kLargestQ15Sum));
    EXPECT_THAT(seen["sum"].to_int64(), testing::Contains(-kLargestQ15Sum));
  }
}

TEST(LayerNorm, RefusesRowsThatMayOverflow) {
  EXPECT_THAT([] { add_norm_body(16385, kOutputs); }, ThrowsMessage<Error>(HasSubstr("1 to 16384")));
  EXPECT_THAT([] { embed_norm_body(0, {{"token", 4}}, kOutputs); }, ThrowsMessage<Error>(HasSubstr("1 to 16384")));
  EXPECT_THAT([] { embed_norm_body(4, {}, kOutputs); }, ThrowsMessage<Error>(HasSubstr("no table")));
  EXPECT_THAT([] { q15_add_norm_body(16385, kOutputs); }, ThrowsMessage<Error>(HasSubstr("1 to 16384")));
  EXPECT_THAT([] { q15_embed_norm_body(4, {}, kOutputs); }, ThrowsMessage<Error>(HasSubstr("no table")));
}

// ---------------------------------------------------------------- pool

// Mean: at most 1/2 step. Unit vector of the mean m: an error of 1/2 in each of n elements turns it by at most
// (1/2 + |u| sqrt(n) / 2) / |m|; then 1/2 step for rounding and 2^-15 of one for root and reciprocal.
TEST(Pool, EqualsPlainLoopsAndStaysWithinItsBound) {
  struct {
    int64_t n, L;
  } cases[] = {{16, 9}, {384, 40}, {1, 9}};
  for (const auto& [n, L] : cases)
    for (const double deviation : {0.7, 50.0, 6000.0, 60000.0}) {
      const Packing p = {{2, 4, 9, 9 + L, 10 + L}, {1, 4, L, 0, 2}};
      const Inputs in = {
          {"x", normal(kI16, {14 + L, n}, deviation)}, {"start", row(kI32, p.start)}, {"length", row(kI32, p.length)}};
      const auto mean = test::run(pool_body(n, false), in, {{"L", L}})[0],
                 unit = test::run(pool_body(n, true), in, {{"L", L}})[0];
      EXPECT_EQ(mean.to_int64(), loop_pool(in, false));
      EXPECT_EQ(unit.to_int64(), loop_pool(in, true));
      EXPECT_EQ(test::run(pool_body(n, true), in, {{"L", L + 3}})[0], unit);
      for (int64_t j = 0; j < 5; ++j) {
        std::vector<double> m(n);
        double square = 0;
        for (int64_t c = 0; c < n; ++c) {
          for (int64_t r = p.start[j]; r < p.start[j] + p.length[j]; ++r)
            m[c] += static_cast<double>(in.at("x").at(r * n + c));
          m[c] /= static_cast<double>(std::max<int64_t>(p.length[j], 1));
          square += m[c] * m[c];
          EXPECT_NEAR(static_cast<double>(mean.at(j * n + c)), m[c], 0.5);
        }
        const double length = std::sqrt(square);
        for (int64_t c = 0; c < n && length > 0; ++c) {
          const double u = m[c] / length;
          EXPECT_NEAR(static_cast<double>(unit.at(j * n + c)), std::min(u * 32768, 32767.0),
                      0.5 + 0x1p-15 + 32768 * (0.5 + std::abs(u) * std::sqrt(n) / 2) / length);
        }
      }
    }
}

TEST(Pool, SmallCases) {
  const auto apply = [](bool normalize, Dims dims, const Ints& x, const Packing& p, int64_t L) {
    const Inputs in = {{"x", tensor(kI16, dims, x)}, {"start", row(kI32, p.start)}, {"length", row(kI32, p.length)}};
    return test::run(pool_body(dims[1], normalize), in, {{"L", L}})[0].to_int64();
  };
  const Ints x = {32767, 0, -32768, 0, 0, 0, 1, 0, 0, -1, 3, 4, -32768, -32768};
  const Packing singles = {{0, 1, 2, 3, 4, 5, 6}, Ints(7, 1)};
  EXPECT_EQ(apply(false, {7, 2}, x, singles, 3), x);
  EXPECT_EQ(apply(true, {7, 2}, x, singles, 3),
            (Ints{32767, 0, -32768, 0, 0, 0, 32767, 0, 0, -32768, 19661, 26214, -23170, -23170}));
  EXPECT_EQ(apply(false, {2, 4}, {0, 0, 1, -1, 1, -1, 2, -2}, {{0}, {2}}, 2), (Ints{1, 0, 2, -1}));  // ties go up
  EXPECT_EQ(apply(false, {4, 2}, {32767, -32768, 32767, -32768, 32767, -32768, 32767, -32768}, {{0, 2}, {2, 2}}, 2),
            (Ints{32767, -32768, 32767, -32768}));
}

// ---------------------------------------------------------------- text

TEST(Bodies, TextIsReadBackAndDoesNotDependOnParameters) {
  const Body bodies[] = {
      linear_body({.in = 384, .out = 1536, .epilogue = test::epilogue(kI8, true), .splits = {1536}, .classes = 4}),
      linear_body(
          {.in = 8, .out = 8, .epilogue = {{StageKind::kRequantize, kI8}, {StageKind::kAdd, kI16}}, .splits = {4, 4}}),
      attention_body(12, 32),
      add_norm_body(384, kOutputs),
      embed_norm_body(384, {{"token", 30522}, {"position", 512}}, {kI16}),
      pool_body(384, true)};
  std::set<std::string> keys;
  for (const Body& body : bodies) {
    const std::string text = to_text(body.graph);
    EXPECT_EQ(to_text(parse_text(text, "printed")), text);
    EXPECT_TRUE(keys.insert(body.key()).second) << body.key();
  }
}

// A file holds bodies by these keys, and kernels replace bodies of these keys alone. So they are the same whatever
// compiler made this program: nodes must not stand in the order in which it evaluates arguments.
TEST(Bodies, KeysAreThoseOfFilesThatExist) {
  const std::pair<Body, const char*> bodies[] = {
      {linear_body({.in = 384, .out = 1536, .epilogue = test::epilogue(kI8, true), .splits = {1536}, .classes = 4}),
       "linear@1:3ee8bc5a44eb09f2"},
      {linear_body(
           {.in = 8, .out = 8, .epilogue = {{StageKind::kRequantize, kI8}, {StageKind::kAdd, kI16}}, .splits = {4, 4}}),
       "linear@1:eb53c9e0b7d23364"},
      {attention_body(12, 32), "attention@1:1539c9288c06c41f"},
      {add_norm_body(384, kOutputs), "add_norm@1:7867b5040cb35442"},
      {embed_norm_body(384, {{"token", 30522}, {"position", 512}}, {kI16}), "embed_norm@1:6fb7a96570653d70"},
      {q15_add_norm_body(384, kOutputs), "add_norm@1:59749e88fb82176d"},
      {q15_embed_norm_body(384, {{"token", 30522}, {"position", 512}}, {kI16}), "embed_norm@1:8f319d934154e979"},
      {pool_body(384, false), "pool@1:3297d58f5f70817f"},
      {pool_body(384, true), "pool@1:1e6e278501d757a8"}};
  for (const auto& [body, key] : bodies) EXPECT_EQ(body.key(), key);
}

}  // namespace
}  // namespace dyadic

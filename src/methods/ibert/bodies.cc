#include "methods/ibert/bodies.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/status.h"
#include "graph/bodies/common.h"
#include "quantize/ratio.h"

namespace dyadic::ibert {
namespace {

constexpr DataType kI32 = DataType::kI32, kI64 = DataType::kI64, kU8 = DataType::kU8;
constexpr int64_t kMaxI32 = (int64_t{1} << 31) - 1;

int bits_of(int64_t x) { return std::bit_width(static_cast<uint64_t>(x)); }
int64_t shifted(int64_t x, int k) { return k > 0 ? (x + (int64_t{1} << (k - 1))) >> k : x; }
int64_t whole(double x, Form form) {
  return static_cast<int64_t>(form == Form::kPaper ? std::floor(x) : std::round(x));
}

// The least k with scale / 2^k <= limit.
int finer(double scale, double limit) {
  int k = 0;
  while (std::ldexp(scale, -k) > limit) ++k;
  return k;
}

}  // namespace

GeluConstants gelu_constants(double scale, Form form) {
  constexpr double kA = 0.2888, kB = 1.769;
  const double least = form == Form::kPaper ? 1e-4 : 1e-8;  // the published shift keeps 64 bits down to there
  if (!(scale >= least && scale <= 1638))
    fail(ErrorKind::kContract, "i-gelu: an input in steps of ", scale, " is outside ", least, " .. 1638");
  GeluConstants g;
  g.form = form;
  if (form == Form::kRefined) g.pre_shift = finer(scale, 0.05);
  const double step = std::ldexp(scale, -g.pre_shift) / std::numbers::sqrt2;
  const double k = 1 / (kA * step * step);
  g.b = whole(kB / step, form);
  g.k = whole(k, form);
  g.shift = form == Form::kPaper ? 14 : std::max(0, bits_of(g.k) - 15);
  g.one = form == Form::kPaper ? static_cast<int64_t>(std::floor(std::ldexp(k, -14))) : shifted(g.k, g.shift);
  g.unit = scale * std::ldexp(1 / k, g.shift - 1);
  return g;
}

Var i_gelu(BodyBuilder& b, Var q, const GeluConstants& g, int64_t largest) {
  const bool wide = std::max({g.k, g.b * g.b, largest << g.pre_shift, 2 * g.one * largest}) > kMaxI32;
  if (wide) q = b.cast(q, kI64);
  const Var size = b.abs(g.pre_shift ? b.shl(q, g.pre_shift) : q);
  const Var below = b.sub(g.b, b.min(size, g.b));
  const Var positive = b.sub(g.k, b.mul(below, below));
  const Var not_negative = b.select(b.eq(q, 0), 0, positive), negative = b.sub(0, positive);
  const Var erf = b.select(b.lt(q, 0), negative, not_negative);
  return b.mul(q, b.add(b.shr(erf, g.shift, g.form == Form::kPaper ? Rounding::kFloor : Rounding::kHalfUp), g.one));
}

Body i_gelu_body(const Encoding& in, const Encoding& out, Form form) {
  const int64_t in_zero = in.zero_point.at(0), out_zero = out.zero_point.at(0);
  const GeluConstants g = gelu_constants(in.scale.at(0), form);
  const Dyadic ratio = encode_ratio(g.unit / out.scale.at(0), "i-gelu");
  BodyBuilder b("i_gelu");
  const Var x = b.input("x", in.storage, {"N"}, in.codes);
  Var q = b.cast(x, kI32);
  if (in_zero != 0) q = b.sub(q, in_zero);
  const int64_t largest = std::max(std::abs(in.codes.lo - in_zero), std::abs(in.codes.hi - in_zero));
  Var y = b.mul_shift(b.named(i_gelu(b, q, g, largest), "acc"), int64_t{ratio.m}, ratio.s, kI64);
  if (out_zero != 0) y = b.add(y, out_zero);
  b.output(b.cast(b.clamp(y, out.codes.lo, out.codes.hi), out.storage), "y");
  return {1, b.build()};
}

ExpConstants exp_constants(double scale, Form form) {
  constexpr double kA = 0.35815147, kB = 0.96963238;  // exp(p) is about a p^2 + b p + 1 on (-ln 2, 0]
  if (!(scale >= 1e-7 && scale <= 1))
    fail(ErrorKind::kContract, "i-exp: scores in steps of ", scale, " are outside 1e-7 .. 1");
  ExpConstants e;
  e.form = form;
  if (form == Form::kRefined) e.pre_shift = finer(scale, 0x1p-8);
  const double step = std::ldexp(scale, -e.pre_shift);
  e.ln2 = whole((form == Form::kPaper ? 0.6931 : std::numbers::ln2) / step, form);
  e.b = whole(kB / (kA * step), form);
  e.c = whole(1 / (kA * step * step), form);
  if (form == Form::kPaper && scale < 1e-4)
    fail(ErrorKind::kContract, "i-exp: scores in steps of ", scale, " are too fine for the paper's form in 64 bits");
  if (e.ln2 < 1)
    fail(ErrorKind::kContract, "i-exp: scores in steps of ", scale, " are too coarse for the paper's form");
  e.shift = form == Form::kPaper ? -30 : bits_of(e.c) - 15;
  e.one = form == Form::kPaper ? e.c << 30 : shifted(e.c, e.shift);
  return e;
}

Var i_exp(BodyBuilder& b, Var distance, const ExpConstants& e) {
  const Var d = e.pre_shift ? b.shl(b.min(distance, (30 * e.ln2 >> e.pre_shift) + 1), e.pre_shift) : distance;
  const Var q = b.cast(b.min(d, 30 * e.ln2), kI64);
  const Var z = b.div(q, e.ln2);
  const Var r = b.sub(0, b.rem(q, e.ln2));
  const Var l = b.add(b.mul(r, b.add(r, e.b)), e.c);
  if (e.form == Form::kPaper) return b.shl(l, b.cast(b.sub(30, z), kU8));
  return b.shr(l, b.cast(b.add(z, e.shift), kU8));
}

Body i_exp_body(double scale, int64_t one, Form form) {
  const ExpConstants e = exp_constants(scale, form);
  BodyBuilder b("i_exp");
  const Var distance = b.input("distance", kU8, {256});
  const Var value = b.named(i_exp(b, b.cast(distance, kI32), e), "e");
  const Var code = b.div(b.add(b.mul(value, 2 * one), e.one), 2 * e.one);  // half up
  b.output(b.cast(code, kU8), "code");
  return {1, b.build()};
}

Body i_softmax_body(double scale, int bits) {
  constexpr int64_t kLargest = 1 << 24;
  if (bits != 8 && bits != 16) fail(ErrorKind::kContract, "i-softmax: probabilities have 8 or 16 bits, not ", bits);
  const int64_t one = (1 << bits) - 1;
  const ExpConstants constants = exp_constants(scale, Form::kRefined);
  BodyBuilder b("i_softmax");
  const Var scores = b.input("scores", kI32, {"R", "N"}, {-kLargest, kLargest});
  const Var valid = b.input("valid", kU8, {"R", "N"}, {0, 1});
  const Var top = b.reduce_max(b.select(valid, scores, -kLargest), {1});
  const Var e = b.named(b.select(valid, i_exp(b, b.max(b.sub(top, scores), 0), constants), 0), "e");
  // max: the identity except for a row without a valid entry.
  const Var sigma = b.named(b.max(b.reduce_sum(e, {1}, true, kI64), constants.one), "sigma");
  const Var p = b.shr(b.mul(e, b.div(one << 32, sigma)), 32);
  b.output(b.cast(b.min(p, one), bits == 8 ? kU8 : DataType::kU16), "probability");
  return {1, b.build()};
}

Var i_sqrt(BodyBuilder& b, Var n) {
  // The number of bits of n is 62 - k; the start is 2^ceil(bits / 2), above the root by less than a factor of two.
  const Var k = b.normalize(n, 61).second;
  const Var half = b.shr(b.sub(63, k), 1, Rounding::kFloor);
  Var x = b.shl(b.scalar(kI64, 1), half);
  // From above, an iteration falls until it meets the floor, and min keeps it there.
  for (int i = 0; i < 8; ++i) {
    const Var next = b.shr(b.add(x, b.div(n, x)), 1, Rounding::kFloor);
    x = b.max(b.min(x, next), 1);  // max: the identity except for n = 0
  }
  return b.select(b.eq(n, 0), 0, x);
}

Var paper_norm(BodyBuilder& b, Var q, int64_t n) {
  const Var total = b.reduce_sum(q, {1}, true, kI64);
  const Var mean = b.named(b.cast(b.div(b.add(b.shl(total, 1), n), 2 * n), kI32), "mean");
  const Var d = b.named(b.sub(q, mean), "d");
  const Var square = b.dot(d, d, {.contract_a = {1}, .contract_b = {1}, .batch_a = {0}, .batch_b = {0}}, kI64);
  const Var deviation = b.named(b.max(i_sqrt(b, b.named(b.reshape(square, {"T", 1}), "square")), 1), "deviation");
  // 2^31 itself fits no i32; the quotient differs for a deviation of 1 alone.
  const Var factor = b.named(b.cast(b.div(kMaxI32, deviation), kI32), "factor");
  return b.fact(b.mul_shift(d, factor, 1, kI32, Rounding::kFloor), {-(1 << 30), 1 << 30}, "|d| <= isqrt(sum d^2)");
}

}  // namespace dyadic::ibert

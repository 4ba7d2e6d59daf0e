// Interval arithmetic: the range rule of every element-wise core operation. Each gives the least interval that holds
// every result (of `bitwise`: an interval that holds them), in 128 bits, so that a result that leaves its type is seen.
#pragma once
#include <algorithm>
#include <string>
#include <utility>

#include "base/fixed_point.h"
#include "graph/core_ops.h"
#include "tensor/data_type.h"

namespace dyadic {

// No sum or product of 64-bit ends, nor 2^62 times one, overflows here.
struct Wide {
  int128 lo, hi;
  Wide(int128 low, int128 high) : lo(low), hi(high) {}
  Wide(const Interval& x) : lo(x.lo), hi(x.hi) {}  // NOLINT: implicit on purpose
  bool operator==(const Wide&) const = default;
};

std::string to_string(const Wide& x);  // "[-1,5]"

// Thrown where an operand breaks its operation's rule (a divisor that may be 0): the reason, without names.
struct RangeRefusal {
  std::string why;
};

namespace interval {

// ---- What nearly every channel passes through: inline, in 64 bits where the ends allow ----

inline Wide hull(const Wide& a, const Wide& b) { return {std::min(a.lo, b.lo), std::max(a.hi, b.hi)}; }
inline Wide add(const Wide& a, const Wide& b) { return {a.lo + b.lo, a.hi + b.hi}; }
inline Wide subtract(const Wide& a, const Wide& b) { return {a.lo - b.hi, a.hi - b.lo}; }
inline Wide minimum(const Wide& a, const Wide& b) { return {std::min(a.lo, b.lo), std::min(a.hi, b.hi)}; }
inline Wide maximum(const Wide& a, const Wide& b) { return {std::max(a.lo, b.lo), std::max(a.hi, b.hi)}; }
inline Wide clamp(const Wide& x, const Wide& lo, const Wide& hi) { return minimum(maximum(x, lo), hi); }

// The hull of a function that is monotone in each argument.
template <class End, class F>
Wide corners(End a_lo, End a_hi, End b_lo, End b_hi, F f) {
  const End p = f(a_lo, b_lo), q = f(a_hi, b_lo);
  if (b_lo == b_hi) return {std::min(p, q), std::max(p, q)};
  const End r = f(a_lo, b_hi), s = f(a_hi, b_hi);
  return {std::min(std::min(p, q), std::min(r, s)), std::max(std::max(p, q), std::max(r, s))};
}

inline bool fits(const Wide& x, int bits) {
  return -(int128{1} << (bits - 1)) <= x.lo && x.hi < int128{1} << (bits - 1);
}

inline Wide multiply(const Wide& a, const Wide& b) {
  const auto product = [](auto x, auto y) { return x * y; };
  if (fits(a, 32) && fits(b, 32))
    return corners(static_cast<int64_t>(a.lo), static_cast<int64_t>(a.hi), static_cast<int64_t>(b.lo),
                   static_cast<int64_t>(b.hi), product);
  return corners(a.lo, a.hi, b.lo, b.hi, product);
}

[[noreturn]] void refuse(const char* why, const Wide& range);
Wide shifted_by_any(const Wide& x, const Wide& k, Rounding rounding);

// Of x by k bits, 0 <= k.
inline Wide shifted(const Wide& x, const Wide& k, Rounding rounding) {
  if (!fits(x, 63) || k.lo != k.hi || k.hi >= 62 || rounding == Rounding::kHalfAway)
    return shifted_by_any(x, k, rounding);
  const auto bits = static_cast<int>(k.lo);
  const int64_t half = rounding == Rounding::kFloor ? 0 : (int64_t{1} << bits) >> 1;
  return {(static_cast<int64_t>(x.lo) + half) >> bits, (static_cast<int64_t>(x.hi) + half) >> bits};
}

inline Wide mul_shift(const Wide& x, const Wide& m, const Wide& s, Rounding rounding) {
  if (s.lo < 0 || s.hi > 62) refuse("the shift must lie in [0,62]", s);
  const Wide product = multiply(x, m);
  const int128 end = (int128{1} << 63) - ((int128{1} << static_cast<int>(s.hi)) >> 1);
  if (product.lo <= -end || product.hi >= end) refuse("|x*m| + 2^(s-1) must be less than 2^63, of x*m", product);
  return shifted(product, s, rounding);
}

// ---- The others ----

int128 magnitude(const Wide& x);  // the largest absolute value
Wide square(const Wide& x);
Wide absolute(const Wide& x);
Wide shift_left(const Wide& x, const Wide& k, int bits);
Wide shift_right(const Wide& x, const Wide& k, int bits, Rounding rounding);
Wide quotient(const Wide& a, const Wide& b);
Wide remainder(const Wide& a, const Wide& b);
Wide square_root(const Wide& x);
// Of y and of k.
std::pair<Wide, Wide> normalize(const Wide& x, int top, bool even);
Wide bitwise(CoreOp op, const Wide& a, const Wide& b);  // and, or, xor
Wide compare(CoreOp op, const Wide& a, const Wide& b);  // eq, lt, le
Wide select(const Wide& condition, const Wide& a, const Wide& b);
Wide saturate(const Wide& x, DataType type);

}  // namespace interval
}  // namespace dyadic

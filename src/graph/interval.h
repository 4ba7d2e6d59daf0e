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

// Of ends that fit 32 bits: sums and products of two fit 64. What nearly every channel of a model is.
struct Narrow {
  int64_t lo, hi;
  explicit Narrow(const Interval& x) : lo(x.lo), hi(x.hi) {}
  operator Interval() const { return {lo, hi}; }  // NOLINT: implicit on purpose
  static bool holds(const Interval& x) { return INT32_MIN <= x.lo && x.hi <= INT32_MAX; }
};

// No sum or product of 64-bit ends, nor 2^62 times one, overflows here.
struct Wide {
  int128 lo, hi;
  Wide(int128 low, int128 high) : lo(low), hi(high) {}
  Wide(const Interval& x) : lo(x.lo), hi(x.hi) {}  // NOLINT: implicit on purpose
  Wide(const Narrow& x) : lo(x.lo), hi(x.hi) {}    // NOLINT: implicit on purpose
  bool operator==(const Wide&) const = default;
};

std::string to_string(const Wide& x);  // "[-1,5]"

// Thrown where an operand breaks its operation's rule (a divisor that may be 0): the reason, without names.
struct RangeRefusal {
  std::string why;
};

namespace interval {

// ---- What nearly every channel passes through: inline, in 64 bits where the ends allow. Of narrow operands the same
// interval in 64 bits ----

inline Wide hull(const Wide& a, const Wide& b) { return {std::min(a.lo, b.lo), std::max(a.hi, b.hi)}; }
inline Wide add(const Wide& a, const Wide& b) { return {a.lo + b.lo, a.hi + b.hi}; }
inline Wide subtract(const Wide& a, const Wide& b) { return {a.lo - b.hi, a.hi - b.lo}; }
inline Wide minimum(const Wide& a, const Wide& b) { return {std::min(a.lo, b.lo), std::min(a.hi, b.hi)}; }
inline Wide maximum(const Wide& a, const Wide& b) { return {std::max(a.lo, b.lo), std::max(a.hi, b.hi)}; }
inline Wide clamp(const Wide& x, const Wide& lo, const Wide& hi) { return minimum(maximum(x, lo), hi); }

inline Interval add(const Narrow& a, const Narrow& b) { return {a.lo + b.lo, a.hi + b.hi}; }
inline Interval subtract(const Narrow& a, const Narrow& b) { return {a.lo - b.hi, a.hi - b.lo}; }
inline Interval minimum(const Narrow& a, const Narrow& b) { return {std::min(a.lo, b.lo), std::min(a.hi, b.hi)}; }
inline Interval maximum(const Narrow& a, const Narrow& b) { return {std::max(a.lo, b.lo), std::max(a.hi, b.hi)}; }
inline Interval clamp(const Narrow& x, const Narrow& lo, const Narrow& hi) {
  return {std::min(std::max(x.lo, lo.lo), hi.lo), std::min(std::max(x.hi, lo.hi), hi.hi)};
}

// The hull of a function that is monotone in each argument.
template <class Result, class End, class F>
Result corners(End a_lo, End a_hi, End b_lo, End b_hi, F f) {
  const End p = f(a_lo, b_lo), q = f(a_hi, b_lo);
  if (b_lo == b_hi) return {std::min(p, q), std::max(p, q)};
  const End r = f(a_lo, b_hi), s = f(a_hi, b_hi);
  return {std::min(std::min(p, q), std::min(r, s)), std::max(std::max(p, q), std::max(r, s))};
}

inline bool fits(const Wide& x, int bits) {
  return -(int128{1} << (bits - 1)) <= x.lo && x.hi < int128{1} << (bits - 1);
}

inline Interval multiply(const Narrow& a, const Narrow& b) {
  return corners<Interval>(a.lo, a.hi, b.lo, b.hi, [](int64_t x, int64_t y) { return x * y; });
}
inline Wide multiply(const Wide& a, const Wide& b) {
  const auto narrow = [](const Wide& x) { return Narrow({static_cast<int64_t>(x.lo), static_cast<int64_t>(x.hi)}); };
  if (fits(a, 32) && fits(b, 32)) return multiply(narrow(a), narrow(b));
  return corners<Wide>(a.lo, a.hi, b.lo, b.hi, [](int128 x, int128 y) { return x * y; });
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

// Products and shifts of narrow operands: |x| < 2^63 - 2^61.
inline Interval shifted(const Interval& x, const Narrow& k, Rounding rounding) {
  if (k.lo == k.hi && rounding != Rounding::kHalfAway) {
    const int64_t half = rounding == Rounding::kFloor ? 0 : (int64_t{1} << k.lo) >> 1;
    return {(x.lo + half) >> k.lo, (x.hi + half) >> k.lo};
  }
  const Wide result = shifted_by_any(x, k, rounding);
  return {static_cast<int64_t>(result.lo), static_cast<int64_t>(result.hi)};
}

inline Interval mul_shift(const Narrow& x, const Narrow& m, const Narrow& s, Rounding rounding) {
  if (s.lo < 0 || s.hi > 62) refuse("the shift must lie in [0,62]", s);
  return shifted(multiply(x, m), s, rounding);
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

inline Interval square(const Narrow& x) {
  const int64_t lo = x.lo * x.lo, hi = x.hi * x.hi;
  return {x.lo <= 0 && 0 <= x.hi ? 0 : std::min(lo, hi), std::max(lo, hi)};
}
inline Interval shift_right(const Narrow& x, const Narrow& k, int bits, Rounding rounding) {
  if (k.lo < 0 || k.hi >= std::min(bits, 62)) {
    const Wide result = shift_right(Wide(x), Wide(k), bits, rounding);
    return {static_cast<int64_t>(result.lo), static_cast<int64_t>(result.hi)};
  }
  return shifted(Interval(x), k, rounding);
}
inline Interval saturate(const Narrow& x, DataType type) {
  const int64_t lo = lowest(type), hi = highest(type);
  return {std::clamp(x.lo, lo, hi), std::clamp(x.hi, lo, hi)};
}

}  // namespace interval
}  // namespace dyadic

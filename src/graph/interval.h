// Interval arithmetic: the range rule of every element-wise core operation. Each gives the least interval that holds
// every result (of `bitwise`: an interval that holds them), in 128 bits, so that a result that leaves its type is seen.
#pragma once
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

Wide hull(const Wide& a, const Wide& b);
int128 magnitude(const Wide& x);  // the largest absolute value
Wide add(const Wide& a, const Wide& b);
Wide subtract(const Wide& a, const Wide& b);
Wide multiply(const Wide& a, const Wide& b);
Wide square(const Wide& x);
Wide absolute(const Wide& x);
Wide minimum(const Wide& a, const Wide& b);
Wide maximum(const Wide& a, const Wide& b);
Wide clamp(const Wide& x, const Wide& lo, const Wide& hi);
Wide shift_left(const Wide& x, const Wide& k, int bits);
Wide shift_right(const Wide& x, const Wide& k, int bits, Rounding rounding);
Wide mul_shift(const Wide& x, const Wide& m, const Wide& s, Rounding rounding);
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

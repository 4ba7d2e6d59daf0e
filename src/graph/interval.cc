#include "graph/interval.h"

#include <algorithm>

#include "base/status.h"

namespace dyadic {
namespace {

std::string to_string(int128 value) {
  if (value < 0) return "-" + to_string(-value);
  const std::string digit(1, static_cast<char>('0' + static_cast<int>(value % 10)));
  return value < 10 ? digit : to_string(value / 10) + digit;
}

void require(bool condition, const char* why, const Wide& range) {
  if (!condition) interval::refuse(why, range);
}

int128 magnitude(int128 x) { return x < 0 ? -x : x; }
int128 power_of_two(int128 k) { return int128{1} << static_cast<int>(k); }
int128 floor_div(int128 a, int128 b) { return a / b - (a % b != 0 && a < 0); }

int128 shifted(int128 x, int128 k, Rounding rounding) {
  const int shift = static_cast<int>(k);
  if (shift == 0 || rounding == Rounding::kFloor) return x >> shift;
  const int128 half = power_of_two(k - 1);
  return rounding == Rounding::kHalfAway && x < 0 ? -((-x + half) >> shift) : (x + half) >> shift;
}

bool holds_zero(const Wide& x) { return x.lo <= 0 && 0 <= x.hi; }

}  // namespace

std::string to_string(const Wide& x) { return "[" + to_string(x.lo) + "," + to_string(x.hi) + "]"; }

namespace interval {

void refuse(const char* why, const Wide& range) {
  throw RangeRefusal{cat(why, "; it may lie in ", dyadic::to_string(range))};
}

Wide shifted_by_any(const Wide& x, const Wide& k, Rounding rounding) {
  return corners<Wide>(x.lo, x.hi, k.lo, k.hi, [&](int128 v, int128 s) { return dyadic::shifted(v, s, rounding); });
}

int128 magnitude(const Wide& x) { return std::max(dyadic::magnitude(x.lo), dyadic::magnitude(x.hi)); }

Wide square(const Wide& x) {
  const auto [lo, hi] = std::minmax({x.lo * x.lo, x.hi * x.hi});
  return {holds_zero(x) ? 0 : lo, hi};
}

Wide absolute(const Wide& x) {
  return {holds_zero(x) ? 0 : std::min(dyadic::magnitude(x.lo), dyadic::magnitude(x.hi)), magnitude(x)};
}

Wide shift_left(const Wide& x, const Wide& k, int bits) {
  require(0 <= k.lo && k.hi < bits, "the shift must be less than the bits of the type", k);
  return corners<Wide>(x.lo, x.hi, k.lo, k.hi, [](int128 v, int128 s) { return v * power_of_two(s); });
}

Wide shift_right(const Wide& x, const Wide& k, int bits, Rounding rounding) {
  require(0 <= k.lo && k.hi < bits, "the shift must be less than the bits of the type", k);
  return shifted(x, k, rounding);
}

Wide quotient(const Wide& a, const Wide& b) {
  require(b.lo > 0, "the divisor must be positive", b);
  return corners<Wide>(a.lo, a.hi, b.lo, b.hi, floor_div);
}

Wide remainder(const Wide& a, const Wide& b) {
  require(b.lo > 0, "the divisor must be positive", b);
  if (a.lo >= 0 && a.hi < b.lo) return a;
  if (b.lo == b.hi && floor_div(a.lo, b.lo) == floor_div(a.hi, b.lo)) {
    const int128 multiple = floor_div(a.lo, b.lo) * b.lo;
    return {a.lo - multiple, a.hi - multiple};
  }
  return {0, a.lo >= 0 ? std::min(a.hi, b.hi - 1) : b.hi - 1};
}

Wide square_root(const Wide& x) {
  require(x.lo >= 0, "the operand must not be negative", x);
  return {static_cast<int128>(isqrt(static_cast<uint64_t>(x.lo))),
          static_cast<int128>(isqrt(static_cast<uint64_t>(x.hi)))};
}

std::pair<Wide, Wide> normalize(const Wide& x, int top, bool even) {
  require(x.lo >= 0, "the operand must not be negative", x);
  require(x.hi < power_of_two(top + 1), "the operand must be less than 2^(top+1)", x);
  const auto shift = [&](int leading) { return even ? (top - leading) & ~1 : top - leading; };
  Wide y{0, 0}, k{shift(0), shift(0)};  // of x = 0
  bool empty = x.lo > 0;
  // Within one position of the leading one, y grows with x and k is constant.
  for (int leading = 0; leading <= top && power_of_two(leading) <= x.hi; ++leading) {
    const int128 first = std::max(x.lo, power_of_two(leading)), last = std::min(x.hi, power_of_two(leading + 1) - 1);
    if (first > last) continue;
    const int count = shift(leading);
    const Wide segment{first * power_of_two(count), last * power_of_two(count)};
    y = empty ? segment : hull(y, segment);
    k = empty ? Wide{count, count} : hull(k, {count, count});
    empty = false;
  }
  return {y, k};
}

Wide bitwise(CoreOp op, const Wide& a, const Wide& b) {
  if (op == CoreOp::k_and && (a.lo >= 0 || b.lo >= 0))
    return {0, std::min(a.lo >= 0 ? a.hi : b.hi, b.lo >= 0 ? b.hi : a.hi)};
  int128 ones = 0;  // the least 2^n - 1 with both operands in [-2^n, 2^n - 1]
  for (const Wide& x : {a, b})
    while (x.hi > ones || x.lo < -ones - 1) ones = ones * 2 + 1;
  if (a.lo < 0 || b.lo < 0) return {-ones - 1, ones};
  return {op == CoreOp::k_or ? std::max(a.lo, b.lo) : 0, ones};
}

Wide compare(CoreOp op, const Wide& a, const Wide& b) {
  if (op == CoreOp::k_lt) return {a.hi < b.lo, a.lo < b.hi};
  if (op == CoreOp::k_le) return {a.hi <= b.lo, a.lo <= b.hi};
  return {a.lo == a.hi && a == b, a.lo <= b.hi && b.lo <= a.hi};
}

Wide select(const Wide& condition, const Wide& a, const Wide& b) {
  if (condition.lo > 0) return a;
  return condition.hi == 0 ? b : hull(a, b);
}

Wide saturate(const Wide& x, DataType type) {
  return clamp(x, {lowest(type), lowest(type)}, {highest(type), highest(type)});
}

}  // namespace interval
}  // namespace dyadic

// The fixed-point formulas of the numeric contract (docs/numerics.md), scalar and exact. Kernels vectorise these;
// nothing else decides a bit.
#pragma once
#include <bit>
#include <cstdint>

namespace dyadic {

enum class Rounding : uint8_t { kFloor, kHalfUp, kHalfAway };

using int128 = __int128;

// x / 2^k rounded; 0 <= k <= 62. half_up: ties towards +infinity. half_away: ties away from zero.
constexpr int64_t shift_right(int64_t x, int k, Rounding rounding) {
  if (k == 0) return x;
  switch (rounding) {
    case Rounding::kFloor:
      return x >> k;
    case Rounding::kHalfUp:
      return (x >> k) + ((x >> (k - 1)) & 1);
    case Rounding::kHalfAway: {
      const int64_t magnitude = x < 0 ? -x : x;
      const int64_t y = (magnitude >> k) + ((magnitude >> (k - 1)) & 1);
      return x < 0 ? -y : y;
    }
  }
  return 0;
}

// x * m / 2^s rounded half up; needs |x*m| + 2^(s-1) < 2^63, 0 <= s <= 62.
constexpr int64_t mul_shift(int64_t x, int64_t m, int s) { return shift_right(x * m, s, Rounding::kHalfUp); }

constexpr int64_t clamp64(int64_t x, int64_t lo, int64_t hi) { return x < lo ? lo : x > hi ? hi : x; }

// floor(a / b) for b > 0.
constexpr int64_t div_floor(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return q - ((a % b != 0) & (a < 0));
}

// Position of the leading one of x > 0: floor(log2 x).
constexpr int log2_floor(uint64_t x) { return 63 - std::countl_zero(x); }

// floor(sqrt x) without a float instruction: Newton from a power of two above the root.
constexpr uint64_t isqrt(uint64_t x) {
  if (x == 0) return 0;
  uint64_t r = uint64_t{1} << (log2_floor(x) / 2 + 1);
  for (;;) {
    const uint64_t next = (r + x / r) / 2;
    if (next >= r) return r;
    r = next;
  }
}

}  // namespace dyadic

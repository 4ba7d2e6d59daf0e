// The fixed-point formulas of the numeric contract (docs/numerics.md), scalar and exact. Kernels vectorise these;
// nothing else decides a bit.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>

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

// floor(a / d) of many |a| <= 2^40 by one d of 2..2^17 without divisions, by the reciprocal M = floor(2^64 / d) + 1:
// with b = a + 2^40 or a bit more, b M / 2^64 exceeds b / d by at most b / 2^64 < 1 / d, so that its floor is that of b
// / d; 2^40 is taken off as d times its quotient beforehand.
class FloorDivisor {
 public:
  constexpr explicit FloorDivisor(int64_t d)
      : reciprocal_(~uint64_t{0} / static_cast<uint64_t>(d) + 1),
        quotient_((int64_t{1} << 40) / d + 1),
        offset_(quotient_ * d) {}
  constexpr int64_t operator()(int64_t a) const {
    const auto b = static_cast<uint64_t>(a + offset_);
    return static_cast<int64_t>(static_cast<unsigned __int128>(b) * reciprocal_ >> 64) - quotient_;
  }

 private:
  uint64_t reciprocal_;
  int64_t quotient_, offset_;
};

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

// For each leading eight bits i = 64..255 of a normalised number: the root of i * 2^54, and how much the root of the
// next one is above it. Between them a line is right to 2^-16.
struct RootSeed {
  uint32_t root, rise;
};
inline constexpr auto kRootSeeds = [] {
  std::array<RootSeed, 192> seeds{};
  for (uint64_t i = 0; i < seeds.size(); ++i) {
    const uint64_t root = isqrt((i + 64) << 54);
    seeds[i] = {static_cast<uint32_t>(root), static_cast<uint32_t>(isqrt((i + 65) << 54) - root)};
  }
  return seeds;
}();

// isqrt of 2^60 <= x < 2^62, in [2^30, 2^31), without a loop: one Newton step leaves an error of at most one.
constexpr uint64_t isqrt_normalized(uint64_t x) {
  const RootSeed seed = kRootSeeds[(x >> 54) - 64];
  uint64_t r = seed.root + (((x >> 22) & 0xffffffff) * seed.rise >> 32);
  r = (r + x / r) / 2;
  r -= r * r > x;
  r += (r + 1) * (r + 1) <= x;
  return r;
}

// How 32-bit lanes compute mul_shift(x, m, s) from the high half of one 32 x 32-bit product:
//   (high32((x << x_left) * (m << m_left)) + add) >> right
// The left shifts make the whole shift at least 33; then the rounding term is a multiple of 2^32 and floors compose.
struct HighShift {
  int x_left, m_left, right;
  int32_t add;
};

// The shifts for -2^x_bits <= x < 2^x_bits, -2^m_bits <= m < 2^m_bits and 0 <= s <= 62, both at most 31 bits wide;
// nothing if the ratio is so large that the operands leave no room.
constexpr std::optional<HighShift> high_shift(int x_bits, int m_bits, int s) {
  const int left = std::max(0, 33 - s), x_left = std::min(left, 31 - x_bits), m_left = left - x_left;
  if (m_left > 31 - m_bits) return std::nullopt;
  return HighShift{x_left, m_left, s + left - 32, int32_t{1} << (s + left - 33)};
}

// The smallest b with -2^b <= x < 2^b.
constexpr int signed_bits(int64_t x) { return std::bit_width(static_cast<uint64_t>(x < 0 ? ~x : x)); }

}  // namespace dyadic

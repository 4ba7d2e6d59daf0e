// mul_shift of 16-bit words by a 31-bit multiplier from 16-bit multiplications: twice as many lanes as a widening one.
//
//   m = 2^16 high + low, -2^15 <= low < 2^15:   floor(x m / 2^16) = x high + floor(x low / 2^16)
// The last term is a multiplication that keeps the upper word, its sum with x high one of pairs of words. Floors
// compose, so that for s >= 17
//   mul_shift(x, m, s) = (floor(x m / 2^16) + 2^(s-17)) >> (s - 16)
#pragma once
#include <optional>

#include "base/fixed_point.h"

namespace dyadic {

struct WordRatio {
  int16_t high, low;
  int8_t right;  // 1..31

  int32_t add() const { return int32_t{1} << (right - 1); }
};

// Of m / 2^s for |x| <= x_max <= 2^15, or of the same ratio with s = 17 if s is less; nothing if that m has no such
// halves (m > 2^31 - 2^15).
constexpr std::optional<WordRatio> word_ratio(int64_t x_max, int32_t m, int s) {
  if (s < 0 || s > 62) return std::nullopt;
  if (s > 0 && x_max * (m < 0 ? -int64_t{m} : m) < int64_t{1} << (s - 1)) return WordRatio{0, 0, 1};  // rounds to 0
  const int left = s < 17 ? 17 - s : 0;
  const int64_t wide = int64_t{m} << left, high = (wide + 0x8000) >> 16;
  if (s > 46 || high > INT16_MAX || high < INT16_MIN) return std::nullopt;  // at 46 |x m| / 2^16 + 2^29 fits 32 bits
  return WordRatio{static_cast<int16_t>(high), static_cast<int16_t>(wide - (high << 16)),
                   static_cast<int8_t>(s + left - 16)};
}

// Words (kernels/lanes_*.h) times a WordRatio, broadcast once.
template <class Words>
struct WordProduct {
  typename Words::Wide factors, add, right;  // factors: pairs (high, 1)
  Words low;
  static WordProduct of(const WordRatio& ratio) {
    using Wide = typename Words::Wide;
    const uint32_t pair = static_cast<uint16_t>(ratio.high) | uint32_t{1} << 16;
    return {Wide::broadcast(static_cast<int32_t>(pair)), Wide::broadcast(ratio.add()), Wide::broadcast(ratio.right),
            Words::broadcast(ratio.low)};
  }
  typename Words::Wide operator()(Words x) const { return dot(add, interleave(x, mul_high(x, low)), factors) >> right; }
};

}  // namespace dyadic

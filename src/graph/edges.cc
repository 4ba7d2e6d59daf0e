#include "graph/edges.h"

#include <algorithm>
#include <bit>

#include "base/fixed_point.h"

namespace dyadic {
namespace {

using uint128 = unsigned __int128;

// significand * 2^exponent.
struct Binary {
  uint64_t significand;
  int exponent;
};

Binary take_apart(double scale) {
  const auto bits = std::bit_cast<uint64_t>(scale);
  return {(bits & ((uint64_t{1} << 52) - 1)) | uint64_t{1} << 52, static_cast<int>(bits >> 52) - 1075};
}

// A float's magnitude with exactly 24 significant bits; x is neither 0 nor infinite nor not a number.
Binary magnitude(uint32_t x) {
  const int field = x >> 23 & 0xff;
  const uint32_t fraction = x & 0x7fffff;
  if (field != 0) return {fraction | 1u << 23, field - 150};
  const int shift = std::countl_zero(fraction) - 8;
  return {uint64_t{fraction} << shift, -149 - shift};
}

int128 floor_div(int128 a, int128 b) { return a / b - (a % b != 0 && a < 0); }

// floor(x / scale + 1/2); beyond +-2^64 any number beyond.
int128 nearest_quotient(bool negative, Binary x, Binary scale) {
  const int d = x.exponent - scale.exponent;
  if (d >= 94) return (negative ? -1 : 1) * (int128{1} << 66);  // |x / scale| >= 2^(23 + d - 53)
  if (d < -70) return 0;                                        // |x / scale| < 2^(24 + d - 52) < 1/2
  const int128 numerator = int128{x.significand} << (1 + std::max(d, 0));
  const int128 denominator = int128{scale.significand} << (1 + std::max(-d, 0));
  return floor_div((negative ? -numerator : numerator) + denominator / 2, denominator);
}

// The bits of the float nearest to significand * 2^exponent.
uint32_t nearest_float(uint128 significand, int exponent) {
  if (significand == 0) return 0;
  const auto high = static_cast<uint64_t>(significand >> 64), low = static_cast<uint64_t>(significand);
  const int length = high ? 128 - std::countl_zero(high) : 64 - std::countl_zero(low);
  const int last = std::max(exponent + length - 24, -149);  // exponent of the last bit kept
  const int shift = last - exponent;
  if (shift > 127) return 0;
  uint128 kept = shift >= 0 ? significand >> shift : significand << -shift;
  if (shift > 0) {
    const uint128 rest = significand - (kept << shift), half = uint128{1} << (shift - 1);
    if (rest > half || (rest == half && (kept & 1))) ++kept;
  }
  // With the leading one at bit 23 the exponent's field is last + 150, of which the one itself adds 1; a subnormal has
  // the field 0. Rounding up to bit 24 or from a subnormal to bit 23 carries into the field, as it should.
  const bool is_normal = kept >> 23;
  const uint64_t field = is_normal ? static_cast<uint64_t>(last + 149) : 0;
  return static_cast<uint32_t>(std::min<uint64_t>((field << 23) + static_cast<uint64_t>(kept), 0x7f800000));
}

}  // namespace

bool is_scale(double scale) {
  const auto field = std::bit_cast<uint64_t>(scale) >> 52;  // sign included
  return field > 0 && field < 0x7ff;
}

std::optional<int64_t> quantize_float(uint32_t x, double scale, int64_t zero_point, Interval codes) {
  const bool negative = x >> 31;
  const uint32_t absolute = x & 0x7fffffff;
  if (absolute > 0x7f800000) return std::nullopt;
  int128 q = 0;
  if (absolute == 0x7f800000)
    q = (negative ? -1 : 1) * (int128{1} << 66);
  else if (absolute != 0)
    q = nearest_quotient(negative, magnitude(absolute), take_apart(scale));
  return static_cast<int64_t>(std::min<int128>(std::max<int128>(q + zero_point, codes.lo), codes.hi));
}

uint32_t dequantize_float(int64_t code, double scale, int64_t zero_point) {
  const int128 steps = int128{code} - zero_point;
  const Binary s = take_apart(scale);
  const uint32_t absolute = nearest_float(static_cast<uint128>(steps < 0 ? -steps : steps) * s.significand, s.exponent);
  return absolute | (steps < 0 ? 1u << 31 : 0);
}

}  // namespace dyadic

// The steps of `linear` after its product, on tiles of sums in the first-level cache. Plain pointers only, as
// kernels/dot/panel_dot.h has it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dyadic {

inline constexpr int kEpilogueVectors = 4;  // registers of 32-bit sums that one step takes, at most
inline constexpr int kMaxEpilogueColumns = 64;

// How a sum becomes a code before its clamp, fastest first. The parameters are rows of one int32 a column in
// accumulator order; kOddMultiplier holds at even positions the multiplier of the next.
//   kProduct32             (acc * m + round) >> shift in 32 bits
//   kHighDword             (hi32(acc * m) + round) >> shift
//   kHighDwordShiftFirst   (hi32((acc << preshift) * m) + round) >> shift
enum RequantizeForm { kProduct32, kHighDword, kHighDwordShiftFirst, kRequantizeForms };
// kStart is what a streamed sum lacks; the round of kProduct32 has it already.
enum ColumnRow { kMultiplier, kOddMultiplier, kRound, kShift, kPreshift, kStart, kColumnRows };

// The column that stands at position q = lanes * j + lane of the accumulators, so that packing four registers to bytes
// (two to 16 bits) within 128-bit lanes leaves columns in their natural order.
constexpr int epilogue_column(int lanes, bool wide, int q) {
  const int j = q / lanes, L = q % lanes / 4, i = q % 4;
  return wide ? 2 * lanes * (j / 2) + 8 * L + 4 * (j % 2) + i : 16 * L + 4 * j + i;
}

// A step takes `columns()` columns. Accumulator order: position lanes * j + lane holds the column that saturating packs
// move to its place.
struct LinearEpilogue {
  int lanes;    // 32-bit lanes of a register
  int vectors;  // 4, or 2: then the bytes of two rows are packed together
  constexpr int columns() const { return vectors * lanes; }
  constexpr int column(bool wide, int q) const { return epilogue_column(lanes, wide || vectors == 2, q); }

  // requantize[form][16-bit codes]: columns() codes a row, clamped to [lo, hi]; rows of `tile` are ldt sums apart, rows
  // of `codes` ld bytes. `columns` holds kColumnRows rows.
  void (*requantize[kRequantizeForms][2])(const int32_t* tile, int64_t ldt, int64_t rows, const int32_t* columns,
                                          int32_t lo, int32_t hi, std::byte* codes, int64_t ld);

  // codes[r, c] = table[(uint8_t)codes[r, c]], in place, where mask[c] is 0xff; other columns stay.
  void (*lookup)(std::byte* codes, int64_t ld, int64_t rows, const int8_t* table, const uint8_t* mask);
};

extern const LinearEpilogue kEpiloguePortable, kEpilogueAvx2, kEpilogueAvx512Vnni, kEpilogueAmx;

}  // namespace dyadic

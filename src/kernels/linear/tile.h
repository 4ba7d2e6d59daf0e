// What an instruction set contributes to `linear`: the product of a few rows with one panel of columns, and the steps
// after it. Plain pointers only: the files that define these functions are compiled for an instruction set that the
// rest of the program may not use, so they must not instantiate code that others share.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dyadic {

inline constexpr int kTileRows = 6;  // of activations that one product takes
// Fewer rows than this read panels one after the other as fast as memory gives them; more work on one for long enough
// to fetch the next.
inline constexpr int kPrefetchRows = 4;
inline constexpr int kPanelVectors = 4;  // registers of 32-bit accumulators across a panel
inline constexpr int kMaxPanelColumns = 64;

// Rows of a panel's requantize parameters, each one int32 a column in accumulator order.
// code = ((hi32((acc << kPreshift) * kMultiplier) + kRound) >> kShift), then clamped.
enum ColumnRow { kMultiplier, kOddMultiplier, kRound, kShift, kPreshift, kColumnRows };

// A panel is `columns()` columns of the weight, cut into `slices` of equal width that are multiplied one by one.
// Packed order of a slice: [k / group][register][lane][k % group], elements of 4 / group bytes; k is padded with zeros.
// Accumulator order: register j, lane 4L + i holds the column that saturating packs move to its place (panel_column).
struct LinearTile {
  int lanes;         // 32-bit lanes of a register
  int group;         // consecutive k that one lane sums: 4 of 8 bits or 2 of 16
  int slices;        // 1 or 2
  int32_t x_offset;  // what the product adds to each x: the bias must hold -x_offset * sum_k weight
  bool direct;       // the product reads x itself when K is a multiple of `group`
  constexpr int columns() const { return kPanelVectors * lanes; }

  // packed[r, k] = x[r * ldx + k] in elements of 4 / group bytes, rows padded with zeros to a multiple of `group`.
  void (*pack_rows)(const int8_t* x, int64_t ldx, int64_t rows, int64_t K, std::byte* packed);

  // dot[rows]: tile[r, c] = bias[c] + sum_k a[r, k] * slice[k, c], modulo 2^32, for the columns of one slice; the rows
  // of `tile` are columns() apart. `a` has rows lda bytes apart, `groups` = ceil(K / group). `next` is memory as large
  // as the slice that is wanted soon.
  void (*dot[kTileRows + 1])(const std::byte* a, int64_t lda, int64_t groups, const std::byte* slice,
                             const int32_t* bias, int32_t* tile, const std::byte* next);

  // requantize[16-bit codes][with kPreshift]: columns() codes a row, clamped to [lo, hi]; rows of `codes` are ld bytes
  // apart.
  void (*requantize[2][2])(const int32_t* tile, int64_t rows, const int32_t* columns, int32_t lo, int32_t hi,
                           std::byte* codes, int64_t ld);

  // codes[r, c] = table[(uint8_t)codes[r, c]], in place, where mask[c] is 0xff; other columns stay.
  void (*lookup)(std::byte* codes, int64_t ld, int64_t rows, const int8_t* table, const uint8_t* mask);
};

// The column that stands at position q = lanes * j + lane of the accumulators, so that packing four registers to bytes
// (two to 16 bits) within 128-bit lanes leaves columns in their natural order.
constexpr int panel_column(int lanes, bool wide, int q) {
  const int j = q / lanes, L = q % lanes / 4, i = q % 4;
  return wide ? 2 * lanes * (j / 2) + 8 * L + 4 * (j % 2) + i : 16 * L + 4 * j + i;
}

extern const LinearTile kLinearAvx2, kLinearAvx512Vnni;

}  // namespace dyadic

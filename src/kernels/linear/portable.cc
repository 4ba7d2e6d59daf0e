// The steps in plain loops.
#include <algorithm>

#include "kernels/linear/epilogue.h"

namespace dyadic {
namespace {

constexpr int kLanes = 4, kColumns = kEpilogueVectors * kLanes;

template <RequantizeForm kForm, class Code>
void requantize(const int32_t* tile, int64_t ldt, int64_t rows, const int32_t* columns, int32_t lo, int32_t hi,
                std::byte* codes, int64_t ld) {
  const int32_t *m = columns + kMultiplier * kColumns, *round = columns + kRound * kColumns;
  const int32_t *shift = columns + kShift * kColumns, *preshift = columns + kPreshift * kColumns;
  for (int64_t r = 0; r < rows; ++r, tile += ldt, codes += ld)
    for (int c = 0; c < kColumns; ++c) {
      int32_t y;
      if constexpr (kForm == kProduct32)
        y = tile[c] * m[c];
      else if constexpr (kForm == kHighDword)
        y = static_cast<int32_t>(int64_t{tile[c]} * m[c] >> 32);
      else
        y = static_cast<int32_t>((int64_t{tile[c]} << preshift[c]) * m[c] >> 32);
      reinterpret_cast<Code*>(codes)[c] = static_cast<Code>(std::clamp((y + round[c]) >> shift[c], lo, hi));
    }
}

void lookup(std::byte* codes, int64_t ld, int64_t rows, const int8_t* table, const uint8_t* mask) {
  for (int64_t r = 0; r < rows; ++r, codes += ld)
    for (int c = 0; c < kColumns; ++c)
      if (mask[c]) codes[c] = static_cast<std::byte>(table[static_cast<uint8_t>(codes[c])]);
}

}  // namespace

const LinearEpilogue kEpiloguePortable = {
    .lanes = kLanes,
    .vectors = kEpilogueVectors,
    .requantize = {{requantize<kProduct32, int8_t>, requantize<kProduct32, int16_t>},
                   {requantize<kHighDword, int8_t>, requantize<kHighDword, int16_t>},
                   {requantize<kHighDwordShiftFirst, int8_t>, requantize<kHighDwordShiftFirst, int16_t>}},
    .lookup = lookup};

}  // namespace dyadic

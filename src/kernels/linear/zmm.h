// What epilogues of 512 bits share. `Unit` is a type of the including file's anonymous namespace, as kernels/dot/zmm.h
// has it.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "kernels/linear/epilogue.h"

namespace dyadic {

// Sums to codes before their clamp, kVectors registers a row.
template <class Unit, RequantizeForm kForm, int kVectors, bool kStreamed = false>
struct ZmmRequantize {
  static constexpr int kLanes = 16, kColumns = kVectors * kLanes;
  __m512i p[kColumnRows][kVectors];

  explicit ZmmRequantize(const int32_t* columns) {
#pragma GCC unroll 6
    for (int row = 0; row < kColumnRows; ++row)
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) p[row][j] = _mm512_loadu_si512(columns + row * kColumns + j * kLanes);
  }

  __m512i code(const int32_t* sums, int j) const {
    const __m512i m = p[kMultiplier][j];
    __m512i x = _mm512_loadu_si512(sums + j * kLanes), y;
    if constexpr (kForm == kProduct32) {
      y = _mm512_mullo_epi32(x, m);
    } else {
      if constexpr (kStreamed) x = _mm512_add_epi32(x, p[kStart][j]);
      if constexpr (kForm == kHighDwordShiftFirst) x = _mm512_sllv_epi32(x, p[kPreshift][j]);
      const __m512i even = _mm512_mul_epi32(x, m),
                    odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), p[kOddMultiplier][j]);
      y = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    }
    return _mm512_srav_epi32(_mm512_add_epi32(y, p[kRound][j]), p[kShift][j]);
  }
};

}  // namespace dyadic

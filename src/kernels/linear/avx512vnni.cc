#include <immintrin.h>

#include "kernels/linear/epilogue.h"

namespace dyadic {
namespace {

constexpr int kLanes = 16, kColumns = kEpilogueVectors * kLanes;

__m512i load(const void* p) { return _mm512_loadu_si512(p); }

template <RequantizeForm kForm, bool kWide>
void requantize(const int32_t* tile, int64_t ldt, int64_t rows, const int32_t* columns, int32_t lo, int32_t hi,
                std::byte* codes, int64_t ld) {
  __m512i p[kColumnRows][kEpilogueVectors];
#pragma GCC unroll 5
  for (int row = 0; row < kColumnRows; ++row)
#pragma GCC unroll 4
    for (int j = 0; j < kEpilogueVectors; ++j) p[row][j] = load(columns + row * kColumns + j * kLanes);
  const __m512i lowest = kWide ? _mm512_set1_epi16(lo) : _mm512_set1_epi8(lo);
  const __m512i highest = kWide ? _mm512_set1_epi16(hi) : _mm512_set1_epi8(hi);
  for (int64_t r = 0; r < rows; ++r, tile += ldt, codes += ld) {
    __m512i y[kEpilogueVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kEpilogueVectors; ++j) {
      const __m512i m = p[kMultiplier][j];
      __m512i x = load(tile + j * kLanes);
      if constexpr (kForm == kProduct32) {
        y[j] = _mm512_mullo_epi32(x, m);
      } else {
        if constexpr (kForm == kHighDwordShiftFirst) x = _mm512_sllv_epi32(x, p[kPreshift][j]);
        const __m512i even = _mm512_mul_epi32(x, m),
                      odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), p[kOddMultiplier][j]);
        y[j] = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
      }
      y[j] = _mm512_srav_epi32(_mm512_add_epi32(y[j], p[kRound][j]), p[kShift][j]);
    }
    const __m512i y01 = _mm512_packs_epi32(y[0], y[1]), y23 = _mm512_packs_epi32(y[2], y[3]);
    if constexpr (kWide) {
      _mm512_storeu_si512(codes, _mm512_min_epi16(_mm512_max_epi16(y01, lowest), highest));
      _mm512_storeu_si512(codes + 64, _mm512_min_epi16(_mm512_max_epi16(y23, lowest), highest));
    } else {
      const __m512i bytes = _mm512_packs_epi16(y01, y23);
      _mm512_storeu_si512(codes, _mm512_min_epi8(_mm512_max_epi8(bytes, lowest), highest));
    }
  }
}

void lookup(std::byte* codes, int64_t ld, int64_t rows, const int8_t* table, const uint8_t* mask) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  const __mmask64 columns = _mm512_movepi8_mask(_mm512_loadu_si512(mask));
  for (int64_t r = 0; r < rows; ++r, codes += ld) {
    const __m512i index = _mm512_loadu_si512(codes);
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1), high = _mm512_permutex2var_epi8(t2, index, t3);
    const __m512i y = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    _mm512_storeu_si512(codes, _mm512_mask_blend_epi8(columns, index, y));
  }
}

}  // namespace

const LinearEpilogue kEpilogueAvx512Vnni = {
    .lanes = kLanes,
    .requantize = {{requantize<kProduct32, false>, requantize<kProduct32, true>},
                   {requantize<kHighDword, false>, requantize<kHighDword, true>},
                   {requantize<kHighDwordShiftFirst, false>, requantize<kHighDwordShiftFirst, true>}},
    .lookup = lookup};

}  // namespace dyadic

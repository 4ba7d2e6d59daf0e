#include "kernels/linear/zmm.h"

namespace dyadic {
namespace {

struct Unit;
constexpr int kLanes = 16;

template <RequantizeForm kForm, bool kWide>
void requantize(const int32_t* tile, int64_t ldt, int64_t rows, const int32_t* columns, int32_t lo, int32_t hi,
                std::byte* codes, int64_t ld) {
  const ZmmRequantize<Unit, kForm, kEpilogueVectors> to(columns);
  const __m512i lowest = kWide ? _mm512_set1_epi16(lo) : _mm512_set1_epi8(lo);
  const __m512i highest = kWide ? _mm512_set1_epi16(hi) : _mm512_set1_epi8(hi);
  for (int64_t r = 0; r < rows; ++r, tile += ldt, codes += ld) {
    const __m512i y01 = _mm512_packs_epi32(to.code(tile, 0), to.code(tile, 1));
    const __m512i y23 = _mm512_packs_epi32(to.code(tile, 2), to.code(tile, 3));
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
    .vectors = kEpilogueVectors,
    .requantize = {{requantize<kProduct32, false>, requantize<kProduct32, true>},
                   {requantize<kHighDword, false>, requantize<kHighDword, true>},
                   {requantize<kHighDwordShiftFirst, false>, requantize<kHighDwordShiftFirst, true>}},
    .lookup = lookup};

}  // namespace dyadic

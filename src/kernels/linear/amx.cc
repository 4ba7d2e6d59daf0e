// The epilogue of blocks of 32 columns, two rows at a time: their bytes are packed together and parted by one
// permutation.
#include "kernels/linear/zmm.h"

namespace dyadic {
namespace {

struct Unit;
constexpr int kVectors = 2, kLanes = 16;

__m256i* at(std::byte* p) { return reinterpret_cast<__m256i*>(p); }
const __m256i* at(const void* p) { return static_cast<const __m256i*>(p); }

void store_two(std::byte* first, std::byte* second, __m512i x) {
  _mm256_storeu_si256(at(first), _mm512_castsi512_si256(x));
  _mm256_storeu_si256(at(second), _mm512_extracti64x4_epi64(x, 1));
}
__m512i load_two(const std::byte* first, const std::byte* second) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(at(first))), _mm256_loadu_si256(at(second)), 1);
}

template <RequantizeForm kForm, bool kWide>
void requantize(const int32_t* tile, int64_t ldt, int64_t rows, const int32_t* columns, int32_t lo, int32_t hi,
                std::byte* codes, int64_t ld) {
  const ZmmRequantize<Unit, kForm, kVectors, true> to(columns);
  const auto words = [&](const int32_t* sums) { return _mm512_packs_epi32(to.code(sums, 0), to.code(sums, 1)); };
  if constexpr (kWide) {
    const __m512i lowest = _mm512_set1_epi16(static_cast<short>(lo)),
                  highest = _mm512_set1_epi16(static_cast<short>(hi));
    for (int64_t r = 0; r < rows; ++r, tile += ldt, codes += ld)
      _mm512_storeu_si512(codes, _mm512_min_epi16(_mm512_max_epi16(words(tile), lowest), highest));
  } else {
    const __m512i lowest = _mm512_set1_epi8(static_cast<char>(lo)), highest = _mm512_set1_epi8(static_cast<char>(hi));
    const __m512i apart = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    for (; rows > 0; rows -= 2, tile += 2 * ldt, codes += 2 * ld) {
      const bool two = rows > 1;  // else a row with itself
      const __m512i bytes = _mm512_packs_epi16(words(tile), words(two ? tile + ldt : tile));
      store_two(codes, two ? codes + ld : codes,
                _mm512_permutexvar_epi64(apart, _mm512_min_epi8(_mm512_max_epi8(bytes, lowest), highest)));
    }
  }
}

void lookup(std::byte* codes, int64_t ld, int64_t rows, const int8_t* table, const uint8_t* mask) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  const __mmask64 columns = _mm512_movepi8_mask(_mm512_broadcast_i64x4(_mm256_loadu_si256(at(mask))));
  for (; rows > 0; rows -= 2, codes += 2 * ld) {
    std::byte* const second = rows > 1 ? codes + ld : codes;
    const __m512i index = load_two(codes, second);
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1), high = _mm512_permutex2var_epi8(t2, index, t3);
    const __m512i y = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    store_two(codes, second, _mm512_mask_blend_epi8(columns, index, y));
  }
}

}  // namespace

const LinearEpilogue kEpilogueAmx = {
    .lanes = kLanes,
    .vectors = kVectors,
    .requantize = {{requantize<kProduct32, false>, requantize<kProduct32, true>},
                   {requantize<kHighDword, false>, requantize<kHighDword, true>},
                   {requantize<kHighDwordShiftFirst, false>, requantize<kHighDwordShiftFirst, true>}},
    .lookup = lookup};

}  // namespace dyadic

#include <immintrin.h>

#include "kernels/linear/epilogue.h"

namespace dyadic {
namespace {

constexpr int kLanes = 8, kColumns = kEpilogueVectors * kLanes;

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

template <RequantizeForm kForm, bool kWide>
void requantize(const int32_t* tile, int64_t ldt, int64_t rows, const int32_t* columns, int32_t lo, int32_t hi,
                std::byte* codes, int64_t ld) {
  const auto parameter = [&](ColumnRow row, int j) { return load(columns + row * kColumns + j * kLanes); };
  const __m256i lowest = kWide ? _mm256_set1_epi16(lo) : _mm256_set1_epi8(lo);
  const __m256i highest = kWide ? _mm256_set1_epi16(hi) : _mm256_set1_epi8(hi);
  for (int64_t r = 0; r < rows; ++r, tile += ldt, codes += ld) {
    __m256i y[kEpilogueVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kEpilogueVectors; ++j) {
      const __m256i m = parameter(kMultiplier, j);
      __m256i x = load(tile + j * kLanes);
      if constexpr (kForm == kProduct32) {
        y[j] = _mm256_mullo_epi32(x, m);
      } else {
        if constexpr (kForm == kHighDwordShiftFirst) x = _mm256_sllv_epi32(x, parameter(kPreshift, j));
        const __m256i even = _mm256_mul_epi32(x, m),
                      odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), parameter(kOddMultiplier, j));
        y[j] = _mm256_blend_epi32(_mm256_shuffle_epi32(even, 0xf5), odd, 0xaa);
      }
      y[j] = _mm256_srav_epi32(_mm256_add_epi32(y[j], parameter(kRound, j)), parameter(kShift, j));
    }
    const __m256i y01 = _mm256_packs_epi32(y[0], y[1]), y23 = _mm256_packs_epi32(y[2], y[3]);
    if constexpr (kWide) {
      store(codes, _mm256_min_epi16(_mm256_max_epi16(y01, lowest), highest));
      store(codes + 32, _mm256_min_epi16(_mm256_max_epi16(y23, lowest), highest));
    } else {
      store(codes, _mm256_min_epi8(_mm256_max_epi8(_mm256_packs_epi16(y01, y23), lowest), highest));
    }
  }
}

// Entries of a table of 16 << kBits by index: 16-entry lookups of its low four bits, then a tree of selections. The
// sign bit of each byte of bit[b] is bit 4 + b of the index.
template <int kBits>
__m256i look_up(const int8_t* table, __m256i low, const __m256i* bit) {
  if constexpr (kBits == 0) {
    const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), low);
  } else {
    const __m256i lower = look_up<kBits - 1>(table, low, bit);
    const __m256i upper = look_up<kBits - 1>(table + (8 << kBits), low, bit);
    return _mm256_blendv_epi8(lower, upper, bit[kBits - 1]);
  }
}

void lookup(std::byte* codes, int64_t ld, int64_t rows, const int8_t* table, const uint8_t* mask) {
  const __m256i columns = load(mask);
  for (int64_t r = 0; r < rows; ++r, codes += ld) {
    const __m256i index = load(codes), low = _mm256_and_si256(index, _mm256_set1_epi8(15));
    const __m256i bit[4] = {_mm256_slli_epi16(index, 3), _mm256_slli_epi16(index, 2), _mm256_slli_epi16(index, 1),
                            index};
    store(codes, _mm256_blendv_epi8(index, look_up<4>(table, low, bit), columns));
  }
}

}  // namespace

const LinearEpilogue kEpilogueAvx2 = {
    .lanes = kLanes,
    .vectors = kEpilogueVectors,
    .requantize = {{requantize<kProduct32, false>, requantize<kProduct32, true>},
                   {requantize<kHighDword, false>, requantize<kHighDword, true>},
                   {requantize<kHighDwordShiftFirst, false>, requantize<kHighDwordShiftFirst, true>}},
    .lookup = lookup};

}  // namespace dyadic

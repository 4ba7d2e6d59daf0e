// 6 rows x 16 columns in 12 registers: one broadcast of two x codes, widened to 16 bits, feeds two vpmaddwd. Exact for
// any 8-bit operands, which vpmaddubsw is not.
#include <immintrin.h>

#include <cstring>

#include "kernels/linear/tile.h"

namespace dyadic {
namespace {

constexpr int kLanes = 8, kColumns = kPanelVectors * kLanes, kSliceVectors = 2;

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

void pack_rows(const int8_t* x, int64_t ldx, int64_t rows, int64_t K, std::byte* packed) {
  const int64_t padded = (K + 1) / 2 * 2;
  for (int64_t r = 0; r < rows; ++r, x += ldx, packed += 2 * padded) {
    int64_t k = 0;
    for (; k + 16 <= K; k += 16) {
      const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + k));
      store(packed + 2 * k, _mm256_cvtepi8_epi16(codes));
    }
    for (; k < padded; ++k) {
      const int16_t code = k < K ? x[k] : 0;
      std::memcpy(packed + 2 * k, &code, 2);
    }
  }
}

// The empty asm keeps each accumulator in a register, see avx512vnni.cc.
template <int kRows>
[[gnu::noinline]] void dot_tile(const std::byte* a, int64_t lda, int64_t groups, const std::byte* slice,
                                const int32_t* bias, int32_t* tile, const std::byte* next) {
  __m256i acc[kRows][kSliceVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int j = 0; j < kSliceVectors; ++j) acc[r][j] = load(bias + j * kLanes);
#pragma GCC unroll 2
  for (int64_t g = 0; g < groups; ++g, a += 4, slice += 64, next += 64) {
    const __m256i w[kSliceVectors] = {load(slice), load(slice + 32)};
    if constexpr (kRows >= kPrefetchRows) _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T0);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      int32_t codes;
      std::memcpy(&codes, a + r * lda, 4);
      const __m256i x = _mm256_set1_epi32(codes);
#pragma GCC unroll 2
      for (int j = 0; j < kSliceVectors; ++j) {
        const __m256i products = _mm256_madd_epi16(x, w[j]);
        asm("vpaddd %1, %0, %0" : "+x"(acc[r][j]) : "x"(products));
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int j = 0; j < kSliceVectors; ++j) store(tile + r * kColumns + j * kLanes, acc[r][j]);
}

template <bool kWide, bool kShiftFirst>
void requantize(const int32_t* tile, int64_t rows, const int32_t* columns, int32_t lo, int32_t hi, std::byte* codes,
                int64_t ld) {
  const __m256i lowest = kWide ? _mm256_set1_epi16(lo) : _mm256_set1_epi8(lo);
  const __m256i highest = kWide ? _mm256_set1_epi16(hi) : _mm256_set1_epi8(hi);
  for (int64_t r = 0; r < rows; ++r, tile += kColumns, codes += ld) {
    __m256i y[kPanelVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kPanelVectors; ++j) {
      const int32_t* p = columns + j * kLanes;
      __m256i x = load(tile + j * kLanes);
      if (kShiftFirst) x = _mm256_sllv_epi32(x, load(p + kPreshift * kColumns));
      const __m256i even = _mm256_mul_epi32(x, load(p + kMultiplier * kColumns));
      const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), load(p + kOddMultiplier * kColumns));
      const __m256i high = _mm256_blend_epi32(_mm256_shuffle_epi32(even, 0xf5), odd, 0xaa);
      y[j] = _mm256_srav_epi32(_mm256_add_epi32(high, load(p + kRound * kColumns)), load(p + kShift * kColumns));
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

const LinearTile kLinearAvx2 = {
    .lanes = kLanes,
    .group = 2,
    .slices = kPanelVectors / kSliceVectors,
    .x_offset = 0,
    .direct = false,
    .pack_rows = pack_rows,
    .dot = {nullptr, dot_tile<1>, dot_tile<2>, dot_tile<3>, dot_tile<4>, dot_tile<5>, dot_tile<6>},
    .requantize = {{requantize<false, false>, requantize<false, true>},
                   {requantize<true, false>, requantize<true, true>}},
    .lookup = lookup};

}  // namespace dyadic

// The loops that multiply panels of pairs.h.
#include <immintrin.h>

#include <cstring>

#include "kernels/dot/pairs.h"

namespace dyadic {
namespace {

constexpr int kVectors = kPairColumns / 8;
constexpr int kGroupBytes = 4 * kPairColumns;

__m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

__m256i broadcast(const std::byte* p) {
  int32_t x;
  std::memcpy(&x, p, 4);
  return _mm256_set1_epi32(x);
}

// Sums must stay in registers: gcc 12 otherwise spills them inside loops, at half the speed. A test disassembles them.
void keep_add32(__m256i& sum, __m256i x) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(x)); }

// sum += products of pairs. One asm keeps the three together, which gcc otherwise moves apart, and weights in memory,
// whose load it would share among rows although there is no register for it.
void add_pairs(__m256i& sum, __m256i x, const std::byte* weights, __m256i ones) {
  __m256i products;
  asm("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(products)
      : "x"(x), "m"(*reinterpret_cast<const __m256i*>(weights)), "x"(ones));
}

// The same of fours, whose second pairs are a group further on.
void add_fours(__m256i& sum, __m256i x0, __m256i x1, const std::byte* weights, __m256i ones) {
  __m256i products, others;
  asm("vpmaddubsw %5, %3, %1\n\tvpmaddubsw %6, %4, %2\n\tvpaddw %2, %1, %1\n\tvpmaddwd %7, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(products), "=&x"(others)
      : "x"(x0), "x"(x1), "m"(*reinterpret_cast<const __m256i*>(weights)),
        "m"(*reinterpret_cast<const __m256i*>(weights + kGroupBytes)), "x"(ones));
}

// 16-bit sums += products of pairs.
void add_products(__m256i& sum, __m256i x, __m256i weights) {
  __m256i products;
  asm("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(x), "x"(weights));
}

// Sums of neighbours. The factor 1 is in memory because registers are few.
__m256i widen(__m256i sums) {
  alignas(32) static constexpr int16_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  __m256i wide;
  asm("vpmaddwd %2, %1, %0" : "=x"(wide) : "x"(sums), "m"(*reinterpret_cast<const __m256i*>(kOnes)));
  return wide;
}

constexpr int kHalf = kVectors / 2;

// tile += products of kSums8 blocks for half of the columns: sums in 16 and in 32 bits need registers.
template <int kRows>
[[gnu::noinline]] void dot_eights_of_half(const std::byte* a, int64_t lda, int64_t blocks, const std::byte* w,
                                          int32_t* tile, int64_t ldt) {
  __m256i acc[kRows][kHalf];
#pragma GCC unroll 3
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int j = 0; j < kHalf; ++j) acc[r][j] = load(tile + r * ldt + 8 * j);
#pragma GCC unroll 1
  for (int64_t block = 0; block < blocks; ++block) {
    __m256i sums[kRows][kHalf];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g, a += 4, w += kGroupBytes) {
      const __m256i weights[kHalf] = {load(w), load(w + 32)};
#pragma GCC unroll 3
      for (int r = 0; r < kRows; ++r) {
        const __m256i x = broadcast(a + r * lda);
#pragma GCC unroll 2
        for (int j = 0; j < kHalf; ++j)
          if (g == 0)
            sums[r][j] = _mm256_maddubs_epi16(x, weights[j]);
          else
            add_products(sums[r][j], x, weights[j]);
      }
#if defined(__clang__)  // takes the next group's loads first, for which there is no register
      asm volatile("" : : : "memory");
#endif
    }
#pragma GCC unroll 3
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
      for (int j = 0; j < kHalf; ++j) keep_add32(acc[r][j], widen(sums[r][j]));
  }
#pragma GCC unroll 3
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int j = 0; j < kHalf; ++j) store(tile + r * ldt + 8 * j, acc[r][j]);
}

template <int kRows>
void dot_eights(const std::byte* a, int64_t lda, int64_t blocks, const std::byte* w, int32_t* tile, int64_t ldt) {
  dot_eights_of_half<kRows>(a, lda, blocks, w, tile, ldt);
  dot_eights_of_half<kRows>(a, lda, blocks, w + 32 * kHalf, tile + 8 * kHalf, ldt);
}

// tile += products of blocks of another form. kPairForms stands for the extra k's: one group of pairs a block.
template <int kRows, PairForm kForm>
[[gnu::noinline]] void dot_fours(const std::byte* a, int64_t lda, int64_t blocks, const std::byte* w, int32_t* tile,
                                 int64_t ldt) {
  constexpr int kGroups = kForm == kPairForms ? 1 : 4;                       // of a block
  constexpr int kFours = kForm == kSums4 ? 4 : kForm == kSums4And2 ? 2 : 0;  // groups added in 16 bits by two
  __m256i acc[kRows][kVectors];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) acc[r][j] = load(tile + r * ldt + 8 * j);
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 1
  for (int64_t block = 0; block < blocks; ++block, a += 4 * kGroups, w += kGroups * kGroupBytes) {
#pragma GCC unroll 2
    for (int g = 0; g < kFours; g += 2)
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        const __m256i x0 = broadcast(a + r * lda + 4 * g), x1 = broadcast(a + r * lda + 4 * g + 4);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) add_fours(acc[r][j], x0, x1, w + g * kGroupBytes + 32 * j, ones);
      }
#pragma GCC unroll 4
    for (int g = kFours; g < kGroups; ++g)
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        const __m256i x = broadcast(a + r * lda + 4 * g);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) add_pairs(acc[r][j], x, w + g * kGroupBytes + 32 * j, ones);
      }
  }
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(tile + r * ldt + 8 * j, acc[r][j]);
}

template <PairForm kForm, int kRows>
void dot_blocks(const std::byte* a, int64_t lda, int64_t blocks, const std::byte* w, int32_t* tile, int64_t ldt) {
  constexpr int kMost = kForm == kSums8 ? 3 : 2;  // rows of one loop
  constexpr int kFirst = kRows <= kMost ? kRows : kRows == kMost + 1 ? (kRows + 1) / 2 : kMost;
  if constexpr (kForm == kSums8)
    dot_eights<kFirst>(a, lda, blocks, w, tile, ldt);
  else
    dot_fours<kFirst, kForm>(a, lda, blocks, w, tile, ldt);
  if constexpr (kRows > kFirst)
    dot_blocks<kForm, kRows - kFirst>(a + kFirst * lda, lda, blocks, w, tile + kFirst * ldt, ldt);
}

// Adds `count` blocks to the rows of the tile and steps over them, some at a time that stay in the first-level cache
// while all rows take them.
template <PairForm kForm, int kRows>
void add_blocks(const std::byte*& a, int64_t lda, int64_t count, const std::byte*& w, int32_t* tile, int64_t ldt) {
  constexpr int64_t kChunk = 24, kGroups = kForm == kPairForms ? 1 : kPairBlock / 4;
  while (count > 0) {
    const int64_t blocks = count < kChunk ? count : kChunk;
    dot_blocks<kForm, kRows>(a, lda, blocks, w, tile, ldt);
    a += blocks * kGroups * 4;
    w += blocks * kGroups * kGroupBytes;
    count -= blocks;
  }
}

template <int kRows>
void dot_pairs(const std::byte* a, int64_t lda, int64_t, const std::byte* panel, const int32_t* start, int32_t* tile,
               int64_t ldt, const DotNext&) {
  const PairHeader& header = *reinterpret_cast<const PairHeader*>(panel);
  const std::byte* w = panel + sizeof header;
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(tile + r * ldt + 8 * j, load(start + 8 * j));
  add_blocks<kSums8, kRows>(a, lda, header.blocks[kSums8], w, tile, ldt);
  add_blocks<kSums4, kRows>(a, lda, header.blocks[kSums4], w, tile, ldt);
  add_blocks<kSums4And2, kRows>(a, lda, header.blocks[kSums4And2], w, tile, ldt);
  add_blocks<kSums2, kRows>(a, lda, header.blocks[kSums2], w, tile, ldt);
  add_blocks<kPairForms, kRows>(a, lda, header.extra_groups, w, tile, ldt);
}

template <int kRows>
void arrange(const std::byte* a, int64_t lda, const PairOrder& order, std::byte* to, int64_t ld) {
  const PairStep* step = order.step();
  const int32_t* k = order.k();
#pragma GCC unroll 1
  for (int64_t i = 0; i < order.steps; ++i, k += 2) {
    const __m256i source = load(step[i].source), flip = load(step[i].flip);
    const std::byte *low = a + k[0], *high = a + k[1];
    std::byte* place = to + i * 2 * kPairBlock;
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m256i x =
          _mm256_inserti128_si256(_mm256_castsi128_si256(load128(low + r * lda)), load128(high + r * lda), 1);
      store(place + r * ld, _mm256_xor_si256(_mm256_shuffle_epi8(x, source), flip));
    }
  }
  to += order.blocks * kPairBlock;
  const int32_t* extra_k = order.extra_k();
  const uint8_t* extra_flip = order.extra_flip();
  for (int64_t i = 0; i < order.extras; ++i)
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r)
      to[r * ld + 2 * i] = a[r * lda + extra_k[i]] ^ static_cast<std::byte>(extra_flip[i]);
}

void arrange_rows(const std::byte* a, int64_t lda, int64_t rows, int64_t K, const std::byte* bytes, int64_t groups,
                  std::byte* arranged) {
  const PairOrder& order = *reinterpret_cast<const PairOrder*>(bytes);
  if (order.steps == 0) return;
  std::byte padded[kMaxDotRows * kPairBlock];
  if (K < kPairBlock) {  // blocks are read whole
    for (int64_t r = 0; r < rows; ++r) std::memcpy(padded + r * kPairBlock, a + r * lda, K);
    a = padded;
    lda = kPairBlock;
  }
  static constexpr decltype(&arrange<1>) kArrange[] = {nullptr,    arrange<1>, arrange<2>, arrange<3>,
                                                       arrange<4>, arrange<5>, arrange<6>};
  kArrange[rows](a, lda, order, arranged, groups * 4);
}

}  // namespace

const PanelDot kPairsAvx2 = {
    .name = "s8s8_avx2_pairs",
    .isa = Isa::kAvx2,
    .a = DataType::kI8,
    .b = DataType::kI8,
    .rows = kMaxDotRows,
    .columns = kPairColumns,
    .group = 4,
    .a_offset = 0,
    .reads_a = true,
    .pack = [](const PanelDot& dot, const PanelSource& b) { return pack_pairs(dot, b, find_pair_orders(b)); },
    .pack_rows = nullptr,
    .arrange = arrange_rows,
    .dot = {nullptr, dot_pairs<1>, dot_pairs<2>, dot_pairs<3>, dot_pairs<4>, dot_pairs<5>, dot_pairs<6>}};

}  // namespace dyadic

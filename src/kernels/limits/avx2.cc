// The forms of the AVX2 kernels. Every empty asm keeps a chain in a register and its instructions in the program.
#include <immintrin.h>

#include "kernels/limits/limits.h"

namespace dyadic {

extern const LimitProbes kLimitsAvx2;

namespace {

constexpr int kRounds = 1000;

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// Twelve chains: four products of 8 bits a lane, two and two of them summed in 16 bits, which is exact for most weights
// (kernels/dot/pairs.h). Weights that let more of them be summed there can exceed this.
void dot() {
  constexpr int kChains = 12;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[kChains] = {}, x = _mm256_set1_epi8(3);
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(x));
      const __m256i products = _mm256_madd_epi16(_mm256_maddubs_epi16(x, x), ones);
      asm volatile("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
    }
}

void look_up_16() {
  constexpr int kChains = 8;
  const __m256i table = _mm256_set1_epi8(5);
  __m256i codes[kChains] = {};
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 8
    for (__m256i& code : codes) {
      code = _mm256_shuffle_epi8(table, code);
      asm volatile("" : "+x"(code));
    }
}

// 16 look-ups of the low four bits and a tree of selections by the high ones, as the table stage of `linear` has it.
template <int kBits>
__m256i look_up(const char* table, __m256i low, const __m256i* bit) {
  if constexpr (kBits == 0) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table))),
                               low);
  } else {
    return _mm256_blendv_epi8(look_up<kBits - 1>(table, low, bit), look_up<kBits - 1>(table + (8 << kBits), low, bit),
                              bit[kBits - 1]);
  }
}

void look_up_256() {
  constexpr int kChains = 4;
  char table[256] = {};
  asm volatile("" : : "r"(table) : "memory");
  __m256i codes[kChains] = {};
  for (int round = 0; round < kRounds; ++round)
    for (__m256i& code : codes) {
      const __m256i bit[4] = {_mm256_slli_epi16(code, 3), _mm256_slli_epi16(code, 2), _mm256_slli_epi16(code, 1), code};
      code = look_up<4>(table, _mm256_and_si256(code, _mm256_set1_epi8(15)), bit);
      asm volatile("" : "+x"(code));
    }
}

void multiply_and_shift() {
  constexpr int kChains = 6;
  const __m256i m = _mm256_set1_epi32(1 << 30), half = _mm256_set1_epi32(1);
  __m256i values[kChains];
  for (__m256i& x : values) x = _mm256_set1_epi32(123456789);
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 6
    for (__m256i& x : values) {
      const __m256i even = _mm256_mul_epi32(x, m), odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), m);
      const __m256i high = _mm256_blend_epi32(_mm256_shuffle_epi32(even, 0xf5), odd, 0xaa);
      x = _mm256_srai_epi32(_mm256_add_epi32(high, half), 1);
      asm volatile("" : "+x"(x));
    }
}

void read(const std::byte* data, int64_t bytes) {
  __m256i sums[4] = {};
  for (const std::byte* end = data + bytes; data < end; data += 256)
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      sums[i % 4] = _mm256_or_si256(sums[i % 4], load(data + 32 * i));
      asm volatile("" : "+x"(sums[i % 4]));
    }
}

}  // namespace

const LimitProbes kLimitsAvx2 = {
    .isa = Isa::kAvx2,
    .dot = {"vpmaddubsw + vpmaddwd + vpaddd", int64_t{kRounds} * 12 * 32, dot},
    .lookup_16 = {"vpshufb", int64_t{kRounds} * 8 * 32, look_up_16},
    .lookup_256 = {"vpshufb x 16 + vpblendvb x 15", int64_t{kRounds} * 4 * 32, look_up_256},
    .mul_shift = {"vpmuldq x 2", int64_t{kRounds} * 6 * 8, multiply_and_shift},
    .read = read};

}  // namespace dyadic

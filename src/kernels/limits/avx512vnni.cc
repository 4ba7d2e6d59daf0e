// The forms of the AVX-512 kernels. Every empty asm keeps a chain in a register and its instructions in the program.
#include <immintrin.h>

#include "kernels/limits/limits.h"

namespace dyadic {

extern const LimitProbes kLimitsAvx512Vnni;

namespace {

constexpr int kRounds = 1000;

// Twelve chains of four u8 x s8 products a lane.
void dot() {
  constexpr int kChains = 12;
  __m512i sums[kChains] = {};
  const __m512i x = _mm512_set1_epi32(3);
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (__m512i& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, x, x);
      asm volatile("" : "+v"(sum));
    }
}

void look_up_16() {
  constexpr int kChains = 8;
  const __m512i table = _mm512_set1_epi8(5);
  __m512i codes[kChains] = {};
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 8
    for (__m512i& code : codes) {
      code = _mm512_shuffle_epi8(table, code);
      asm volatile("" : "+v"(code));
    }
}

// Two look-ups in 128 entries, one taken by the code's sign.
void look_up_256() {
  constexpr int kChains = 8;
  const __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(-2), c = _mm512_set1_epi8(3), d = _mm512_set1_epi8(-4);
  __m512i codes[kChains] = {};
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 8
    for (__m512i& code : codes) {
      const __m512i low = _mm512_permutex2var_epi8(a, code, b), high = _mm512_permutex2var_epi8(c, code, d);
      code = _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(code), high);
      asm volatile("" : "+v"(code));
    }
}

void multiply_and_shift() {
  constexpr int kChains = 8;
  const __m512i m = _mm512_set1_epi32(1 << 30), half = _mm512_set1_epi32(1);
  __m512i values[kChains];
  for (__m512i& x : values) x = _mm512_set1_epi32(123456789);
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 8
    for (__m512i& x : values) {
      const __m512i even = _mm512_mul_epi32(x, m), odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), m);
      const __m512i high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
      x = _mm512_srai_epi32(_mm512_add_epi32(high, half), 1);
      asm volatile("" : "+v"(x));
    }
}

void read(const std::byte* data, int64_t bytes) {
  __m512i sums[4] = {};
  for (const std::byte* end = data + bytes; data < end; data += 512)
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      sums[i % 4] = _mm512_or_si512(sums[i % 4], _mm512_loadu_si512(data + 64 * i));
      asm volatile("" : "+v"(sums[i % 4]));
    }
}

}  // namespace

const LimitProbes kLimitsAvx512Vnni = {.isa = Isa::kAvx512Vnni,
                                       .dot = {"vpdpbusd", int64_t{kRounds} * 12 * 64, dot},
                                       .lookup_16 = {"vpshufb", int64_t{kRounds} * 8 * 64, look_up_16},
                                       .lookup_256 = {"vpermi2b x 2 + select", int64_t{kRounds} * 8 * 64, look_up_256},
                                       .mul_shift = {"vpmuldq x 2", int64_t{kRounds} * 8 * 16, multiply_and_shift},
                                       .read = read};

}  // namespace dyadic

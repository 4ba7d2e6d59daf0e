#include <immintrin.h>

#include "api/float_limit/float_limit.h"

namespace dyadic {

extern const Probe kFloatAvx512Vnni;

namespace {

constexpr int kRounds = 1000, kChains = 12;

void multiply_add() {
  __m512 sums[kChains] = {};
  const __m512 x = _mm512_set1_ps(0.5F);
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (__m512& sum : sums) {
      sum = _mm512_fmadd_ps(sum, x, x);
      asm volatile("" : "+v"(sum));
    }
}

}  // namespace

const Probe kFloatAvx512Vnni = {"vfmadd", int64_t{kRounds} * kChains * 16, multiply_add};

}  // namespace dyadic

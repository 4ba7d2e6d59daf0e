#include <immintrin.h>

#include "api/float_limit/float_limit.h"

namespace dyadic {

extern const Probe kFloatAvx2;

namespace {

constexpr int kRounds = 1000, kChains = 12;

void multiply_add() {
  __m256 sums[kChains] = {};
  const __m256 x = _mm256_set1_ps(0.5F);
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 12
    for (__m256& sum : sums) {
      sum = _mm256_fmadd_ps(sum, x, x);
      asm volatile("" : "+x"(sum));
    }
}

}  // namespace

const Probe kFloatAvx2 = {"vfmadd", int64_t{kRounds} * kChains * 8, multiply_add};

}  // namespace dyadic

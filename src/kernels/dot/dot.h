// Plain dot products of row-major operands: the reference of every faster one, and what tile programs call.
#pragma once
#include <cstdint>
#include <type_traits>

namespace dyadic {

// sum_k a[k] * b[k] for k < K. Sums modulo 2^bits(C): exact whenever the result fits C, whatever partial sums do. C
// must hold each product.
template <class C, class A, class B>
C dot_row(const A* a, const B* b, int64_t K) {
  std::make_unsigned_t<C> sum = 0;
  for (int64_t k = 0; k < K; ++k) sum += static_cast<std::make_unsigned_t<C>>(C{a[k]} * C{b[k]});
  return static_cast<C>(sum);
}

// c[i,j] = sum_k a[i,k] * b[j,k]: a is [M,K], b [N,K], c [M,N], their rows lda, ldb and ldc elements apart. Any M, N, K
// >= 0 (K = 0 gives zeros); nothing but these elements is read or written. Exact as dot_row.
void dot_s8s8_s32(int64_t M, int64_t N, int64_t K, const int8_t* a, int64_t lda, const int8_t* b, int64_t ldb,
                  int32_t* c, int64_t ldc);
void dot_u8s8_s32(int64_t M, int64_t N, int64_t K, const uint8_t* a, int64_t lda, const int8_t* b, int64_t ldb,
                  int32_t* c, int64_t ldc);
void dot_s16s16_s32(int64_t M, int64_t N, int64_t K, const int16_t* a, int64_t lda, const int16_t* b, int64_t ldb,
                    int32_t* c, int64_t ldc);
void dot_s16s16_s64(int64_t M, int64_t N, int64_t K, const int16_t* a, int64_t lda, const int16_t* b, int64_t ldb,
                    int64_t* c, int64_t ldc);

}  // namespace dyadic

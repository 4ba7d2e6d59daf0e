#include "kernels/dot/dot.h"

namespace dyadic {
namespace {

// Four columns share each load of a and sum independently, which is as much as compilers vectorise well.
template <class A, class B, class C>
void dot_4_columns(int64_t K, const A* a, const B* b, int64_t ldb, C* c) {
  const B *b0 = b, *b1 = b + ldb, *b2 = b + 2 * ldb, *b3 = b + 3 * ldb;
  std::make_unsigned_t<C> s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (int64_t k = 0; k < K; ++k) {
    s0 += static_cast<std::make_unsigned_t<C>>(C{a[k]} * C{b0[k]});
    s1 += static_cast<std::make_unsigned_t<C>>(C{a[k]} * C{b1[k]});
    s2 += static_cast<std::make_unsigned_t<C>>(C{a[k]} * C{b2[k]});
    s3 += static_cast<std::make_unsigned_t<C>>(C{a[k]} * C{b3[k]});
  }
  c[0] = static_cast<C>(s0);
  c[1] = static_cast<C>(s1);
  c[2] = static_cast<C>(s2);
  c[3] = static_cast<C>(s3);
}

template <class A, class B, class C>
void dot(int64_t M, int64_t N, int64_t K, const A* a, int64_t lda, const B* b, int64_t ldb, C* c, int64_t ldc) {
  for (int64_t i = 0; i < M; ++i, a += lda, c += ldc) {
    int64_t j = 0;
    for (; j + 4 <= N; j += 4) dot_4_columns(K, a, b + j * ldb, ldb, c + j);
    for (; j < N; ++j) c[j] = dot_row<C>(a, b + j * ldb, K);
  }
}

}  // namespace

void dot_s8s8_s32(int64_t M, int64_t N, int64_t K, const int8_t* a, int64_t lda, const int8_t* b, int64_t ldb,
                  int32_t* c, int64_t ldc) {
  dot(M, N, K, a, lda, b, ldb, c, ldc);
}

void dot_u8s8_s32(int64_t M, int64_t N, int64_t K, const uint8_t* a, int64_t lda, const int8_t* b, int64_t ldb,
                  int32_t* c, int64_t ldc) {
  dot(M, N, K, a, lda, b, ldb, c, ldc);
}

void dot_s16s16_s32(int64_t M, int64_t N, int64_t K, const int16_t* a, int64_t lda, const int16_t* b, int64_t ldb,
                    int32_t* c, int64_t ldc) {
  dot(M, N, K, a, lda, b, ldb, c, ldc);
}

void dot_s16s16_s64(int64_t M, int64_t N, int64_t K, const int16_t* a, int64_t lda, const int16_t* b, int64_t ldb,
                    int64_t* c, int64_t ldc) {
  dot(M, N, K, a, lda, b, ldb, c, ldc);
}

}  // namespace dyadic

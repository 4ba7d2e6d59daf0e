#include "kernels/dot/dot.h"

namespace dyadic {
namespace {

template <class A, class B, class C>
void dot(int64_t M, int64_t N, int64_t K, const A* a, int64_t lda, const B* b, int64_t ldb, C* c, int64_t ldc) {
  for (int64_t i = 0; i < M; ++i)
    for (int64_t j = 0; j < N; ++j) c[i * ldc + j] = dot_row<C>(a + i * lda, b + j * ldb, K);
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

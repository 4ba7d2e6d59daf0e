#include <memory>
#include <vector>

#include "base/random.h"
#include "kernels/dot/dot.h"
#include "support.h"

namespace dyadic {
namespace {

TEST(Dot, SumsProductsOfRows) {
  const std::vector<int8_t> a{1, -2, 3, 99, 127, 127, -127, 99}, b{4, 5, -6, -1, 0, 1};  // rows 4 and 3 apart
  std::vector<int32_t> c(6, 77);
  dot_s8s8_s32(2, 2, 3, a.data(), 4, b.data(), 3, c.data(), 3);
  EXPECT_EQ(c, (std::vector<int32_t>{4 - 10 - 18, -1 + 3, 77, 127 * 4 + 127 * 5 + 127 * 6, -127 - 127, 77}));
}

TEST(Dot, ExtremesOfEveryType) {
  const std::vector<int8_t> low(3, -128);
  const std::vector<uint8_t> high(3, 255);
  const std::vector<int16_t> low16(3, -32768), high16(3, 32767);
  int32_t c = 1;
  int64_t d = 1;
  dot_s8s8_s32(1, 1, 3, low.data(), 3, low.data(), 3, &c, 1);
  EXPECT_EQ(c, 3 * 128 * 128);
  dot_u8s8_s32(1, 1, 3, high.data(), 3, low.data(), 3, &c, 1);
  EXPECT_EQ(c, -3 * 255 * 128);
  dot_s16s16_s32(1, 1, 1, low16.data(), 1, high16.data(), 1, &c, 1);
  EXPECT_EQ(c, -32768 * 32767);
  dot_s16s16_s64(1, 1, 3, low16.data(), 3, low16.data(), 3, &d, 1);
  EXPECT_EQ(d, int64_t{3} << 30);
}

TEST(Dot, PartialSumsMayWrapWhenTheResultFits) {
  const std::vector<int16_t> a(4, -32768), b{-32768, -32768, 32767, 32767};
  int32_t c = 0;
  dot_s16s16_s32(1, 1, 4, a.data(), 4, b.data(), 4, &c, 1);
  EXPECT_EQ(c, 65536);
}

TEST(Dot, NothingToSumGivesZeros) {
  std::vector<int32_t> c(4, 5);
  dot_s8s8_s32(2, 2, 0, nullptr, 0, nullptr, 0, c.data(), 2);
  EXPECT_EQ(c, std::vector<int32_t>(4, 0));
  dot_s8s8_s32(0, 2, 3, nullptr, 3, nullptr, 3, nullptr, 2);
}

template <class A, class B, class C>
void check_grid(void (*dot)(int64_t, int64_t, int64_t, const A*, int64_t, const B*, int64_t, C*, int64_t)) {
  Random random(test::seed(), 1);
  const auto fill = [&](auto* p, int64_t n) {
    using T = std::remove_reference_t<decltype(*p)>;
    for (int64_t i = 0; i < n; ++i) p[i] = static_cast<T>(random.next64());
  };
  for (int64_t M : {1, 2, 5})
    for (int64_t N : {1, 3, 16})
      for (int64_t K : {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 200}) {
        // Exact sizes: an access beyond the last element is one beyond the allocation.
        const auto a = std::make_unique<A[]>(M * K);
        const auto b = std::make_unique<B[]>(N * K);
        const auto c = std::make_unique<C[]>(M * N);
        fill(a.get(), M * K);
        fill(b.get(), N * K);
        dot(M, N, K, a.get(), K, b.get(), K, c.get(), N);
        for (int64_t i = 0; i < M; ++i)
          for (int64_t j = 0; j < N; ++j) {
            int64_t sum = 0;
            for (int64_t k = 0; k < K; ++k) sum += int64_t{a[i * K + k]} * b[j * K + k];
            ASSERT_EQ(c[i * N + j], static_cast<C>(sum)) << M << "x" << N << "x" << K << " at " << i << "," << j;
          }
      }
}

TEST(Dot, EqualsPlain64BitLoops) {
  check_grid(dot_s8s8_s32);
  check_grid(dot_u8s8_s32);
  check_grid(dot_s16s16_s32);
  check_grid(dot_s16s16_s64);
}

}  // namespace
}  // namespace dyadic

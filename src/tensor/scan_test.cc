#include "tensor/scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace dyadic {
namespace {

template <class T>
std::vector<T> random_codes(size_t count, uint64_t seed) {
  std::vector<T> codes(count);
  Random random(seed);
  for (T& code : codes) code = static_cast<T>(random.next64());
  return codes;
}

template <class T>
class WidenColumns : public testing::Test {};
using StorageTypes = testing::Types<int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t>;
TYPED_TEST_SUITE(WidenColumns, StorageTypes);

TYPED_TEST(WidenColumns, KeepsWhatTheEndsHeld) {
  using T = TypeParam;
  for (const int64_t columns : {1, 3, 64, 131})
    for (const int64_t rows : {1, 2, 4, 5, 7, 33}) {
      const auto data = random_codes<T>(rows * columns, rows * columns);
      std::vector<T> lo(columns, 3), hi(columns, 2), expected_lo = lo, expected_hi = hi;
      for (int64_t i = 0; i < rows * columns; ++i) {
        T &least = expected_lo[i % columns], &greatest = expected_hi[i % columns];
        least = std::min(least, data[i]);
        greatest = std::max(greatest, data[i]);
      }
      widen_columns(data.data(), rows, columns, lo.data(), hi.data());
      EXPECT_EQ(lo, expected_lo) << rows << "x" << columns;
      EXPECT_EQ(hi, expected_hi) << rows << "x" << columns;
    }
}

// Of every sum, x being all ends: each weight meets the end that makes its product least or greatest.
TEST(WeightedSums, AreTheEndsOfEverySum) {
  for (const bool extreme : {false, true})
    for (const int64_t K : {1, 31, 224, 225, 384, 385, 1000}) {
      constexpr int64_t kRows = 5, kLeast = -(1 << 14), kGreatest = (1 << 14) - 1;
      auto weight = random_codes<int8_t>(kRows * K, K);
      if (extreme) std::fill_n(weight.begin(), 2 * K, int8_t{-128});
      std::vector<int64_t> lo(K, kLeast), hi(K, kGreatest);
      Random random(K);
      for (int64_t k = 0; !extreme && k < K; ++k) {
        lo[k] = kLeast + static_cast<int64_t>(random.below(1 << 15));
        hi[k] = lo[k] + static_cast<int64_t>(random.below(kGreatest - lo[k] + 1));
      }
      std::vector<int16_t> sum, width;
      for (int64_t k = 0; k < K; ++k) {
        sum.push_back(static_cast<int16_t>(lo[k] + hi[k]));
        width.push_back(static_cast<int16_t>(hi[k] - lo[k]));
      }
      std::vector<int64_t> least(kRows), greatest(kRows), magnitude(kRows);
      weighted_sums(weight.data(), kRows, K, sum.data(), width.data(), least.data(), greatest.data());
      magnitude_sums(weight.data(), kRows, K, magnitude.data());
      for (int64_t r = 0; r < kRows; ++r) {
        int64_t a = 0, b = 0, m = 0;
        for (int64_t k = 0; k < K; ++k) {
          const int64_t w = weight[r * K + k];
          a += std::min(w * lo[k], w * hi[k]);
          b += std::max(w * lo[k], w * hi[k]);
          m += w < 0 ? -w : w;
        }
        EXPECT_EQ(least[r], a) << K;
        EXPECT_EQ(greatest[r], b) << K;
        EXPECT_EQ(magnitude[r], m) << K;
        EXPECT_EQ(sum_of(&weight[r * K], K), std::accumulate(&weight[r * K], &weight[r * K] + K, int64_t{0})) << K;
      }
    }
}

}  // namespace
}  // namespace dyadic

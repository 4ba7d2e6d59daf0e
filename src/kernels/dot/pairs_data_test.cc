// The weights of a trained network: what few random weights look like.
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "kernels/dot/dot.h"
#include "kernels/dot/pairs.h"
#include "kernels/dot/panels.h"
#include "support.h"
#include "tensor/safetensors.h"

namespace dyadic {
namespace {

// Symmetric codes of the rows of a matrix, each scaled to its largest value.
std::vector<int8_t> codes_of(const Tensor& weight) {
  const int64_t N = weight.dim(0), K = weight.dim(1);
  std::vector<int8_t> codes;
  for (int64_t n = 0; n < N; ++n) {
    const float* row = weight.data<float>() + n * K;
    float largest = 0;
    for (int64_t k = 0; k < K; ++k) largest = std::max(largest, std::abs(row[k]));
    for (int64_t k = 0; k < K; ++k) codes.push_back(static_cast<int8_t>(std::lround(127 * row[k] / largest)));
  }
  return codes;
}

TEST(PairsData, AreExactAndPayOnAllWeightsOfMiniLm) {
  const auto folder = test::minilm_dir();
  DYADIC_SKIP_WITHOUT(folder, "no MiniLM model folder (scripts/fetch_models.sh, DYADIC_MODELS)");
  if (detected_isa() < Isa::kAvx2) GTEST_SKIP() << "SKIPPED: this CPU has no AVX2";
  const auto file = Safetensors::open(*folder + "/model.safetensors");
  Random random(test::seed(), 1);
  int matrices = 0;
  for (const auto& name : file->names()) {
    if (!name.ends_with("dense.weight") && !name.ends_with("query.weight") && !name.ends_with("key.weight") &&
        !name.ends_with("value.weight"))
      continue;
    if (name.find("layer.") == std::string::npos) continue;
    const Tensor weight = file->tensor(name);
    const int64_t N = weight.dim(0), K = weight.dim(1);
    const std::vector<int8_t> b = codes_of(weight);
    const bool after_gelu = K > N;
    const Interval range{after_gelu ? -11 : -127, 127};
    std::vector<int64_t> columns(N);
    for (int64_t n = 0; n < N; ++n) columns[n] = n;
    const Panels panels = pack_fastest(Isa::kAvx2, DataType::kI8, DataType::kI8,
                                       {reinterpret_cast<const std::byte*>(b.data()), K, K, columns, range});
    EXPECT_EQ(panels.dot, &kPairsAvx2) << name << panels.note;

    // The rows that drive the sums of some columns furthest, and noise.
    std::vector<int8_t> a;
    for (int64_t row = 0; row < 40; ++row) {
      const int64_t n = static_cast<int64_t>(random.below(N));
      for (int64_t k = 0; k < K; ++k)
        a.push_back(static_cast<int8_t>(row % 4 == 3
                                            ? range.lo + static_cast<int64_t>(random.below(range.hi - range.lo + 1))
                                        : (b[n * K + k] > 0) == (row % 4 != 1) ? range.hi
                                                                               : range.lo));
    }
    std::vector<int32_t> c(40 * N);
    AlignedBuffer scratch(product_scratch_bytes(panels, 40));
    product(panels, 40, N, a.data(), K, c.data(), N, scratch.data());
    for (int64_t i = 0; i < 40 * N; ++i)
      ASSERT_EQ(c[i], dot_row<int32_t>(a.data() + i / N * K, b.data() + i % N * K, K)) << name << " " << i;
    ++matrices;
  }
  EXPECT_EQ(matrices, 36);
}

}  // namespace
}  // namespace dyadic

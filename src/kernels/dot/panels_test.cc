#include "kernels/dot/panels.h"

#include <memory>

#include "base/random.h"
#include "base/status.h"
#include "kernels/dot/dot.h"
#include "kernels/guarded_memory.h"
#include "support.h"
#include "tensor/tensor.h"

namespace dyadic {

void PrintTo(const PanelDot* dot, std::ostream* out) { *out << dot->name; }

namespace {

using test::GuardedMemory;

class PanelDots : public ::testing::TestWithParam<const PanelDot*> {
 protected:
  void SetUp() override {
    if (!cpu_runs(dot())) GTEST_SKIP() << "SKIPPED: this CPU (" << cpu_model() << ") does not run " << dot().name;
  }
  const PanelDot& dot() const { return *GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Rows, PanelDots,
                         ::testing::ValuesIn(std::vector<const PanelDot*>(panel_dots().begin(), panel_dots().end())),
                         [](const auto& info) { return std::string(info.param->name); });

// Operands in memory that ends with their last element, and what comes of them.
class Product {
 public:
  // `ldb`, `lda`: elements from row to row. `code(type, i)`: element i of an operand of that type.
  template <class Code>
  Product(const PanelDot& dot, int64_t M, int64_t N, int64_t K, int64_t lda, int64_t ldb, const Code& code)
      : M_(M),
        N_(N),
        K_(K),
        lda_(lda),
        ldb_(ldb),
        a_(bytes_of(dot.a, M, K, lda)),
        b_(bytes_of(dot.b, N, K, ldb)),
        expected_(M * N) {
    dispatch(dot.a, [&]<class A>(A) { fill(a_.as<A>(), (M - 1) * lda + K, dot.a, code); });
    dispatch(dot.b, [&]<class B>(B) { fill(b_.as<B>(), (N - 1) * ldb + K, dot.b, code); });
    dispatch(dot.a, [&]<class A>(A) {
      dispatch(dot.b, [&]<class B>(B) {
        if constexpr (sizeof(A) <= 2 && sizeof(B) <= 2)
          for (int64_t i = 0; i < M * N; ++i)
            expected_[i] = dot_row<int32_t>(a_.as<A>() + i / N * lda, b_.as<B>() + i % N * ldb, K);
      });
    });
  }

  void check(const PanelDot& dot) const {
    const Panels panels = pack_panels(dot, b_.data(), ldb_, N_, K_);
    const GuardedMemory scratch((product_scratch_bytes(panels, M_) + 63) / 64 * 64);
    const int64_t ldc = N_ + 3;
    const GuardedMemory c(((M_ - 1) * ldc + N_) * sizeof(int32_t));
    std::fill_n(c.as<int32_t>(), (M_ - 1) * ldc + N_, 77);
    product(panels, M_, N_, a_.data(), lda_, c.as<int32_t>(), ldc, scratch.data());
    for (int64_t i = 0; i < M_; ++i) {
      for (int64_t n = 0; n < N_; ++n)
        ASSERT_EQ(c.as<int32_t>()[i * ldc + n], expected_[i * N_ + n])
            << M_ << "x" << N_ << "x" << K_ << " at " << i << "," << n;
      for (int64_t n = N_; n < ldc && i + 1 < M_; ++n)
        ASSERT_EQ(c.as<int32_t>()[i * ldc + n], 77) << "beyond row " << i;
    }
  }

 private:
  static size_t bytes_of(DataType type, int64_t rows, int64_t K, int64_t ld) {
    return static_cast<size_t>(storage_bytes(type, (rows - 1) * ld + K));
  }
  template <class T, class Code>
  static void fill(T* to, int64_t count, DataType type, const Code& code) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(code(type, i));
  }

  int64_t M_, N_, K_, lda_, ldb_;
  GuardedMemory a_, b_;
  std::vector<int32_t> expected_;
};

TEST_P(PanelDots, EqualDotRowOnEveryShape) {
  Random random(test::seed(), 1);
  const auto noise = [&](DataType, int64_t) { return static_cast<int64_t>(random.next64()); };
  const int64_t P = dot().columns;
  for (int64_t K = 1; K <= 67; ++K)
    for (const int64_t M : {1 + K % 6, 7 + K % 7})
      for (const int64_t N : {int64_t{1}, P - 1, P, P + 1, 2 * P + 3})
        Product(dot(), M, N, K, K + K % 3, K + K % 2, noise).check(dot());
  for (const int64_t K : {384, 1536})
    for (int64_t M = 1; M <= 13; ++M) Product(dot(), M, P + 5, K, K, K, noise).check(dot());
  // Around tiles of 16 rows.
  for (const int64_t K : {63, 64, 65, 192})
    for (const int64_t M : {14, 15, 16, 17, 18, 31, 32, 33, 40, 47, 48, 49, 63, 64, 70})
      Product(dot(), M, 2 * P + 1, K, K + 1, K, noise).check(dot());
}

TEST_P(PanelDots, EqualDotRowOnChunksOfRows) {
  Random random(test::seed(), 2);
  const auto noise = [&](DataType, int64_t) { return static_cast<int64_t>(random.next64()); };
  for (const int64_t M : {kChunkRows, kChunkRows + 1, 2 * kChunkRows + 3})
    Product(dot(), M, 5, 7, 7, 7, noise).check(dot());
  // Sums of more than two megabytes, which leave a second-level cache of less than 2.8.
  Product(dot(), 2 * kChunkRows + 3, 1027, 7, 7, 7, noise).check(dot());
  // Weights of more than a megabyte, half of such a cache: tiles share the fetches.
  Product(dot(), 31, 1027, 1101, 1101, 1101, noise).check(dot());
  // Rows of as much: each tile fetches those of the next.
  Product(dot(), 2 * kChunkRows + 3, 5, 2304, 2304, 2304, noise).check(dot());
}

// Codes at both ends of their types, alternating by several periods; sums that wrap included.
TEST_P(PanelDots, EqualDotRowOnExtremeCodes) {
  for (const int64_t K : {1, 2, 3, 4, 31, 32, 1536})
    for (const int64_t period : {1, 2, 3, 4, 7, 1 << 30}) {
      const auto extremes = [&](DataType type, int64_t i) { return i / period % 2 ? lowest(type) : highest(type); };
      const auto lowest_of = [&](DataType type, int64_t) { return lowest(type); };
      Product(dot(), 7, dot().columns + 1, K, K, K, extremes).check(dot());
      if (period == 1) Product(dot(), 7, dot().columns + 1, K, K, K, lowest_of).check(dot());
    }
}

// Columns in any order, some of them absent: what a caller with an epilogue of its own needs.
TEST_P(PanelDots, PacksColumnsInTheOrderAskedFor) {
  Random random(test::seed(), 2);
  const int64_t K = 21, N = 5, P = dot().columns;
  std::vector<int16_t> a(K), b(N * K);  // small enough for every pair of types
  for (int16_t& x : a) x = static_cast<int16_t>(random.below(100));
  for (int16_t& x : b) x = static_cast<int16_t>(random.below(100)) - 50;
  const auto narrow = [](DataType type, const std::vector<int16_t>& values) {
    Tensor t(type, {static_cast<int64_t>(values.size())});
    for (size_t i = 0; i < values.size(); ++i) t.set(i, values[i]);
    return t;
  };
  const Tensor ta = narrow(dot().a, a), tb = narrow(dot().b, b);
  std::vector<int64_t> order(2 * P);
  for (int64_t& n : order) n = static_cast<int64_t>(random.below(N + 1)) - 1;
  const Panels panels = pack_panels(dot(), {tb.raw(), K, K, order});
  ASSERT_EQ(panels.panels.size(), 2u);
  AlignedBuffer packed(row_bytes(dot(), K)), scratch(panels.scratch_bytes());
  const DotRows rows = dot_rows(dot(), ta.raw(), K, 1, K, packed.data());
  std::vector<int32_t> tile(2 * P);
  for (const size_t p : {0, 1})
    if (dot().stream)
      stream(panels, p, 1, rows, 1, tile.data() + p * P, P);
    else
      multiply(panels, p, rows, 1, panels.start.data() + p * P, tile.data() + p * P, P, {}, scratch.data());
  for (int64_t c = 0; c < 2 * P; ++c)
    ASSERT_EQ(tile[c], order[c] < 0 ? 0 : dot_row<int32_t>(a.data(), b.data() + order[c] * K, K)) << c;
}

TEST_P(PanelDots, NothingToSumGivesZeros) {
  const Panels panels = pack_panels(dot(), nullptr, 0, 3, 0);
  std::vector<int32_t> c(6, 5);
  product(panels, 2, 3, nullptr, 0, c.data(), 3, nullptr);
  EXPECT_EQ(c, std::vector<int32_t>(6, 0));
  product(panels, 0, 3, nullptr, 0, nullptr, 3, nullptr);
}

// Each row of each panel comes once, with its own sums, whatever number of rows a block has.
class Streams : public PanelDots {};
std::vector<const PanelDot*> streams() {
  std::vector<const PanelDot*> found;
  for (const PanelDot* dot : panel_dots())
    if (dot->stream) found.push_back(dot);
  return found;
}
INSTANTIATE_TEST_SUITE_P(Rows, Streams, ::testing::ValuesIn(streams()),
                         [](const auto& info) { return std::string(info.param->name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Streams);  // other processors than x86-64

TEST_P(Streams, EveryRowOnce) {
  Random random(test::seed(), 3);
  const int64_t P = dot().columns, N = 3 * P;
  for (const int64_t K : {0, 1, 64, 100, 1536})
    for (const int64_t M : {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 65, 100}) {
      std::vector<int8_t> a(M * K), b(N * K);
      for (int8_t& x : a) x = static_cast<int8_t>(random.below(128));
      for (int8_t& x : b) x = static_cast<int8_t>(random.next64());
      const Panels panels = pack_panels(dot(), b.data(), K, N, K);
      AlignedBuffer packed(M * row_bytes(dot(), K));
      const DotRows rows = dot_rows(dot(), a.data(), K, M, K, packed.data());
      struct Sums {
        int64_t P;
        std::vector<int32_t> sums, times;
      } got{P, std::vector<int32_t>(M * N), std::vector<int32_t>(M * N)};
      const auto take = [](void* self, const int32_t* block, int64_t row, int64_t count, int64_t panel) {
        Sums& got = *static_cast<Sums*>(self);
        for (int64_t i = 0; i < count * got.P; ++i) {
          const int64_t at = (row + i / got.P) * 2 * got.P + panel * got.P + i % got.P;
          got.sums.at(at) = block[i], ++got.times.at(at);
        }
      };
      stream(panels, 1, 2, rows, M, take, &got);  // not the first panel
      for (int64_t i = 0; i < M; ++i)
        for (int64_t n = 0; n < 2 * P; ++n) {
          ASSERT_EQ(got.times[i * 2 * P + n], 1) << M << "x" << K << " at " << i << "," << n;
          ASSERT_EQ(got.sums[i * 2 * P + n], dot_row<int32_t>(a.data() + i * K, b.data() + (P + n) * K, K))
              << M << "x" << K << " at " << i << "," << n;
        }
    }
}

TEST(PanelDotTable, HasEachPairOfTypesForEveryInstructionSet) {
  for (const Isa isa : kAllIsas)
    for (const auto& [a, b] : {std::pair{DataType::kI8, DataType::kI8}, std::pair{DataType::kU8, DataType::kI8},
                               std::pair{DataType::kI16, DataType::kI8}, std::pair{DataType::kI16, DataType::kI16}}) {
      const PanelDot& dot = panel_dot(isa, a, b);
      EXPECT_LE(dot.isa, isa);
      EXPECT_EQ(dot.a, a);
      EXPECT_EQ(dot.b, b);
      EXPECT_LE(dot.columns, kMaxDotColumns);
      EXPECT_TRUE(dot.stream ? !dot.dot[1] && dot.a_offset == 0 : dot.rows <= kMaxDotRows && dot.dot[dot.rows]);
    }
  EXPECT_THROW(panel_dot(Isa::kPortable, DataType::kI8, DataType::kI32), Error);
}

#if defined(__x86_64__)
TEST(PanelDotTable, FeaturesBeyondALevelDecide) {
  const auto of = [](Isa isa, bool (*has)(DotFeature)) {
    return std::string(panel_dot(isa, has, DataType::kU8, DataType::kI8).name);
  };
  const auto nothing = [](DotFeature f) { return f == DotFeature::kNone; };
  const auto skylake = [](DotFeature f) { return f == DotFeature::kNone || f == DotFeature::kAvx512; };
  const auto cascade_lake = [](DotFeature f) {
    return f == DotFeature::kNone || f == DotFeature::kAvx512 || f == DotFeature::kAvx512Vnni;
  };
  const auto alder_lake = [](DotFeature f) { return f == DotFeature::kNone || f == DotFeature::kAvxVnni; };
  EXPECT_EQ(of(Isa::kPortable, nothing), "u8s8_portable");
  EXPECT_EQ(of(Isa::kAvx2, nothing), "u8s8_avx2");
  EXPECT_EQ(of(Isa::kAvx2, skylake), "u8s8_avx512");
  EXPECT_EQ(of(Isa::kAvx2, cascade_lake), "u8s8_avx512_vnni");
  EXPECT_EQ(of(Isa::kAvx2, alder_lake), "u8s8_avxvnni");
  EXPECT_EQ(of(Isa::kAvx512Vnni, nothing), "u8s8_avx512vnni");
  EXPECT_EQ(of(Isa::kAmx, nothing), "u8s8_amx");
}
#endif

}  // namespace
}  // namespace dyadic

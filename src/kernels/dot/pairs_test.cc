#include "kernels/dot/pairs.h"

#include <numeric>
#include <set>

#include "base/random.h"
#include "disassembly.h"
#include "kernels/dot/dot.h"
#include "kernels/dot/panels.h"
#include "kernels/guarded_memory.h"
#include "support.h"

namespace dyadic {
namespace {

using test::GuardedMemory;

class Pairs : public ::testing::Test {
 protected:
  void SetUp() override {
    if (detected_isa() < Isa::kAvx2) GTEST_SKIP() << "SKIPPED: this CPU has no AVX2";
  }
};

// b [N,K], and a range that codes of a keep to.
struct Weights {
  int64_t N, K;
  Interval range;
  std::vector<int8_t> b;

  std::vector<int64_t> columns() const {
    std::vector<int64_t> rows((N + kPairColumns - 1) / kPairColumns * kPairColumns, -1);
    std::iota(rows.begin(), rows.begin() + N, 0);
    return rows;
  }
  Panels pack() const {
    return pack_panels(kPairsAvx2, {reinterpret_cast<const std::byte*>(b.data()), K, K, columns(), range});
  }
  PairOrders orders() const {
    return find_pair_orders({reinterpret_cast<const std::byte*>(b.data()), K, K, columns(), range});
  }
};

// Rows that drive the sums of each column furthest up and down, then noise. Sums in 16 bits that are exact for these
// are exact for all rows in the range.
std::vector<int8_t> worst_rows(const Weights& w, Random& random, int64_t noise) {
  std::vector<int8_t> a;
  for (int64_t n = 0; n < w.N; ++n)
    for (const bool up : {true, false})
      for (int64_t k = 0; k < w.K; ++k)
        a.push_back(static_cast<int8_t>((w.b[n * w.K + k] > 0) == up ? w.range.hi : w.range.lo));
  for (int64_t i = 0; i < noise * w.K; ++i)
    a.push_back(static_cast<int8_t>(w.range.lo + static_cast<int64_t>(random.below(w.range.hi - w.range.lo + 1))));
  return a;
}

void check(const Weights& w, Random& random, std::set<PairForm>* forms = nullptr) {
  const std::vector<int8_t> rows = worst_rows(w, random, 5);
  const int64_t M = static_cast<int64_t>(rows.size()) / w.K;
  const GuardedMemory a(rows.size());
  std::copy(rows.begin(), rows.end(), a.as<int8_t>());
  const Panels panels = w.pack();
  const GuardedMemory scratch((product_scratch_bytes(panels, M) + 63) / 64 * 64);
  std::vector<int32_t> c(M * w.N);
  product(panels, M, w.N, a.data(), w.K, c.data(), w.N, scratch.data());
  for (int64_t i = 0; i < M * w.N; ++i)
    ASSERT_EQ(c[i], dot_row<int32_t>(a.as<int8_t>() + i / w.N * w.K, w.b.data() + i % w.N * w.K, w.K))
        << w.N << "x" << w.K << " at " << i / w.N << "," << i % w.N;
  for (const Panel& panel : panels.panels) {
    const PairHeader& header = *reinterpret_cast<const PairHeader*>(panels.bytes.data() + panel.at);
    for (int form = 0; forms && form < kPairForms; ++form)
      if (header.blocks[form] > 0) forms->insert(static_cast<PairForm>(form));
  }
}

int8_t noise(Random& random, int64_t largest) {
  return static_cast<int8_t>(static_cast<int64_t>(random.below(2 * largest + 1)) - largest);
}

TEST_F(Pairs, AreExactForTheWorstRowsOfEveryColumn) {
  Random random(test::seed(), 1);
  std::set<PairForm> forms;
  for (const Interval range : {Interval{-127, 127}, Interval{-128, 127}, Interval{-11, 127}, Interval{-127, 5},
                               Interval{0, 10}, Interval{3, 9}})
    for (const int64_t largest : {3, 16, 25, 40, 64, 90, 127})
      for (const int64_t K : {1, 15, 16, 17, 33, 64, 100}) {
        Weights w{K % 2 ? 35 : 9, K, range, {}};
        for (int64_t i = 0; i < w.N * K; ++i) w.b.push_back(noise(random, largest));
        check(w, random, &forms);
      }
  EXPECT_EQ(forms.size(), kPairForms);
}

// A few large weights among small ones, as trained networks have them, through several chunks of blocks.
TEST_F(Pairs, AreExactForLongRowsOfSkewedWeights) {
  Random random(test::seed(), 2);
  for (const int64_t K : {384, 777, 1536}) {
    Weights w{40, K, {-127, 127}, {}};
    for (int64_t i = 0; i < w.N * K; ++i) w.b.push_back(noise(random, random.below(6) == 0 ? 127 : 40));
    check(w, random);
  }
}

// No pair of these is safe in any column, so half of each is excess.
TEST_F(Pairs, AreExactWhereEveryPairIsUnsafe) {
  Random random(test::seed(), 3);
  for (const int8_t weight : {int8_t{127}, int8_t{-127}, int8_t{-128}})
    for (const int64_t K : {5, 16, 50, 400}) {
      Weights w{33, K, {-128, 127}, std::vector<int8_t>(33 * K, weight)};
      check(w, random);
      EXPECT_FALSE(K >= 16 && weight == -128 && pairs_pay(w.orders()));
      // Of random signs, some are equal and some opposite whichever k's are paired, so negating does not help.
      for (int8_t& b : w.b) b = static_cast<int8_t>(random.below(2) ? weight : -weight - (weight == -128));
      w.range = {-127, 127};
      check(w, random);
      EXPECT_FALSE(K >= 16 && pairs_pay(w.orders()));
    }
}

// Bell-shaped weights, as trained networks have them: all but a few pairs are safe if rows reach 127, most sums of four
// if they reach 80.
TEST_F(Pairs, OrdersMakeMostSumsSafe) {
  Random random(test::seed(), 5);
  for (const int64_t reach : {127, 80}) {
    Weights w{64, 768, {-127, 127}, {}};
    for (int64_t n = 0; n < w.N; ++n) {
      std::vector<int64_t> row(w.K);
      int64_t largest = 1;
      for (int64_t& x : row) {
        for (int i = 0; i < 12; ++i) x += noise(random, 100);
        largest = std::max(largest, std::abs(x));
      }
      for (const int64_t x : row) w.b.push_back(static_cast<int8_t>(reach * x / largest));
    }
    int64_t unsafe = 0, in_fours = 0;
    const PairOrders orders = w.orders();
    for (const PairBlock& block : orders.blocks) unsafe += block.unsafe, in_fours += block.form != kSums2;
    const int64_t blocks = std::ssize(orders.blocks);
    EXPECT_EQ(blocks, 96);
    EXPECT_LE(100 * unsafe, 4 * blocks) << unsafe << " pairs, reach " << reach;
    EXPECT_GE(100 * in_fours, reach == 80 ? 90 * blocks : 0) << in_fours << " blocks, reach " << reach;
  }
}

TEST_F(Pairs, ServeWhereTheyPay) {
  Random random(test::seed(), 4);
  const auto packed = [&](int64_t largest) {
    Weights w{64, 64, {-127, 127}, {}};
    for (int64_t i = 0; i < w.N * w.K; ++i) w.b.push_back(noise(random, largest));
    std::vector<int64_t> columns(64);
    for (int64_t n = 0; n < 64; ++n) columns[n] = n;
    return pack_fastest(Isa::kAvx2, DataType::kI8, DataType::kI8,
                        {reinterpret_cast<const std::byte*>(w.b.data()), w.K, w.K, columns, w.range});
  };
  const Panels small = packed(16), large = packed(127);
  EXPECT_STREQ(small.dot->name, "s8s8_avx2_pairs");
  EXPECT_EQ(small.note, ", 16-bit sums of 8 in 100 % of k, of 4 in 0 %, of 2 in 0 %, 0 % extra k");
  EXPECT_STREQ(large.dot->name, "s8s8_avx2");
  EXPECT_THAT(large.note, ::testing::HasSubstr("not the slower s8s8_avx2_pairs"));
}

// Every inner loop keeps its sums in registers, as registers_test.cc says of the others.
TEST_F(Pairs, SumsStayInRegisters) {
  ASSERT_NE(kPairsAvx2.dot[kMaxDotRows], nullptr);  // links them into this program
  if (const std::string why = test::no_disassembly(); !why.empty()) GTEST_SKIP() << why;
  int loops = 0;
  for (const char* name : {"dot_eights", "dot_fours"})
    for (const test::Function& function : test::disassemble(name))
      for (const std::vector<test::Instruction>& loop : test::loops(function)) {
        const auto multiplies = [](const test::Instruction& i) { return i.text.rfind("vpmaddubsw", 0) == 0; };
        if (std::none_of(loop.begin(), loop.end(), multiplies)) continue;
        ++loops;
        for (const test::Instruction& i : loop)
          EXPECT_FALSE(test::touches_stack(function, i)) << function.name << ": " << i.text;
      }
  EXPECT_GE(loops, 3 + 2 * 4);
}

}  // namespace
}  // namespace dyadic

#include <algorithm>
#include <cmath>
#include <random>

#include "graph/bodies/bodies.h"
#include "graph/evaluator.h"
#include "kernels/attention/attention.h"
#include "kernels/testing.h"
#include "support.h"

namespace dyadic {
namespace {

// x / 2^s, ties up, in arithmetic that cannot overflow here.
int64_t rounded(__int128 x, int s) { return static_cast<int64_t>((2 * x + (__int128{1} << s)) >> (s + 1)); }

struct Case {
  int64_t heads = 1, head_dim = 32, rows = 0;
  std::vector<int32_t> start, length;
  std::vector<uint8_t> table;
  int32_t distance_m = 0, out_m = 0;
  uint8_t distance_s = 1, out_s = 1;
  std::vector<int8_t> q, k, v;

  KernelSpec spec() const {
    KernelSpec s;
    s.composite = "attention";
    s.integers = {{"heads", heads}, {"head_dim", head_dim}};
    for (const char* name : {"q", "k", "v"}) s.inputs.push_back(testing::data(name, DataType::kI8, {-1, width()}));
    for (const char* name : {"start", "length"}) s.inputs.push_back(testing::data(name, DataType::kI32, {-1}));
    s.inputs.push_back(testing::parameter<uint8_t>("table", table));
    s.inputs.push_back(testing::parameter<int32_t>("distance_m", {distance_m}));
    s.inputs.push_back(testing::parameter<uint8_t>("distance_s", {distance_s}));
    s.inputs.push_back(testing::parameter<int32_t>("out_m", {out_m}));
    s.inputs.push_back(testing::parameter<uint8_t>("out_s", {out_s}));
    s.outputs.push_back(testing::data("context", DataType::kI8, {-1, width()}));
    return s;
  }
  int64_t width() const { return heads * head_dim; }
  int64_t longest() const { return length.empty() ? 0 : *std::max_element(length.begin(), length.end()); }
  std::vector<Tensor> inputs() const {
    const Dims dims{rows, width()}, batch{static_cast<int64_t>(start.size())};
    return {Tensor::from(dims, q), Tensor::from(dims, k), Tensor::from(dims, v), Tensor::from(batch, start),
            Tensor::from(batch, length)};
  }
  std::string name() const {
    return cat(heads, " x ", head_dim, ", ", rows, " rows, longest ", longest(), ", distance ", distance_m, "/2^",
               int{distance_s}, ", out ", out_m, "/2^", int{out_s});
  }
};

// The definition, one number after the other.
std::vector<int8_t> expected(const Case& c) {
  std::vector<int8_t> context(c.rows * c.width(), 0);
  for (size_t b = 0; b < c.start.size(); ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t r = 0; r < c.length[b]; ++r) {
        const int64_t base = c.start[b] * c.width() + h * c.head_dim;
        std::vector<int64_t> score(c.length[b]), e(c.length[b]);
        for (int64_t j = 0; j < c.length[b]; ++j)
          for (int64_t i = 0; i < c.head_dim; ++i)
            score[j] += c.q[base + r * c.width() + i] * c.k[base + j * c.width() + i];
        const int64_t top = *std::max_element(score.begin(), score.end());
        int64_t sigma = 0;
        for (int64_t j = 0; j < c.length[b]; ++j)
          sigma += e[j] = c.table[std::min<int64_t>(
              255, rounded(static_cast<__int128>(top - score[j]) * c.distance_m, c.distance_s))];
        const int64_t reciprocal = (int64_t{1} << 32) / sigma;
        for (int64_t i = 0; i < c.head_dim; ++i) {
          int64_t acc = 0;
          for (int64_t j = 0; j < c.length[b]; ++j) acc += e[j] * c.v[base + j * c.width() + i];
          const int64_t t = rounded(static_cast<__int128>(acc) * reciprocal, 16);
          const int64_t y = rounded(static_cast<__int128>(t) * c.out_m, c.out_s);
          context[base + r * c.width() + i] = static_cast<int8_t>(std::clamp<int64_t>(y, -127, 127));
        }
      }
  return context;
}

// Every row of this composite that runs here and accepts the case gives `want`; the portable row accepts all.
void check_against(const std::vector<int8_t>& want, const Case& c, std::initializer_list<int> thread_counts) {
  SCOPED_TRACE(c.name());
  const KernelSpec spec = c.spec();
  const Tensor out(DataType::kI8, {c.rows, c.width()});
  for (const KernelRow* row : testing::rows_of("attention")) {
    if (row->isa > detected_isa()) continue;
    const std::string reason = row->reject(spec);
    if (!reason.empty()) {
      ASSERT_NE(row->isa, Isa::kPortable) << reason;
      continue;
    }
    const std::unique_ptr<Kernel> kernel = row->make(spec);
    for (int threads : thread_counts) {
      const std::vector<Tensor> got = testing::run(*kernel, c.inputs(), {out}, c.longest(), threads);
      const int8_t* y = got[0].data<int8_t>();
      const auto difference = std::mismatch(want.begin(), want.end(), y);
      ASSERT_TRUE(difference.first == want.end())
          << row->name << ", " << threads << " threads, element " << difference.first - want.begin() << ": "
          << int{*difference.second} << ", not " << int{*difference.first};
    }
  }
}

void check(const Case& c, std::initializer_list<int> thread_counts = {1}) {
  check_against(expected(c), c, thread_counts);
}

class Attention : public ::testing::Test {
 protected:
  std::mt19937_64 random{test::seed()};

  int64_t below(int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); }
  int8_t code() { return static_cast<int8_t>(below(255) - 127); }
  std::vector<int8_t> codes(int64_t count) {
    std::vector<int8_t> x(count);
    for (int8_t& v : x) v = code();
    return x;
  }
  // exp(-D / 16) in 255ths, rounded; from D = 100 on 0.
  static std::vector<uint8_t> exponential() {
    std::vector<uint8_t> table(256);
    for (int i = 0; i < 256; ++i) table[i] = static_cast<uint8_t>(255 * std::exp(-i / 16.0) + 0.5);
    return table;
  }
  std::vector<uint8_t> any_table() {
    std::vector<uint8_t> table(256);
    for (uint8_t& e : table) e = static_cast<uint8_t>(below(256));
    table[0] = std::max<uint8_t>(table[0], 3);
    return table;
  }
  // Sequences of these lengths with gaps between them, in a shuffled list, and random codes.
  Case packed(int64_t heads, int64_t head_dim, std::vector<int32_t> lengths, int64_t max_gap) {
    Case c;
    c.heads = heads;
    c.head_dim = head_dim;
    c.length = std::move(lengths);
    std::shuffle(c.length.begin(), c.length.end(), random);
    for (int32_t length : c.length) {
      c.rows += below(max_gap + 1);
      c.start.push_back(static_cast<int32_t>(c.rows));
      c.rows += length;
    }
    c.rows += below(max_gap + 1);
    for (size_t i = 1; i < c.start.size(); ++i) {
      const size_t j = static_cast<size_t>(below(static_cast<int64_t>(i) + 1));
      std::swap(c.start[i], c.start[j]);
      std::swap(c.length[i], c.length[j]);
    }
    c.q = codes(c.rows * c.width());
    c.k = codes(c.rows * c.width());
    c.v = codes(c.rows * c.width());
    c.table = exponential();
    // A distance step of sqrt(head_dim) * 2^7 scores, an output step of a code.
    c.distance_m = static_cast<int32_t>((int64_t{1} << 30) / std::sqrt(static_cast<double>(head_dim))) - 1;
    c.distance_s = 37;
    c.out_m = 1518500250;
    c.out_s = 46;
    return c;
  }
  void short_distance(Case& c) {  // 11 bits of multiplier, as a fit may choose
    c.distance_m >>= 20;
    c.distance_s -= 20;
  }
};

TEST_F(Attention, EveryLengthAndHeadDim) {
  for (int64_t head_dim : {4, 8, 16, 32, 64})
    for (int32_t length = 1; length <= 40; ++length) {
      Case c = packed(2, head_dim, {length}, 2);
      check(c);
      short_distance(c);
      check(c);
    }
}

TEST_F(Attention, LengthsAroundPowersOfTwoAndLong) {
  for (int32_t length : {63, 64, 65, 127, 128, 129, 255, 256, 257, 512}) {
    Case c = packed(1, 32, {length}, 0);
    check(c);
    short_distance(c);
    check(c);
  }
  check(packed(1, 4, {1500}, 0));
  Case c = packed(1, 4, {1027}, 0);
  std::fill(c.table.begin(), c.table.end(), 255);  // the largest sums of e
  check(c);
  short_distance(c);
  check(c);
}

TEST_F(Attention, EveryHeadDimUpTo260) {
  for (int64_t head_dim = 1; head_dim <= 260; head_dim += head_dim < 70 ? 1 : 3)
    for (int32_t length : {21, 70}) check(packed(1, head_dim, {length}, 1));
}

// From 64 keys on tile registers do the products, 16 queries, 16 keys and 64 keys at a time.
TEST_F(Attention, EveryLengthBetweenTiles) {
  for (int64_t head_dim : {4, 20, 32, 64, 96, 128})
    for (int32_t length = 64; length <= 97; ++length) {
      Case c = packed(2, head_dim, {length}, 2);
      if (length % 3 == 0) c.table = any_table();
      check(c);
      short_distance(c);
      check(c);
    }
}

TEST_F(Attention, HeadsSequencesGapsAndThreads) {
  for (int64_t heads = 1; heads <= 12; ++heads) check(packed(heads, 8, {3, 0, 17, 1, 33, 0, 5}, 4), {1, 2, 3});
  check(packed(12, 32, {40, 7, 1, 0, 16}, 3), {1, 2, 3});
  check(packed(2, 16, {}, 5));
  check(packed(2, 16, {}, 0));
  check(packed(2, 16, {0, 0}, 5));
}

TEST_F(Attention, TablesOfAnyContent) {
  for (int i = 0; i < 40; ++i) {
    Case c = packed(1, 16, {static_cast<int32_t>(1 + below(80))}, 0);
    c.table = any_table();
    if (i % 4 == 1) std::fill(c.table.begin() + 1, c.table.end(), 0);
    if (i % 4 == 2) std::fill(c.table.begin(), c.table.end(), 255);
    if (i % 4 == 3) std::fill(c.table.begin(), c.table.end(), 3);
    check(c);
    short_distance(c);
    check(c);
  }
}

TEST_F(Attention, ExponentialsOfEveryStepHaveFactors) {
  for (int steps = 1; steps <= 64; ++steps)
    for (int one = 3; one <= 255; ++one) {
      uint8_t table[256];
      for (int d = 0; d < 256; ++d) table[d] = static_cast<uint8_t>(one * std::exp(-1.0 * d / steps) + 0.5);
      const auto factors = attention::factor(table);
      ASSERT_TRUE(factors) << steps << " " << one;
      for (int d = 0; d < 256; ++d)
        ASSERT_EQ(((factors->coarse[d / 16] * uint64_t{factors->fine[d % 16]} >> 16) + 128) >> 8, table[d])
            << steps << " " << one << " " << d;
    }
}

TEST_F(Attention, TablesOfOtherShapesHaveNoFactors) {
  EXPECT_FALSE(attention::factor(any_table().data()));
  EXPECT_FALSE(attention::factor(std::vector<uint8_t>(256, 0).data()));
  std::vector<uint8_t> table = exponential();
  table[255] = 1;  // one entry too many
  EXPECT_FALSE(attention::factor(table.data()));
}

TEST_F(Attention, RatiosOfAllSizes) {
  for (int s = 1; s <= 62; ++s)
    for (int bits : {0, 1, 7, 11, 12, 20, 30, 31}) {
      Case c = packed(1, 32, {static_cast<int32_t>(1 + below(20))}, 0);
      c.table = any_table();
      c.distance_m = static_cast<int32_t>((int64_t{1} << bits) - 1);
      c.distance_s = static_cast<uint8_t>(s);
      c.out_m = static_cast<int32_t>(bits == 31 && s % 2 ? INT32_MIN : (s % 2 ? -1 : 1) * ((int64_t{1} << bits) - 1));
      c.out_s = static_cast<uint8_t>(63 - s);
      check(c);
    }
}

TEST_F(Attention, ExtremeCodes) {
  for (auto [head_dim, lengths] : {std::pair{32, std::vector{1, 5, 16, 150}}, {256, {17}}, {4, {40}}, {64, {33}}})
    for (int32_t length : lengths)
      for (auto [q, k, v] : {std::tuple{127, 127, 127}, {127, -127, 127}, {-127, 127, -127}, {0, 0, 0}, {1, 1, -127}}) {
        Case c = packed(1, head_dim, {length}, 0);
        std::fill(c.q.begin(), c.q.end(), static_cast<int8_t>(q));
        std::fill(c.k.begin(), c.k.end(), static_cast<int8_t>(k));
        std::fill(c.v.begin(), c.v.end(), static_cast<int8_t>(v));
        check(c);
        // The largest spread of scores: keys at both ends.
        for (int64_t r = 0; r < length; r += 2)
          std::fill_n(c.k.begin() + r * head_dim, head_dim, static_cast<int8_t>(-k));
        check(c);
        short_distance(c);
        check(c);
        for (auto* x : {&c.q, &c.k, &c.v})
          for (int8_t& u : *x) u = below(2) ? 127 : -127;
        check(c);
      }
}

TEST_F(Attention, EveryRowEqualsTheBody) {
  for (auto [heads, head_dim] : {std::pair{1, 4}, {3, 8}, {2, 32}, {1, 64}})
    for (int i = 0; i < 4; ++i) {
      Case c = packed(heads, head_dim, {static_cast<int32_t>(1 + below(20)), 0, static_cast<int32_t>(below(9))}, 3);
      if (i % 2) short_distance(c);
      if (i > 1)  // near scores: e has many values
        for (int8_t& u : c.q) u = static_cast<int8_t>(u / 64);
      const Body body = attention_body(heads, head_dim);
      const Tensor context =
          evaluate(body.graph, testing::operands(c.spec(), c.inputs()), {{"L", c.longest() + below(3)}})[0];
      check_against({context.data<int8_t>(), context.data<int8_t>() + context.count()}, c, {1, 2});
    }
}

TEST_F(Attention, FastRowsServeTheUsualCase) {
  Case c = packed(12, 32, {16}, 0);
  for (int bits : {31, 11}) {
    for (const KernelRow* row : testing::rows_of("attention")) EXPECT_EQ(row->reject(c.spec()), "") << row->name;
    if (bits == 31) short_distance(c);
  }
}

TEST_F(Attention, RefusesWhatTheBodyRefuses) {
  const Case good = packed(1, 8, {4}, 0);
  auto refused = [](const KernelSpec& spec) {
    std::string why;
    return !select_kernel(spec, detected_isa(), &why) && !why.empty();
  };
  EXPECT_FALSE(refused(good.spec()));
  Case c = good;
  c.table[0] = 2;
  EXPECT_TRUE(refused(c.spec()));
  c = good;
  c.distance_m = -1;
  EXPECT_TRUE(refused(c.spec()));
  c = good;
  c.out_s = 63;
  EXPECT_TRUE(refused(c.spec()));
  KernelSpec newer = good.spec();
  newer.version = 2;
  EXPECT_TRUE(refused(newer));
}

TEST_F(Attention, RefusesSequencesOutsideTheRows) {
  const Case good = packed(1, 8, {4}, 0);
  for (auto [start, length] : {std::pair{1, 4}, {-1, 2}, {0, -1}, {0, 5}, {INT32_MAX, 1}}) {
    Case c = good;
    c.start = {start};
    c.length = {length};
    for (const KernelRow* row : testing::rows_of("attention"))
      EXPECT_THROW(testing::run(*row->make(c.spec()), c.inputs(), {Tensor(DataType::kI8, {4, 8})}, 8, 1), Error);
  }
}

TEST_F(Attention, NamesRowsThatThisCpuCannotRun) {
  for (const KernelRow* row : testing::rows_of("attention"))
    if (row->isa > detected_isa()) GTEST_SKIP() << "SKIPPED: " << row->name << ": this CPU has " << cpu_model();
}

}  // namespace
}  // namespace dyadic

#include <algorithm>
#include <random>

#include "graph/bodies/bodies.h"
#include "graph/evaluator.h"
#include "kernels/testing.h"
#include "support.h"

namespace dyadic {
namespace {

using Wide = __int128;

struct Case {
  int64_t n = 1, rows = 0;
  std::vector<int32_t> start, length;
  std::vector<int16_t> x;
};

KernelSpec spec_of(int64_t n, bool normalize) {
  KernelSpec spec;
  spec.composite = "pool";
  spec.integers = {{"normalize", normalize}};
  spec.inputs = {testing::data("x", DataType::kI16, {-1, n}), testing::data("start", DataType::kI32, {-1}),
                 testing::data("length", DataType::kI32, {-1})};
  spec.outputs = {testing::data("embedding", DataType::kI16, {-1, n})};
  return spec;
}

Wide floor_div(Wide a, Wide b) { return a / b - (a % b < 0); }

std::vector<int64_t> expected(const Case& c, bool normalize) {
  std::vector<int64_t> out;
  for (size_t b = 0; b < c.start.size(); ++b) {
    std::vector<Wide> mean(c.n);
    for (int64_t i = 0; i < c.n && c.length[b]; ++i) {
      for (int64_t r = 0; r < c.length[b]; ++r) mean[i] += c.x[(c.start[b] + r) * c.n + i];
      mean[i] = floor_div(2 * mean[i] + c.length[b], 2 * c.length[b]);
    }
    Wide squares = 0;
    for (Wide m : mean) squares += m * m;
    int j = 0;
    while (squares && squares << (2 * j) < Wide{1} << 60) ++j;
    Wide root = 0;
    for (Wide step = Wide{1} << 31; step; step /= 2)
      if ((root + step) * (root + step) <= squares << (2 * j)) root += step;
    for (Wide m : mean)
      out.push_back(static_cast<int64_t>(
          !normalize || !squares
              ? m
              : std::clamp<Wide>(
                    floor_div(2 * m * (((Wide{1} << 61) - 1) / root) + (Wide{1} << (46 - j)), Wide{1} << (47 - j)),
                    -32768, 32767)));
  }
  return out;
}

void check(const Case& c) {
  for (bool normalize : {false, true}) {
    const KernelSpec spec = spec_of(c.n, normalize);
    const std::vector<int64_t> want = expected(c, normalize);
    const Dims batch{static_cast<int64_t>(c.start.size())};
    const std::vector<Tensor> inputs = {Tensor::from({c.rows, c.n}, c.x), Tensor::from(batch, c.start),
                                        Tensor::from(batch, c.length)};
    for (const KernelRow* row : testing::rows_of("pool")) {
      if (row->isa > detected_isa()) continue;
      ASSERT_EQ(row->reject(spec), "") << row->name;
      for (int threads : {1, 2, 3}) {
        const Tensor got = testing::run(*row->make(spec), inputs, {Tensor(DataType::kI16, {batch[0], c.n})},
                                        *std::max_element(c.length.begin(), c.length.end()), threads)[0];
        ASSERT_EQ(got.to_int64(), want) << row->name << " n = " << c.n << " normalize " << normalize;
      }
    }
  }
}

TEST(Pool, RandomRows) {
  std::mt19937_64 random(test::seed());
  for (int64_t n : {1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 384, 1024})
    for (int shift : {0, 3, 8, 12, 15}) {
      Case c{n, 40, {9, 0, 33, 5, 14, 5}, {5, 4, 7, 1, 19, 0}, {}};
      for (int64_t i = 0; i < c.rows * n; ++i)
        c.x.push_back(static_cast<int16_t>(static_cast<int16_t>(random()) >> shift));
      check(c);
    }
}

TEST(Pool, ZeroOneHotConstantAndTies) {
  const std::vector<std::vector<int16_t>> rows = {{0, 0, 0, 0}, {32767, 0, 0, 0}, {-32768, 0, 0, 0},
                                                  {1, 1, 1, 1}, {-1, -1, -1, -1}, {32767, 32767, 32767, 32767},
                                                  {0, 1, 0, 1}, {0, 0, 0, 0},     {0, -3, 0, -3},
                                                  {0, 0, 0, 0}, {3, 4, 0, 0},     {-32768, -32768, -32768, -32768},
                                                  {1, 0, 0, 0}, {0, 0, 0, -1}};
  Case c{4, static_cast<int64_t>(rows.size()), {}, {}, {}};
  for (const auto& row : rows) c.x.insert(c.x.end(), row.begin(), row.end());
  for (int32_t r = 0; r < c.rows; ++r) {
    c.start.push_back(r);
    c.length.push_back(1);
  }
  check(c);
  c.start = {6, 8, 9, 0};
  c.length = {2, 2, 0, 14};
  check(c);
}

TEST(Pool, EveryRowEqualsTheBody) {
  std::mt19937_64 random(test::seed());
  for (bool normalize : {false, true})
    for (int64_t n : {1, 5, 48}) {
      const KernelSpec spec = spec_of(n, normalize);
      Tensor x(DataType::kI16, {12, n});
      for (int64_t i = 0; i < x.count(); ++i) x.set(i, static_cast<int16_t>(random()));
      const std::vector<Tensor> inputs = {x, Tensor::from<int32_t>({4}, {5, 0, 9, 9}),
                                          Tensor::from<int32_t>({4}, {4, 3, 0, 1})};
      const std::vector<Tensor> want = evaluate(pool_body(n, normalize).graph, inputs, {{"L", 6}});
      for (const KernelRow* row : testing::rows_of("pool"))
        if (row->isa <= detected_isa()) {
          EXPECT_EQ(testing::run(*row->make(spec), inputs, want, 4, 1), want) << row->name << ", n = " << n;
        }
    }
}

TEST(Pool, LongSequencesOfExtremes) {
  Case c{2, 60000, {0}, {60000}, std::vector<int16_t>(120000, -32768)};
  check(c);
  std::fill(c.x.begin(), c.x.end(), int16_t{32767});
  check(c);
}

TEST(Pool, RefusesSequencesOutsideTheRows) {
  for (auto [start, length] : {std::pair{1, 4}, {-1, 2}, {0, -1}, {0, 5}, {INT32_MAX, 1}})
    for (const KernelRow* row : testing::rows_of("pool"))
      EXPECT_THROW(testing::run(*row->make(spec_of(2, true)),
                                {Tensor(DataType::kI16, {4, 2}), Tensor::from<int32_t>({1}, {start}),
                                 Tensor::from<int32_t>({1}, {length})},
                                {Tensor(DataType::kI16, {1, 2})}, 8, 1),
                   Error);
}

}  // namespace
}  // namespace dyadic

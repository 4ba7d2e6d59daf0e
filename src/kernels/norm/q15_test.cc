#include <algorithm>
#include <random>

#include "graph/bodies/bodies.h"
#include "graph/evaluator.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/testing.h"
#include "support.h"

namespace dyadic::norm {
namespace {

static_assert(kLargestQ15Sum == dyadic::kLargestQ15Sum, "kernels clamp sums as the bodies do");

struct Outputs {
  DataType type = DataType::kI8;
  std::vector<int16_t> m, beta;
  uint8_t shift = 0;
};

std::vector<Tensor> expected(const std::vector<std::vector<int64_t>>& sums, int64_t n,
                             const std::vector<Outputs>& outputs) {
  std::vector<Tensor> results;
  for (const Outputs& o : outputs) results.emplace_back(o.type, Dims{static_cast<int64_t>(sums.size()), n});
  for (size_t r = 0; r < sums.size(); ++r) {
    const Moments row(sums[r]);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t d = rounded(Wide{256 * sums[r][i] - row.mu} << row.e, 16);
      const int64_t y = rounded(d * (row.reciprocal >> 16), 15);
      for (size_t j = 0; j < outputs.size(); ++j) {
        const Outputs& o = outputs[j];
        const int64_t z = rounded(Wide{y} * o.m[i], 15) + o.beta[i];
        results[j].set(static_cast<int64_t>(r) * n + i,
                       clip(o.type == DataType::kI8 ? rounded(z, o.shift) : z << o.shift, o.type));
      }
    }
  }
  return results;
}

void add_outputs(KernelSpec& spec, int64_t n, const std::vector<Outputs>& outputs) {
  spec.integers["lane_bits"] = 16;
  for (size_t j = 0; j < outputs.size(); ++j) {
    const std::string name = cat("out", j);
    spec.inputs.push_back(testing::parameter<int16_t>(name + "_m", outputs[j].m));
    spec.inputs.push_back(testing::parameter<int16_t>(name + "_beta", outputs[j].beta));
    spec.inputs.push_back(testing::parameter<uint8_t>(name + "_shift", {outputs[j].shift}));
    spec.outputs.push_back(testing::data(name, outputs[j].type, {-1, n}));
  }
}

KernelSpec add_spec(int64_t n, int16_t sublayer, int16_t identity, const std::vector<Outputs>& outputs) {
  KernelSpec spec;
  spec.composite = "add_norm";
  for (const char* name : {"sublayer", "identity"}) spec.inputs.push_back(testing::data(name, DataType::kI16, {-1, n}));
  spec.inputs.push_back(testing::parameter<int16_t>("sublayer_m", {sublayer}));
  spec.inputs.push_back(testing::parameter<int16_t>("identity_m", {identity}));
  add_outputs(spec, n, outputs);
  return spec;
}

KernelSpec embed_spec(int64_t n, const std::vector<std::pair<std::string, std::vector<int32_t>>>& tables,
                      const std::vector<Tensor>& codes, uint8_t s, const std::vector<Outputs>& outputs) {
  KernelSpec spec;
  spec.composite = "embed_norm";
  for (const auto& [name, m] : tables) spec.inputs.push_back(testing::data(name, DataType::kI32, {-1}));
  for (size_t j = 0; j < tables.size(); ++j) {
    const auto& [name, m] = tables[j];
    spec.inputs.push_back(testing::parameter(name + "_codes", codes[j]));
    spec.inputs.push_back(testing::parameter<int32_t>(name + "_m", m));
    spec.inputs.push_back(testing::parameter<uint8_t>(name + "_s", std::vector<uint8_t>(m.size(), s)));
  }
  add_outputs(spec, n, outputs);
  return spec;
}

class Q15Norm : public ::testing::Test {
 protected:
  std::mt19937_64 random{test::seed()};

  int64_t between(int64_t lo, int64_t hi) {
    return lo + static_cast<int64_t>(random() % static_cast<uint64_t>(hi - lo + 1));
  }
  std::vector<int16_t> codes(int64_t count) {
    std::vector<int16_t> x(count);
    const int64_t end = int64_t{1} << between(0, 15);
    for (int16_t& v : x) v = static_cast<int16_t>(between(-end, end - 1));
    return x;
  }
  // Multipliers and betas up to the largest that fit a word together, both signs, a dead channel.
  Outputs output(int64_t n, DataType type, int shift) {
    Outputs o{type, std::vector<int16_t>(n), std::vector<int16_t>(n), static_cast<uint8_t>(shift)};
    for (int64_t i = 0; i < n; ++i) {
      o.m[i] = static_cast<int16_t>(i % 5 == 0 ? (i % 2 ? -32768 : 32767) : between(-32768, 32767));
      const int64_t most = 32767 - (std::abs(int64_t{o.m[i]}) / 2 + 1 + 128);
      o.beta[i] = static_cast<int16_t>(i % 7 == 0 ? (i % 2 ? -most : most) : between(-most, most));
    }
    o.m[between(0, n - 1)] = 0;
    return o;
  }
  std::vector<Outputs> both(int64_t n) {
    return {output(n, DataType::kI8, static_cast<int>(between(0, 8))),
            output(n, DataType::kI16, static_cast<int>(between(0, 3)))};
  }

  void check_add(int64_t n, int16_t sublayer, int16_t identity, const std::vector<int16_t>& a,
                 const std::vector<int16_t>& b, const std::vector<Outputs>& outputs, Threads thread_counts = {1}) {
    SCOPED_TRACE(cat("n = ", n, ", sublayer ", sublayer, ", identity ", identity));
    const int64_t rows = static_cast<int64_t>(a.size()) / n;
    std::vector<std::vector<int64_t>> sums(rows);
    for (size_t i = 0; i < a.size(); ++i)
      sums[i / n].push_back(rounded(Wide{a[i]} * sublayer, 15) + rounded(Wide{b[i]} * identity, 15));
    check(add_spec(n, sublayer, identity, outputs), {Tensor::from({rows, n}, a), Tensor::from({rows, n}, b)},
          expected(sums, n, outputs), true, thread_counts);
  }
};

TEST_F(Q15Norm, AddOfEveryWidthAndRowCount) {
  for (int64_t n : kWidths)
    for (int64_t rows : {0, 1, 2, 3, 7, 16})
      check_add(n, static_cast<int16_t>(between(-16256, 16256)), static_cast<int16_t>(between(-16256, 16256)),
                codes(rows * n), codes(rows * n), both(n), {1, 2, 3});
}

// The largest sums there are: 16 bits less the room for a mean.
TEST_F(Q15Norm, AddOfHardRows) {
  constexpr auto kMost = static_cast<int16_t>(kLargestQ15Sum);
  for (int64_t n : {2, 3, 4, 15, 16, 17, 384, 1000, 1024, 16384}) {
    const std::vector<std::vector<int16_t>> hard = hard_rows(n);
    std::vector<int16_t> a, b;
    for (size_t i = 0; i < hard.size(); ++i) {
      a.insert(a.end(), hard[i].begin(), hard[i].end());
      b.insert(b.end(), hard[hard.size() - 1 - i].begin(), hard[hard.size() - 1 - i].end());
    }
    const std::vector<int16_t> zero(a.size());
    check_add(n, kMost, 0, a, zero, both(n));
    check_add(n, 0, -kMost, zero, a, both(n));
    check_add(n, kMost / 2, kMost / 2, a, b, both(n));
    check_add(n, -kMost / 2, kMost / 2, a, a, both(n));
    check_add(n, 1, 1, a, b, both(n));
  }
}

// Shifts of the deviation to either side, and means far from zero.
TEST_F(Q15Norm, RowsOfEveryVariance) {
  for (int64_t n : {16, 48, 64, 256, 384, 1000, 16384})
    for (int shift = 0; shift < 16; ++shift) {
      std::vector<int16_t> a;
      const int64_t top = int64_t{1} << shift;
      for (int64_t offset : {int64_t{0}, int64_t{1}, between(0, 1000), int64_t{-30000}, int64_t{30000}})
        for (int row = 0; row < 3; ++row)
          for (int64_t i = 0; i < n; i += 2) {
            const int64_t x = row == 0 ? top : row == 1 && i == 0 ? top - 1 : between(1, top);
            for (int64_t y : {x, -x}) a.push_back(static_cast<int16_t>(std::clamp<int64_t>(y + offset, -32768, 32767)));
          }
      const std::vector<int16_t> zero(a.size());
      check_add(n, static_cast<int16_t>(kLargestQ15Sum), 0, a, zero, both(n));
    }
}

// One code at the end of the range of sums, and a mean around where its deviation needs 17 bits.
TEST_F(Q15Norm, RowsWhoseDeviationsLeaveAWord) {
  constexpr int64_t n = 384;
  std::vector<int16_t> a;
  for (int64_t mean = -370; mean <= 370; mean += mean == -320 ? 640 : 1)
    for (int16_t end : {INT16_MIN, INT16_MAX}) {
      a.push_back(end);
      a.insert(a.end(), n - 1, static_cast<int16_t>(mean));
    }
  check_add(n, static_cast<int16_t>(kLargestQ15Sum), 0, a, std::vector<int16_t>(a.size()), both(n));
}

TEST_F(Q15Norm, OutputsOfEveryShift) {
  const int64_t n = 70;
  for (int shift = 0; shift <= 8; ++shift)
    for (DataType type : {DataType::kI8, DataType::kI16})
      check_add(n, 8000, 8000, codes(8 * n), codes(8 * n), {output(n, type, shift), output(n, type, shift)});
}

TEST_F(Q15Norm, EveryRowEqualsTheBody) {
  for (int64_t n : {2, 16, 50, 384}) {
    const std::vector<Outputs> outputs = both(n);
    const NormOutputs types = {DataType::kI8, DataType::kI16};
    std::vector<int16_t> a = codes(3 * n), b = codes(3 * n);
    for (const auto& row : hard_rows(n)) {
      a.insert(a.end(), row.begin(), row.end());
      const std::vector<int16_t> other = codes(n);
      b.insert(b.end(), other.begin(), other.end());
    }
    const Dims dims{static_cast<int64_t>(a.size()) / n, n};
    const KernelSpec add = add_spec(n, 10000, -6000, outputs);
    const std::vector<Tensor> operands = {Tensor::from(dims, a), Tensor::from(dims, b)};
    check(add, operands, evaluate(q15_add_norm_body(n, types).graph, testing::operands(add, operands)), true, {1});

    // The first row of `word` leaves a word at both ends.
    const std::vector<std::pair<std::string, std::vector<int32_t>>> tables = {
        {"word", {INT32_MAX, 1 << 30, 0, -(1 << 28)}}, {"place", {999999999, 3000}}};
    std::vector<Tensor> codes_of;
    for (const auto& [name, m] : tables) {
      Tensor& t = codes_of.emplace_back(DataType::kI8, Dims{static_cast<int64_t>(m.size()), n});
      for (int64_t i = 0; i < t.count(); ++i) t.set(i, i % n == 0 ? 127 : i % n == 1 ? -127 : between(-127, 127));
    }
    const std::vector<Tensor> ids = {Tensor::from<int32_t>({5}, {0, 1, 2, 3, 0}),
                                     Tensor::from<int32_t>({5}, {0, 1, 0, 1, 1})};
    for (uint8_t s : {15, 17, 23}) {
      const KernelSpec embed = embed_spec(n, tables, codes_of, s, outputs);
      const Body body = q15_embed_norm_body(n, {{"word", 4}, {"place", 2}}, types);
      check(embed, ids, evaluate(body.graph, testing::operands(embed, ids)), s > 15, {1, 2});
    }
  }
}

// Multipliers of 17 bits, as lowering makes them, with every shift that their sums allow.
TEST_F(Q15Norm, TableRowsPassThroughVectors) {
  const int64_t n = 16;
  for (uint8_t s = 1; s <= 20; ++s) {
    const KernelSpec spec = embed_spec(n, {{"word", {0, 1, 65536, 131071, -131071}}},
                                       {Tensor::from({5, n}, std::vector<int8_t>(5 * n, 127))}, s, both(n));
    for (const KernelRow* row : testing::rows_of("embed_norm")) {
      if (row->isa > detected_isa() || row->isa == Isa::kPortable) continue;
      ASSERT_EQ(row->reject(spec), "") << int{s};
      EXPECT_EQ(row->make(spec)->describe(), "in words of 16 bits") << row->name << ' ' << int{s};
    }
  }
}

TEST_F(Q15Norm, RefusesWhatMayLeaveAWord) {
  const auto serves = [&](const KernelSpec& spec) { return select_kernel(spec, detected_isa()) != nullptr; };
  const int64_t n = 16;
  EXPECT_TRUE(serves(add_spec(n, 20000, 12512, both(n))));
  EXPECT_FALSE(serves(add_spec(n, 20000, 12513, both(n))));
  EXPECT_FALSE(serves(add_spec(n, -32768, 0, both(n))));
  EXPECT_FALSE(serves(add_spec(n, 1, 1, {})));
  EXPECT_FALSE(serves(add_spec(n, 1, 1, {output(n, DataType::kI8, 9)})));
  Outputs large = output(n, DataType::kI8, 8);
  large.m[3] = 32767, large.beta[3] = 16383 - 128 - 1;
  EXPECT_TRUE(serves(add_spec(n, 1, 1, {large})));
  large.beta[3] += 2;
  EXPECT_FALSE(serves(add_spec(n, 1, 1, {large})));
  EXPECT_FALSE(serves(add_spec(16385, 1, 1, both(16385))));
}

}  // namespace
}  // namespace dyadic::norm

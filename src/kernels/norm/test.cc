#include <algorithm>
#include <random>

#include "graph/bodies/bodies.h"
#include "graph/evaluator.h"
#include "kernels/norm/testing.h"
#include "support.h"

namespace dyadic::norm {
namespace {

struct Multiplier {
  int32_t m = 0;
  uint8_t s = 1;
};

struct NormOutput {
  DataType type = DataType::kI8;
  std::vector<int32_t> m, beta;
  uint8_t s = 1;
};

// Layer norm of one row by its definition with a row-wise shift.
std::vector<int64_t> normalized(const std::vector<int64_t>& q) {
  const Moments row(q);
  std::vector<int64_t> y(q.size());
  for (size_t i = 0; i < q.size(); ++i) y[i] = rounded(Wide{256 * q[i] - row.mu} * row.reciprocal, 41 - row.e);
  return y;
}

// The outputs of rows of sums that still have 8 fraction bits.
std::vector<Tensor> expected(const std::vector<std::vector<int64_t>>& sums, int64_t n,
                             const std::vector<NormOutput>& outputs) {
  const int64_t rows = static_cast<int64_t>(sums.size());
  std::vector<Tensor> results;
  for (const NormOutput& output : outputs) results.emplace_back(output.type, Dims{rows, n});
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int64_t> q;
    for (int64_t x : sums[r]) q.push_back(clip(rounded(x, 8), DataType::kI16));
    const std::vector<int64_t> y = normalized(q);
    for (size_t j = 0; j < outputs.size(); ++j) {
      const NormOutput& o = outputs[j];
      for (int64_t i = 0; i < n; ++i)
        results[j].set(r * n + i, clip(rounded(rounded(Wide{y[i]} * o.m[i], o.s) + o.beta[i], 8), o.type));
    }
  }
  return results;
}

void add_outputs(KernelSpec& spec, int64_t n, const std::vector<NormOutput>& outputs) {
  for (size_t j = 0; j < outputs.size(); ++j) {
    const std::string name = cat("out", j);
    spec.inputs.push_back(testing::parameter<int32_t>(name + "_m", outputs[j].m));
    spec.inputs.push_back(testing::parameter<uint8_t>(name + "_s", {outputs[j].s}));
    spec.inputs.push_back(testing::parameter<int32_t>(name + "_beta", outputs[j].beta));
    spec.outputs.push_back(testing::data(name, outputs[j].type, {-1, n}));
  }
}

KernelSpec add_norm_spec(int64_t n, Multiplier sublayer, Multiplier identity, const std::vector<NormOutput>& outputs) {
  KernelSpec spec;
  spec.composite = "add_norm";
  for (const char* name : {"sublayer", "identity"}) spec.inputs.push_back(testing::data(name, DataType::kI16, {-1, n}));
  for (auto [name, ratio] : {std::pair{"sublayer", sublayer}, {"identity", identity}}) {
    spec.inputs.push_back(testing::parameter<int32_t>(cat(name, "_m"), {ratio.m}));
    spec.inputs.push_back(testing::parameter<uint8_t>(cat(name, "_s"), {ratio.s}));
  }
  add_outputs(spec, n, outputs);
  return spec;
}

void check_add(int64_t n, Multiplier sublayer, Multiplier identity, const std::vector<int16_t>& a,
               const std::vector<int16_t>& b, const std::vector<NormOutput>& outputs, bool all_serve,
               Threads thread_counts = {1}) {
  SCOPED_TRACE(cat("n = ", n, ", sublayer ", sublayer.m, "/2^", int{sublayer.s}, ", identity ", identity.m, "/2^",
                   int{identity.s}));
  const int64_t rows = static_cast<int64_t>(a.size()) / n;
  std::vector<std::vector<int64_t>> sums(rows);
  for (size_t i = 0; i < a.size(); ++i)
    sums[i / n].push_back(rounded(Wide{a[i]} * sublayer.m, sublayer.s) + rounded(Wide{b[i]} * identity.m, identity.s));
  check(add_norm_spec(n, sublayer, identity, outputs), {Tensor::from({rows, n}, a), Tensor::from({rows, n}, b)},
        expected(sums, n, outputs), all_serve, thread_counts);
}

struct Rows {
  std::string name;
  std::vector<int8_t> codes;
  std::vector<int32_t> m;
  std::vector<uint8_t> s;
};

KernelSpec embed_norm_spec(int64_t n, const std::vector<Rows>& tables, const std::vector<NormOutput>& outputs) {
  KernelSpec spec;
  spec.composite = "embed_norm";
  for (const Rows& t : tables) spec.inputs.push_back(testing::data(t.name, DataType::kI32, {-1}));
  for (const Rows& t : tables) {
    spec.inputs.push_back(
        testing::parameter(t.name + "_codes", Tensor::from({static_cast<int64_t>(t.m.size()), n}, t.codes)));
    spec.inputs.push_back(testing::parameter<int32_t>(t.name + "_m", t.m));
    spec.inputs.push_back(testing::parameter<uint8_t>(t.name + "_s", t.s));
  }
  add_outputs(spec, n, outputs);
  return spec;
}

void check_embed(int64_t n, const std::vector<Rows>& tables, const std::vector<std::vector<int32_t>>& ids,
                 const std::vector<NormOutput>& outputs, bool all_serve, Threads thread_counts = {1}) {
  SCOPED_TRACE(cat("n = ", n, ", ", tables.size(), " tables"));
  const int64_t rows = static_cast<int64_t>(ids[0].size());
  std::vector<Tensor> inputs;
  std::vector<std::vector<int64_t>> sums(rows, std::vector<int64_t>(n));
  for (size_t j = 0; j < tables.size(); ++j) {
    const Rows& t = tables[j];
    inputs.push_back(Tensor::from({rows}, ids[j]));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0, row = ids[j][r]; i < n; ++i)
        sums[r][i] += rounded(Wide{t.codes[row * n + i]} * t.m[row], t.s[row]);
  }
  check(embed_norm_spec(n, tables, outputs), inputs, expected(sums, n, outputs), all_serve, thread_counts);
}

class Norm : public ::testing::Test {
 protected:
  std::mt19937_64 random{test::seed()};

  int64_t below(int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t lo, int64_t hi) { return lo + below(hi - lo + 1); }

  // Codes of one magnitude, that of a random shift.
  std::vector<int16_t> codes(int64_t count) {
    std::vector<int16_t> x(count);
    const int64_t end = int64_t{1} << below(16);
    for (int16_t& v : x) v = static_cast<int16_t>(between(-end, end - 1));
    return x;
  }
  // An output as a fit makes it: 31-bit multipliers, one shift, a dead channel, a negative one.
  NormOutput output(int64_t n, DataType type) {
    NormOutput o{type, std::vector<int32_t>(n), std::vector<int32_t>(n), 0};
    o.s = static_cast<uint8_t>(type == DataType::kI8 ? 34 + below(3) : 26 + below(3));
    for (int64_t i = 0; i < n; ++i) {
      o.m[i] = static_cast<int32_t>(between(1 << 28, INT32_MAX) * (below(8) ? 1 : -1));
      o.beta[i] = static_cast<int32_t>(between(-30000, 30000)) << (type == DataType::kI8 ? 0 : 7);
    }
    o.m[below(n)] = 0;
    return o;
  }
  // The same, multipliers of ten bits: products fit 32.
  NormOutput narrow_output(int64_t n, DataType type) {
    NormOutput o = output(n, type);
    o.s -= 21;
    for (int32_t& m : o.m) m >>= 21;
    return o;
  }
  std::vector<NormOutput> both(int64_t n) { return {output(n, DataType::kI8), output(n, DataType::kI16)}; }
};

TEST_F(Norm, AddOfEveryWidthAndRowCount) {
  for (int64_t n : kWidths)
    for (int64_t rows : {0, 1, 2, 3, 7, 16}) {
      const Multiplier a{static_cast<int32_t>(between(1 << 30, INT32_MAX)), 24};
      const Multiplier b{static_cast<int32_t>(between(1 << 30, INT32_MAX)), 23};
      check_add(n, a, b, codes(rows * n), codes(rows * n), both(n), true, {1, 2, 3});
    }
}

TEST_F(Norm, AddOfHardRows) {
  for (int64_t n : {2, 3, 4, 15, 16, 17, 384, 1000, 1024, 16384}) {
    const std::vector<std::vector<int16_t>> hard = hard_rows(n);
    std::vector<int16_t> a, b, zero;
    for (size_t i = 0; i < hard.size(); ++i) {
      a.insert(a.end(), hard[i].begin(), hard[i].end());
      b.insert(b.end(), hard[hard.size() - 1 - i].begin(), hard[hard.size() - 1 - i].end());
    }
    zero.resize(a.size());
    const Multiplier one{1 << 30, 22}, two{1 << 30, 21}, minus{-(1 << 30), 22};
    check_add(n, one, one, a, zero, both(n), true);
    check_add(n, one, one, zero, a, both(n), true);
    check_add(n, one, two, a, b, both(n), true);
    check_add(n, minus, one, a, a, both(n), true);
    check_add(n, minus, minus, b, a, both(n), true);
  }
}

TEST_F(Norm, AddRatiosOfAllSizes) {
  const int64_t n = 35;
  for (int s = 1; s <= 62; ++s)
    for (int bits : {0, 1, 8, 15, 23, 31}) {
      // The body demands that the sum of both terms fits 32 bits.
      const int64_t m = std::min((int64_t{1} << bits) - 1, s < 17 ? int64_t{1} << (s + 14) : INT32_MAX);
      const Multiplier a{static_cast<int32_t>(m), static_cast<uint8_t>(s)}, b{-a.m, a.s};
      check_add(n, a, {1 << 30, 24}, codes(3 * n), codes(3 * n), both(n), false);
      check_add(n, {1 << 30, 24}, b, codes(3 * n), codes(3 * n), both(n), false);
      check_add(n, a, b, codes(3 * n), codes(3 * n), both(n), false);
    }
  check_add(n, {0, 62}, {0, 62}, codes(2 * n), codes(2 * n), both(n), false);
  check_add(n, {INT32_MIN, 62}, {INT32_MIN, 48}, codes(2 * n), codes(2 * n), both(n), false);
  check_add(n, {INT32_MIN, 47}, {INT32_MIN, 46}, hard_rows(n)[5], hard_rows(n)[5], both(n), false);
  check_add(n, {INT32_MIN, 18}, {0, 62}, hard_rows(n)[5], hard_rows(n)[5], both(n), false);
}

// One of both needs no rounding, so that one product with pairs of words takes both.
TEST_F(Norm, AddOfPairs) {
  const int64_t n = 67;
  const std::vector<std::vector<int16_t>> hard = hard_rows(n);
  std::vector<int16_t> a, b;
  for (size_t i = 0; i < hard.size(); ++i) {
    a.insert(a.end(), hard[i].begin(), hard[i].end());
    b.insert(b.end(), hard[hard.size() - 1 - i].begin(), hard[hard.size() - 1 - i].end());
  }
  const auto check_both = [&](const Multiplier& x, const Multiplier& y) {
    check_add(n, x, y, a, b, both(n), false);
    check_add(n, y, x, codes(3 * n), codes(3 * n), both(n), false);
  };
  for (int s : {1, 2, 6, 7, 8, 14})
    for (int64_t k : {1, 2, 127, 255, 16383}) {
      const int64_t whole = k << s;
      for (int64_t m : {0, 1, 23457, 32767, 32768})
        for (int other : {s, 1, 6, 8, 15}) {
          check_both({static_cast<int32_t>(m), static_cast<uint8_t>(other)},
                     {static_cast<int32_t>(whole), static_cast<uint8_t>(s)});
          check_both({static_cast<int32_t>(-m), static_cast<uint8_t>(other)},
                     {static_cast<int32_t>(-whole), static_cast<uint8_t>(s)});
          check_both({static_cast<int32_t>(m), static_cast<uint8_t>(other)},
                     {static_cast<int32_t>(-whole), static_cast<uint8_t>(s)});
        }
    }
}

TEST_F(Norm, PairsServeWhatTheyFit) {
  const auto serves = [&](Multiplier x, Multiplier y) {
    const KernelSpec spec = add_norm_spec(16, x, y, both(16));
    const KernelRow* row = select_kernel(spec, detected_isa());
    return row->isa != Isa::kPortable && row->make(spec)->describe().find("by pairs") != std::string::npos;
  };
  if (detected_isa() == Isa::kPortable) GTEST_SKIP() << "SKIPPED: " << cpu_model() << " has no vectors that pair words";
  EXPECT_TRUE(serves({23456, 7}, {179 << 7, 7}));
  EXPECT_TRUE(serves({179 << 7, 7}, {-23457, 7}));
  EXPECT_TRUE(serves({23457, 7}, {179 << 9, 9}));    // over the other's shift
  EXPECT_FALSE(serves({23457, 7}, {23457, 7}));      // both are rounded
  EXPECT_FALSE(serves({32768, 7}, {179 << 7, 7}));   // no word
  EXPECT_FALSE(serves({32767, 15}, {1 << 15, 15}));  // whole, but 2^15 is no word
}

// Halves of a multiplier at their ends, times every code.
TEST_F(Norm, AddOfEveryCode) {
  const int64_t n = 16384;
  std::vector<int16_t> every(4 * n);
  for (int x = 0; x < 65536; ++x) every[x] = static_cast<int16_t>(x);
  for (int32_t m : {INT32_MAX, 0x7fff8000, 0x7fff7fff, 0x7ffe8000, 0x40008000, 0x40007fff, 0x8000, 0x7fff, 1, -0x8000,
                    -0x8001, -0x7fff8000, INT32_MIN})
    for (int s : {16, 17, 18, 23, 40, 45, 46, 47, 48})
      check_add(n, {m, static_cast<uint8_t>(s)}, {1, 62}, every, every, {output(n, DataType::kI16)}, false);
}

// Every shift of a row's variance, means of exactly zero (no lower word is added) and reciprocals near 2^31.
TEST_F(Norm, RowsOfEveryVariance) {
  for (int64_t n : {16, 48, 64, 256, 384, 1000})
    for (int shift = 0; shift < 16; ++shift) {
      std::vector<int16_t> a;
      const int64_t top = int64_t{1} << shift;
      for (int64_t offset : {int64_t{0}, int64_t{1}, below(1000), -below(1000)})
        for (int row = 0; row < 6; ++row)
          for (int64_t i = 0; i < n; i += 2) {
            const int64_t x = row == 0 ? top : row == 1 && i == 0 ? top - 1 : 1 + below(top);
            for (int64_t y : {x, -x}) a.push_back(static_cast<int16_t>(std::clamp<int64_t>(y + offset, -32768, 32767)));
          }
      const std::vector<int16_t> zero(a.size());
      check_add(n, {1 << 30, 22}, {1 << 30, 22}, a, zero, both(n), true);
      check_add(n, {1 << 30, 22}, {1 << 30, 22}, a, zero,
                {narrow_output(n, DataType::kI8), narrow_output(n, DataType::kI16)}, true);
    }
}

TEST_F(Norm, NarrowOutputsAtTheEndsOf32Bits) {
  const int64_t n = 48;
  for (int s = 1; s <= 24; ++s)
    for (int64_t m : {1, 511, 512, 1023, 1024, 1535, 2047, 2048})
      for (int beta : {0, 30000, 1 << 20, 1 << 30})
        for (DataType type : {DataType::kI8, DataType::kI16}) {
          NormOutput o{type, std::vector<int32_t>(n), std::vector<int32_t>(n), static_cast<uint8_t>(s)};
          for (int64_t i = 0; i < n; ++i) {
            o.m[i] = static_cast<int32_t>(below(2) ? m : -m);
            o.beta[i] = below(2) ? beta : -beta;
          }
          const std::vector<std::vector<int16_t>> hard = hard_rows(n);
          check_add(n, {1 << 30, 22}, {1, 62}, hard[6], hard[0], {o}, false);
          check_add(n, {1 << 30, 22}, {1, 62}, hard[12], hard[0], {o, o}, false);
          check_add(n, {1 << 30, 22}, {1, 62}, codes(n), hard[0], {o}, false);
        }
}

TEST_F(Norm, OutputRatiosOfAllSizes) {
  for (int64_t n : {20, 48})
    for (int s = 1; s <= 62; ++s)
      for (int bits : {1, 8, 12, 24, 31}) {
        std::vector<NormOutput> outputs = both(n);
        for (NormOutput& o : outputs) {
          o.s = static_cast<uint8_t>(s);
          const int64_t bound = s < 21 ? int64_t{1} << (s + 10) : INT32_MAX;  // the product fits 32 bits
          for (int32_t& m : o.m)
            m = static_cast<int32_t>(std::min<int64_t>(below(int64_t{1} << bits), bound - 1) * (below(2) ? 1 : -1));
          o.m[below(n)] = static_cast<int32_t>(s >= 21 && bits == 31 ? INT32_MIN : 0);
        }
        check_add(n, {1 << 30, 23}, {1 << 30, 23}, codes(2 * n), codes(2 * n), outputs, false);
      }
}

TEST_F(Norm, OutputsOfAnyNumberAndLargeBeta) {
  const int64_t n = 40;
  for (auto types : {std::vector{DataType::kI8}, std::vector{DataType::kI16},
                     std::vector{DataType::kI16, DataType::kI16, DataType::kI8}}) {
    std::vector<NormOutput> outputs;
    for (DataType type : types) outputs.push_back(output(n, type));
    for (NormOutput& o : outputs)
      for (int32_t& beta : o.beta) beta = static_cast<int32_t>(between(-(1 << 30), 1 << 30));
    check_add(n, {1 << 30, 23}, {1 << 30, 23}, codes(5 * n), codes(5 * n), outputs, true);
  }
}

TEST_F(Norm, EmbedOfEveryWidthAndRowCount) {
  for (int64_t n : kWidths)
    for (int64_t rows : {0, 1, 2, 3, 7, 16}) {
      std::vector<Rows> tables;
      std::vector<std::vector<int32_t>> ids;
      const int64_t count = 1 + below(4);
      for (int64_t j = 0; j < count; ++j) {
        Rows& t = tables.emplace_back();
        t.name = cat("table", j);
        const int64_t size = 1 + below(9);
        for (int64_t r = 0; r < size; ++r) {
          t.m.push_back(below(5) ? static_cast<int32_t>(between(1 << 30, INT32_MAX)) : 0);
          t.s.push_back(static_cast<uint8_t>(t.m.back() ? 15 + below(8) : 62));
          for (int64_t i = 0; i < n; ++i) t.codes.push_back(static_cast<int8_t>(between(-127, 127)));
        }
        auto& index = ids.emplace_back();
        for (int64_t r = 0; r < rows; ++r) index.push_back(static_cast<int32_t>(below(size)));
      }
      check_embed(n, tables, ids, both(n), true, {1, 2, 3});
    }
}

TEST_F(Norm, EmbedRatiosOfAllSizes) {
  const int64_t n = 37;
  for (int s = 1; s <= 62; ++s) {
    Rows t{"only", {}, {}, {}};
    std::vector<int32_t> ids;
    for (int bits : {0, 1, 7, 15, 23, 31})
      for (int sign : {1, -1}) {
        const int64_t bound = s < 8 ? int64_t{1} << (s + 23) : INT32_MAX;
        t.m.push_back(static_cast<int32_t>(sign * std::min((int64_t{1} << bits) - 1, bound - 1)));
        t.s.push_back(static_cast<uint8_t>(s));
        for (int64_t i = 0; i < n; ++i) t.codes.push_back(static_cast<int8_t>(i == 0 ? 127 : between(-127, 127)));
        ids.push_back(static_cast<int32_t>(ids.size()));
      }
    check_embed(n, {t}, {ids}, both(n), false);
  }
}

TEST_F(Norm, EveryRowEqualsTheBody) {
  for (int64_t n : {2, 16, 50, 384}) {
    const std::vector<NormOutput> outputs = both(n);
    const NormOutputs types = {DataType::kI8, DataType::kI16};
    std::vector<int16_t> a = codes(3 * n), b = codes(3 * n);
    for (const auto& row : hard_rows(n)) {
      a.insert(a.end(), row.begin(), row.end());
      const std::vector<int16_t> other = codes(n);
      b.insert(b.end(), other.begin(), other.end());
    }
    const Dims dims{static_cast<int64_t>(a.size()) / n, n};
    const KernelSpec add = add_norm_spec(n, {INT32_MAX, 24}, {1234567890, 23}, outputs);
    const std::vector<Tensor> operands = {Tensor::from(dims, a), Tensor::from(dims, b)};
    check(add, operands, evaluate(add_norm_body(n, types).graph, testing::operands(add, operands)), true, {1});

    const Rows word{"word", {}, {INT32_MAX, 1 << 30, 0, -(1 << 30)}, {16, 17, 62, 15}},
        place{"place", {}, {999, 3}, {1, 4}};
    std::vector<Rows> tables = {word, place};
    for (Rows& t : tables)
      for (size_t i = 0; i < t.m.size() * n; ++i) t.codes.push_back(static_cast<int8_t>(between(-127, 127)));
    const KernelSpec embed = embed_norm_spec(n, tables, outputs);
    const std::vector<Tensor> ids = {Tensor::from<int32_t>({5}, {0, 1, 2, 3, 0}),
                                     Tensor::from<int32_t>({5}, {0, 1, 0, 1, 1})};
    const Body body = embed_norm_body(n, {{"word", 4}, {"place", 2}}, types);
    check(embed, ids, evaluate(body.graph, testing::operands(embed, ids)), true, {1, 2});
  }
}

TEST_F(Norm, EmbedRefusesAnIndexOutsideTheTable) {
  const int64_t n = 16;
  const Rows t{"word", std::vector<int8_t>(3 * n, 1), {1, 1, 1}, {1, 1, 1}};
  const KernelSpec spec = embed_norm_spec(n, {t}, both(n));
  for (int32_t bad : {-1, 3, INT32_MIN, INT32_MAX})
    for (const KernelRow* row : testing::rows_of("embed_norm")) {
      if (row->isa > detected_isa()) continue;
      EXPECT_THROW(testing::run(*row->make(spec), {Tensor::from<int32_t>({2}, {0, bad})},
                                {Tensor(DataType::kI8, {2, n}), Tensor(DataType::kI16, {2, n})}, 1, 1),
                   Error);
    }
}

TEST_F(Norm, RefusesWhatTheBodyRefuses) {
  KernelSpec spec = add_norm_spec(16, {1, 1}, {1, 1}, both(16));
  std::string why;
  EXPECT_NE(select_kernel(spec, detected_isa()), nullptr);
  spec.version = 2;
  EXPECT_EQ(select_kernel(spec, detected_isa(), &why), nullptr);
  EXPECT_NE(why, "");
  EXPECT_EQ(select_kernel(add_norm_spec(16385, {1, 1}, {1, 1}, both(16385)), detected_isa()), nullptr);
  EXPECT_EQ(select_kernel(add_norm_spec(16, {1, 63}, {1, 1}, both(16)), detected_isa()), nullptr);
  EXPECT_EQ(select_kernel(add_norm_spec(16, {1, 1}, {1, 1}, {}), detected_isa()), nullptr);
}

TEST_F(Norm, NamesRowsThatThisCpuCannotRun) {
  for (const char* composite : {"add_norm", "embed_norm"})
    for (const KernelRow* row : testing::rows_of(composite))
      if (row->isa > detected_isa()) GTEST_SKIP() << "SKIPPED: " << row->name << ": this CPU has " << cpu_model();
}

}  // namespace
}  // namespace dyadic::norm

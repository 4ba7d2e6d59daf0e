#include <algorithm>

#include "base/fixed_point.h"
#include "base/random.h"
#include "graph/bodies/bodies.h"
#include "graph/evaluator.h"
#include "kernels/guarded_memory.h"
#include "kernels/kernel.h"
#include "support.h"

namespace dyadic {

void PrintTo(const KernelRow& row, std::ostream* out) { *out << row.name; }

namespace {

using test::GuardedMemory;

// A linear whose operands are plain vectors.
struct Case {
  int64_t M = 1, N = 1, K = 1;
  std::vector<int8_t> x, weight;
  std::vector<int32_t> bias, m;
  std::vector<uint8_t> s;
  DataType code = DataType::kI8;
  Interval clamp{-127, 127};
  int64_t zero_point = 0;
  std::vector<int8_t> tables;
  std::vector<int32_t> ends;
  std::vector<int64_t> splits;

  std::vector<EpilogueStage> epilogue() const {
    std::vector<EpilogueStage> stages{{StageKind::kBias, DataType::kI32}};
    stages.push_back({StageKind::kRequantize, code, clamp, zero_point});
    if (!ends.empty()) stages.push_back({StageKind::kTable, DataType::kI8});
    return stages;
  }

  KernelSpec spec() const {
    KernelSpec spec{.composite = "linear", .epilogue = epilogue()};
    spec.inputs.push_back({"x", DataType::kI8, {-1, K}, {}, {-127, 127}});
    const auto parameter = [&](const char* name, Tensor t) {
      spec.inputs.push_back({name, t.type(), t.dims(), t, range_of(t.type())});
    };
    parameter("weight", Tensor::from<int8_t>({N, K}, weight));
    parameter("bias", Tensor::from<int32_t>({N}, bias));
    parameter("m", Tensor::from<int32_t>({static_cast<int64_t>(m.size())}, m));
    parameter("s", Tensor::from<uint8_t>({static_cast<int64_t>(s.size())}, s));
    if (!ends.empty()) {
      const int64_t G = ends.size();
      parameter("tables", Tensor::from<int8_t>({G, 256}, tables));
      parameter("ends", Tensor::from<int32_t>({G}, ends));
    }
    for (size_t j = 0; j < splits.size(); ++j)
      spec.outputs.push_back({"y" + std::to_string(j), code, {-1, splits[j]}, {}, clamp});
    return spec;
  }

  // y[row, column] by the definition.
  std::vector<int64_t> expected() const {
    std::vector<int64_t> y;
    for (int64_t i = 0; i < M; ++i)
      for (int64_t c = 0, g = 0; c < N; ++c) {
        int64_t sum = bias[c];
        for (int64_t k = 0; k < K; ++k) sum += int64_t{x[i * K + k]} * weight[c * K + k];
        const int64_t shift = s[s.size() == 1 ? 0 : c], product = sum * m[m.size() == 1 ? 0 : c];
        int64_t code = shift == 0 ? product : (product + (int64_t{1} << (shift - 1))) >> shift;
        code = std::min(std::max(code + zero_point, clamp.lo), clamp.hi);
        if (!ends.empty()) {
          while (c >= ends[g]) ++g;
          code = tables[256 * g + code + 128];
        }
        y.push_back(code);
      }
    return y;
  }
};

// Runs `kernel` on the first `M` rows of c.x in guarded memory: the outputs side by side, as expected() has them.
std::vector<int64_t> run(const Kernel& kernel, const Case& c, int64_t M, int threads) {
  ThreadPool pool(threads);
  const std::vector<Dims> dims{{M, c.K}};
  std::vector<std::unique_ptr<GuardedMemory>> memory;
  const auto allocate = [&](size_t bytes) { return memory.emplace_back(new GuardedMemory(bytes))->data(); };
  std::vector<std::byte*> scratch;
  for (int w = 0; w < threads; ++w) scratch.push_back(allocate((kernel.scratch_bytes(dims, M) + 63) / 64 * 64));
  const TensorView x{DataType::kI8, dims[0], allocate(M * c.K)};
  std::copy_n(c.x.data(), M * c.K, x.as<int8_t>());
  std::vector<TensorView> y;
  for (int64_t width : c.splits) y.push_back({c.code, {M, width}, allocate(storage_bytes(c.code, M * width))});
  kernel.run({&x, 1}, y, {&pool, scratch});

  std::vector<int64_t> result(M * c.N);
  int64_t start = 0;
  for (const TensorView& view : y) {
    const int64_t width = view.dims[1];
    for (int64_t i = 0; i < M * width; ++i)
      result[i / width * c.N + start + i % width] =
          c.code == DataType::kI8 ? view.as<int8_t>()[i] : view.as<int16_t>()[i];
    start += width;
  }
  return result;
}

class Generator {
 public:
  explicit Generator(uint64_t stream) : random_(test::seed(), stream) {}
  int64_t between(int64_t lo, int64_t hi) { return lo + static_cast<int64_t>(random_.below(hi - lo + 1)); }

  std::vector<int8_t> codes(int64_t n, int64_t lo = -127, int64_t hi = 127) {
    std::vector<int8_t> v(n);
    for (int8_t& code : v) code = static_cast<int8_t>(between(lo, hi));
    return v;
  }

  // m of any sign, now and then 0, and s that bring sums of K products to about half the range of codes and beyond.
  void scale(Case& c, bool per_channel) {
    const int sum_bits = 12 + log2_floor(c.K) / 2, code_bits = c.code == DataType::kI8 ? 6 : 14;
    c.s.resize(per_channel ? c.N : 1);
    for (uint8_t& s : c.s) s = static_cast<uint8_t>(31 + sum_bits - code_bits - between(0, 2));
    c.m.resize(c.N);
    for (int32_t& m : c.m) m = static_cast<int32_t>(between(-(int64_t{1} << 31), (int64_t{1} << 31) - 1));
    c.m[between(0, c.N - 1)] = 0;
  }

  // Borders anywhere in 1..N, the last at N; G may exceed N (empty ranges).
  std::vector<int64_t> borders(int64_t N, int64_t parts) {
    std::vector<int64_t> b{N};
    while (static_cast<int64_t>(b.size()) < parts) b.push_back(between(0, N));
    std::sort(b.begin(), b.end());
    return b;
  }

  // An ordinary linear of that shape: 8 or 16 bits, 1..3 outputs, 0..3 tables.
  Case linear(int64_t M, int64_t N, int64_t K) {
    Case c{.M = M, .N = N, .K = K, .x = codes(M * K), .weight = codes(N * K)};
    for (int64_t i = 0; i < N; ++i) c.bias.push_back(static_cast<int32_t>(between(-4096, 4096) << log2_floor(K) / 2));
    if (between(0, 2) == 0) c.code = DataType::kI16, c.clamp = range_of(DataType::kI16);
    scale(c, between(0, 1));
    if (c.code == DataType::kI8 && between(0, 1)) {
      const int64_t G = between(1, 3);
      c.tables = codes(G * 256);
      for (int64_t end : borders(N, G)) c.ends.push_back(static_cast<int32_t>(end));
    }
    int64_t start = 0;
    for (int64_t end : borders(N, between(1, 3))) {
      if (end > start) c.splits.push_back(end - start);
      start = end;
    }
    return c;
  }

 private:
  Random random_;
};

class LinearKernel : public testing::TestWithParam<KernelRow> {
 protected:
  void SetUp() override {
    if (GetParam().isa > detected_isa()) GTEST_SKIP() << "SKIPPED: this CPU has no " << isa_name(GetParam().isa);
  }
  std::unique_ptr<Kernel> make(const Case& c) {
    const KernelSpec spec = c.spec();
    EXPECT_EQ(GetParam().reject(spec), "");
    return GetParam().make(spec);
  }
  void check(const Case& c, int threads = 1) { ASSERT_EQ(run(*make(c), c, c.M, threads), c.expected()); }
};

std::vector<KernelRow> linear_rows() {
  std::vector<KernelRow> rows;
  for (const KernelRow& row : kernel_rows())
    if (row.composite == std::string("linear")) rows.push_back(row);
  return rows;
}
INSTANTIATE_TEST_SUITE_P(Rows, LinearKernel, testing::ValuesIn(linear_rows()),
                         [](const auto& info) { return std::string(info.param.name); });

constexpr int64_t kRows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 31, 32, 33, 128};
constexpr int64_t kColumns[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16, 17, 63, 64, 65, 128};
constexpr int64_t kDepths[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 31, 32, 33, 64, 384, 1536};

TEST_P(LinearKernel, EveryShape) {
  Generator generate(1);
  int64_t inside = 0, total = 0;
  for (int64_t K : kDepths)
    for (int64_t N : kColumns) {
      const Case c = generate.linear(128, N, K);
      const auto kernel = make(c);
      const std::vector<int64_t> expected = c.expected();
      for (int64_t y : expected) inside += c.clamp.lo < y && y < c.clamp.hi && y != 0, total += 1;
      for (int64_t M : kRows) {
        const std::vector<int64_t> wanted(expected.begin(), expected.begin() + M * N);
        ASSERT_EQ(run(*kernel, c, M, 1), wanted) << M << "x" << N << "x" << K << " " << to_string(c.epilogue());
      }
    }
  EXPECT_GT(2 * inside, total);  // most codes are worth comparing
}

TEST_P(LinearKernel, ManyRowsAndNone) {
  Generator generate(2);
  check(generate.linear(1000, 20, 7));
  check(generate.linear(0, 70, 8));
}

TEST_P(LinearKernel, AnyNumberOfThreads) {
  Generator generate(3);
  for (int64_t M : {1, 5, 13, 130, 401})
    for (int64_t N : {10, 65, 300}) {
      const Case c = generate.linear(M, N, 37);
      for (int threads : {1, 2, 3, 7}) check(c, threads);
    }
}

TEST_P(LinearKernel, ExtremeCodes) {
  Generator generate(4);
  const auto pattern = [](int64_t n, int which) {
    std::vector<int8_t> v(n);
    for (int64_t i = 0; i < n; ++i) v[i] = which == 0 ? 127 : which == 1 ? -127 : i % 2 ? 127 : -127;
    return v;
  };
  for (int64_t K : {1, 63, 384, 1536})
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b) {
        Case c = generate.linear(7, 66, K);
        c.x = pattern(c.x.size(), a);
        c.weight = pattern(c.weight.size(), b);
        check(c);
      }
}

TEST_P(LinearKernel, SumsUpToTheLastOf32Bits) {
  Generator generate(5);
  Case c = generate.linear(6, 70, 300);
  std::fill(c.x.begin(), c.x.end(), 127);
  for (int64_t n = 0; n < c.N; ++n) {
    std::fill_n(c.weight.begin() + n * c.K, c.K, n % 2 ? 127 : -127);
    const int64_t rest = INT32_MAX - 127 * 127 * c.K;
    c.bias[n] = static_cast<int32_t>(n % 2 ? rest : -rest);
  }
  for (int s : {1, 20, 32, 33, 40, 62}) {
    c.s.assign(1, static_cast<uint8_t>(s));
    c.m[3] = INT32_MAX, c.m[4] = INT32_MIN, c.m[5] = INT32_MIN;
    check(c);
  }
}

// Each shift with multipliers of each width and sign, on small and on large sums.
TEST_P(LinearKernel, EveryShift) {
  Generator generate(6);
  for (DataType code : {DataType::kI8, DataType::kI16})
    for (int s = 0; s <= 62; ++s)
      for (int64_t largest : {1, 1000, 1 << 24}) {
        Case c = generate.linear(3, 70, 9);
        c.ends.clear();
        c.code = code;
        c.clamp = code == DataType::kI8 ? Interval{-127, 127} : range_of(code);
        if (largest == 1) {
          c.x = generate.codes(c.x.size(), -1, 1);
          c.weight = generate.codes(c.weight.size(), -1, 1);
        }
        for (int32_t& bias : c.bias) bias = static_cast<int32_t>(generate.between(-largest, largest));
        c.s.assign(1, static_cast<uint8_t>(s));
        for (int32_t& m : c.m) {
          const int64_t width = generate.between(0, 31), high = (int64_t{1} << width) - 1;
          m = static_cast<int32_t>(generate.between(-high - 1, high));
        }
        check(c);
        c.s.resize(c.N);
        for (uint8_t& each : c.s)
          each = static_cast<uint8_t>(generate.between(std::max(0, s - 2), std::min(62, s + 2)));
        check(c);
      }
}

// Ties of x/2^s go up: -0.5 to 0, 0.5 to 1, -1.5 to -1.
TEST_P(LinearKernel, HalvesGoUp) {
  for (int s : {1, 2, 31, 32, 33, 34, 62}) {
    Case c{.M = 1, .N = 9, .K = 1, .x = {1}, .weight = {-4, -3, -2, -1, 0, 1, 2, 3, 4}, .splits = {9}};
    c.bias.assign(9, 0);
    c.s.assign(1, static_cast<uint8_t>(s));
    c.m.assign(1, int32_t{1} << std::min(30, s - 1));  // 1/2 where it fits 32 bits
    check(c);
    if (s <= 31) {
      ASSERT_EQ(c.expected(), (std::vector<int64_t>{-2, -1, -1, 0, 0, 1, 1, 2, 2}));
    }
  }
}

TEST_P(LinearKernel, OtherClampsAndZeroPoints) {
  Generator generate(7);
  for (DataType code : {DataType::kI8, DataType::kI16})
    for (const auto& [clamp, zero_point] : std::vector<std::pair<Interval, int64_t>>{
             {{0, 127}, 0}, {{-128, 127}, -128}, {{-5, -5}, 3}, {{-20, 100}, 77}}) {
      Case c = generate.linear(8, 130, 40);
      c.ends.clear();
      c.code = code;
      c.clamp = clamp;
      c.zero_point = zero_point;
      generate.scale(c, false);
      check(c);
      for (int s : {33, 50, 62}) {  // with a large shift the zero point does not fit the rounding constant
        c.s.assign(1, static_cast<uint8_t>(s));
        check(c);
      }
    }
}

TEST_P(LinearKernel, ClampBeforeTheTableMayReachMinus128) {
  Generator generate(8);
  Case c = generate.linear(6, 64, 64);
  c.code = DataType::kI8;
  c.clamp = {-128, 127};
  c.ends = {64};
  c.tables = generate.codes(256, -128);
  c.m.assign(1, INT32_MAX);
  c.s.assign(1, 34);
  const std::vector<int64_t> y = c.expected();
  EXPECT_NE(std::count(y.begin(), y.end(), c.tables[0]), 0);
  check(c);
}

TEST_P(LinearKernel, WithoutBias) {
  Generator generate(9);
  Case c = generate.linear(9, 33, 31);
  KernelSpec spec = c.spec();
  spec.epilogue.erase(spec.epilogue.begin());
  spec.inputs.erase(spec.inputs.begin() + 2);
  c.bias.assign(c.N, 0);
  ASSERT_EQ(GetParam().reject(spec), "");
  EXPECT_EQ(run(*GetParam().make(spec), c, c.M, 1), c.expected());
}

// The body, evaluated, is what every kernel must give; expected() above is held to it as well.
TEST_P(LinearKernel, EqualsItsBody) {
  Generator generate(12);
  for (int i = 0; i < 12; ++i) {
    const Case c = generate.linear(4, 70, generate.between(1, 40));
    const Body body = linear_body({c.K, c.N, c.epilogue(), c.splits, c.s.size() > 1, int64_t(c.ends.size())});
    const KernelSpec spec = c.spec();
    std::vector<Tensor> inputs{Tensor::from<int8_t>({c.M, c.K}, c.x)};
    for (size_t k = 1; k < spec.inputs.size(); ++k) inputs.push_back(spec.inputs[k].constant);
    ASSERT_EQ(body.graph.inputs.size(), inputs.size());
    for (size_t k = 0; k < inputs.size(); ++k)
      ASSERT_EQ(body.graph.value(body.graph.inputs[k]).name, spec.inputs[k].name);

    const std::vector<Tensor> outputs = evaluate(body.graph, inputs);
    std::vector<int64_t> wanted;
    for (int64_t row = 0; row < c.M; ++row)
      for (const Tensor& y : outputs)
        for (int64_t n = 0; n < y.dim(1); ++n) wanted.push_back(y.at(row * y.dim(1) + n));
    ASSERT_EQ(run(*make(c), c, c.M, 1), wanted) << to_string(c.epilogue());
    ASSERT_EQ(c.expected(), wanted);
  }
}

// The ways to requantize are chosen as meant: the tests above then cover them.
TEST_P(LinearKernel, ChoosesTheFormOfRequantize) {
  Generator generate(10);
  Case c = generate.linear(1, 16, 384);
  const auto form = [&](int32_t m, int s) {
    c.m.assign(1, m);
    c.s.assign(1, static_cast<uint8_t>(s));
    return make(c)->describe();
  };
  using testing::HasSubstr;
  // 384 products of codes below 128 sum up to at most 2^22.6.
  EXPECT_THAT(form(-3, 8), HasSubstr("1 in 32 bits"));
  EXPECT_THAT(form(0, 62), HasSubstr("1 in 32 bits"));
  EXPECT_THAT(form(251, 12), HasSubstr("1 in 32 bits"));
  EXPECT_THAT(form(251 << 23, 12 + 23), HasSubstr("1 in 32 bits"));
  EXPECT_THAT(form(1001, 14), HasSubstr("1 high-dword"));
  EXPECT_THAT(form(INT32_MAX, 40), HasSubstr("1 high-dword"));
  EXPECT_THAT(form(INT32_MAX, 31), HasSubstr("1 with the sum shifted first"));
  EXPECT_THAT(form(INT32_MAX, 20), HasSubstr("1 in 64 bits"));
}

// One shift and multipliers of nine bits, as recipes give: where panels allow it sums become codes in registers.
TEST_P(LinearKernel, CodesInRegisters) {
  Generator generate(12);
  int fused = 0;
  for (const DataType code : {DataType::kI8, DataType::kI16})
    for (const auto& [N, splits] : std::vector<std::pair<int64_t, std::vector<int64_t>>>{
             {64, {64}}, {192, {64, 128}}, {200, {128, 72}}, {130, {65, 65}}, {48, {48}}})
      for (const int64_t K : {4, 30, 384})
        for (const int64_t M : {1, 2, 3, 4, 5, 6, 41, 130})
          for (const bool odd : {false, true}) {
            Case c = generate.linear(M, N, K);
            c.splits = splits;
            c.code = code;
            c.clamp = odd ? Interval{-20, 100} : code == DataType::kI8 ? Interval{-127, 127} : range_of(code);
            c.zero_point = odd ? 5 : 0;
            c.bias.assign(N, 0);
            for (int32_t& b : c.bias) b = static_cast<int32_t>(generate.between(-1000, 1000));
            c.s.assign(1, static_cast<uint8_t>(code == DataType::kI8 ? 15 : 9));
            c.m.resize(N);
            for (int32_t& m : c.m) m = static_cast<int32_t>(generate.between(1, 255));
            if (code == DataType::kI8 && M % 2) {
              c.tables = generate.codes(512);
              c.ends = {static_cast<int32_t>(generate.between(0, N)), static_cast<int32_t>(N)};
            } else {
              c.ends.clear();
            }
            fused += make(c)->describe().find("in registers") != std::string::npos;
            check(c, M == 130 ? 3 : 1);
          }
  if (GetParam().name == std::string("linear_avx512vnni")) {
    EXPECT_EQ(fused, 2 * 4 * 3 * 8 * 2);  // all that have 64 columns of one output
  }
}

TEST(Linear, EveryRowIsThereFastestFirst) {
  std::vector<std::string> names;
  for (const KernelRow& row : linear_rows()) names.push_back(row.name);
  EXPECT_EQ(names, (std::vector<std::string>{"linear_amx", "linear_avx512vnni", "linear_avx2", "linear_portable"}));
}

TEST_P(LinearKernel, RejectsWithAReason) {
  Generator generate(11);
  Case good = generate.linear(1, 20, 30);
  good.code = DataType::kI8;
  good.clamp = {-127, 127};
  good.tables = generate.codes(512);
  good.ends = {7, 20};
  const auto reason = [&](auto change) {
    KernelSpec spec = good.spec();
    change(spec);
    return GetParam().reject(spec);
  };
  const auto operand = [](KernelSpec& spec, const char* name) -> KernelOperand& {
    return const_cast<KernelOperand&>(*spec.find_input(name));
  };
  using testing::HasSubstr;
  EXPECT_EQ(reason([](KernelSpec&) {}), "");
  EXPECT_THAT(reason([](KernelSpec& s) { s.version = 2; }), HasSubstr("version 2"));
  EXPECT_THAT(reason([](KernelSpec& s) { s.epilogue.pop_back(), s.epilogue.pop_back(); }), HasSubstr("epilogue"));
  EXPECT_THAT(reason([](KernelSpec& s) { s.epilogue.push_back({StageKind::kAdd}); }), HasSubstr("epilogue"));
  EXPECT_THAT(reason([](KernelSpec& s) { std::swap(s.epilogue[0], s.epilogue[1]); }), HasSubstr("epilogue"));
  EXPECT_THAT(reason([](KernelSpec& s) { s.epilogue[1].type = DataType::kU8; }), HasSubstr("epilogue"));
  EXPECT_THAT(reason([](KernelSpec& s) { s.epilogue.pop_back(), s.epilogue[1].type = DataType::kU8; }),
              HasSubstr("i8 or i16"));
  EXPECT_THAT(reason([](KernelSpec& s) { s.epilogue[1].clamp = {-200, 127}; }), HasSubstr("clamp"));
  EXPECT_THAT(reason([](KernelSpec& s) { s.epilogue[1].zero_point = 1 << 20; }), HasSubstr("zero point"));
  EXPECT_THAT(reason([&](KernelSpec& s) { operand(s, "x").type = DataType::kU8; }), HasSubstr("x is not"));
  EXPECT_THAT(reason([&](KernelSpec& s) { operand(s, "x").dims = {-1, 31}; }), HasSubstr("x is not"));
  EXPECT_THAT(reason([&](KernelSpec& s) { operand(s, "weight").constant = {}; }), HasSubstr("weight"));
  EXPECT_THAT(reason([&](KernelSpec& s) {
                operand(s, "weight").constant = Tensor(DataType::kU8, {20, 30});
              }),
              HasSubstr("weight"));
  EXPECT_THAT(reason([&](KernelSpec& s) { operand(s, "bias").constant = Tensor(DataType::kI32, {19}); }),
              HasSubstr("bias is i32[19]"));
  EXPECT_THAT(reason([&](KernelSpec& s) { operand(s, "m").constant = Tensor(DataType::kI16, {20}); }),
              HasSubstr("m is i16"));
  EXPECT_THAT(reason([&](KernelSpec& s) { operand(s, "s").constant = Tensor::from<uint8_t>({1}, {63}); }),
              HasSubstr("63"));
  EXPECT_THAT(reason([&](KernelSpec& s) {
                operand(s, "tables").constant = Tensor(DataType::kI8, {1, 256});
              }),
              HasSubstr("tables"));
  for (const std::vector<int32_t>& ends : {std::vector<int32_t>{20, 7}, {7, 19}, {-1, 20}})
    EXPECT_THAT(reason([&](KernelSpec& s) { operand(s, "ends").constant = Tensor::from<int32_t>({2}, ends); }),
                HasSubstr("ends"));
  EXPECT_THAT(reason([](KernelSpec& s) { s.outputs.back().dims[1] += 1; }), HasSubstr("columns"));
  EXPECT_THAT(reason([](KernelSpec& s) { s.outputs[0].type = DataType::kI16; }), HasSubstr("output y0"));
  EXPECT_THAT(reason([&](KernelSpec& s) {
                operand(s, "bias").constant = Tensor::from<int32_t>({20}, std::vector<int32_t>(20, INT32_MAX));
              }),
              HasSubstr("beyond 32 bits"));
}

}  // namespace
}  // namespace dyadic

// One test an operation: what it means on examples worked by hand, and every error that it can raise.
#include <cmath>
#include <limits>
#include <random>

#include "base/random.h"
#include "base/status.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/text.h"
#include "support.h"

namespace dyadic {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr DataType kI8 = DataType::kI8, kU8 = DataType::kU8, kI16 = DataType::kI16, kU16 = DataType::kU16,
                   kI32 = DataType::kI32, kU32 = DataType::kU32, kI64 = DataType::kI64;
constexpr int64_t kMin32 = INT32_MIN, kMax32 = INT32_MAX, kMin64 = INT64_MIN, kMax64 = INT64_MAX;
using Ints = std::vector<int64_t>;

Tensor make(DataType type, Dims dims, const Ints& values) {
  Tensor t(type, std::move(dims));
  EXPECT_EQ(t.count(), static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) t.set(static_cast<int64_t>(i), values[i]);
  return t;
}
Tensor row(DataType type, const Ints& values) { return make(type, {static_cast<int64_t>(values.size())}, values); }
Tensor scalar(DataType type, int64_t value) { return make(type, {}, {value}); }

// The results of one operation on the given operands.
std::vector<Tensor> run(const std::string& op, const std::vector<Tensor>& operands, Attributes attributes = {}) {
  BodyBuilder b("test");
  std::vector<Var> vars;
  for (size_t i = 0; i < operands.size(); ++i)
    vars.push_back(b.input(cat("x", i), operands[i].type(), to_shape(operands[i].dims())));
  for (Var v : b.op(op, vars, std::move(attributes))) b.output(v);
  return evaluate(b.build(), operands);
}
Ints values(const std::string& op, const std::vector<Tensor>& operands, Attributes attributes = {}) {
  return run(op, operands, std::move(attributes)).at(0).to_int64();
}
void refused(const char* why, const std::string& op, const std::vector<Tensor>& operands, Attributes attributes = {}) {
  EXPECT_THAT([&] { run(op, operands, attributes); }, ThrowsMessage<Error>(HasSubstr(why))) << op;
}

TEST(CoreOps, AddSubMul) {
  EXPECT_THAT(values("add", {row(kI8, {100, -100, 3}), row(kI8, {27, -28, -3})}), ElementsAre(127, -128, 0));
  EXPECT_THAT(values("sub", {row(kU8, {255, 7}), scalar(kU8, 7)}), ElementsAre(248, 0));
  EXPECT_THAT(values("mul", {make(kI64, {2, 1}, {int64_t{1} << 31, -3}), row(kI64, {int64_t{1} << 31, 5})}),
              ElementsAre(int64_t{1} << 62, 5 * (int64_t{1} << 31), -3 * (int64_t{1} << 31), -15));
  refused("128 does not fit i8", "add", {scalar(kI8, 127), scalar(kI8, 1)});
  refused("-1 does not fit u8", "sub", {scalar(kU8, 1), scalar(kU8, 2)});
  refused("2147483648 does not fit i32", "add", {scalar(kI32, kMax32), scalar(kI32, 1)});
  refused("2^63 or more does not fit i64", "add", {scalar(kI64, kMax64), scalar(kI64, 1)});
  refused("below -2^63 does not fit i64", "sub", {scalar(kI64, kMin64), scalar(kI64, 1)});
  refused("2^63 or more", "mul", {scalar(kI64, kMin64), scalar(kI64, kMin64)});
}

TEST(CoreOps, ErrorsNameNodeValueElementAndNumber) {
  refused("body test, node 0 (add), value v2, element [1,2]: 200 does not fit i8", "add",
          {make(kI8, {2, 3}, {0, 0, 0, 0, 0, 100}), row(kI8, {0, 0, 100})});
}

TEST(CoreOps, AbsMinMaxClamp) {
  EXPECT_THAT(values("abs", {row(kI8, {-127, 0, 5})}), ElementsAre(127, 0, 5));
  refused("128 does not fit i8", "abs", {scalar(kI8, -128)});
  refused("2^63 or more", "abs", {scalar(kI64, kMin64)});
  EXPECT_THAT(values("min", {row(kI8, {-3, 4}), scalar(kI8, 1)}), ElementsAre(-3, 1));
  EXPECT_THAT(values("max", {row(kU32, {0, 0xffffffff}), scalar(kU32, 1)}), ElementsAre(1, 0xffffffff));
  EXPECT_THAT(values("clamp", {row(kI64, {-9, 0, 9}), scalar(kI64, -2), scalar(kI64, 3)}), ElementsAre(-2, 0, 3));
  EXPECT_THAT(values("clamp", {scalar(kI8, 0), scalar(kI8, 5), scalar(kI8, 3)}), ElementsAre(3));  // max, then min
}

TEST(CoreOps, BroadcastingEqualsPlainIndexing) {
  std::mt19937 random(static_cast<unsigned>(test::seed()));
  for (int round = 0; round < 100; ++round) {
    const size_t rank = random() % 5;
    Dims out(rank), dims[2] = {out, out};
    for (size_t a = 0; a < rank; ++a) {
      out[a] = 1 + random() % 4;
      dims[0][a] = random() % 3 ? out[a] : 1;
      dims[1][a] = dims[0][a] != out[a] || random() % 3 ? out[a] : 1;
    }
    dims[1].erase(dims[1].begin(), dims[1].begin() + (rank ? random() % (rank + 1) : 0));  // fewer axes
    for (size_t a = 0; a < rank - dims[1].size(); ++a) out[a] = dims[0][a];
    Tensor x[2];
    for (int o : {0, 1}) {
      x[o] = Tensor(kI32, dims[o]);
      for (int64_t i = 0; i < x[o].count(); ++i) x[o].set(i, static_cast<int64_t>(random() % 1000));
    }
    const Tensor y = run("sub", {x[0], x[1]})[0];
    ASSERT_EQ(y.dims(), out);
    for (int64_t i = 0; i < y.count(); ++i) {
      int64_t rest = i, at[2] = {0, 0}, stride[2] = {1, 1};
      for (size_t back = 1; back <= rank; rest /= out[rank - back++])
        for (int o : {0, 1})
          if (back <= dims[o].size()) {
            const int64_t n = dims[o][dims[o].size() - back];
            if (n != 1) at[o] += rest % out[rank - back] * stride[o];
            stride[o] *= n;
          }
      ASSERT_EQ(y.at(i), x[0].at(at[0]) - x[1].at(at[1]))
          << to_string(dims[0]) << to_string(dims[1]) << " element " << i;
    }
  }
}

TEST(CoreOps, Shl) {
  EXPECT_THAT(values("shl", {row(kI8, {-1, 1, 3}), row(kU8, {7, 6, 0})}), ElementsAre(-128, 64, 3));
  EXPECT_THAT(values("shl", {scalar(kI64, -1), scalar(kU8, 63)}), ElementsAre(kMin64));
  refused("128 does not fit i8", "shl", {scalar(kI8, 1), scalar(kU8, 7)});
  refused("2^63 or more", "shl", {scalar(kI64, kMax64), scalar(kU8, 63)});
  refused("shift count 8 of i8", "shl", {scalar(kI8, 0), scalar(kU8, 8)});
}

TEST(CoreOps, ShrRoundsTies) {
  const Tensor x = row(kI32, {-5, -3, -2, -1, 1, 2, 3, 5}), k = scalar(kU8, 1);
  EXPECT_THAT(values("shr", {x, k}, {{"rounding", "floor"}}), ElementsAre(-3, -2, -1, -1, 0, 1, 1, 2));
  EXPECT_THAT(values("shr", {x, k}), ElementsAre(-2, -1, -1, 0, 1, 1, 2, 3));
  EXPECT_THAT(values("shr", {x, k}, {{"rounding", "half_away"}}), ElementsAre(-3, -2, -1, -1, 1, 1, 2, 3));
  EXPECT_THAT(values("shr", {x, scalar(kU8, 0)}, {{"rounding", "half_away"}}), ElementsAreArray(x.to_int64()));
  // The sum with half the divisor need not fit the type.
  EXPECT_THAT(values("shr", {scalar(kI8, 127), scalar(kU8, 7)}), ElementsAre(1));
  EXPECT_THAT(values("shr", {row(kI64, {kMax64, kMin64}), scalar(kU8, 63)}), ElementsAre(1, -1));
  EXPECT_THAT(values("shr", {scalar(kU32, 0xffffffff), scalar(kU8, 31)}), ElementsAre(2));
  refused("shift count 32 of i32", "shr", {scalar(kI32, 0), scalar(kU8, 32)});
}

TEST(CoreOps, ShrHalfAwayIsRoundingDivideByPowerOfTwo) {
  // Gemmlowp's RoundingDivideByPOT: nearest, ties away from zero.
  const int64_t cases[][3] = {{5, 1, 3},
                              {-5, 1, -3},
                              {6, 2, 2},
                              {-6, 2, -2},
                              {-2, 2, -1},
                              {2, 2, 1},
                              {3, 2, 1},
                              {-12, 3, -2},
                              {-11, 3, -1},
                              {-1, 1, -1},
                              {kMax32, 31, 1},
                              {kMin32, 31, -1},
                              {-(1 << 30), 31, -1},
                              {kMin32, 1, -1073741824}};
  for (const auto& [x, k, want] : cases)
    EXPECT_THAT(values("shr", {scalar(kI32, x), scalar(kU8, k)}, {{"rounding", "half_away"}}), ElementsAre(want))
        << x << " " << k;
}

TEST(CoreOps, MulShift) {
  const auto apply = [](int64_t x, int64_t m, int64_t s, const char* rounding = "half_up") {
    return values("mul_shift", {scalar(kI32, x), scalar(kI32, m), scalar(kU8, s)},
                  {{"type", "i64"}, {"rounding", rounding}})[0];
  };
  EXPECT_EQ(apply(3, 1, 1), 2);    // 1.5
  EXPECT_EQ(apply(-3, 1, 1), -1);  // -1.5: ties go up
  EXPECT_EQ(apply(3, -1, 1), -1);
  EXPECT_EQ(apply(-3, 1, 1, "floor"), -2);
  EXPECT_EQ(apply(7, 9, 0), 63);
  EXPECT_EQ(apply(kMin32, kMin32, 62), 1);
  EXPECT_EQ(apply(kMin32, 0, 62), 0);
  // 0.0072474273 in 31 bits: the nearest integer of the exact product, -21741.4992.
  EXPECT_EQ(apply(-2999892, 1992157647, 38), -21741);
  // Per channel multipliers and per row shifts.
  EXPECT_THAT(values("mul_shift", {make(kI32, {2, 2}, {1, 2, 3, 4}), row(kI32, {10, 100}), make(kU8, {2, 1}, {0, 1})},
                     {{"type", "i32"}}),
              ElementsAre(10, 200, 15, 200));
  refused("shift count 63", "mul_shift", {scalar(kI32, 1), scalar(kI32, 1), scalar(kU8, 63)}, {{"type", "i64"}});
  refused("does not fit i32", "mul_shift", {scalar(kI32, kMax32), scalar(kI32, 4), scalar(kU8, 1)}, {{"type", "i32"}});
  // |x m| + 2^(s-1) must stay below 2^63.
  const int64_t q = int64_t{1} << 62;
  EXPECT_THAT(values("mul_shift", {scalar(kI64, q - 1), scalar(kI64, 2), scalar(kU8, 1)}, {{"type", "i64"}}),
              ElementsAre(q - 1));
  refused("leaves 63 bits", "mul_shift", {scalar(kI64, q), scalar(kI64, 2), scalar(kU8, 0)}, {{"type", "i64"}});
  refused("leaves 63 bits", "mul_shift", {scalar(kI64, -q), scalar(kI64, 2), scalar(kU8, 0)}, {{"type", "i64"}});
  refused("leaves 63 bits", "mul_shift", {scalar(kI64, q + q / 2), scalar(kI64, 1), scalar(kU8, 62)},
          {{"type", "i64"}, {"rounding", "floor"}});
}

TEST(CoreOps, MulShiftBy31IsSaturatingRoundingDoublingHighMul) {
  const int64_t cases[][3] = {{kMin32, kMax32, -2147483647},
                              {kMax32, kMax32, 2147483646},
                              {1, 1 << 30, 1},
                              {-1, 1 << 30, 0},
                              {3, 1 << 30, 2},
                              {-3, 1 << 30, -1},
                              {2, 1 << 29, 1},
                              {-2, 1 << 29, 0},
                              {123456789, 1518500250, 87297133},
                              {kMin32, 1 << 30, -1073741824}};
  for (const auto& [x, m, want] : cases)
    EXPECT_THAT(values("mul_shift", {scalar(kI32, x), scalar(kI32, m), scalar(kU8, 31)}, {{"type", "i32"}}),
                ElementsAre(want))
        << x << " " << m;
  // The one saturating pair: exact in i64, then a saturating cast.
  const Tensor wide =
      run("mul_shift", {scalar(kI32, kMin32), scalar(kI32, kMin32), scalar(kU8, 31)}, {{"type", "i64"}})[0];
  EXPECT_THAT(wide.to_int64(), ElementsAre(int64_t{1} << 31));
  EXPECT_THAT(values("cast", {wide}, {{"type", "i32"}, {"mode", "sat"}}), ElementsAre(kMax32));
}

TEST(CoreOps, DivRem) {
  const Tensor a = row(kI32, {7, -7, 6, -6, 0, -1}), b = row(kI32, {2, 2, 3, 3, 5, 5});
  EXPECT_THAT(values("div", {a, b}), ElementsAre(3, -4, 2, -2, 0, -1));
  EXPECT_THAT(values("rem", {a, b}), ElementsAre(1, 1, 0, 0, 0, 4));
  EXPECT_THAT(values("div", {scalar(kI64, kMin64), scalar(kI64, 1)}), ElementsAre(kMin64));
  refused("divisor 0", "div", {scalar(kI32, 1), scalar(kI32, 0)});
  refused("divisor -2", "rem", {scalar(kI32, 1), scalar(kI32, -2)});
}

TEST(CoreOps, Isqrt) {
  EXPECT_THAT(values("isqrt", {row(kI64, {0, 1, 3, 4, 8, 9, (int64_t{1} << 62) - 1, kMax64})}),
              ElementsAre(0, 1, 1, 2, 2, 3, 2147483647, 3037000499));
  refused("square root of -1", "isqrt", {scalar(kI8, -1)});
}

TEST(CoreOps, Normalize) {
  const auto one = [](DataType type, int64_t x, int64_t top, int64_t even) {
    const auto r = run("normalize", {scalar(type, x)}, {{"top", top}, {"even", even}});
    return std::pair(r[0].at(0), r[1].at(0));
  };
  EXPECT_EQ(one(kI32, 1, 30, 0), std::pair(int64_t{1} << 30, int64_t{30}));
  EXPECT_EQ(one(kI32, 0, 30, 0), std::pair(int64_t{0}, int64_t{30}));  // the shift of 0 is that of 1
  EXPECT_EQ(one(kI32, kMax32, 30, 0), std::pair(kMax32, int64_t{0}));
  EXPECT_EQ(one(kI64, 0, 61, 1), std::pair(int64_t{0}, int64_t{60}));
  EXPECT_EQ(one(kI64, 3, 61, 1), std::pair(int64_t{3} << 60, int64_t{60}));
  EXPECT_EQ(one(kI64, 5, 61, 1), std::pair(int64_t{5} << 58, int64_t{58}));
  EXPECT_EQ(one(kI64, 1, 61, 1), std::pair(int64_t{1} << 60, int64_t{60}));
  EXPECT_EQ(one(kI64, int64_t{1} << 60, 61, 1), std::pair(int64_t{1} << 60, int64_t{0}));
  EXPECT_EQ(one(kU8, 200, 7, 0), std::pair(int64_t{200}, int64_t{0}));
  refused("is negative", "normalize", {scalar(kI32, -1)}, {{"top", int64_t{30}}});
  refused("leading one above bit 20", "normalize", {scalar(kI32, 1 << 21)}, {{"top", int64_t{20}}});
}

TEST(CoreOps, BitwiseComparisonsSelect) {
  const Tensor a = row(kI8, {12, -1, 5}), b = row(kI8, {10, 7, -8});
  EXPECT_THAT(values("and", {a, b}), ElementsAre(8, 7, 0));
  EXPECT_THAT(values("or", {a, b}), ElementsAre(14, -1, -3));
  EXPECT_THAT(values("xor", {a, b}), ElementsAre(6, -8, -3));
  EXPECT_THAT(values("eq", {a, row(kI8, {12, 0, 5})}), ElementsAre(1, 0, 1));
  EXPECT_THAT(values("lt", {a, scalar(kI8, 5)}), ElementsAre(0, 1, 0));
  EXPECT_THAT(values("le", {a, scalar(kI8, 5)}), ElementsAre(0, 1, 1));
  EXPECT_THAT(values("lt", {scalar(kU32, 1), scalar(kU32, 0xffffffff)}), ElementsAre(1));
  EXPECT_THAT(values("select", {row(kU8, {0, 1, 255}), a, scalar(kI8, 9)}), ElementsAre(9, -1, 5));
}

TEST(CoreOps, Cast) {
  EXPECT_THAT(values("cast", {row(kI32, {-128, 127})}, {{"type", "i8"}}), ElementsAre(-128, 127));
  EXPECT_THAT(values("cast", {row(kI64, {kMin64, -129, 128, kMax64})}, {{"type", "i8"}, {"mode", "sat"}}),
              ElementsAre(-128, -128, 127, 127));
  EXPECT_THAT(values("cast", {row(kI8, {-1, 1})}, {{"type", "u16"}, {"mode", "sat"}}), ElementsAre(0, 1));
  refused("128 does not fit i8", "cast", {scalar(kI32, 128)}, {{"type", "i8"}});
  refused("-1 does not fit u32", "cast", {scalar(kI8, -1)}, {{"type", "u32"}});
}

TEST(CoreOps, LookupBroadcastsLeadingAxes) {
  EXPECT_THAT(values("lookup", {row(kI16, {10, 20, 30}), make(kU8, {2, 2}, {2, 0, 1, 2})}),
              ElementsAre(30, 10, 20, 30));
  // One table a channel.
  const Tensor tables = make(kI16, {2, 3}, {10, 20, 30, 11, 21, 31});
  EXPECT_THAT(values("lookup", {tables, make(kI32, {2, 2}, {0, 0, 2, 1})}), ElementsAre(10, 11, 30, 21));
  // One table a row.
  EXPECT_THAT(values("lookup", {make(kI16, {2, 1, 3}, {10, 20, 30, 11, 21, 31}), make(kI32, {2, 2}, {0, 1, 2, 1})}),
              ElementsAre(10, 20, 31, 21));
  EXPECT_THAT(values("lookup", {tables, scalar(kU8, 1)}), ElementsAre(20, 21));
  refused("index 3 of a table of 3", "lookup", {tables, row(kI32, {0, 3})});
  refused("index -1 of a table of 3", "lookup", {tables, row(kI32, {-1, 0})});
}

TEST(CoreOps, BucketizeBroadcastsLeadingAxes) {
  const Tensor x = make(kI16, {2, 3}, {-9, 0, 5, 6, 10, 99});
  EXPECT_THAT(values("bucketize", {x, row(kI16, {0, 6, 6, 10})}), ElementsAre(0, 1, 1, 3, 4, 4));
  // A set of thresholds a channel, and one a row.
  EXPECT_THAT(values("bucketize", {x, make(kI16, {3, 1}, {-9, 5, 5})}, {{"type", "u16"}}),
              ElementsAre(1, 0, 1, 1, 1, 1));
  EXPECT_THAT(values("bucketize", {x, make(kI16, {2, 1, 1}, {0, 10})}), ElementsAre(0, 1, 1, 0, 1, 1));
  refused("threshold 1 is 0 after 1", "bucketize", {x, row(kI16, {1, 0})});
}

TEST(CoreOps, RandomBitsArePhilox) {
  const auto apply = [](int64_t seed_low, int64_t seed_high, int64_t stream, int64_t step, const Ints& index) {
    return values("random_bits", {scalar(kI32, step), row(kU32, index)},
                  {{"seed_low", seed_low}, {"seed_high", seed_high}, {"stream", stream}});
  };
  EXPECT_THAT(apply(0, 0, 0, 0, {0, 1, 2, 3}), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  const PhiloxCounter words = philox4x32({1234, 0, 7, 9}, {5, 6});
  EXPECT_THAT(apply(5, 6, 9, 7, {4936, 4937, 4938, 4939}), ElementsAre(words[0], words[1], words[2], words[3]));
}

TEST(CoreOps, Reduce) {
  const Tensor x = make(kI8, {2, 3}, {100, 100, 100, -128, 0, 7});
  const auto apply = [&](const Tensor& t, const char* kind, const Ints& axes, const char* type, int64_t keepdims = 1) {
    return run("reduce", {t}, {{"kind", kind}, {"axes", axes}, {"type", type}, {"keepdims", keepdims}})[0];
  };
  EXPECT_EQ(apply(x, "sum", {1}, "i32"), make(kI32, {2, 1}, {300, -121}));
  EXPECT_EQ(apply(x, "sum", {0}, "i8", 0), row(kI8, {-28, 100, 107}));
  EXPECT_EQ(apply(x, "max", {0, 1}, "i8", 0), scalar(kI8, 100));
  EXPECT_EQ(apply(x, "min", {-1}, "i8", 0), row(kI8, {100, -128}));
  EXPECT_EQ(apply(make(kI8, {2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}), "sum", {0, 2}, "i8", 0), row(kI8, {14, 22}));
  EXPECT_EQ(apply(Tensor(kI8, {2, 0}), "sum", {1}, "i8", 0), row(kI8, {0, 0}));
  // Only the total has to fit: sums are exact.
  EXPECT_EQ(apply(row(kI64, {kMax64, kMax64, kMin64, kMin64}), "sum", {0}, "i64", 0), scalar(kI64, -2));
  EXPECT_THAT([&] { apply(x, "sum", {1}, "i8"); },
              ThrowsMessage<Error>(HasSubstr("element [0,0]: 300 does not fit i8")));
  EXPECT_THAT([&] { apply(Tensor(kI8, {2, 0}), "max", {1}, "i8"); }, ThrowsMessage<Error>(HasSubstr("max of nothing")));
}

TEST(CoreOps, Dot) {
  const auto apply = [](const Tensor& a, const Tensor& b, const Ints& ca, const Ints& cb, const Ints& ba = {},
                        const Ints& bb = {}, const char* type = "i32") {
    return run("dot", {a, b},
               {{"contract_a", ca}, {"contract_b", cb}, {"batch_a", ba}, {"batch_b", bb}, {"type", type}})[0];
  };
  const Tensor a = make(kI8, {2, 3}, {1, 2, 3, -4, 5, -6}), b = make(kU8, {2, 3}, {7, 8, 9, 255, 0, 1});
  EXPECT_EQ(apply(a, b, {1}, {1}), make(kI32, {2, 2}, {50, 258, -42, -1026}));
  EXPECT_EQ(apply(a, b, {0, 1}, {0, 1}), scalar(kI32, 50 - 1026));
  EXPECT_EQ(apply(a, b, {1}, {1}, {0}, {0}), row(kI32, {50, -1026}));
  EXPECT_EQ(apply(a, make(kI16, {3}, {1000, 0, -1}), {1}, {0}), row(kI32, {997, -3994}));
  EXPECT_EQ(apply(Tensor(kI8, {2, 0}), Tensor(kI8, {0}), {1}, {0}), row(kI32, {0, 0}));
  EXPECT_EQ(apply(scalar(kI32, kMin32), scalar(kI32, kMin32), {}, {}, {}, {}, "i64"), scalar(kI64, int64_t{1} << 62));
  // Only the total has to fit.
  EXPECT_EQ(apply(row(kI32, {kMin32, kMin32, kMin32}), row(kI32, {kMin32, kMin32, kMax32}), {0}, {0}, {}, {}, "i64"),
            scalar(kI64, (int64_t{1} << 62) + (int64_t{1} << 31)));
  EXPECT_THAT([&] { apply(scalar(kI32, kMin32), scalar(kI32, 1 << 1), {}, {}); },
              ThrowsMessage<Error>(HasSubstr("-4294967296 does not fit i32")));
  EXPECT_THAT(
      [&] {
        apply(row(kI32, {kMin32, kMin32}), row(kI32, {kMin32, kMin32}), {0}, {0}, {}, {}, "i64");
      },
      ThrowsMessage<Error>(HasSubstr("2^63 or more")));
}

TEST(CoreOps, DotEqualsPlainLoops) {
  std::mt19937 random(static_cast<unsigned>(test::seed()));
  for (const DataType ta : {kI8, kU8, kI16, kI32})
    for (const DataType tb : {kI8, kU8, kU16}) {
      const int64_t B = 2, M = 3, N = 5, K = 1 + random() % 200;
      const auto operand = [&](DataType t, Dims dims) {
        Tensor x(t, dims);
        const Interval r = range_of(bits(t) > 16 ? kI16 : t);
        for (int64_t i = 0; i < x.count(); ++i)
          x.set(i, random() % 8 == 0 ? (random() % 2 ? r.lo : r.hi)
                                     : r.lo + static_cast<int64_t>(random() % (r.hi - r.lo + 1)));
        return x;
      };
      const Tensor a = operand(ta, {M, B, K}), b = operand(tb, {B, K, N});
      Ints want;
      for (int64_t i = 0; i < B; ++i)
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < N; ++n) {
            int64_t sum = 0;
            for (int64_t k = 0; k < K; ++k) sum += a.at((m * B + i) * K + k) * b.at((i * K + k) * N + n);
            want.push_back(sum);
          }
      EXPECT_EQ(values("dot", {a, b},
                       {{"contract_a", Ints{2}},
                        {"contract_b", Ints{1}},
                        {"batch_a", Ints{1}},
                        {"batch_b", Ints{0}},
                        {"type", "i64"}}),
                want)
          << name(ta) << " " << name(tb) << " K " << K;
    }
  // Deep sums of extreme bytes leave 32 bits.
  const int64_t depth = 40000;
  const Tensor high = make(kU8, {depth}, Ints(depth, 255));
  EXPECT_THAT(values("dot", {high, high}, {{"contract_a", Ints{0}}, {"contract_b", Ints{0}}, {"type", "i64"}}),
              ElementsAre(depth * 255 * 255));
}

TEST(CoreOps, DotCombinesByABodyOfTwoScalars) {
  // Numbers as exponents of 2 with a sign in bit 0: products add exponents and multiply signs.
  BodyBuilder c("log_product");
  const Var a = c.input("a", kI8, {}), b = c.input("b", kI8, {});
  const Var sign = c.cast(c.bit_and(c.bit_xor(a, b), 1), kU8);
  const Var exponent = c.add(c.shr(a, 1, Rounding::kFloor), c.shr(b, 1, Rounding::kFloor));
  const Var magnitude = c.shl(c.scalar(kI32, 1), c.cast(exponent, kU8));
  c.output(c.select(sign, c.sub(0, magnitude), magnitude), "product");
  const std::string combine = to_text(c.build());
  const auto code = [](int64_t sign, int64_t e) { return 2 * e + sign; };
  const Tensor x = make(kI8, {2, 2}, {code(0, 3), code(1, 1), code(0, 0), code(1, 5)});
  const Tensor y = make(kI8, {3, 2}, {code(0, 0), code(0, 0), code(1, 2), code(0, 1), code(1, 1), code(1, 1)});
  const Attributes axes = {{"contract_a", Ints{1}}, {"contract_b", Ints{1}}, {"combine", combine}};
  EXPECT_EQ(run("dot", {x, y}, axes)[0], make(kI32, {2, 3}, {8 - 2, -32 - 4, -16 + 4, 1 - 32, -4 - 64, -2 + 64}));
  const Attributes batched = {{"contract_a", Ints{1}},
                              {"contract_b", Ints{1}},
                              {"batch_a", Ints{0}},
                              {"batch_b", Ints{0}},
                              {"combine", combine}};
  EXPECT_EQ(run("dot", {x, x}, batched)[0], row(kI32, {64 + 4, 1 + 1024}));
  refused("must be i16[]", "dot", {make(kI16, {1}, {0}), row(kI8, {0})},
          {{"contract_a", Ints{0}}, {"contract_b", Ints{0}}, {"combine", combine}});
  refused("combine: combine:1:1", "dot", {row(kI8, {0}), row(kI8, {0})},
          {{"contract_a", Ints{0}}, {"contract_b", Ints{0}}, {"combine", "xnor"}});
  // A term that does not depend on the second operand, and one that is constant.
  for (const bool constant : {false, true}) {
    BodyBuilder d("first");
    const Var first = d.input("a", kI8, {});
    d.input("b", kI8, {});
    d.output(constant ? d.scalar(kI8, 3) : d.add(first, 1));
    EXPECT_EQ(
        run("dot", {x, y}, {{"contract_a", Ints{1}}, {"contract_b", Ints{1}}, {"combine", to_text(d.build())}})[0],
        constant ? make(kI32, {2, 3}, Ints(6, 6)) : make(kI32, {2, 3}, {11, 11, 11, 13, 13, 13}));
  }
  BodyBuilder e("not_scalar");
  e.input("a", kI8, {});
  e.output(e.reduce_sum(e.input("b", kI8, {}), {}, true, kI32));
  refused("maps no scalars", "dot", {x, y},
          {{"contract_a", Ints{1}}, {"contract_b", Ints{1}}, {"combine", to_text(e.build())}});
}

// A running sum: carries a total, adds weight * slice to it, gives its square at every step.
std::string running_sum(Interval invariant) {
  BodyBuilder b("step");
  const Var total = b.input("total", kI32, {}, invariant), x = b.input("x", kI8, {2}),
            weight = b.input("weight", kI8, {2});
  const Var next = b.add(total, b.dot(x, weight, {.contract_a = {0}, .contract_b = {0}}));
  b.output(next, "next");
  b.output(b.mul(next, next), "square");
  return to_text(b.build());
}

TEST(CoreOps, Scan) {
  const Attributes a = {{"body", running_sum({-100, 100})}, {"carried", int64_t{1}}, {"count", int64_t{3}}};
  const std::vector<Tensor> operands = {scalar(kI32, 5), make(kI8, {3, 2}, {1, 2, 3, 4, -5, 6}), row(kI8, {10, 1})};
  const auto forward = run("scan", operands, a);
  EXPECT_EQ(forward[0], scalar(kI32, 5 + 12 + 34 - 44));
  EXPECT_EQ(forward[1], row(kI32, {17 * 17, 51 * 51, 7 * 7}));
  Attributes reversed = a;
  reversed["direction"] = "reverse";
  EXPECT_EQ(run("scan", operands, reversed)[1], row(kI32, {7 * 7, 5 * 5, 39 * 39}));
  Attributes none = a;
  none["count"] = int64_t{0};
  EXPECT_EQ(run("scan", {operands[0], Tensor(kI8, {0, 2}), operands[2]}, none)[0], operands[0]);
  Attributes tight = a;
  tight["body"] = running_sum({0, 50});
  refused("input total, element 0: 51 leaves [0, 50]", "scan", operands, tight);
  tight["body"] = running_sum({6, 60});
  refused("input total, element 0: 5 leaves", "scan", operands, tight);
  Attributes two = a;
  two["count"] = int64_t{2};
  two["body"] = running_sum({0, 50});
  refused("final total, element 0: 51 leaves", "scan", {operands[0], make(kI8, {2, 2}, {1, 2, 3, 4}), operands[2]},
          two);
  refused("does not fit its body's x", "scan", operands, two);
  refused("does not fit its body's total", "scan", {scalar(kI8, 5), operands[1], operands[2]}, a);
  Attributes more = a;
  more["carried"] = int64_t{3};
  refused("carried exceeds", "scan", operands, more);
  more["carried"] = int64_t{2};
  refused("does not fit its body's x", "scan", operands, more);
  more["body"] = "nonsense";
  refused("body: body:1:1", "scan", operands, more);
}

TEST(CoreOps, ScanOverASymbol) {
  BodyBuilder b("test");
  const Var total = b.input("start", kI32, {}), x = b.input("x", kI8, {"T", 2}), weight = b.input("weight", kI8, {2});
  const auto r = b.op("scan", {total, x, weight},
                      {{"body", running_sum(range_of(kI32))}, {"carried", int64_t{1}}, {"count", "T"}});
  EXPECT_EQ(to_string(b.value(r[1]).shape), "[T]");
  b.output(r[1], "squares");
  const Graph g = parse_text(to_text(b.build()), "printed");  // the nested text survives
  EXPECT_EQ(evaluate(g, {{scalar(kI32, 0), make(kI8, {2, 2}, {1, 0, 0, 2}), row(kI8, {3, 4})}})[0],
            row(kI32, {9, 121}));
}

TEST(CoreOps, Patches) {
  // A 2 x 3 image of one channel, 2 x 2 kernel, stride 1, one row of padding above with the code -7.
  const Tensor x = make(kI8, {1, 2, 3, 1}, {1, 2, 3, 4, 5, 6});
  const Tensor y = run("patches", {x},
                       {{"kernel", Ints{2, 2}},
                        {"stride", Ints{1, 1}},
                        {"dilation", Ints{1, 1}},
                        {"pads", Ints{1, 0, 0, 0}},
                        {"pad_code", int64_t{-7}}})[0];
  EXPECT_EQ(y, make(kI8, {1, 2, 2, 2, 2, 1}, {-7, -7, 1, 2, -7, -7, 2, 3, 1, 2, 4, 5, 2, 3, 5, 6}));
  // Stride 2 and dilation 2 with two channels: taps at columns 0 and 2.
  const Tensor z =
      run("patches", {make(kI8, {1, 1, 4, 2}, {1, 2, 3, 4, 5, 6, 7, 8})},
          {{"kernel", Ints{1, 2}}, {"stride", Ints{1, 2}}, {"dilation", Ints{1, 2}}, {"pads", Ints{0, 0, 0, 1}}})[0];
  EXPECT_EQ(z, make(kI8, {1, 1, 2, 1, 2, 2}, {1, 2, 5, 6, 5, 6, 0, 0}));
}

TEST(CoreOps, TopK) {
  const auto r = run("top_k", {make(kI32, {2, 4}, {3, 9, 3, -1, 5, 5, 5, 6})}, {{"k", int64_t{3}}});
  EXPECT_EQ(r[0], make(kI32, {2, 3}, {9, 3, 3, 6, 5, 5}));
  EXPECT_EQ(r[1], make(kU32, {2, 3}, {1, 0, 2, 3, 0, 1}));
  EXPECT_EQ(run("top_k", {make(kI8, {2, 2}, {1, 4, 2, 3})}, {{"k", int64_t{1}}, {"axis", int64_t{0}}})[0],
            make(kI8, {1, 2}, {2, 4}));
}

TEST(CoreOps, GatherAndScatterAdd) {
  const Tensor x = make(kI16, {3, 2}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run("gather", {x, make(kI32, {1, 2}, {2, 0})})[0], make(kI16, {1, 2, 2}, {5, 6, 1, 2}));
  EXPECT_EQ(run("gather", {x, row(kU32, {1, 1, 0})}, {{"axis", int64_t{1}}})[0],
            make(kI16, {3, 3}, {2, 2, 1, 4, 4, 3, 6, 6, 5}));
  EXPECT_EQ(run("gather", {x, make(kI32, {3, 1}, {1, 0, 1})}, {{"axis", int64_t{1}}, {"batch", int64_t{1}}})[0],
            make(kI16, {3, 1}, {2, 3, 6}));
  refused("index 1 is 3, the axis has 3", "gather", {x, row(kI32, {0, 3})});
  refused("index 0 is -1", "gather", {x, row(kI32, {-1})});
  EXPECT_EQ(run("scatter_add", {x, row(kI32, {2, 2}), make(kI16, {2, 2}, {10, 20, 100, 200})})[0],
            make(kI16, {3, 2}, {1, 2, 3, 4, 115, 226}));
  EXPECT_EQ(run("scatter_add", {x, make(kI32, {3, 1}, {1, 0, 1}), make(kI16, {3, 1}, {7, 8, 9})},
                {{"axis", int64_t{1}}, {"batch", int64_t{1}}})[0],
            make(kI16, {3, 2}, {1, 9, 11, 4, 5, 15}));
  refused("index 0 is 3", "scatter_add", {x, row(kI32, {3}), make(kI16, {1, 2}, {0, 0})});
  refused("128 does not fit i8", "scatter_add", {row(kI8, {100}), row(kI32, {0, 0}), row(kI8, {14, 14})});
}

TEST(CoreOps, SliceUpdateSliceConcat) {
  const Tensor x = make(kI8, {2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run("slice", {x}, {{"axis", int64_t{1}}, {"start", int64_t{1}}, {"size", int64_t{2}}})[0],
            make(kI8, {2, 2}, {2, 3, 5, 6}));
  EXPECT_EQ(run("slice", {x, scalar(kI32, 1)}, {{"axis", int64_t{0}}, {"size", int64_t{1}}})[0],
            make(kI8, {1, 3}, {4, 5, 6}));
  refused("start 2, size 2 in an axis of 3", "slice", {x, scalar(kI32, 2)},
          {{"axis", int64_t{1}}, {"size", int64_t{2}}});
  refused("start -1", "slice", {x, scalar(kI32, -1)}, {{"axis", int64_t{1}}, {"size", int64_t{2}}});
  const Tensor u = make(kI8, {2, 1}, {8, 9});
  EXPECT_EQ(run("update_slice", {x, u}, {{"axis", int64_t{-1}}, {"start", int64_t{2}}})[0],
            make(kI8, {2, 3}, {1, 2, 8, 4, 5, 9}));
  EXPECT_EQ(run("update_slice", {x, u, row(kI32, {0})}, {{"axis", int64_t{1}}})[0],
            make(kI8, {2, 3}, {8, 2, 3, 9, 5, 6}));
  refused("start 3, size 1 in an axis of 3", "update_slice", {x, u, scalar(kI32, 3)}, {{"axis", int64_t{1}}});
  EXPECT_EQ(run("concat", {x, u, x}, {{"axis", int64_t{1}}})[0],
            make(kI8, {2, 7}, {1, 2, 3, 8, 1, 2, 3, 4, 5, 6, 9, 4, 5, 6}));
  EXPECT_EQ(run("concat", {x, x}, {{"axis", int64_t{0}}})[0], make(kI8, {4, 3}, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}));
}

TEST(CoreOps, ReshapeTransposeIota) {
  const Tensor x = make(kI8, {2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run("reshape", {x}, {{"shape", "[3,1,2]"}})[0], make(kI8, {3, 1, 2}, {1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(run("transpose", {x}, {{"perm", Ints{1, 0}}})[0], make(kI8, {3, 2}, {1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(run("transpose", {make(kI32, {2, 1, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7})}, {{"perm", Ints{2, 0, 3, 1}}})[0],
            make(kI32, {2, 2, 2, 1}, {0, 1, 4, 5, 2, 3, 6, 7}));
  EXPECT_EQ(run("iota", {}, {{"shape", "[4]"}, {"type", "u16"}})[0], row(kU16, {0, 1, 2, 3}));
}

TEST(CoreOps, SymbolsAreBound) {
  BodyBuilder b("test");
  const Var x = b.input("x", kI8, {"B", "L", 2});
  b.output(b.reshape(x, {Dim("B") * Dim("L"), 2}));
  b.output(b.iota("S", kI8));
  const Graph g = b.build();
  const Tensor in(kI8, {3, 4, 2});
  const auto r = evaluate(g, {{in}}, {{"S", 5}});
  EXPECT_EQ(r[0].dims(), (Dims{12, 2}));
  EXPECT_EQ(r[1].dims(), (Dims{5}));
  EXPECT_THAT([&] { evaluate(g, {{in}}); }, ThrowsMessage<Error>(HasSubstr("symbol S has no value")));
  EXPECT_THAT([&] { evaluate(g, {{in}}, {{"S", 200}}); }, ThrowsMessage<Error>(HasSubstr("128 does not fit i8")));
  EXPECT_THAT(
      [&] {
        evaluate(g, {{Tensor(kI8, {3, 4, 3})}}, {{"S", 5}});
      },
      ThrowsMessage<Error>(HasSubstr("expected shape")));
  EXPECT_THAT(
      [&] {
        evaluate(g, {{Tensor(kU8, {3, 4, 2})}}, {{"S", 5}});
      },
      ThrowsMessage<Error>(HasSubstr("is i8, not u8")));
  EXPECT_THAT([&] { evaluate(g, {}, {{"S", 5}}); }, ThrowsMessage<Error>(HasSubstr("takes 1 inputs, not 0")));
}

TEST(CoreOps, PackUnpack) {
  for (const DataType type :
       {DataType::kB1, DataType::kI2, DataType::kU2, DataType::kI3, DataType::kU3, DataType::kI4, DataType::kU4}) {
    Ints codes;
    for (int64_t v = lowest(type); v <= highest(type); ++v) codes.push_back(v);
    codes.push_back(lowest(type));  // an odd count
    const Tensor packed = run("pack", {row(kI16, codes)}, {{"type", std::string(name(type))}})[0];
    EXPECT_EQ(packed.type(), type);
    EXPECT_EQ(packed.bytes(), (static_cast<int64_t>(codes.size()) * bits(type) + 7) / 8);
    EXPECT_EQ(run("unpack", {packed}, {{"type", "i8"}})[0], row(kI8, codes)) << name(type);
  }
  const Tensor four = run("pack", {row(kU8, {1, 2, 15})}, {{"type", "u4"}})[0];
  EXPECT_EQ(std::to_integer<int>(four.raw()[0]), 0x21);  // little-endian: the first code in the low bits
  EXPECT_EQ(std::to_integer<int>(four.raw()[1]), 0x0f);
  refused("8 does not fit i4", "pack", {row(kI8, {8})}, {{"type", "i4"}});
}

TEST(CoreOps, Facts) {
  BodyBuilder b("test");
  const Var x = b.input("x", kI8, {"T"}, {-127, 127});
  b.output(b.named(b.fact(b.add(x, x), {-10, 10}, "small operands"), "y"));
  const Graph g = b.build();
  EXPECT_EQ(evaluate(g, {{row(kI8, {5, -5})}})[0], row(kI8, {10, -10}));
  EXPECT_THAT(
      [&] {
        evaluate(g, {{row(kI8, {5, 6})}});
      },
      ThrowsMessage<Error>(
          HasSubstr("value y, element [1]: 12 leaves [-10, 10], which the lemma 'small operands' promises")));
  EXPECT_THAT(
      [&] {
        evaluate(g, {{row(kI8, {0, -128})}});
      },
      ThrowsMessage<Error>(HasSubstr("input x, element 1: -128 leaves [-127, 127]")));
}

TEST(CoreOps, ObserverSeesEveryValueInOrder) {
  BodyBuilder b("test");
  const Var x = b.input("x", kI8, {2});
  const Var y = b.named(b.add(x, 1), "y");
  b.output(b.named(b.mul(y, y), "z"));
  const Graph g = b.build();
  std::vector<std::string> seen;
  evaluate(g, {{row(kI8, {1, 2})}}, {},
           [&](ValueId id, const Tensor& t) { seen.push_back(g.value(id).name + to_string(t.to_int64())); });
  EXPECT_THAT(seen, ElementsAre("y[2,3]", "z[4,9]"));
}

// ---------------------------------------------------------------- the edges that touch real numbers

Tensor floats(const std::vector<float>& v) { return Tensor::from<float>({static_cast<int64_t>(v.size())}, v); }

TEST(CoreOps, QuantizeRoundsHalfUpAndClamps) {
  const Attributes a = {
      {"scale", 0.5}, {"zero_point", int64_t{3}}, {"lo", int64_t{-127}}, {"hi", int64_t{127}}, {"type", "i8"}};
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_THAT(
      values("quantize",
             {floats({0, -0.0f, 0.25f, -0.25f, 0.75f, -0.75f, 0.2499999f, 1e30f, -1e30f, inf, -inf, 1e-45f, -1e-45f})},
             a),
      ElementsAre(3, 3, 4, 3, 5, 2, 3, 127, -127, 127, -127, 3, 3));
  refused("element [1]: not a number", "quantize", {floats({0, std::nanf("")})}, a);
  for (const double bad : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity(), 1e-310})
    refused("not a positive normal number", "quantize", {floats({0})},
            {{"scale", bad}, {"lo", int64_t{0}}, {"hi", int64_t{1}}, {"type", "i8"}});
}

TEST(CoreOps, QuantizeAndDequantizeEqualExactFloatArithmetic) {
  std::mt19937_64 random(test::seed());
  std::uniform_real_distribution<double> exponent(-20, 20), unit(-1, 1);
  for (int round = 0; round < 200; ++round) {
    const double scale = round % 4 == 0 ? std::exp2(std::round(exponent(random))) : std::exp2(exponent(random));
    const int64_t zero = static_cast<int64_t>(random() % 1000) - 500;
    std::vector<float> x(50);
    Ints codes(50);
    for (auto& v : x) v = static_cast<float>(unit(random) * scale * 40000);
    for (size_t i = 0; i < 10; ++i)
      x[i] = static_cast<float>((static_cast<double>(random() % 2001) / 2 - 500) * scale);  // ties
    for (auto& c : codes) c = static_cast<int32_t>(random());
    const auto q = values(
        "quantize", {floats(x)},
        {{"scale", scale}, {"zero_point", zero}, {"lo", int64_t{-32768}}, {"hi", int64_t{32767}}, {"type", "i16"}});
    for (size_t i = 0; i < x.size(); ++i) {
      const long double want = std::floor(static_cast<long double>(x[i]) / scale + 0.5L) + zero;
      EXPECT_EQ(q[i], static_cast<int64_t>(std::min(std::max(want, -32768.0L), 32767.0L))) << x[i] << " / " << scale;
    }
    const Tensor r = run("dequantize", {row(kI32, codes)}, {{"scale", scale}, {"zero_point", zero}})[0];
    for (size_t i = 0; i < codes.size();
         ++i)  // the long double product of 53 and 33 bits may round once more, on 86 bits
      EXPECT_NEAR(r.data<float>()[i], static_cast<float>(static_cast<long double>(codes[i] - zero) * scale),
                  std::abs(r.data<float>()[i]) * 1.2e-7f);
  }
}

TEST(CoreOps, DequantizeRoundsToNearestEven) {
  const auto one = [](int64_t code, double scale) {
    return run("dequantize", {scalar(kI64, code)}, {{"scale", scale}})[0].reshaped({1}).data<float>()[0];
  };
  EXPECT_EQ(one(0, 0.1), 0.0f);
  EXPECT_EQ(one(-3, 0.5), -1.5f);
  EXPECT_EQ(one((1 << 24) + 1, 1), 16777216.0f);  // tie to even
  EXPECT_EQ(one((1 << 24) + 3, 1), 16777220.0f);
  EXPECT_EQ(one(3, std::ldexp(1, -150)), std::ldexp(1.0f, -148));  // subnormal tie: 1.5 steps, to the even 2
  EXPECT_EQ(one(1, std::ldexp(1, -150)), 0.0f);
  EXPECT_EQ(one(1, std::ldexp(1, -149)), std::ldexp(1.0f, -149));
  EXPECT_EQ(one(1, std::ldexp(1, -1000)), 0.0f);
  EXPECT_EQ(one((1 << 24) - 1, std::ldexp(1, 104)), std::numeric_limits<float>::max());
  EXPECT_EQ(one(1, std::ldexp(1, 128)), std::numeric_limits<float>::infinity());
  EXPECT_EQ(one(-1, std::ldexp(1, 1000)), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(one((int64_t{1} << 25) - 1, std::ldexp(1, -174)), std::ldexp(1.0f, -149));  // rounds up to one whole step
}

}  // namespace
}  // namespace dyadic

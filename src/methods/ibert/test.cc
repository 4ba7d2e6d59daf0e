// I-BERT's polynomials: golden values, distance to the real functions over whole domains, executors against the
// evaluator.
#include <cmath>
#include <numeric>

#include "api/compiled_c.h"
#include "base/file.h"
#include "base/status.h"
#include "graph/bodies/testing.h"
#include "methods/ibert/bodies.h"
#include "methods/methods.h"
#include "quantize/ratio.h"
#include "quantize/unary.h"
#include "recipes/toy_graphs.h"
#include "runtime/session.h"
#include "runtime/tile/tile_program.h"

namespace dyadic {
namespace {

using ibert::Form;
using test::Ints;
using testing::ElementsAreArray;

constexpr DataType kI8 = DataType::kI8, kI16 = DataType::kI16, kI32 = DataType::kI32, kI64 = DataType::kI64,
                   kU8 = DataType::kU8;

double gelu(double x) { return x / 2 * std::erfc(-x * M_SQRT1_2); }

Ints integers(int64_t lo, int64_t hi) {
  Ints values(static_cast<size_t>(hi - lo + 1));
  std::iota(values.begin(), values.end(), lo);
  return values;
}

// A body of one i32 input "x" of `count` elements in `range`.
template <class F>
Body body_of(int64_t count, Interval range, F&& f) {
  BodyBuilder b("probe");
  b.output(f(b, b.input("x", kI32, {count}, range)));
  return {1, b.build()};
}

Ints evaluated(const Body& body, DataType type, const Ints& x) {
  return test::run(body, {{body.graph.value(body.graph.inputs[0]).name,
                           test::tensor(type, {static_cast<int64_t>(x.size())}, x)}})[0]
      .to_int64();
}

// Every input in its promised range: what proves the body without knowing more.
Ranges proved(const Body& body, const Bindings& dims) {
  std::vector<KnownInput> known;
  for (ValueId id : body.graph.inputs) {
    const Value& v = body.graph.value(id);
    known.push_back({{}, v.fact ? v.fact->range : range_of(v.type), {}});
  }
  return prove_ranges(body.graph, known, dims);
}

// The evaluator, tile programs and printed C agree on these inputs; the ranges are proved.
void expect_executors_agree(const Body& body, const std::vector<Tensor>& inputs) {
  Bindings dims;
  for (size_t i = 0; i < inputs.size(); ++i)
    unify(body.graph.value(body.graph.inputs[i]).shape, inputs[i].dims(), dims, "input");
  const Ranges ranges = proved(body, dims);
  const auto expected = evaluate(body.graph, inputs);
  const auto expect_same = [&](const std::vector<Tensor>& actual, std::string_view by) {
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_THAT(actual[i].to_int64(), ElementsAreArray(expected[i].to_int64())) << body.graph.name << " by " << by;
  };
  ThreadPool pool(1);
  for (const Isa isa : kAllIsas)
    if (isa <= detected_isa())
      expect_same(TileProgram(body.graph, ranges, {}, isa).run(inputs, {}, pool), isa_name(isa));
  if (has_compiler("cc"))
    expect_same(CompiledC(body.graph, print_c(body.graph, ranges, "probe"), "cc", "-O1 -std=c99").run(inputs, {}),
                "printed C");
}

Encoding encoding(double scale, Interval codes = {-127, 127}, int64_t zero = 0) {
  Encoding e;
  e.storage = codes.hi > 127 ? kI16 : kI8;
  e.bits = codes.hi > 127 ? 16 : 8;
  e.codes = codes;
  e.scale = {scale};
  e.zero_point = {zero};
  return e;
}

TEST(Dyadic, GoldenRatios) {
  const Dyadic r = encode_ratio(0.0123, "r");
  EXPECT_EQ(r.m, 1690499128);
  EXPECT_EQ(r.s, 37);
  const Body body =
      body_of(6, range_of(kI32), [&](BodyBuilder& b, Var x) { return b.mul_shift(x, int64_t{r.m}, r.s, kI64); });
  EXPECT_THAT(evaluated(body, kI32, {40, 41, -41, 100000, 2147483647, -2147483648}),
              ElementsAreArray(Ints{0, 1, -1, 1230, 26414049, -26414049}));
  EXPECT_EQ(encode_ratio(1, "r").m, 1 << 30);
  EXPECT_EQ(encode_ratio(1, "r").s, 30);
  EXPECT_EQ(encode_ratio(3.7, "r").m, 1986422374);
  EXPECT_EQ(encode_ratio(3.7, "r").s, 29);
}

Ints gelu_accumulators(double scale, const Ints& q, Form form = Form::kRefined) {
  const auto g = ibert::gelu_constants(scale, form);
  const Body body = body_of(static_cast<int64_t>(q.size()), {-32768, 32767},
                            [&](BodyBuilder& b, Var x) { return ibert::i_gelu(b, x, g, 32768); });
  return evaluated(body, kI32, q);
}

TEST(IGelu, GoldenAccumulators) {
  const auto coarse = ibert::gelu_constants(0.05, Form::kRefined);
  EXPECT_EQ(coarse.b, 50);
  EXPECT_EQ(coarse.k, 2770);
  EXPECT_EQ(coarse.shift, 0);
  EXPECT_EQ(coarse.pre_shift, 0);
  EXPECT_NEAR(coarse.unit, 9.025e-6, 1e-12);
  EXPECT_THAT(gelu_accumulators(0.05, {-127, -30, -20, -1, 0, 1, 20, 64, 127}),
              ElementsAreArray(Ints{0, -12000, -18000, -2401, 0, 3139, 92800, 354560, 703580}));
  const auto fine = ibert::gelu_constants(0.001, Form::kRefined);
  EXPECT_EQ(fine.b, 2502);
  EXPECT_EQ(fine.k, 6925208);
  EXPECT_EQ(fine.shift, 8);
  EXPECT_THAT(gelu_accumulators(0.001, {-2350, -500, 500, 2350, 6000}),
              ElementsAreArray(Ints{-213850, -7828500, 19223500, 126930550, 324624000}));
}

// The published polynomial's own error is 0.0182; what is above it is rounding of constants.
TEST(IGelu, IsNearGeluOverThe16BitDomain) {
  const Ints q = integers(-32768, 32767);
  for (double scale : {2.5e-4, 1e-3, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0}) {
    const auto g = ibert::gelu_constants(scale, Form::kRefined);
    const Ints acc = gelu_accumulators(scale, q);
    double worst = 0;
    for (size_t i = 0; i < q.size(); ++i) {
      const double x = scale * static_cast<double>(q[i]), y = static_cast<double>(acc[i]) * g.unit;
      if (std::fabs(x) > 8) continue;
      worst = std::max(worst, std::fabs(y - gelu(x)));
      EXPECT_GE(y, scale <= 0.1 ? -0.168 : -0.17) << scale;
    }
    EXPECT_LE(worst, scale <= 0.05 ? 0.019 : 0.0197) << scale;
    if (scale <= 0.05) {
      EXPECT_GE(worst, 0.018) << scale;
    }
  }
}

// Floors of the constants cost accuracy, and the published shift of 14 bits leaves nothing of coarse inputs.
TEST(IGelu, ThePapersFormNeedsFineInputs) {
  const auto worst = [](double scale) {
    const Ints q = integers(-static_cast<int64_t>(std::min(8 / scale, 32767.0)),
                            static_cast<int64_t>(std::min(8 / scale, 32767.0)));
    const Ints acc = gelu_accumulators(scale, q, Form::kPaper);
    const double unit = ibert::gelu_constants(scale, Form::kPaper).unit;
    double error = 0;
    for (size_t i = 0; i < q.size(); ++i)
      error = std::max(error, std::fabs(static_cast<double>(acc[i]) * unit - gelu(scale * static_cast<double>(q[i]))));
    return error;
  };
  EXPECT_GT(worst(0.05), 1);
  EXPECT_GT(worst(0.01), 0.5);
  EXPECT_NEAR(worst(0.001), 0.022, 0.002);
  EXPECT_LE(worst(2.5e-4), 0.0197);
}

// The whole operator on codes: the polynomial's error and half a step of the output.
TEST(IGelu, CodesAreWithinTheBoundFor8And16Bits) {
  for (const Encoding& in : {encoding(0.02), encoding(0.05), encoding(0.3), encoding(0.03, {-127, 127}, -50),
                             encoding(3e-4, {-32767, 32767}), encoding(1e-3, {-32767, 32767}, 1000)})
    for (const Encoding& out : {encoding(0.05), encoding(0.02, {-127, 127}, -120), encoding(3e-4, {-32767, 32767})}) {
      const Body body = ibert::i_gelu_body(in, out, Form::kRefined);
      const Ints x = integers(in.codes.lo, in.codes.hi);
      const Ints y = evaluated(body, in.storage, x);
      const double lo = out.scale[0] * static_cast<double>(out.codes.lo - out.zero_point[0]),
                   hi = out.scale[0] * static_cast<double>(out.codes.hi - out.zero_point[0]);
      for (size_t i = 0; i < x.size(); ++i) {
        const double real = in.scale[0] * static_cast<double>(x[i] - in.zero_point[0]);
        const double got = out.scale[0] * static_cast<double>(y[i] - out.zero_point[0]);
        ASSERT_NEAR(got, std::clamp(gelu(real), lo, hi), 0.0205 + 0.5 * out.scale[0] + 1e-4 * std::fabs(real))
            << in.scale[0] << " " << x[i];
      }
    }
}

TEST(IGelu, ExecutorsAgree) {
  for (const Encoding& in : {encoding(0.05), encoding(0.3, {-127, 127}, 20), encoding(3e-4, {-32768, 32767}),
                             encoding(3e-5, {-32768, 32767})})
    for (Form form : {Form::kRefined, Form::kPaper}) {
      if (form == Form::kPaper && in.scale[0] < 1e-4) continue;
      const Ints x = integers(in.codes.lo, in.codes.hi);
      expect_executors_agree(ibert::i_gelu_body(in, encoding(0.03), form),
                             {test::tensor(in.storage, {static_cast<int64_t>(x.size())}, x)});
    }
}

TEST(IGelu, ThePartsTableIsTheBody) {
  Node node;
  node.op = "Gelu";
  UnaryRequest request{&node, *unary_function(node), 0.05, 0.03, 10, -90, {-127, 127}};
  const auto table = registry().unary("i-gelu")->table({"i-gelu", {}}, request);
  ASSERT_EQ(table.size(), 256u);
  const Ints y =
      evaluated(ibert::i_gelu_body(encoding(0.05, {-127, 127}, 10), encoding(0.03, {-127, 127}, -90), Form::kRefined),
                kI8, integers(-127, 127));
  for (int code = -127; code <= 127; ++code) EXPECT_EQ(table[code + 128], y[code + 127]) << code;
  for (double scale : {0.0, 1e-9, 2000.0, static_cast<double>(NAN)}) {
    request.in_scale = scale;
    EXPECT_THROW(registry().unary("i-gelu")->table({"i-gelu", {}}, request), Error) << scale;
  }
}

Ints exps(double scale, const Ints& distance, Form form = Form::kRefined) {
  const auto e = ibert::exp_constants(scale, form);
  return evaluated(body_of(static_cast<int64_t>(distance.size()), {0, 1 << 26},
                           [&](BodyBuilder& b, Var x) { return ibert::i_exp(b, x, e); }),
                   kI32, distance);
}

TEST(IExp, GoldenRow) {
  const auto e = ibert::exp_constants(0.001, Form::kRefined);
  EXPECT_EQ(e.ln2, 693);
  EXPECT_EQ(e.b, 2707);
  EXPECT_EQ(e.c, 2792115);
  EXPECT_EQ(e.shift, 7);
  EXPECT_EQ(e.pre_shift, 0);
  EXPECT_THAT(exps(0.001, {0, 100, 500, 1000, 2000, 4000, 8000, 20000}),
              ElementsAreArray(Ints{21813, 19777, 13192, 8029, 2943, 398, 7, 0}));
}

// The published polynomial's error is 1.9e-3; coarse scores are moved to a finer grid and lose nothing.
TEST(IExp, IsNearExp) {
  for (double scale : {1e-4, 1e-3, 0.0039, 0.01, 1.0 / 64, 1.0 / 16, 0.32, 1.0}) {
    const auto e = ibert::exp_constants(scale, Form::kRefined);
    const Ints d = integers(0, static_cast<int64_t>(std::ceil(16 / scale)));
    const Ints value = exps(scale, d);
    for (size_t i = 0; i < d.size(); ++i)
      ASSERT_NEAR(static_cast<double>(value[i]) / static_cast<double>(e.one),
                  std::exp(-scale * static_cast<double>(d[i])), 3.5e-3)
          << scale << " " << d[i];
    EXPECT_EQ(value[0], e.one);
  }
  EXPECT_EQ(exps(0.001, {1 << 26})[0], 0);
  EXPECT_GT(std::fabs(static_cast<double>(exps(0.32, {2}, Form::kPaper)[0]) /
                          static_cast<double>(ibert::exp_constants(0.32, Form::kPaper).one) -
                      std::exp(-0.64)),
            0.02);
}

TEST(IExp, ThePartsTableIsNearExp) {
  const SoftmaxPart& part = *registry().softmax("i-exp");
  for (int64_t steps : {1, 8, 16, 64})
    for (int64_t one : {3, 127, 255}) {
      const Part p{"i-exp", {{"steps", steps}, {"one", one}}};
      const auto table = part.table(p);
      ASSERT_EQ(table.size(), 256u);
      EXPECT_EQ(table[0], one);
      EXPECT_EQ(part.steps_per_unit(p), static_cast<double>(steps));
      for (int d = 0; d < 256; ++d)
        EXPECT_NEAR(table[d], static_cast<double>(one) * std::exp(-d / static_cast<double>(steps)),
                    0.5 + 3.5e-3 * static_cast<double>(one));
    }
  for (const Part& bad : {Part{"i-exp", {{"steps", int64_t{0}}}}, Part{"i-exp", {{"one", int64_t{256}}}},
                          Part{"i-exp", {{"form", std::string("quick")}}}})
    EXPECT_THROW(part.info.check(bad), Error);
  const Ints d = integers(0, 255);
  for (Form form : {Form::kRefined, Form::kPaper})
    expect_executors_agree(ibert::i_exp_body(1.0 / 16, 255, form), {test::tensor(kU8, {256}, d)});
}

struct Softmax {
  Ints p, sigma;
};
Softmax softmax(double scale, int bits, const Ints& scores, const Ints& valid) {
  const auto n = static_cast<int64_t>(scores.size());
  test::Inputs seen = {{"sigma", {}}};
  const auto out = test::run(
      ibert::i_softmax_body(scale, bits),
      {{"scores", test::tensor(kI32, {1, n}, scores)}, {"valid", test::tensor(kU8, {1, n}, valid)}}, {}, &seen);
  return {out[0].to_int64(), seen.at("sigma").to_int64()};
}
Softmax softmax(double scale, int bits, const Ints& scores) {
  return softmax(scale, bits, scores, Ints(scores.size(), 1));
}

TEST(ISoftmax, GoldenRow) {
  const Ints row = {0, -100, -500, -1000, -2000, -4000, -8000, -20000};
  const Softmax eight = softmax(0.001, 8, row), sixteen = softmax(0.001, 16, row);
  EXPECT_THAT(eight.sigma, ElementsAreArray(Ints{66159}));
  EXPECT_THAT(eight.p, ElementsAreArray(Ints{84, 76, 51, 31, 11, 2, 0, 0}));
  EXPECT_THAT(sixteen.p, ElementsAreArray(Ints{21607, 19590, 13068, 7953, 2915, 394, 7, 0}));
  EXPECT_THAT(softmax(0.001, 16, row, Ints(8, 0)).p, ElementsAreArray(Ints(8, 0)));
}

TEST(ISoftmax, EdgesAndShifts) {
  for (int bits : {8, 16}) {
    const int64_t one = (1 << bits) - 1;
    EXPECT_THAT(softmax(0.001, bits, {-12345}).p, ElementsAreArray(Ints{one}));
    EXPECT_THAT(softmax(0.001, bits, {0, 16777216, 0}).p, ElementsAreArray(Ints{0, one, 0}));
    for (int64_t n : {2, 7, 100})
      for (int64_t p : softmax(0.001, bits, Ints(n, 77)).p)
        EXPECT_NEAR(static_cast<double>(p), std::round(static_cast<double>(one) / static_cast<double>(n)), 1);
    Ints row = {5, 400, -3000, 1234}, moved = row;
    for (int64_t& v : moved) v += 99999;
    EXPECT_EQ(softmax(0.001, bits, row).p, softmax(0.001, bits, moved).p);
    const Softmax masked = softmax(0.001, bits, {5, 400, 9000000, 1234}, {1, 1, 0, 1});
    Ints alone = softmax(0.001, bits, {5, 400, 1234}).p;
    alone.insert(alone.begin() + 2, 0);
    EXPECT_EQ(masked.p, alone);
  }
}

TEST(ISoftmax, RandomRowsAreNearSoftmax) {
  Random random(test::seed());
  for (const auto& [n, sigma, bound] : {std::tuple(16, 1.0, 8e-4), std::tuple(128, 1.0, 8e-4),
                                        std::tuple(128, 4.0, 8e-4), std::tuple(1024, 1.0, 1.4e-3)}) {
    Ints scores;
    for (int i = 0; i < n; ++i) scores.push_back(std::lround(sigma * test::normal(random) * 1000));
    double sum = 0, total = 0;
    const double top = static_cast<double>(*std::max_element(scores.begin(), scores.end()));
    for (int64_t s : scores) sum += std::exp((static_cast<double>(s) - top) / 1000);
    const Ints p = softmax(0.001, 16, scores).p, narrow = softmax(0.001, 8, scores).p;
    for (int i = 0; i < n; ++i) {
      const double exact = std::exp((static_cast<double>(scores[i]) - top) / 1000) / sum;
      EXPECT_NEAR(static_cast<double>(p[i]) / 65535, exact, bound);
      EXPECT_NEAR(static_cast<double>(narrow[i]) / 255, exact, 0.0031);
      total += static_cast<double>(p[i]) / 65535;
    }
    EXPECT_NEAR(total, 1, 0.002 + n * 0.5 / 65535);
  }
}

TEST(ISoftmax, ExecutorsAgree) {
  Random random(test::seed(), 1);
  for (double scale : {1e-4, 1e-3, 0.05, 0.32})
    for (int bits : {8, 16}) {
      Tensor scores(kI32, {5, 37}), valid(kU8, {5, 37});
      for (int64_t i = 0; i < scores.count(); ++i) {
        scores.set(i, std::lround(test::normal(random) * 2 / scale));
        valid.set(i, i >= 4 * 37 ? 0 : random.below(5) > 0);
      }
      expect_executors_agree(ibert::i_softmax_body(scale, bits), {scores, valid});
    }
}

TEST(ISqrt, IsTheFloorOfTheRoot) {
  Ints n = integers(0, 69999);
  for (int64_t edge : {int64_t{1} << 31, (int64_t{1} << 32) - 1, int64_t{65535} * 65535 - 1, int64_t{65535} * 65535,
                       int64_t{65535} * 65535 + 1, int64_t{1} << 48, (int64_t{1} << 62) - 1})
    n.push_back(edge);
  Random random(test::seed(), 2);
  for (int i = 0; i < 20000; ++i) n.push_back(static_cast<int64_t>(random.next64() >> (2 + random.below(60))));
  for (int64_t root : {3, 1000, 1 << 20, (1 << 30) - 1})
    for (int64_t off : {-1, 0, 1}) n.push_back(root * root + off);
  BodyBuilder b("i_sqrt");
  const Var x = b.input("n", kI64, {static_cast<int64_t>(n.size())}, {0, (int64_t{1} << 62) - 1});
  b.output(ibert::i_sqrt(b, x), "root");
  b.output(b.isqrt(x), "expected");
  const Body body{1, b.build()};
  const Tensor input = test::tensor(kI64, {static_cast<int64_t>(n.size())}, n);
  const auto roots = evaluate(body.graph, {&input, 1});
  EXPECT_EQ(roots[0].to_int64(), roots[1].to_int64());
  expect_executors_agree(body, {input});
}

// A row's norm by a core, with the named intermediate values; where there are some, by every executor.
struct Normed {
  Ints y;
  test::Inputs seen;
};
template <class F>
Normed normed(F&& core, const Ints& q, Interval range, std::vector<std::string> names) {
  const auto n = static_cast<int64_t>(q.size());
  BodyBuilder b("norm");
  b.output(core(b, b.input("q", kI32, {"T", n}, range), n), "y");
  Normed result;
  for (const auto& name : names) result.seen[name];
  const Body body{1, b.build()};
  const Tensor input = test::tensor(kI32, {1, n}, q);
  if (!names.empty()) expect_executors_agree(body, {input});
  result.y = test::run(body, {{"q", input}}, {}, &result.seen)[0].to_int64();
  return result;
}

TEST(LayerNorm, GoldenRows) {
  const Ints row = {10, -3, 7, 0, -12, 5, 5, -20};
  const Interval codes{-128, 127};
  const Normed refined = normed([](BodyBuilder& b, Var q, int64_t n) { return exact_norm(b, q, n, 8, 15); }, row, codes,
                                {"mean", "square", "reciprocal", "half"});
  EXPECT_THAT(refined.y, ElementsAreArray(Ints{13215, -2403, 9611, 1201, -13215, 7208, 7208, -22825}));
  EXPECT_EQ(refined.seen.at("mean").at(0), -256);
  EXPECT_EQ(refined.seen.at("square").at(0), 48758784);
  EXPECT_EQ(refined.seen.at("half").at(0), 18);
  EXPECT_EQ(refined.seen.at("reciprocal").at(0), 1259689126);
  const Normed paper = normed(ibert::paper_norm, row, codes, {"square", "deviation", "factor"});
  EXPECT_EQ(paper.seen.at("square").at(0), 744);
  EXPECT_EQ(paper.seen.at("deviation").at(0), 27);
  EXPECT_EQ(paper.seen.at("factor").at(0), 79536431);
  EXPECT_EQ(paper.y.front(), 437450370);
  EXPECT_EQ(paper.y.back(), -755596095);
  for (const Ints& constant : {Ints(8, 5), Ints(1, -128), Ints(8, 0)}) {
    EXPECT_EQ(normed(ibert::paper_norm, constant, codes, {}).y, Ints(constant.size(), 0));
    EXPECT_EQ(
        normed([](BodyBuilder& b, Var q, int64_t n) { return exact_norm(b, q, n, 8, 15); }, constant, codes, {}).y,
        Ints(constant.size(), 0));
  }
}

// Largest error of y, in units of the normalised value, over random rows.
template <class F>
double norm_error(F&& core, int64_t n, int bits, int fraction, bool outlier, uint64_t stream) {
  Random random(test::seed(), stream);
  const Interval range{-(int64_t{1} << (bits - 1)), (int64_t{1} << (bits - 1)) - 1};
  double worst = 0;
  for (int repeat = 0; repeat < 4; ++repeat) {
    Ints q;
    for (int64_t i = 0; i < n; ++i)
      q.push_back(std::clamp<int64_t>(std::lround(test::normal(random) * std::ldexp(1, bits - 4) / (outlier ? 8 : 1)),
                                      range.lo, range.hi));
    if (outlier) q[0] = range.hi;
    const Ints y = normed(core, q, range, {}).y;
    double mean = 0, square = 0;
    for (int64_t v : q) mean += static_cast<double>(v) / static_cast<double>(n);
    for (int64_t v : q) square += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean);
    const double root_n = std::sqrt(static_cast<double>(n));
    for (int64_t i = 0; i < n; ++i)
      worst = std::max(worst, root_n * std::fabs(std::ldexp(static_cast<double>(y[i]), -fraction) -
                                                 (static_cast<double>(q[i]) - mean) / std::sqrt(square)));
  }
  return worst;
}

TEST(LayerNorm, ErrorsOfBothForms) {
  const auto refined = [](int bits, int fraction) {
    return [=](BodyBuilder& b, Var q, int64_t n) { return exact_norm(b, q, n, bits, fraction); };
  };
  EXPECT_LE(norm_error(refined(8, 20), 384, 8, 20, false, 3), 3e-4);
  EXPECT_LE(norm_error(refined(8, 15), 384, 8, 15, false, 4), std::sqrt(384) / (1 << 16) + 3e-4);
  EXPECT_LE(norm_error(refined(16, 20), 768, 16, 20, false, 5), 6.2e-5);
  EXPECT_LE(norm_error(refined(16, 15), 384, 16, 15, false, 6), std::sqrt(384) / (1 << 16));
  EXPECT_LE(norm_error(refined(22, 15), 768, 22, 15, false, 7), std::sqrt(768) / (1 << 16));
  EXPECT_LE(norm_error(ibert::paper_norm, 384, 8, 30, false, 8), 4e-2);
  EXPECT_LE(norm_error(ibert::paper_norm, 768, 16, 30, false, 9), 1e-3);
  EXPECT_GE(norm_error(ibert::paper_norm, 384, 8, 30, true, 10), 0.05);  // the integer mean beside an outlier
}

Recipe recipe_of(const std::string& file, const std::string& rules = "") {
  const std::string path = test::source_path(file);
  return parse_recipe(read_file(path, 1 << 20) + rules, path, registry().vocabulary());
}

// Whatever compiler made this program (graph/bodies/test.cc).
TEST(IBertBodies, HaveTheSameKeysEverywhere) {
  const std::pair<Body, const char*> bodies[] = {
      {ibert::i_gelu_body(encoding(0.05), encoding(0.04), Form::kPaper), "i_gelu@1:f94b7a509657bfc4"},
      {ibert::i_gelu_body(encoding(0.05), encoding(0.04), Form::kRefined), "i_gelu@1:5727bdd3ed583ab8"},
      {ibert::i_exp_body(1.0 / 16, 255, Form::kPaper), "i_exp@1:43f3497b306c8712"},
      {ibert::i_exp_body(1.0 / 16, 255, Form::kRefined), "i_exp@1:9386f01f4420710f"},
      {ibert::i_softmax_body(1.0 / 16, 8), "i_softmax@1:4b602c823b567f26"},
      {ibert::i_softmax_body(1.0 / 16, 16), "i_softmax@1:76bbf732aeab040a"},
      {add_norm_body(384, {DataType::kI8, DataType::kI16}, ibert::paper_norm), "add_norm@1:44f5309ecfa6f7c1"}};
  for (const auto& [body, key] : bodies) EXPECT_EQ(body.key(), key);
}

// Whole models with each form: integers only, near float, and the same codes by every executor.
TEST(IBertRecipe, QuantizesAnEncoder) {
  const test::ToyEncoder toy;
  const Graph real = toy.graph();
  const Feeds feeds = toy.feeds(12, 50);
  const Tensor expected = test::run_real(real, feeds);
  for (const std::string rules : {"",
                                  "\n[[rule]]\nop = \"LayerNormalization\"\n"
                                  "approximate = { i-layer-norm = { form = \"paper\" } }\n"}) {
    const Quantized q = quantize(real, toy.symbols(), recipe_of("recipes/i-bert.toml", rules), registry(),
                                 {toy.feeds(24, 1), toy.feeds(24, 2)});
    EXPECT_TRUE(q.warnings.empty() || q.warnings.size() == 1);  // the rule of functions that it does not have
    const auto model = std::make_shared<const Model>(q.model);
    const std::string output = real.value(real.outputs[0]).name;
    const Ints codes = Session(model, {.backend = Backend::kEvaluator}).run(feeds).at(output).to_int64();
    EXPECT_EQ(codes, Session(model, {.backend = Backend::kTile}).run(feeds).at(output).to_int64());
    EXPECT_EQ(codes, Session(model, {}).run(feeds).at(output).to_int64());
    double dot = 0, square = 0;
    for (size_t i = 0; i < codes.size(); ++i) {
      dot += expected.data<float>()[i] * static_cast<double>(codes[i]);
      square += static_cast<double>(codes[i]) * static_cast<double>(codes[i]);
    }
    EXPECT_GE(dot / std::sqrt(square * static_cast<double>(expected.dim(0))), 0.98) << rules;
  }
}

}  // namespace
}  // namespace dyadic

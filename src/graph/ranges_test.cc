#include "graph/ranges.h"

#include <cstring>
#include <ctime>

#include "base/random.h"
#include "graph/bodies/bodies.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/interval.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "support.h"

namespace dyadic {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr DataType kI8 = DataType::kI8, kU8 = DataType::kU8, kI16 = DataType::kI16, kI32 = DataType::kI32,
                   kI64 = DataType::kI64;
constexpr char kHull[] = "a weighted mean lies in the hull of the values";
constexpr char kLayerNorm[] = "|layer norm| <= sqrt(n-1)";

KnownInput between(int64_t lo, int64_t hi) {
  KnownInput known;
  known.range = {lo, hi};
  return known;
}
KnownInput constant(Tensor tensor) {
  KnownInput known;
  known.constant = std::move(tensor);
  return known;
}

std::string text_of(const std::vector<Interval>& ranges) {
  std::string text;
  for (const Interval& range : ranges) text += to_string(Wide(range));
  return text;
}

// A body given by the lines between "body f {" and "}", its inputs at their promised ranges or given ones.
struct Case {
  Graph graph;
  Ranges ranges;

  explicit Case(const std::string& lines, std::vector<KnownInput> inputs = {}, const Bindings& maxima = {{"T", 10}})
      : graph(parse_text("body f {\n" + lines + "\n}", "test")) {
    for (size_t i = inputs.size(); i < graph.inputs.size(); ++i) {
      const Value& value = graph.value(graph.inputs[i]);
      const Interval range = value.fact ? value.fact->range : range_of(value.type);
      inputs.push_back(between(range.lo, range.hi));
    }
    ranges = prove_ranges(graph, inputs, maxima);
  }
  std::string operator[](const std::string& name) const { return to_string(Wide(ranges.values[graph.find(name)])); }
  std::string channels(const std::string& name) const {
    const auto it = ranges.channels.find(graph.find(name));
    return it == ranges.channels.end() ? "" : text_of(it->second);
  }
};

std::string refusal(const std::string& lines, const std::vector<KnownInput>& inputs = {},
                    const Bindings& maxima = {{"T", 10}}) {
  try {
    Case accepted(lines, inputs, maxima);
    for (const Value& value : accepted.graph.values) ADD_FAILURE() << value.name << " " << accepted[value.name];
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kContract) << error.what();
    return error.what();
  }
  return "";
}

TEST(Ranges, FollowOperationsAndNameTheOneThatMayOverflow) {
  const std::string lines = R"(in %x : i8[T] in [-100,20]
    const %one : i8[] = {1}
    %y = add(%x, %one) : i8[T]
    %z = mul(%y, %one) : i8[T]
    out %z)";
  EXPECT_EQ(Case(lines)["z"], "[-99,21]");
  EXPECT_EQ(Case(lines, {between(-5, 5)})["z"], "[-4,6]");
  EXPECT_EQ(refusal("in %x : i8[T]\n const %one : i8[] = {1}\n %y = add(%x, %one) : i8[T]"),
            "body f, %y = add(%x in [-128,127], %one in [1,1]): %y may lie in [-127,128], which does not fit i8");
}

TEST(Ranges, InputsMustKeepTheirPromise) {
  const std::string lines = "in %x : i8[3] in [-100,20]\n out %x";
  EXPECT_THAT(refusal(lines, {between(-101, 0)}), HasSubstr("body f, input x: it lies in [-101,0]"));
  EXPECT_THAT(refusal(lines, {constant(Tensor::from<int8_t>({3}, {1, 2, 21}))}), HasSubstr("[1,21]"));
  EXPECT_THAT(refusal(lines, {constant(Tensor::from<uint8_t>({3}, {1, 2, 3}))}), HasSubstr("of u8, not i8"));
  EXPECT_EQ(Case(lines, {constant(Tensor::from<int8_t>({3}, {1, -2, 3}))})["x"], "[-2,3]");
  KnownInput wrong = between(0, 1);
  wrong.channels = {{0, 1}};
  EXPECT_THAT(refusal(lines, {wrong}), HasSubstr("1 channels for the shape [3]"));
  EXPECT_THROW(prove_ranges(parse_text("body f { in %x : i8[] out %x }", "test"), {}, {}), Error);
}

TEST(Ranges, AreKeptForEachChannel) {
  const Case c(R"(in %x : i16[T,3] in [-10,10]
    const %m : i16[3] = {1,-20,300}
    %y = mul(%x, %m) : i16[T,3]
    %r = reshape(%y) {shape="[3*T]"} : i16[3*T]
    %s = slice(%y) {axis=1, start=1, size=2} : i16[T,2]
    %j = concat(%s, %x) {axis=1} : i16[T,5]
    %g = reshape(%j) {shape="[T,5,1]"} : i16[T,5,1]
    %t = transpose(%y) {perm=[1,0]} : i16[3,T]
    %h = reduce(%y) {kind=max, axes=[1], type=i16} : i16[T,1]
    %v = reduce(%y) {kind=sum, axes=[1], type=i32} : i32[T,1]
    %w = reduce(%y) {kind=sum, axes=[0], type=i32} : i32[1,3]
    out %j)");
  EXPECT_EQ(c.channels("m"), "[1,1][-20,-20][300,300]");
  EXPECT_EQ(c.channels("y"), "[-10,10][-200,200][-3000,3000]");
  EXPECT_EQ(c["y"], "[-3000,3000]");
  EXPECT_EQ(c.channels("r"), "");
  EXPECT_EQ(c["r"], "[-3000,3000]");
  EXPECT_EQ(c.channels("s"), "[-200,200][-3000,3000]");
  EXPECT_EQ(c.channels("j"), "[-200,200][-3000,3000][-10,10][-10,10][-10,10]");
  EXPECT_EQ(c["g"], "[-3000,3000]");
  EXPECT_EQ(c.channels("t"), "");
  EXPECT_EQ(c["h"], "[-10,3000]");
  EXPECT_EQ(c["v"], "[-3210,3210]");
  EXPECT_EQ(c.channels("w"), "[-100,100][-2000,2000][-30000,30000]");
}

TEST(Ranges, ChannelsSurviveReshapesOfTheLastAxis) {
  const Case c(R"(in %x : i16[T,4] in [0,1]
    const %m : i16[4] = {1,2,3,4}
    %y = mul(%x, %m) : i16[T,4]
    %a = reshape(%y) {shape="[T,2,2]"} : i16[T,2,2]
    %b = reshape(%a) {shape="[T,4]"} : i16[T,4]
    out %b)");
  EXPECT_EQ(c.channels("a"), "[0,3][0,4]");
  EXPECT_EQ(c.channels("b"), "[0,3][0,4][0,3][0,4]");
}

TEST(Ranges, ASquareIsNotNegative) {
  const Case c(R"(in %x : i8[T] in [-100,20]
    in %z : i8[T] in [-100,20]
    %x32 = cast(%x) {type=i32} : i32[T]
    %x32b = cast(%x) {type=i32} : i32[T]
    %z32 = cast(%z) {type=i32} : i32[T]
    %square = mul(%x32, %x32b) : i32[T]
    %product = mul(%x32, %z32) : i32[T]
    %sum = dot(%x, %x) {contract_a=[0], contract_b=[0]} : i32[]
    %outer = dot(%x, %x) {contract_a=[], contract_b=[]} : i32[T,T]
    out %square)");
  EXPECT_EQ(c["square"], "[0,10000]");
  EXPECT_EQ(c["product"], "[-2000,10000]");
  EXPECT_EQ(c["sum"], "[0,100000]");
  EXPECT_EQ(c["outer"], "[-2000,10000]");
}

TEST(Ranges, ADifferenceToTheExtremeHasOneSign) {
  const Case c(R"(in %x : i16[T,4] in [-100,20]
    in %z : i16[T,4] in [-100,20]
    %max = reduce(%x) {kind=max, axes=[1], type=i16} : i16[T,1]
    %flat = reduce(%x) {kind=max, axes=[1], keepdims=0, type=i16} : i16[T]
    %again = reshape(%flat) {shape="[T,1]"} : i16[T,1]
    %min = reduce(%x) {kind=min, axes=[0,1], type=i16} : i16[1,1]
    %x32 = cast(%x) {type=i32} : i32[T,4]
    %max32 = cast(%max) {type=i32} : i32[T,1]
    %a = sub(%x, %max) : i16[T,4]
    %b = sub(%max, %x) : i16[T,4]
    %c = sub(%x, %again) : i16[T,4]
    %d = sub(%x, %min) : i16[T,4]
    %e = sub(%x32, %max32) : i32[T,4]
    %f = sub(%z, %max) : i16[T,4]
    %g = sub(%x, %x) : i16[T,4]
    out %a)");
  EXPECT_EQ(c["a"], "[-120,0]");
  EXPECT_EQ(c["b"], "[0,120]");
  EXPECT_EQ(c["c"], "[-120,0]");
  EXPECT_EQ(c["d"], "[0,120]");
  EXPECT_EQ(c["e"], "[-120,0]");
  EXPECT_EQ(c["f"], "[-120,120]");
  EXPECT_EQ(c["g"], "[0,0]");
}

TEST(Ranges, AnExtremeOverOtherAxesThanItIsSpreadOverProvesNothing) {
  // The maximum of each column, read as if it were that of each row.
  const Case c(R"(in %x : i16[4,4] in [-100,20]
    %max = reduce(%x) {kind=max, axes=[0], keepdims=0, type=i16} : i16[4]
    %wrong = reshape(%max) {shape="[4,1]"} : i16[4,1]
    %a = sub(%x, %wrong) : i16[4,4]
    out %a)");
  EXPECT_EQ(c["a"], "[-120,120]");
}

TEST(Ranges, DotWithAConstantSumsBySign) {
  const auto weight = Tensor::from<int8_t>({3, 2}, {10, -20, -1, -2, 100, 50});
  const std::string lines = R"(in %x : i8[T,2]
    in %w : i8[3,2]
    %y = dot(%x, %w) {contract_a=[1], contract_b=[1]} : i32[T,3]
    %z = dot(%w, %x) {contract_a=[1], contract_b=[1]} : i32[3,T]
    out %y)";
  const Case c(lines, {between(-10, 1), constant(weight)});
  EXPECT_EQ(c.channels("y"), "[-120,210][-3,30][-1500,150]");
  EXPECT_EQ(c.channels("z"), "");
  EXPECT_EQ(c["z"], "[-1500,210]");

  KnownInput x = between(-10, 5);
  x.channels = {{-10, 0}, {1, 5}};
  EXPECT_EQ(Case(lines, {x, constant(weight)}).channels("y"), "[-200,-20][-10,8][-950,250]");
}

TEST(Ranges, DotWithAConstantKnowsBatchAxesAndTransposedWeights) {
  const Case c(R"(in %x : i8[T,2,3] in [0,1]
    const %w : i8[2,3,2] = {1,2,3,4,5,6,10,20,30,40,50,60}
    const %v : i8[2,3] = {1,2,3,-10,-20,-30}
    %y = dot(%x, %w) {contract_a=[2], contract_b=[1], batch_a=[1], batch_b=[0]} : i32[2,T,2]
    %z = dot(%x, %v) {contract_a=[2], contract_b=[1], batch_a=[1], batch_b=[0]} : i32[2,T]
    %u = dot(%v, %x) {contract_a=[0,1], contract_b=[1,2]} : i32[T]
    out %y)");
  EXPECT_EQ(c.channels("y"), "[0,90][0,120]");
  EXPECT_EQ(c["z"], "[-60,6]");
  EXPECT_EQ(c["u"], "[-60,6]");
}

TEST(Ranges, DotOfWideOperandsDoesNotOverflowItself) {
  const Case c(R"(in %x : i32[T,2]
    in %w : i32[1,2]
    %y = dot(%x, %w) {contract_a=[1], contract_b=[1], type=i64} : i64[T,1]
    out %y)",
               {between(-(int64_t{1} << 31), INT32_MAX), constant(Tensor::from<int32_t>({1, 2}, {1 << 30, 1 << 29}))});
  EXPECT_EQ(c["y"], "[-3458764513820540928,3458764512209928192]");
  EXPECT_THAT(refusal(R"(in %x : i32[T,2]
    const %w : i32[1,2] = {-2147483648,-2147483648}
    %y = dot(%x, %w) {contract_a=[1], contract_b=[1], type=i64} : i64[T,1])"),
              HasSubstr("9223372036854775808], which does not fit i64"));
}

TEST(Ranges, SumsOverSymbolsHoldForFewerTerms) {
  const std::string lines = R"(in %x : i8[T,2] in [3,5]
    %s = reduce(%x) {kind=sum, axes=[0], type=i32} : i32[1,2]
    %d = dot(%x, %x) {contract_a=[0], contract_b=[0]} : i32[2,2]
    out %s)";
  EXPECT_EQ(Case(lines)["s"], "[0,50]");
  EXPECT_EQ(Case(lines)["d"], "[0,250]");
  EXPECT_EQ(Case(lines, {}, {{"T", 100}})["s"], "[0,500]");
  EXPECT_EQ(Case("in %x : i8[4] in [3,5]\n %s = reduce(%x) {kind=sum, axes=[0], type=i32} : i32[1]")["s"], "[12,20]");
}

TEST(Ranges, LookupReadsTheReachableEntries) {
  const std::string lines = R"(in %i : u8[T] in [1,3]
    const %t : i16[5] = {1000,1,-2,3,500}
    const %u : i16[2,4] = {1,2,3,4,-10,-20,-30,-40}
    in %j : u8[T,2] in [1,2]
    %y = lookup(%t, %i) : i16[T]
    %z = lookup(%u, %j) : i16[T,2]
    out %y)";
  EXPECT_EQ(Case(lines)["y"], "[-2,3]");
  EXPECT_EQ(Case(lines)["z"], "[-30,3]");
  EXPECT_EQ(Case(lines, {between(2, 2)})["y"], "[-2,-2]");
  KnownInput j = between(0, 3);
  j.channels = {{0, 0}, {3, 3}};
  EXPECT_THAT(refusal(lines, {between(1, 3), j}), HasSubstr("input j"));
  EXPECT_THAT(refusal("in %i : u8[T] in [0,4]\n const %t : i8[4] = {1,2,3,4}\n %y = lookup(%t, %i) : i8[T]"),
              HasSubstr("the index must lie in [0,4), whatever the symbols are; it may lie in [0,4]"));
  EXPECT_THAT(refusal("in %i : i8[T] in [-1,3]\n const %t : i8[4] = {1,2,3,4}\n %y = lookup(%t, %i) : i8[T]"),
              HasSubstr("it may lie in [-1,3]"));
}

TEST(Ranges, BucketizeCountsThresholdsForEachChannel) {
  const Case c(R"(in %x : i16[T] in [5,17]
    const %t : i16[4] = {0,5,10,20}
    const %ends : i32[2] = {2,3}
    in %p : i32[2] in [2,3]
    %y = bucketize(%x, %t) : u8[T]
    %i = iota() {shape="[4]", type=i32} : i32[4]
    %group = bucketize(%i, %ends) : u8[4]
    %h = bucketize(%i, %p) : u8[4]
    out %y)");
  EXPECT_EQ(c["y"], "[2,3]");
  EXPECT_EQ(c.channels("group"), "[0,0][0,0][1,1][2,2]");
  EXPECT_EQ(c["h"], "[0,2]");
}

TEST(Ranges, KnownOperandsAreEvaluated) {
  const Case c(R"(const %a : i32[3] = {5,-7,9}
    const %b : i32[3] = {2,2,4}
    %r = rem(%a, %b) : i32[3]
    %t = reduce(%r) {kind=sum, axes=[0], keepdims=0, type=i32} : i32[]
    out %t)");
  EXPECT_EQ(c.channels("r"), "");
  EXPECT_EQ(c["r"], "[1,1]");
  EXPECT_EQ(c["t"], "[3,3]");
}

TEST(Ranges, SelectTakesOneSideWhereTheConditionIsKnown) {
  const Case c(R"(in %x : i8[T,2] in [1,2]
    in %y : i8[T,2] in [5,6]
    const %c : u8[2] = {0,7}
    %z = select(%c, %x, %y) : i8[T,2]
    out %z)");
  EXPECT_EQ(c.channels("z"), "[5,6][1,2]");
}

TEST(Ranges, NormalizeAndItsCount) {
  const Case c(R"(in %x : i64[T] in [0,1000]
    %y, %k = normalize(%x) {top=61, even=1} : i64[T], u8[T]
    %root = isqrt(%y) : i64[T]
    out %root)");
  EXPECT_EQ(c["k"], "[52,60]");
  EXPECT_EQ(c["y"], cat("[0,", int64_t{255} << 54, "]"));
  EXPECT_THAT(refusal("in %x : i64[T] in [0,16]\n %y, %k = normalize(%x) {top=3} : i64[T], u8[T]"),
              HasSubstr("2^(top+1)"));
}

TEST(Ranges, FactsNarrowAtTheDefinitionAndNameTheirLemma) {
  const std::string lines = R"(in %x : i32[T]
    in %m : i32[T] in [0,65536]
    const %s : u8[] = {16}
    %y = mul_shift(%x, %m, %s) {type=i32} : i32[T] fact [-1000,1000] "small"
    const %big : i32[] = {2000000}
    %z = mul(%y, %big) : i32[T] fact [-2000000000,2000000000] "never needed"
    out %z)";
  const Case c(lines);
  EXPECT_EQ(c["y"], "[-1000,1000]");
  EXPECT_EQ(c["z"], "[-2000000000,2000000000]");
  EXPECT_THAT(c.ranges.lemmas, ElementsAre("small"));
  EXPECT_THAT(Case(lines, {between(-10, 10)}).ranges.lemmas, IsEmpty());
  EXPECT_THAT(refusal("in %x : i8[T] in [1,5]\n %y = abs(%x) : i8[T] fact [6,9] \"no\""),
              HasSubstr("contradicts the fact"));
}

TEST(Ranges, AFactProvesTheOperationThatItStandsOn) {
  const std::string lines = "in %x : i8[T]\n const %k : u8[] = {6}\n %y = shl(%x, %k) : i8[T]";
  EXPECT_THAT(refusal(lines), HasSubstr("does not fit i8"));
  EXPECT_EQ(Case(lines + " fact [-64,64] \"a lemma\"")["y"], "[-64,64]");
}

TEST(Ranges, IndicesAreProvedWhateverTheSymbolsAre) {
  const std::string lines = R"(in %x : i8[T,4]
    in %i : i32[T] in [0,9]
    const %zero : i32[] = {0}
    %rows = iota() {shape="[T]", type=i32} : i32[T]
    %last = reduce(%rows) {kind=max, axes=[0], type=i32} : i32[1]
    )";
  const auto gathered = [&](const std::string& index) { return lines + index + "\n %y = gather(%x, %j) : i8[T,4]"; };
  for (const char* index : {"%j = min(%i, %last) : i32[T]", "%j = clamp(%i, %zero, %last) : i32[T]",
                            "%k = sub(%last, %rows) : i32[T]\n %j = max(%k, %zero) : i32[T]",
                            "%k = le(%i, %last) : u8[T]\n %j = select(%k, %rows, %zero) : i32[T]"})
    EXPECT_EQ(Case(gathered(index))["y"], "[-128,127]") << index;
  EXPECT_THAT(refusal(gathered("%j = min(%i, %i) : i32[T]")),
              HasSubstr("the index must lie in [0,T), whatever the symbols are; it may lie in [0,9]; its min"));
  EXPECT_THAT(refusal(gathered("%j = add(%rows, %zero) : i32[T]")), HasSubstr("[0,T)"));
  EXPECT_THAT(refusal(gathered("%j = sub(%zero, %rows) : i32[T]")), HasSubstr("may lie in [-9,0]"));
}

TEST(Ranges, MovementKeepsRanges) {
  const Case c(R"(in %x : i8[T,3] in [-3,4]
    in %y : i8[10,3] in [-3,4]
    in %u : i8[2,3] in [5,6]
    in %i : u32[2] in [0,1]
    in %n : i8[1,5,5,2] in [1,2]
    in %at : i32[] in [0,8]
    in %d : i32[2,3] in [-2,1]
    in %packed : i4[8] in [-8,3]
    const %base : i32[4,3] = {7,7,7,7,7,7,7,7,7,7,7,7}
    %v, %k = top_k(%x) {k=2} : i8[T,2], u32[T,2]
    %w = update_slice(%y, %u, %at) {axis=0} : i8[10,3]
    %s = slice(%y, %at) {axis=0, size=2} : i8[2,3]
    %sum = scatter_add(%base, %i, %d) : i32[4,3]
    %p = patches(%n) {kernel=[3,3], stride=[1,1], dilation=[1,1], pads=[1,1,1,1], pad_code=-7} : i8[1,5,5,3,3,2]
    %q = patches(%n) {kernel=[3,3], stride=[1,1], dilation=[1,1], pads=[0,0,0,0], pad_code=-7} : i8[1,3,3,3,3,2]
    %c = unpack(%packed) {type=i8} : i8[8]
    out %v)");
  EXPECT_EQ(c["v"], "[-3,4]");
  EXPECT_EQ(c["k"], "[0,2]");
  EXPECT_EQ(c["w"], "[-3,6]");
  EXPECT_EQ(c["s"], "[-3,4]");
  EXPECT_EQ(c["sum"], "[3,9]");
  EXPECT_EQ(c["p"], "[-7,2]");
  EXPECT_EQ(c["q"], "[1,2]");
  EXPECT_EQ(c["c"], "[-8,3]");
}

TEST(Ranges, StartsAreProvedWhateverTheSymbolsAre) {
  const auto sliced = [](const char* size_of_x, int64_t start) {
    return cat("in %x : i8[", size_of_x, "]\n in %at : i32[] in [0,", start,
               "]\n %y = slice(%x, %at) {axis=0, size=2} : i8[2]");
  };
  EXPECT_EQ(Case(sliced("10", 8))["y"], "[-128,127]");
  EXPECT_THAT(refusal(sliced("10", 9)),
              HasSubstr("the start must lie in [0,8], whatever the symbols are; it may lie in [0,9]"));
  EXPECT_EQ(Case(sliced("3*T", 1))["y"], "[-128,127]");
  EXPECT_THAT(refusal(sliced("3*T", 2)), HasSubstr("must lie in [0,1]"));
  EXPECT_THAT(refusal(sliced("T", 0)), HasSubstr("must lie in [0,-1]"));
  const auto updated = [](const char* whole, const char* part) {
    return cat("in %x : i8[", whole, "]\n in %p : i8[", part, "]\n %y = update_slice(%x, %p) {axis=0} : i8[", whole,
               "]");
  };
  EXPECT_EQ(Case(updated("T", "T"))["y"], "[-128,127]");
  EXPECT_EQ(Case(updated("10", "T"))["y"], "[-128,127]");
  EXPECT_THAT(refusal(updated("9", "T")), HasSubstr("must lie in [0,-1]"));
  EXPECT_THAT(refusal(updated("T", "B"), {}, {{"T", 10}, {"B", 1}}),
              HasSubstr("B elements are not proved to fit in T"));
}

// A leaky sum: h = (h * 3 + x) / 4 stays where x is; each step also gives 2h and h * w for constant weights.
TEST(Ranges, ScansKeepTheInvariantsOfWhatTheyCarry) {
  constexpr const char* kStep = R"(body step {
    in %h : i16[3] in [-100,50]
    in %x : i16[3] in [-100,50]
    in %w : i16[3]
    const %three : i16[] = {3}
    const %four : i16[] = {4}
    %a = mul(%h, %three) : i16[3]
    %b = add(%a, %x) : i16[3]
    %next = div(%b, %four) : i16[3]
    %twice = add(%next, %next) : i16[3] fact [-150,150] "a lemma of the step"
    %y = mul(%next, %w) : i16[3]
    out %next, %twice, %y
  })";
  Graph scan;
  scan.name = "f";
  const ValueId h = scan.add_input({"h", kI16, {3}, {}, {}, {}}), x = scan.add_input({"x", kI16, {"T", 3}, {}, {}, {}}),
                w = scan.add_constant("w", Tensor::from<int16_t>({3}, {1, -2, 0}));
  Node node;
  node.op = "scan";
  node.inputs = {h, x, w};
  node.attributes = {{"body", kStep}, {"carried", int64_t{1}}, {"count", "T"}};
  for (const auto& [name, shape] :
       {std::pair("final", Shape{3}), std::pair("twice", Shape{"T", 3}), std::pair("y", Shape{"T", 3})})
    node.outputs.push_back(scan.add_value({name, kI16, shape, {}, {}, {}}));
  scan.add_node(node);
  scan.outputs = node.outputs;
  verify_body(scan);

  const auto ranges = prove_ranges(scan, std::vector<KnownInput>{between(-3, 50), between(-100, 40)}, {{"T", 10}});
  EXPECT_EQ(ranges.values[scan.find("final")], (Interval{-100, 50}));
  EXPECT_EQ(ranges.values[scan.find("twice")], (Interval{-150, 94}));
  EXPECT_EQ(text_of(ranges.channels.at(scan.find("y"))), "[-100,47][-94,200][0,0]");
  EXPECT_THAT(ranges.lemmas, ElementsAre("a lemma of the step"));

  const auto refusal_of = [&](const Graph& graph, Interval first, Interval data) -> std::string {
    try {
      prove_ranges(graph, std::vector<KnownInput>{between(first.lo, first.hi), between(data.lo, data.hi)}, {{"T", 10}});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal_of(scan, {-3, 51}, {0, 1}),
              HasSubstr("carried %h must lie in [-100,50]; at first it may lie in [-3,51]"));
  EXPECT_THAT(refusal_of(scan, {0, 1}, {-101, 0}), HasSubstr("body f, %final = scan(%h in [0,1], %x in [-101,0], "));
  Graph grows = scan;
  std::string step = kStep;
  step.replace(step.find("{3}"), 3, "{4}");
  grows.nodes[0].attributes["body"] = step;
  EXPECT_THAT(refusal_of(grows, {0, 1}, {0, 4}), HasSubstr("after a step it may lie in [-100,51]"));
}

TEST(Ranges, DotCombinesByItsBody) {
  Graph graph = parse_text(R"(body f {
    in %x : i8[T,3] in [-5,4]
    in %y : i8[2,3] in [0,7]
    %z = dot(%x, %y) {contract_a=[1], contract_b=[1]} : i32[T,2]
    out %z
  })",
                           "test");
  graph.nodes[0].attributes["combine"] = R"(body distance {
    in %a : i8[]
    in %b : i8[]
    %d = sub(%a, %b) : i8[]
    %m = abs(%d) : i8[] fact [0,11] "a lemma of the scalars"
    out %m
  })";
  verify_body(graph);
  const auto ranges = prove_ranges(graph, std::vector<KnownInput>{between(-5, 4), between(0, 7)}, {{"T", 10}});
  EXPECT_EQ(ranges.values[graph.find("z")], (Interval{0, 33}));
  EXPECT_THAT(ranges.lemmas, ElementsAre("a lemma of the scalars"));
  EXPECT_THROW(prove_ranges(graph, std::vector<KnownInput>{between(-128, 4), between(0, 7)}, {{"T", 10}}), Error);
}

// x * (255 - x) of u8: intervals give [0,65025], which an i16 does not hold; its values end at 16256.
TEST(Ranges, FunctionsOfOneElementAreEnumeratedWhereIntervalsFail) {
  const std::string lines = R"(in %x : u8[T,3]
    const %c : i16[1] = {255}
    %w = cast(%x) {type=i16} : i16[T,3]
    %d = sub(%c, %w) : i16[T,3]
    %y = mul(%w, %d) : i16[T,3]
    %h = shr(%y, %k) : i16[T,3]
    out %h)";
  const std::string shift = "const %k : u8[] = {7}\n";
  EXPECT_EQ(Case(shift + lines)["y"], "[0,16256]");
  EXPECT_EQ(Case(shift + lines)["h"], "[0,127]");
  EXPECT_EQ(Case(shift + lines, {between(3, 4)})["y"], "[753,1008]");
  // Two different elements are not one.
  EXPECT_THAT(refusal(R"(in %x : u8[T,3]
    in %z : u8[T,3]
    %w = cast(%x) {type=i16} : i16[T,3]
    %v = cast(%z) {type=i16} : i16[T,3]
    %y = mul(%w, %v) : i16[T,3])"),
              HasSubstr("may lie in [0,65025], which does not fit i16"));
  // Too many values, and a value that really does not fit.
  EXPECT_THAT(refusal("in %x : i32[T]\n const %c : i32[] = {1} %y = add(%x, %c) : i32[T]"),
              HasSubstr("does not fit i32"));
  EXPECT_THAT(refusal("in %x : i8[T]\n %y = mul(%x, %x) : i8[T]"), HasSubstr("may lie in [0,16384]"));
}

TEST(Ranges, NarrowestTypes) {
  EXPECT_EQ(narrowest({-128, 127}), kI8);
  EXPECT_EQ(narrowest({0, 128}), kU8);
  EXPECT_EQ(narrowest({-1, 128}), kI16);
  EXPECT_EQ(narrowest({0, 65535}), DataType::kU16);
  EXPECT_EQ(narrowest({0, 65536}), kI32);
  EXPECT_EQ(narrowest({0, UINT32_MAX}), DataType::kU32);
  EXPECT_EQ(narrowest({-1, UINT32_MAX}), kI64);
}

// Random data for the property test and the bodies below.
class Generator {
 public:
  int64_t below(int64_t bound) { return static_cast<int64_t>(random_.below(static_cast<uint64_t>(bound))); }
  Tensor uniform(DataType type, Dims dims, int64_t lo, int64_t hi) {
    Tensor tensor(type, std::move(dims));
    for (int64_t i = 0; i < tensor.count(); ++i) tensor.set(i, lo + below(hi - lo + 1));
    return tensor;
  }
  // m in [2^30, 2^31) of either sign.
  Tensor multipliers(int64_t n) {
    Tensor m = uniform(kI32, {n}, int64_t{1} << 30, INT32_MAX);
    for (int64_t i = 0; i < n; i += 3) m.set(i, -m.at(i));
    return m;
  }

 private:
  Random random_{test::seed()};
};

// Operands of a body by name.
using Parameters = std::map<std::string, Tensor>;

// Runs a body on its operands and holds every element of every Value to its proven range and that of its channel.
void expect_sound(const Graph& body, const Ranges& ranges, const Parameters& inputs, const Bindings& bindings) {
  std::vector<Tensor> operands;
  for (const ValueId id : body.inputs) operands.push_back(inputs.at(body.value(id).name));
  evaluate(body, operands, bindings, [&](ValueId id, const Tensor& tensor) {
    const auto it = ranges.channels.find(id);
    for (int64_t i = 0; i < tensor.count(); ++i) {
      const int64_t v = tensor.at(i);
      ASSERT_TRUE(ranges.values[id].contains({v, v})) << body.value(id).name << " is " << v << "\n" << to_text(body);
      if (it == ranges.channels.end()) continue;
      const Interval& channel = it->second[static_cast<size_t>(i % static_cast<int64_t>(it->second.size()))];
      ASSERT_TRUE(channel.contains({v, v})) << body.value(id).name << " is " << v << " at " << i << "\n"
                                            << to_text(body);
    }
  });
}

// A body of `size` random operations on [T,4], [4], [T,1] and scalars; no operation's operands are sure to be allowed.
Graph random_body(Generator& g, int size) {
  BodyBuilder b("random");
  std::vector<Var> pool = {b.input("x", kI32, {"T", 4}, {-100, 50}), b.input("y", kI32, {"T", 1}, {3, 9}),
                           b.constant(g.uniform(kI32, {4}, -20, 20)), b.constant(g.uniform(kI32, {1}, 1, 7))};
  const Var table = b.constant(g.uniform(kI32, {16}, -50, 50));
  const Var thresholds = b.constant(Tensor::from<int32_t>({3}, {-10, 0, 10}));
  const auto any = [&] { return pool[static_cast<size_t>(g.below(static_cast<int64_t>(pool.size())))]; };
  const auto on_columns = [&](Var x) {
    return b.value(x).shape.size() == 2 ? x : b.reshape(x, {1, b.value(x).shape[0]});
  };
  for (int i = 0; i < size; ++i) {
    const Var x = any(), y = any();
    switch (g.below(18)) {
      case 0:
        pool.push_back(b.add(x, y));
        break;
      case 1:
        pool.push_back(b.sub(x, y));
        break;
      case 2:
        pool.push_back(b.mul(x, g.below(2) ? x : y));
        break;
      case 3:
        pool.push_back(b.abs(x));
        break;
      case 4:
        pool.push_back(b.min(x, y));
        break;
      case 5:
        pool.push_back(b.max(x, y));
        break;
      case 6:
        pool.push_back(b.clamp(x, -g.below(30), g.below(30)));
        break;
      case 7:
        pool.push_back(b.shr(x, g.below(5), static_cast<Rounding>(g.below(3))));
        break;
      case 8:
        pool.push_back(b.mul_shift(x, y, g.below(5), kI32, static_cast<Rounding>(g.below(2))));
        break;
      case 9:
        pool.push_back(b.div(x, b.max(y, 1)));
        break;
      case 10:
        pool.push_back(b.rem(x, b.max(y, 1)));
        break;
      case 11:
        pool.push_back(b.isqrt(b.max(x, 0)));
        break;
      case 12:
        pool.push_back(b.select(b.lt(x, y), x, y));
        break;
      case 13:
        pool.push_back(g.below(2) ? b.bit_and(x, y) : b.bit_xor(x, y));
        break;
      case 14:
        pool.push_back(b.lookup(table, b.clamp(x, 0, 15)));
        break;
      case 15:
        pool.push_back(b.cast(b.bucketize(x, thresholds), kI32));
        break;
      case 16: {
        const Var v = on_columns(x);
        pool.push_back(b.sub(v, g.below(2) ? b.reduce_max(v, {1}) : b.reduce_min(v, {1})));
        break;
      }
      default: {
        const auto [normal, count] = b.normalize(b.max(x, 0), 20, g.below(2) != 0);
        pool.push_back(normal);
        pool.push_back(b.cast(count, kI32));
      }
    }
  }
  b.output(pool.back(), "out");
  return b.build();
}

TEST(Ranges, RandomBodiesStayWithinTheirProof) {
  Generator g;
  int proved = 0;
  for (int round = 0; round < 400; ++round) {
    const Graph body = random_body(g, 12);
    Ranges ranges;
    try {
      ranges = prove_ranges(body, std::vector<KnownInput>{between(-100, 50), between(3, 9)}, {{"T", 8}});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kContract) << error.what();
      continue;
    }
    ++proved;
    expect_sound(body, ranges, {{"x", g.uniform(kI32, {8, 4}, -100, 50)}, {"y", g.uniform(kI32, {8, 1}, 3, 9)}}, {});
    if (HasFailure()) return;
  }
  EXPECT_GT(proved, 100);
}

// ---- the normative bodies ------------------------------------------------------------------------------------------

// Constants by the name of the body's input; data has the given ranges, or the promised ones.
Ranges prove(const Body& body, const Parameters& parameters, const std::map<std::string, KnownInput>& data = {},
             const Bindings& maxima = {{"T", 4096}, {"B", 32}, {"L", 512}}) {
  std::vector<KnownInput> inputs;
  for (const ValueId id : body.graph.inputs) {
    const Value& value = body.graph.value(id);
    if (const auto it = parameters.find(value.name); it != parameters.end())
      inputs.push_back(constant(it->second));
    else if (const auto known = data.find(value.name); known != data.end())
      inputs.push_back(known->second);
    else
      inputs.push_back(value.fact ? between(value.fact->range.lo, value.fact->range.hi)
                                  : between(lowest(value.type), highest(value.type)));
  }
  return prove_ranges(body.graph, inputs, maxima);
}

std::string output_range(const Body& body, const Ranges& ranges, size_t i = 0) {
  return to_string(Wide(ranges.values[body.graph.outputs[i]]));
}

std::vector<EpilogueStage> stages(DataType type, bool table) {
  std::vector<EpilogueStage> result = {{StageKind::kBias, kI32}, {StageKind::kRequantize, type}};
  if (type == kI16) result[1].clamp = range_of(kI16);
  if (table) result.push_back({StageKind::kTable, kI8});
  return result;
}

TEST(RangesOfBodies, LinearNeedsNoLemma) {
  Generator g;
  const Body body = linear_body({.in = 1536, .out = 384, .epilogue = stages(kI16, false), .splits = {384}});
  const Parameters parameters = {{"weight", g.uniform(kI8, {384, 1536}, -127, 127)},
                                 {"bias", g.uniform(kI32, {384}, -200000, 200000)},
                                 {"m", g.multipliers(384)},
                                 {"s", Tensor::from<uint8_t>({1}, {44})}};
  const Ranges ranges = prove(body, parameters);
  EXPECT_THAT(ranges.lemmas, IsEmpty());
  EXPECT_EQ(ranges.channels.at(body.graph.find("acc")).size(), 384u);
  Parameters inputs = parameters;
  inputs["x"] = g.uniform(kI8, {3, 1536}, -127, 127);
  expect_sound(body.graph, ranges, inputs, {});
}

TEST(RangesOfBodies, LinearWithAClassTableReadsEachClassInItsChannels) {
  Generator g;
  const Body body = linear_body(
      {.in = 40, .out = 12, .epilogue = stages(kI8, true), .splits = {5, 7}, .shift_per_channel = true, .classes = 2});
  Parameters parameters = {{"weight", g.uniform(kI8, {12, 40}, -127, 127)},
                           {"bias", g.uniform(kI32, {12}, -2000, 2000)},
                           {"m", g.multipliers(12)},
                           {"s", g.uniform(kU8, {12}, 40, 45)},
                           {"tables", g.uniform(kI8, {2, 256}, -10, 10)},
                           {"ends", Tensor::from<int32_t>({2}, {7, 12})}};
  for (int64_t code = 0; code < 256; ++code) parameters["tables"].set(256 + code, code % 100);
  const Ranges ranges = prove(body, parameters);
  EXPECT_THAT(ranges.lemmas, IsEmpty());
  EXPECT_TRUE((Interval{-10, 10}).contains(ranges.values[body.graph.outputs[0]]));
  EXPECT_TRUE((Interval{-10, 99}).contains(ranges.values[body.graph.outputs[1]]));
  Parameters inputs = parameters;
  inputs["x"] = g.uniform(kI8, {9, 40}, -127, 127);
  expect_sound(body.graph, ranges, inputs, {});
}

TEST(RangesOfBodies, AnAccumulatorThatMayLeaveItsTypeIsRefused) {
  const Body body = linear_body({.in = 384, .out = 1, .epilogue = stages(kI8, false), .splits = {1}});
  Tensor weight(kI8, {1, 384});
  for (int i = 0; i < 384; ++i) weight.set(i, 127);
  Parameters parameters = {{"weight", weight},
                           {"bias", Tensor::from<int32_t>({1}, {INT32_MAX - 384 * 127 * 127})},
                           {"m", Tensor::from<int32_t>({1}, {1})},
                           {"s", Tensor::from<uint8_t>({1}, {1})}};
  EXPECT_THAT(prove(body, parameters).lemmas, IsEmpty());
  parameters["bias"].set(0, INT32_MAX - 384 * 127 * 127 + 1);
  try {
    prove(body, parameters);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kContract);
    EXPECT_THAT(error.what(), HasSubstr("add(%acc in [-6193536,6193536], %bias in [2141290112,2141290112])"));
    EXPECT_THAT(error.what(), HasSubstr("may lie in [2135096576,2147483648], which does not fit i32"));
  }
  // Of narrower data the same constants are proved.
  EXPECT_THAT(prove(body, parameters, {{"x", between(-100, 126)}}).lemmas, IsEmpty());
  // Codes -128 are promised not to occur.
  EXPECT_THROW(prove(body, parameters, {{"x", between(-128, 0)}}), Error);
}

TEST(RangesOfBodies, AttentionNeedsTheHullLemmaAlone) {
  Generator g;
  const Body body = attention_body(12, 32);
  Tensor table(kU8, {256});
  for (int i = 0; i < 100; ++i) table.set(i, 255 >> (i / 11));
  const Parameters parameters = {{"table", table},
                                 {"distance_m", Tensor::from<int32_t>({1}, {1500000000})},
                                 {"distance_s", Tensor::from<uint8_t>({1}, {39})},
                                 {"out_m", Tensor::from<int32_t>({1}, {1234567890})},
                                 {"out_s", Tensor::from<uint8_t>({1}, {46})}};
  const Ranges ranges = prove(body, parameters, {{"start", between(0, 4096)}, {"length", between(0, 512)}});
  EXPECT_THAT(ranges.lemmas, ElementsAre(kHull));
  EXPECT_EQ(to_string(Wide(ranges.values[body.graph.find("sigma")])), "[255,130560]");
  EXPECT_EQ(output_range(body, ranges), "[-127,127]");

  Parameters inputs = parameters;
  for (const char* x : {"q", "k", "v"}) inputs[x] = g.uniform(kI8, {11, 384}, -127, 127);
  inputs["start"] = Tensor::from<int32_t>({3}, {5, 0, 9});
  inputs["length"] = Tensor::from<int32_t>({3}, {4, 3, 0});
  expect_sound(body.graph, ranges, inputs, {{"L", 4}});

  // A table whose first entry is 0 leaves a divisor that may be 0.
  Parameters empty = parameters;
  empty["table"] = Tensor(kU8, {256});
  try {
    prove(body, empty, {{"start", between(0, 4096)}, {"length", between(0, 512)}});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the divisor must be positive; it may lie in [0,0]"));
  }
}

Parameters norm_parameters(Generator& g, int64_t n, int outputs) {
  Parameters parameters;
  for (int j = 0; j < outputs; ++j) {
    const std::string out = cat("out", j);
    parameters[out + "_m"] = g.multipliers(n);
    parameters[out + "_s"] = Tensor::from<uint8_t>({1}, {static_cast<uint8_t>(j == 0 ? 36 : 30)});
    parameters[out + "_beta"] = g.uniform(kI32, {n}, -(1 << 20), 1 << 20);
  }
  return parameters;
}

TEST(RangesOfBodies, NormsNeedTheLayerNormLemmaAlone) {
  Generator g;
  for (const int64_t n : {int64_t{2}, int64_t{384}}) {
    Parameters parameters = norm_parameters(g, n, 2);
    for (const char* x : {"sublayer", "identity"}) {
      parameters[std::string(x) + "_m"] = g.multipliers(1);
      parameters[std::string(x) + "_s"] = Tensor::from<uint8_t>({1}, {23});
    }
    const Body add_norm = add_norm_body(n, {kI8, kI16});
    const Ranges ranges = prove(add_norm, parameters);
    EXPECT_THAT(ranges.lemmas, ElementsAre(kLayerNorm));
    EXPECT_TRUE((Interval{-127, 127}).contains(ranges.values[add_norm.graph.outputs[0]]));
    Parameters inputs = parameters;
    for (const char* x : {"sublayer", "identity"}) inputs[x] = g.uniform(kI16, {5, n}, -32768, 32767);
    expect_sound(add_norm.graph, ranges, inputs, {});
  }
  const Body body = embed_norm_body(384, {{"token", 1000}, {"position", 512}, {"type", 2}}, {kI8, kI16});
  Parameters parameters = norm_parameters(g, 384, 2);
  for (const auto& [name, rows] : {std::pair("token", 1000), std::pair("position", 512), std::pair("type", 2)}) {
    parameters[cat(name, "_codes")] = g.uniform(kI8, {rows, 384}, -127, 127);
    parameters[cat(name, "_m")] = g.multipliers(rows);
    parameters[cat(name, "_s")] = g.uniform(kU8, {rows}, 18, 22);
  }
  const Ranges ranges = prove(body, parameters);
  EXPECT_THAT(ranges.lemmas, ElementsAre(kLayerNorm));
  Parameters inputs = parameters;
  for (const auto& [name, rows] : {std::pair("token", 1000), std::pair("position", 512), std::pair("type", 2)})
    inputs[name] = g.uniform(kI32, {6}, 0, rows - 1);
  expect_sound(body.graph, ranges, inputs, {});
  EXPECT_THROW(prove(body, parameters, {{"token", between(0, 1000)}}), Error);
}

TEST(RangesOfBodies, PoolNeedsTheHullLemmaAlone) {
  Generator g;
  const Body body = pool_body(384, true);
  const Ranges ranges = prove(body, {}, {{"start", between(0, 4096)}, {"length", between(0, 512)}});
  EXPECT_THAT(ranges.lemmas, ElementsAre(kHull));
  expect_sound(body.graph, ranges,
               {{"x", g.uniform(kI16, {9, 384}, -32768, 32767)},
                {"start", Tensor::from<int32_t>({3}, {2, 0, 6})},
                {"length", Tensor::from<int32_t>({3}, {4, 1, 0})}},
               {{"L", 5}});
}

// Two composites in a row, the second over the rows that the first one pools.
Model chain(Interval first_clamp) {
  Generator g;
  const auto linear = [&](Interval clamp) {
    auto list = stages(kI8, false);
    list[1].clamp = clamp;
    return linear_body({.in = 8, .out = 8, .epilogue = list, .splits = {8}});
  };
  Model model;
  model.symbols = {{"B", {4, ""}}};
  Graph& main = model.graphs["main"];
  main.name = "main";
  ValueId x = main.add_input({"x", kI8, {"B", 8}, Fact{{-100, 100}, "input"}, {}, {}});
  for (const int layer : {0, 1}) {
    const Body body = linear(layer == 0 ? first_clamp : Interval{-127, 127});
    Node node;
    node.op = "linear";
    node.name = cat("layer.", layer);
    node.body = body.key();
    model.bodies[node.body] = body;
    const Parameters parameters = {{"weight", g.uniform(kI8, {8, 8}, -127, 127)},
                                   {"bias", g.uniform(kI32, {8}, -1000, 1000)},
                                   {"m", g.multipliers(8)},
                                   {"s", Tensor::from<uint8_t>({1}, {20})}};
    for (const ValueId id : body.graph.inputs) {
      const std::string& name = body.graph.value(id).name;
      node.inputs.push_back(name == "x" ? x : main.add_constant(cat(node.name, "/", name), parameters.at(name)));
    }
    x = main.add_value({cat("y", layer), kI8, {"B", 8}, {}, {}, {}});
    node.outputs = {x};
    main.add_node(node);
  }
  main.outputs = {x};
  verify_model(model);
  return model;
}

TEST(ProveModel, OutputsBoundTheNextInputsAndSymbolsAreRenamed) {
  const Model model = chain({-17, 16});
  const auto proofs = prove_model(model);
  ASSERT_EQ(proofs.size(), 2u);
  const auto input = [&](size_t n) { return proofs[n].values[model.body(model.main().nodes[n]).graph.inputs[0]]; };
  EXPECT_EQ(input(0), (Interval{-100, 100}));
  EXPECT_EQ(input(1), (Interval{-17, 16}));
}

TEST(ProveModel, RefusalsNameTheNode) {
  const auto refusal_of = [](const Model& model) -> std::string {
    try {
      prove_model(model);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kContract);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal_of(chain({-128, 128})), HasSubstr("node layer.0: body linear, %y0 = cast("));
  EXPECT_THAT(
      refusal_of(chain({-128, 127})),
      HasSubstr("node layer.1: body linear, input x: it lies in [-128,127], but the body is promised [-127,127]"));
  Model model = chain({-17, 16});
  model.main().value(model.main().inputs[0]).fact.reset();
  EXPECT_THAT(refusal_of(model), HasSubstr("node layer.0: body linear, input x: it lies in [-128,127]"));
}

TEST(RangesOfBodies, LargeConstantsTakeMilliseconds) {
  Generator g;
  const auto milliseconds = [](auto f) {  // of processor time: other work may run beside this
    const std::clock_t begin = std::clock();
    f();
    return static_cast<int>((std::clock() - begin) * 1000 / CLOCKS_PER_SEC);
  };
  Parameters parameters = norm_parameters(g, 384, 2);
  parameters["token_codes"] = Tensor(kI8, {30522, 384});
  std::memset(parameters["token_codes"].mutable_raw(), 1, 30522 * 384);
  parameters["token_m"] = g.multipliers(30522);
  parameters["token_s"] = g.uniform(kU8, {30522}, 18, 22);
  const Body embed = embed_norm_body(384, {{"token", 30522}}, {kI8, kI16});
  const Body linear = linear_body({.in = 384, .out = 1536, .epilogue = stages(kI8, false), .splits = {1536}});
  const Parameters weights = {{"weight", g.uniform(kI8, {1536, 384}, -127, 127)},
                              {"bias", g.uniform(kI32, {1536}, -20000, 20000)},
                              {"m", g.multipliers(1536)},
                              {"s", Tensor::from<uint8_t>({1}, {44})}};
  const int embed_ms = milliseconds([&] { prove(embed, parameters); });
  const int linear_ms = milliseconds([&] { prove(linear, weights); });
  std::printf("embed_norm of [30522,384]: %d ms, linear of [1536,384]: %d ms\n", embed_ms, linear_ms);
  EXPECT_LT(embed_ms, 500);
  EXPECT_LT(linear_ms, 250);
}

}  // namespace
}  // namespace dyadic

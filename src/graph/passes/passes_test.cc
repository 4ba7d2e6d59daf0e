#include "graph/passes/passes.h"

#include "base/random.h"
#include "graph/bodies/bodies.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "support.h"

namespace dyadic {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Graph parsed(const std::string& lines) { return parse_text("body f {\n" + lines + "}\n", "test"); }
std::string printed(const std::string& lines) { return "body f {\n" + lines + "}\n"; }

// Both graphs give the same integers for random inputs within their promises.
void expect_equal(const Graph& before, const Graph& after, const Bindings& symbols = {{"T", 64}}) {
  verify_body(after);
  Random random(test::seed());
  for (int round = 0; round < 5; ++round) {
    std::vector<Tensor> inputs;
    for (const ValueId id : before.inputs) {
      const Value& value = before.value(id);
      const Interval range = value.fact ? value.fact->range : range_of(value.type);
      Tensor tensor(value.type, bind(value.shape, symbols));
      for (int64_t i = 0; i < tensor.count(); ++i)
        tensor.set(i, range.lo + static_cast<int64_t>(random.below(static_cast<uint64_t>(range.hi - range.lo) + 1)));
      inputs.push_back(std::move(tensor));
    }
    EXPECT_EQ(evaluate(before, inputs, symbols), evaluate(after, inputs, symbols)) << to_text(after);
  }
}

TEST(FoldConstants, EvaluatesWhatDependsOnConstantsAlone) {
  const Graph body = parsed(R"(  in %x : i32[T,4]  in [-5,5]
    const %a : i32[4] = {10,20,30,40}
    const %k : u8[] = {1}
    %b = shr(%a, %k) {rounding=floor} : i32[4] fact [0,20] "seen by the evaluator"
    %i = iota() {shape="[4]", type=i32} : i32[4]
    %c = add(%b, %i) : i32[4]
    %y = add(%x, %c) : i32[T,4]
    out %y
)");
  const Graph folded = fold_constants(body);
  EXPECT_EQ(to_text(folded), printed(R"(  in %x : i32[T,4] in [-5,5]
  const %c : i32[4] = {5,11,17,23}
  %y = add(%x, %c) : i32[T,4]
  out %y
)"));
  expect_equal(body, folded);
}

TEST(FoldConstants, LeavesSymbolsAndLargeResults) {
  const std::string lines = R"(  in %x : i32[T]
  const %a : i32[] = {1}
  %i = iota() {shape="[T]", type=i32} : i32[T]
  %j = iota() {shape="[70000]", type=i32} : i32[70000]
  %y = add(%i, %a) : i32[T]
  out %y, %j
)";
  EXPECT_EQ(to_text(fold_constants(parsed(lines))), printed(lines));
}

TEST(FoldConstants, AnOutputMayBeConstant) {
  const Graph folded = fold_constants(parsed("const %a : i8[2] = {-3,4} %y = abs(%a) : i8[2] out %y\n"));
  EXPECT_EQ(to_text(folded), printed("  const %y : i8[2] = {3,4}\n  out %y\n"));
}

TEST(FoldConstants, AnErrorIsReported) {
  EXPECT_THROW(fold_constants(parsed("const %a : i8[1] = {-128} %y = abs(%a) : i8[1] out %y\n")), Error);
}

TEST(Tabulate, AChainOfU8BecomesOneLookup) {
  const Graph body = parsed(R"(  in %x : u8[T,3] in [0,200]
    const %k : u8[] = {2}
    const %c : u8[] = {40}
    %a = shr(%x, %k) : u8[T,3]
    %b = min(%a, %c) : u8[T,3]
    %y = add(%b, %k) : u8[T,3] fact [2,42] "obvious"
    out %y
)");
  const Graph table = tabulate(body);
  EXPECT_THAT(to_text(table), HasSubstr("  %y = lookup(%y_table, %x) : u8[T,3] fact [2,42] \"obvious\"\n  out %y\n"));
  EXPECT_EQ(table.nodes.size(), 1u);
  const Tensor entries = table.value(table.find("y_table")).constant;
  EXPECT_EQ(entries.at(0), 2);
  EXPECT_EQ(entries.at(5), 3);
  EXPECT_EQ(entries.at(6), 4);
  EXPECT_EQ(entries.at(200), 42);
  EXPECT_EQ(entries.at(255), 42);
  expect_equal(body, table);
  EXPECT_EQ(to_text(tabulate(table)), to_text(table));
}

TEST(Tabulate, CodesOfI8AreShiftedAndEveryResultShares) {
  const Graph body = parsed(R"(  in %x : i8[T] in [-127,127]
    const %z : i32[] = {0}
    const %t : i8[1] = {3}
    %w = cast(%x) {type=i32} : i32[T]
    %m = mul(%w, %w) : i32[T]
    %r = max(%w, %z) : i32[T]
    %q = isqrt(%m) : i32[T]
    %u = add(%q, %r) : i32[T]
    %v = min(%x, %t) : i8[T]
    out %u, %r, %v
)");
  const Graph table = tabulate(body);
  EXPECT_EQ(table.nodes.size(), 5u) << to_text(table);  // one index of two nodes, two lookups, the single min
  EXPECT_THAT(to_text(table), HasSubstr("%u = lookup(%u_table, %x_index) : i32[T]"));
  EXPECT_THAT(to_text(table), HasSubstr("%r = lookup(%r_table, %x_index) : i32[T]"));
  EXPECT_THAT(to_text(table), HasSubstr("%v = min(%x, %t) : i8[T]"));
  expect_equal(body, table);
  EXPECT_EQ(to_text(tabulate(table)), to_text(table));
}

TEST(Tabulate, BothResultsOfNormalize) {
  const Graph body = parsed(R"(  in %x : u8[T]
    %w = cast(%x) {type=i32} : i32[T]
    %n, %k = normalize(%w) {top=20} : i32[T], u8[T]
    out %k, %n
)");
  const Graph table = tabulate(body);
  EXPECT_EQ(table.nodes.size(), 2u);
  expect_equal(body, table);
}

TEST(Tabulate, StopsWhereSomethingElseIsNeeded) {
  const Graph body = parsed(R"(  in %x : u8[T,4]
    in %p : i32[T,4] in [0,1000]
    const %c : i32[] = {100}
    const %v : i32[4] = {1,2,3,4}
    %w = cast(%x) {type=i32} : i32[T,4]
    %a = mul(%w, %c) : i32[T,4]
    %b = add(%a, %p) : i32[T,4]
    %d = add(%a, %v) : i32[T,4]
    %s = reduce(%a) {kind=sum, axes=[1], type=i32} : i32[T,1]
    out %b, %d, %s
)");
  const Graph table = tabulate(body);
  EXPECT_THAT(to_text(table), HasSubstr("%a = lookup(%a_table, %x)"));
  EXPECT_THAT(to_text(table), HasSubstr("%b = add(%a, %p)"));
  EXPECT_THAT(to_text(table), HasSubstr("%d = add(%a, %v)"));
  EXPECT_THAT(to_text(table), HasSubstr("%s = reduce(%a)"));
  expect_equal(body, table);
}

TEST(Tabulate, BeginsAtTheFirstCodeOfTheChain) {
  const Graph body = parsed(R"(  in %x : i32[T] in [-100000,100000]
    const %lo : i32[] = {-127}
    const %hi : i32[] = {127}
    %c = clamp(%x, %lo, %hi) : i32[T]
    %y = cast(%c) {type=i8} : i8[T] fact [-127,127] "clamped"
    %n = abs(%y) : i8[T]
    %m = cast(%n) {type=u8} : u8[T]
    %k = cast(%m) {type=i16} : i16[T]
    %o = add(%k, %k) : i16[T]
    out %o
)");
  const Graph table = tabulate(body);
  EXPECT_THAT(to_text(table), HasSubstr("%o = lookup(%o_table, %y_index) : i16[T]"));
  expect_equal(body, table);
}

TEST(Tabulate, AChainThatBreaksForSomeCodeIsLeft) {
  const std::string lines = R"(  in %x : i8[T]
  %a = abs(%x) : i8[T]
  %b = abs(%a) : i8[T]
  out %b
)";
  EXPECT_EQ(to_text(tabulate(parsed(lines))), printed(lines));  // |-128| does not fit
  std::string promised = lines;
  promised.insert(promised.find('\n'), " in [-127,127]");
  EXPECT_THAT(to_text(tabulate(parsed(promised))), HasSubstr("lookup"));
  expect_equal(parsed(promised), tabulate(parsed(promised)));
}

TEST(Passes, SharedBodiesKeepTheirIntegers) {
  std::vector<EpilogueStage> stages = {{StageKind::kBias, DataType::kI32},
                                       {StageKind::kRequantize, DataType::kI8},
                                       {StageKind::kClamp, DataType::kI8, {-9, 100}}};
  const Graph body = linear_body({.in = 5, .out = 4, .epilogue = stages, .splits = {4}}).graph;
  const Graph after = tabulate(fold_constants(body));
  EXPECT_THAT(to_text(body), Not(HasSubstr("lookup")));
  // Random parameters may overflow: small ones are given.
  Graph small = body;
  for (const ValueId id : small.inputs)
    if (const auto& name = small.value(id).name; name == "bias" || name == "m")
      small.value(id).fact = Fact{{-100000, 100000}, "input"};
  expect_equal(small, after);
}

}  // namespace
}  // namespace dyadic

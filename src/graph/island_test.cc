#include "graph/island.h"

#include "base/status.h"
#include "graph/ranges.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "support.h"

namespace dyadic {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Relu of codes in steps of 1/4, in float.
constexpr const char* kText = R"(body island {
  in %x.codes : i8[T,4]
  in %slope : f32[4]
  %x = dequantize(%x.codes) {scale=0.25} : f32[T,4]
  %y = PRelu(%x, %slope) {axis=-1} : f32[T,4] name "layer"
  %y.i8 = quantize(%y) {scale=0.5, zero_point=-3, lo=-100, hi=90, type=i8} : i8[T,4]
  out %y.i8
}
)";

Graph parsed(std::string text, const std::string& from = "", const std::string& to = "") {
  if (!from.empty()) {
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  }
  return parse_text(text, "test");
}

TEST(IslandBody, IsReadPrintedAndVerified) {
  const Graph body = parsed(kText);
  EXPECT_TRUE(is_island(body));
  EXPECT_NO_THROW(verify_body(body));
  EXPECT_EQ(to_text(body), kText);
}

TEST(IslandBody, OnlyABodyOfThatNameHoldsRealOperators) {
  EXPECT_THAT([] { parsed(kText, "island", "linear"); },
              ThrowsMessage<Error>(HasSubstr("operation 'PRelu' is not known")));
}

TEST(IslandBody, WhatIsNoIslandIsNamed) {
  const auto refused = [](const char* why, const std::string& from, const std::string& to) {
    EXPECT_THAT([&] { verify_body(parsed(kText, from, to)); }, ThrowsMessage<Error>(HasSubstr(why))) << to;
  };
  refused("neither an edge nor an operator of the real dialect", "%x = ", "%a = abs(%x.codes) : i8[T,4]\n  %x = ");
  refused("must be an operator with one f32 result", "%y.i8 = ", "%z = Round(%x) : i8[T,4]\n  %y.i8 = ");
  refused("output x.codes is not the result of a quantize", "out %y.i8", "out %x.codes");
  refused("a result of the island", "out %y.i8", "%z = Relu(%y.i8) : f32[T,4]\n  out %y.i8");
  refused("reads no input of the island", "out %y.i8", "%z = dequantize(%y.i8) {scale=1.0} : f32[T,4]\n  out %y.i8");
}

TEST(IslandBody, ResultsHaveTheRangeOfTheirCodes) {
  const Graph body = parsed(kText);
  const KnownInput inputs[] = {{{}, {-127, 127}, {}}, {}};
  const Ranges ranges = prove_ranges(body, inputs, {{"T", 8}});
  EXPECT_EQ(ranges.values[body.outputs[0]], (Interval{-100, 90}));
}

Model with_island() {
  Model model;
  model.symbols = {{"T", {8, ""}}};
  const Body body{1, parsed(kText)};
  model.bodies[body.key()] = body;
  Graph& main = model.graphs["main"];
  main.name = "main";
  Value x;
  x.name = "x";
  x.type = DataType::kI8;
  x.shape = {"T", 4};
  Value y = x;
  y.name = "y";
  const ValueId in = main.add_input(x), slope = main.add_constant("slope", Tensor(DataType::kF32, {4}));
  const ValueId out = main.add_value(y);
  main.add_node({"island", "layer", {in, slope}, {out}, {}, body.key()});
  main.outputs = {out};
  return model;
}

TEST(IslandModel, ListsItsIslands) {
  const Model model = with_island();
  EXPECT_NO_THROW(verify_model(model));
  EXPECT_THAT(float_islands(model), ElementsAre("layer (PRelu)"));
  std::string why;
  EXPECT_FALSE(is_integer_only(model, &why));
  EXPECT_EQ(why, "1 float island: layer (PRelu)");
}

TEST(IslandModel, AnIslandAndItsBodyGoTogether) {
  Model model = with_island();
  model.main().nodes[0].op = "linear";
  EXPECT_THAT([&] { verify_model(model); }, ThrowsMessage<Error>(HasSubstr("is that of a float island")));
}

}  // namespace
}  // namespace dyadic

#include "graph/builder.h"

#include "base/status.h"
#include "graph/verifier.h"
#include "support.h"

namespace dyadic {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr DataType kI8 = DataType::kI8, kU8 = DataType::kU8, kI16 = DataType::kI16, kI32 = DataType::kI32,
                   kU32 = DataType::kU32, kI64 = DataType::kI64;

// Declares operands of the given types and shapes, applies one operation and returns its results as text.
struct Typed {
  DataType type;
  const char* shape;
};
std::string inferred(const std::string& op, const std::vector<Typed>& operands, Attributes attributes = {}) {
  BodyBuilder b("test");
  std::vector<Var> vars;
  for (size_t i = 0; i < operands.size(); ++i)
    vars.push_back(b.input(cat("x", i), operands[i].type, parse_shape(operands[i].shape)));
  std::string text;
  for (Var v : b.op(op, vars, std::move(attributes)))
    text += cat(text.empty() ? "" : " ", name(b.value(v).type), to_string(b.value(v).shape));
  return text;
}

using Ints = std::vector<int64_t>;

TEST(Infer, Elementwise) {
  EXPECT_EQ(inferred("add", {{kI8, "[T,384]"}, {kI8, "[384]"}}), "i8[T,384]");
  EXPECT_EQ(inferred("clamp", {{kI64, "[B,1,L]"}, {kI64, "[]"}, {kI64, "[H,1]"}}), "i64[B,H,L]");
  EXPECT_EQ(inferred("le", {{kI32, "[B,1]"}, {kI32, "[T]"}}), "u8[B,T]");
  EXPECT_EQ(inferred("shr", {{kI16, "[T]"}, {kU8, "[1]"}}, {{"rounding", "half_away"}}), "i16[T]");
  EXPECT_EQ(inferred("mul_shift", {{kI32, "[T,N]"}, {kI64, "[N]"}, {kU8, "[]"}}, {{"type", "i32"}}), "i32[T,N]");
  EXPECT_EQ(inferred("select", {{kU8, "[T,1]"}, {kI16, "[N]"}, {kI16, "[]"}}), "i16[T,N]");
  EXPECT_EQ(inferred("cast", {{kI32, "[T]"}}, {{"type", "u8"}, {"mode", "sat"}}), "u8[T]");
  EXPECT_EQ(inferred("normalize", {{kI64, "[T,1]"}}, {{"top", int64_t{61}}, {"even", int64_t{1}}}), "i64[T,1] u8[T,1]");
  EXPECT_EQ(inferred("lookup", {{kI8, "[G,256]"}, {kI32, "[T,G]"}}), "i8[T,G]");
  EXPECT_EQ(inferred("lookup", {{kI8, "[256]"}, {kU8, "[]"}}), "i8[]");
  EXPECT_EQ(inferred("bucketize", {{kI16, "[T,C]"}, {kI16, "[C,7]"}}), "u8[T,C]");
  EXPECT_EQ(inferred("random_bits", {{kI32, "[]"}, {kU32, "[N]"}},
                     {{"seed_low", int64_t{1}}, {"seed_high", int64_t{2}}, {"stream", int64_t{0xffffffff}}}),
            "u32[N]");
}

TEST(Infer, ReductionsAndProducts) {
  EXPECT_EQ(inferred("reduce", {{kI16, "[B,L,n]"}}, {{"kind", "sum"}, {"axes", Ints{-2}}, {"type", "i32"}}),
            "i32[B,1,n]");
  EXPECT_EQ(inferred("reduce", {{kU8, "[B,T]"}},
                     {{"kind", "max"}, {"axes", Ints{0}}, {"keepdims", int64_t{0}}, {"type", "u8"}}),
            "u8[T]");
  EXPECT_EQ(
      inferred("dot", {{kI8, "[T,384]"}, {kI8, "[1152,384]"}}, {{"contract_a", Ints{1}}, {"contract_b", Ints{-1}}}),
      "i32[T,1152]");
  EXPECT_EQ(inferred("dot", {{kU8, "[B,H,Q,L]"}, {kI8, "[B,H,L,32]"}},
                     {{"contract_a", Ints{3}},
                      {"contract_b", Ints{2}},
                      {"batch_a", Ints{0, 1}},
                      {"batch_b", Ints{0, 1}},
                      {"type", "i64"}}),
            "i64[B,H,Q,32]");
  EXPECT_EQ(
      inferred("patches", {{kI8, "[N,5,6,C]"}},
               {{"kernel", Ints{3, 2}}, {"stride", Ints{2, 1}}, {"dilation", Ints{1, 2}}, {"pads", Ints{1, 0, 1, 1}}}),
      "i8[N,3,5,3,2,C]");
  EXPECT_EQ(inferred("top_k", {{kI32, "[B,9]"}}, {{"k", int64_t{4}}}), "i32[B,4] u32[B,4]");
}

TEST(Infer, Movement) {
  EXPECT_EQ(inferred("gather", {{kI8, "[T,12,32]"}, {kI32, "[B,L]"}}), "i8[B,L,12,32]");
  EXPECT_EQ(inferred("gather", {{kI8, "[B,T,d]"}, {kU32, "[B,k]"}}, {{"axis", int64_t{1}}, {"batch", int64_t{1}}}),
            "i8[B,k,d]");
  EXPECT_EQ(inferred("scatter_add", {{kI32, "[T,d]"}, {kI32, "[k]"}, {kI32, "[k,d]"}}), "i32[T,d]");
  EXPECT_EQ(
      inferred("slice", {{kI8, "[T,384]"}}, {{"axis", int64_t{1}}, {"start", int64_t{128}}, {"size", int64_t{256}}}),
      "i8[T,256]");
  EXPECT_EQ(inferred("slice", {{kI8, "[T,384]"}, {kI32, "[1]"}}, {{"axis", int64_t{0}}, {"size", int64_t{5}}}),
            "i8[5,384]");
  EXPECT_EQ(inferred("update_slice", {{kI8, "[S,8]"}, {kI8, "[T,8]"}, {kI32, "[]"}}, {{"axis", int64_t{0}}}),
            "i8[S,8]");
  EXPECT_EQ(inferred("concat", {{kI8, "[T,3]"}, {kI8, "[T,5]"}}, {{"axis", int64_t{-1}}}), "i8[T,8]");
  EXPECT_EQ(inferred("concat", {{kI8, "[T,3]"}, {kI8, "[T,3]"}}, {{"axis", int64_t{0}}}), "i8[2*T,3]");
  EXPECT_EQ(inferred("reshape", {{kI8, "[B,L,12,32]"}}, {{"shape", "[B*L,384]"}}), "i8[B*L,384]");
  EXPECT_EQ(inferred("transpose", {{kI8, "[B,L,12,32]"}}, {{"perm", Ints{0, 2, 1, 3}}}), "i8[B,12,L,32]");
  EXPECT_EQ(inferred("iota", {}, {{"shape", "[B*L]"}, {"type", "i32"}}), "i32[B*L]");
  EXPECT_EQ(inferred("pack", {{kI8, "[N,7]"}}, {{"type", "i3"}}), "i3[N,7]");
  EXPECT_EQ(inferred("unpack", {{DataType::kU4, "[N,7]"}}, {{"type", "i8"}}), "i8[N,7]");
  EXPECT_EQ(inferred("quantize", {{DataType::kF32, "[T]"}},
                     {{"scale", 0.5}, {"lo", int64_t{-127}}, {"hi", int64_t{127}}, {"type", "i8"}}),
            "i8[T]");
  EXPECT_EQ(inferred("dequantize", {{kI16, "[T]"}}, {{"scale", 0.5}}), "f32[T]");
}

TEST(Infer, RefusesWhatDoesNotFit) {
  const auto refused = [](const char* why, const std::string& op, const std::vector<Typed>& operands,
                          Attributes attributes = {}) {
    EXPECT_THAT([&] { inferred(op, operands, attributes); }, ThrowsMessage<Error>(HasSubstr(why))) << op;
  };
  refused("one type", "add", {{kI8, "[T]"}, {kI16, "[T]"}});
  refused("do not broadcast", "add", {{kI8, "[T]"}, {kI8, "[S]"}});
  refused("signature", "add", {{kI8, "[T]"}});
  refused("integer type", "abs", {{DataType::kF32, "[T]"}});
  refused("integer type", "abs", {{DataType::kI4, "[T]"}});
  refused("not known", "abs", {{kI8, "[T]"}}, {{"axis", int64_t{1}}});
  refused("not a core operation", "LayerNormalization", {{kI8, "[T]"}});
  refused("must be u8", "shr", {{kI8, "[T]"}, {kI8, "[]"}});
  refused("allowed are", "shr", {{kI8, "[T]"}, {kU8, "[]"}}, {{"rounding", "even"}});
  refused("allowed are", "mul_shift", {{kI32, "[]"}, {kI32, "[]"}, {kU8, "[]"}},
          {{"type", "i32"}, {"rounding", "half_away"}});
  refused("must be i32, u32 or i64", "mul_shift", {{kI16, "[]"}, {kI32, "[]"}, {kU8, "[]"}}, {{"type", "i64"}});
  refused("result must be", "mul_shift", {{kI32, "[]"}, {kI32, "[]"}, {kU8, "[]"}}, {{"type", "i8"}});
  refused("leading one", "normalize", {{kI32, "[]"}}, {{"top", int64_t{31}}});
  refused("missing", "cast", {{kI8, "[T]"}});
  refused("missing", "reduce", {{kI8, "[T]"}}, {{"kind", "sum"}, {"type", "i8"}});
  refused("cannot be", "reduce", {{kI8, "[T]"}}, {{"kind", "max"}, {"axes", Ints{0}}, {"type", "i32"}});
  refused("given twice", "reduce", {{kI8, "[T,N]"}}, {{"kind", "sum"}, {"axes", Ints{1, -1}}, {"type", "i8"}});
  refused("axis 2 of rank 2", "reduce", {{kI8, "[T,N]"}}, {{"kind", "sum"}, {"axes", Ints{2}}, {"type", "i8"}});
  refused("contracted axes differ", "dot", {{kI8, "[T,3]"}, {kI8, "[N,4]"}},
          {{"contract_a", Ints{1}}, {"contract_b", Ints{1}}});
  refused("from i8 to i32", "dot", {{kI64, "[3]"}, {kI8, "[3]"}}, {{"contract_a", Ints{0}}, {"contract_b", Ints{0}}});
  refused("both batch and contracted", "dot", {{kI8, "[3]"}, {kI8, "[3]"}},
          {{"contract_a", Ints{0}}, {"contract_b", Ints{0}}, {"batch_a", Ints{0}}, {"batch_b", Ints{0}}});
  refused("thresholds do not fit", "bucketize", {{kI8, "[T]"}, {kI8, "[256]"}});
  refused("thresholds do not fit", "bucketize", {{kI8, "[T]"}, {kI8, "[K]"}});
  refused("leaves the axis", "top_k", {{kI8, "[3]"}}, {{"k", int64_t{4}}});
  refused("leaves the axis", "slice", {{kI8, "[3]"}},
          {{"axis", int64_t{0}}, {"start", int64_t{2}}, {"size", int64_t{2}}});
  refused("given twice", "slice", {{kI8, "[3]"}, {kI32, "[]"}},
          {{"axis", int64_t{0}}, {"start", int64_t{2}}, {"size", int64_t{1}}});
  refused("batch axis 0 differs", "gather", {{kI8, "[B,T]"}, {kI32, "[3,k]"}},
          {{"axis", int64_t{1}}, {"batch", int64_t{1}}});
  refused("updates must be [k,d]", "scatter_add", {{kI32, "[T,d]"}, {kI32, "[k]"}, {kI32, "[k]"}});
  refused("does not continue", "concat", {{kI8, "[T]"}, {kI8, "[3]"}}, {{"axis", int64_t{0}}});
  refused("element count", "reshape", {{kI8, "[T,4]"}}, {{"shape", "[T,2]"}});
  refused("every axis", "transpose", {{kI8, "[T,4]"}}, {{"perm", Ints{1}}});
  refused("do not fit i8", "iota", {}, {{"shape", "[129]"}, {"type", "i8"}});
  refused("larger than the padded image", "patches", {{kI8, "[1,2,2,1]"}},
          {{"kernel", Ints{3, 3}}, {"stride", Ints{1, 1}}, {"dilation", Ints{1, 1}}, {"pads", Ints{0, 0, 0, 0}}});
  refused("does not hold", "unpack", {{DataType::kI4, "[N]"}}, {{"type", "u8"}});
  refused("no range of", "quantize", {{DataType::kF32, "[T]"}},
          {{"scale", 0.5}, {"lo", int64_t{-129}}, {"hi", int64_t{127}}, {"type", "i8"}});
}

TEST(BodyBuilder, LiteralsTakeTheNeighboursTypeAndAreShared) {
  BodyBuilder b("test");
  const Var x = b.input("x", kI32, {"T"}), y = b.input("y", kI8, {"T"}, {-127, 127});
  b.output(b.add(b.max(b.min(x, 127), -127), 127), "a");
  b.output(b.clamp(y, -127, 127), "b");
  const Graph g = b.build();
  EXPECT_EQ(g.nodes.size(), 4u);
  EXPECT_EQ(g.nodes[0].inputs[1], g.nodes[2].inputs[1]);
  EXPECT_EQ(g.value(g.find("c127")).type, kI32);
  EXPECT_EQ(g.value(g.find("cm127")).constant.at(0), -127);
  EXPECT_EQ(g.value(g.find("cm127_i8")).type, kI8);
  EXPECT_EQ(g.value(g.inputs[1]).fact, (Fact{{-127, 127}, "input"}));
  EXPECT_THAT([&] { b.add(1, 2); }, ThrowsMessage<Error>(HasSubstr("no type")));
  EXPECT_THAT([&] { b.add(y, 128); }, ThrowsMessage<Error>(HasSubstr("128 does not fit i8")));
}

TEST(BodyBuilder, LeavesDefaultsOut) {
  BodyBuilder b("test");
  const Var x = b.input("x", kI8, {"T", 4}), w = b.input("w", kI8, {3, 4});
  b.dot(x, w, {.contract_a = {1}, .contract_b = {1}});
  b.shr(x, 1, Rounding::kHalfUp);
  b.shr(x, 1, Rounding::kFloor);
  b.slice(x, 1, 0, 2);
  b.cast(x, kI8);  // no node
  b.output(b.reduce_max(x, {1}));
  const Graph g = b.build();
  ASSERT_EQ(g.nodes.size(), 5u);
  EXPECT_EQ(g.nodes[0].attributes, (Attributes{{"contract_a", Ints{1}}, {"contract_b", Ints{1}}}));
  EXPECT_TRUE(g.nodes[1].attributes.empty());
  EXPECT_EQ(g.nodes[2].text("rounding"), "floor");
  EXPECT_FALSE(g.nodes[3].has("start"));
  EXPECT_EQ(g.nodes[4].attributes, (Attributes{{"kind", "max"}, {"axes", Ints{1}}, {"type", "i8"}}));
}

TEST(BodyBuilder, NamesAndFactsAreChecked) {
  BodyBuilder b("test");
  const Var x = b.input("x", kI8, {"T"});
  EXPECT_THAT([&] { b.input("x", kI8, {"T"}); }, ThrowsMessage<Error>(HasSubstr("taken")));
  EXPECT_THAT([&] { b.named(b.abs(x), "x"); }, ThrowsMessage<Error>(HasSubstr("taken")));
  EXPECT_THAT([&] { b.fact(x, {-129, 0}, "wrong"); }, ThrowsMessage<Error>(HasSubstr("leaves i8")));
}

// A valid body of one addition, to be spoilt.
Graph valid() {
  BodyBuilder b("sum");
  const Var x = b.input("x", kI8, {"T"});
  b.output(b.fact(b.add(x, x), {-100, 100}, "small"), "y");
  return b.build();
}

TEST(VerifyBody, NamesWhatIsWrong) {
  const auto refused = [](const char* why, const std::function<void(Graph&)>& spoil) {
    Graph g = valid();
    spoil(g);
    EXPECT_THAT([&] { verify_body(g); }, ThrowsMessage<Error>(HasSubstr(why)));
  };
  refused("is declared i16[T] and is i8[T]", [](Graph& g) {
    g.value(1).type = kI16;
    g.value(1).fact.reset();
  });
  refused("is declared i8[S] and is i8[T]", [](Graph& g) { g.value(1).shape = {"S"}; });
  refused("taken", [](Graph& g) { g.value(1).name = "x"; });
  refused("does not exist", [](Graph& g) { g.nodes[0].inputs[1] = 7; });
  refused("used before its definition", [](Graph& g) { g.nodes[0].inputs[1] = 1; });
  refused("defined twice", [](Graph& g) { g.nodes.push_back(g.nodes[0]); });
  refused("never defined", [](Graph& g) { g.add_value({.name = "z", .type = kI8}); });
  refused("no range of", [](Graph& g) { g.value(1).fact->range.hi = 128; });
  refused("not a core operation", [](Graph& g) { g.nodes[0].op = "Add"; });
  refused("has 1 results, not 2",
          [](Graph& g) { g.nodes[0].outputs.push_back(g.add_value({.name = "z", .type = kI8})); });
  refused("not at an edge", [](Graph& g) {
    const ValueId r = g.add_value({.name = "r", .type = DataType::kF32, .shape = {"T"}});
    const ValueId q = g.add_value({.name = "q", .type = kI8, .shape = {"T"}});
    g.add_node({"dequantize", "", {1}, {r}, {{"scale", 1.0}}, ""});
    g.add_node(
        {"quantize", "", {r}, {q}, {{"scale", 1.0}, {"lo", int64_t{0}}, {"hi", int64_t{1}}, {"type", "i8"}}, ""});
  });
  refused("is declared i8[2] and holds i8[3]",
          [](Graph& g) { g.value(g.add_constant("c", Tensor(kI8, {3}))).shape = {2}; });
}

}  // namespace
}  // namespace dyadic

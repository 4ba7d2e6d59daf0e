#include "graph/text.h"

#include "base/hash.h"
#include "base/random.h"
#include "graph/builder.h"
#include "support.h"

namespace dyadic {
namespace {

using ::testing::HasSubstr;

constexpr DataType kI8 = DataType::kI8, kU8 = DataType::kU8, kI64 = DataType::kI64;

Graph linear() {
  BodyBuilder b("linear");
  const Var x = b.input("x", kI8, {"T", 4}, {-127, 127});
  const Var weight = b.input("weight", kI8, {3, 4}, {-127, 127});
  const Var m = b.constant(Tensor::from<int32_t>({3}, {1 << 30, -(1 << 30), 5}), "m");
  const Var acc = b.named(b.dot(x, weight, {{1}, {1}, {}, {}}), "acc");
  const Var t = b.named(b.mul_shift(acc, m, 31, kI64), "t");
  b.output(b.cast(b.clamp(b.fact(t, {-300, 300}, "a lemma"), -127, 127), kI8), "y");
  return b.build();
}

constexpr const char* kLinear = R"(body linear {
  in %x : i8[T,4] in [-127,127]
  in %weight : i8[3,4] in [-127,127]
  const %m : i32[3] = {1073741824,-1073741824,5}
  const %c31 : u8[] = {31}
  const %cm127 : i64[] = {-127}
  const %c127 : i64[] = {127}
  %acc = dot(%x, %weight) {contract_a=[1], contract_b=[1]} : i32[T,3]
  %t = mul_shift(%acc, %m, %c31) {type=i64} : i64[T,3] fact [-300,300] "a lemma"
  %v8 = clamp(%t, %cm127, %c127) : i64[T,3]
  %y = cast(%v8) {type=i8} : i8[T,3]
  out %y
}
)";

std::string reprinted(std::string_view text, const ConstantResolver& constants = {}) {
  return to_text(parse_text(text, "test", constants));
}

// The message of the error that a text is refused with.
std::string refusal(std::string_view text, const ConstantResolver& constants = {}) {
  try {
    parse_text(text, "file.txt", constants);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kMalformed) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return "";
}

TEST(Text, PrintsTheDocumentedForm) { EXPECT_EQ(to_text(linear()), kLinear); }

TEST(Text, ParsedGraphsPrintTheSame) { EXPECT_EQ(reprinted(kLinear), kLinear); }

TEST(Text, ParsingKeepsTypesShapesFactsAndConstants) {
  const Graph graph = parse_text(kLinear, "test");
  EXPECT_EQ(graph.name, "linear");
  ASSERT_EQ(graph.inputs.size(), 2u);
  const Value& x = graph.value(graph.inputs[0]);
  EXPECT_EQ(x.type, kI8);
  EXPECT_EQ(x.shape, (Shape{"T", 4}));
  EXPECT_EQ(x.fact, (Fact{{-127, 127}, "input"}));
  EXPECT_EQ(graph.value(graph.find("m")).constant.to_int64(), (std::vector<int64_t>{1 << 30, -(1 << 30), 5}));
  EXPECT_EQ(graph.value(graph.find("t")).fact, (Fact{{-300, 300}, "a lemma"}));
  ASSERT_EQ(graph.nodes.size(), 4u);
  EXPECT_EQ(graph.nodes[0].integers("contract_a"), std::vector<int64_t>{1});
  EXPECT_EQ(graph.nodes[1].text("type"), "i64");
  EXPECT_EQ(graph.outputs, std::vector<ValueId>{graph.find("y")});
}

TEST(Text, SpaceAndCommentsAreFree) {
  EXPECT_EQ(reprinted("// a comment\nbody f{in %x:i8[2]// another\n%y=abs(\n%x):i8[2]\tout %y}\n"),
            "body f {\n  in %x : i8[2]\n  %y = abs(%x) : i8[2]\n  out %y\n}\n");
}

TEST(Text, SeveralResultsAndAttributesInTheOrderOfTheTable) {
  constexpr const char* kText = R"(body f {
  in %x : i64[T,1] in [0,1000]
  %y, %k = normalize(%x) {top=61, even=1} : i64[T,1] fact [0,9000000000000000000] "large", u8[T,1]
  %r = reshape(%y) {shape="[T]"} : i64[T]
  %s = reduce(%r) {kind=sum, axes=[0], keepdims=0, type=i64} : i64[]
  out %s, %k
}
)";
  EXPECT_EQ(reprinted(kText), kText);
}

TEST(Text, DefaultsAreNotPrinted) {
  EXPECT_EQ(
      reprinted("body f { in %x : i8[2] const %k : u8[] = {1} %y = shr(%x, %k) {rounding=half_up} : i8[2] out %y }"),
      "body f {\n  in %x : i8[2]\n  const %k : u8[] = {1}\n  %y = shr(%x, %k) : i8[2]\n  out %y\n}\n");
}

TEST(Text, NamesAndStringsOfAnyCharacters) {
  Graph graph;
  graph.name = "a \"b\"\\\n{";
  const ValueId id = graph.add_input({"x y%:\x01\xc3\xa9", kI8, {2}, Fact{{0, 1}, "quote \" and\nline"}, {}, {}});
  graph.outputs = {id};
  const Graph parsed = parse_text(to_text(graph), "test");
  EXPECT_EQ(parsed.name, graph.name);
  EXPECT_EQ(parsed.value(0).name, graph.value(0).name);
  EXPECT_EQ(parsed.value(0).fact, graph.value(0).fact);
  EXPECT_EQ(to_text(parsed), to_text(graph));
}

TEST(Text, LargeConstantsAreNamedAndHashed) {
  Tensor table(kU8, {65});
  for (int i = 0; i < 65; ++i) table.set(i, i);
  BodyBuilder b("f");
  const Var x = b.input("x", kU8, {"T"}, {0, 64});
  b.output(b.lookup(b.constant(table, "table"), x), "y");
  const std::string text = to_text(b.build());
  EXPECT_THAT(text, HasSubstr("const %table : u8[65] = @table:" + hex64(table.hash()) + "\n"));

  const auto resolver = [&](const std::string& name, uint64_t hash) {
    EXPECT_EQ(name, "table");
    EXPECT_EQ(hash, table.hash());
    return table;
  };
  EXPECT_EQ(reprinted(text, resolver), text);
  EXPECT_THAT(refusal(text), HasSubstr("no constants were given"));
  EXPECT_THAT(refusal(text, [&](auto&&, auto&&) { return Tensor(kU8, {65}); }), HasSubstr("has the hash"));
  EXPECT_THAT(refusal(text, [&](auto&&, auto&&) { return Tensor(kU8, {64}); }), HasSubstr("is u8[64], not u8[65]"));
}

TEST(Text, PackedConstantsAreListed) {
  Tensor tensor(DataType::kI3, {3});
  for (int i = 0; i < 3; ++i) tensor.set(i, i - 4);
  Graph graph;
  graph.name = "f";
  graph.outputs = {graph.add_constant("w", tensor)};
  EXPECT_EQ(to_text(graph), "body f {\n  const %w : i3[3] = {-4,-3,-2}\n  out %w\n}\n");
  EXPECT_EQ(parse_text(to_text(graph), "test").value(0).constant, tensor);
}

Graph main_graph() {
  Graph graph;
  graph.name = "main";
  const ValueId x = graph.add_input({"x", kI8, {"T", 4}, Fact{{-127, 127}, "input"}, {}, {}});
  const ValueId y = graph.add_value({"y", kI8, {"T", 3}, {}, {}, {}});
  Node node;
  node.op = "linear";
  node.name = "encoder/layer.0/query";
  node.body = "linear@1:0123456789abcdef";
  node.inputs = {x, -1};
  node.outputs = {y};
  node.attributes = {{"epilogue", "bias requantize"},
                     {"ratio", 0.5},
                     {"whole", 2.0},
                     {"rows", int64_t{7}},
                     {"inf", "inf"},
                     {"empty", std::vector<double>{}},
                     {"ints", std::vector<int64_t>{}},
                     {"reals", std::vector<double>{1, -0.25}}};
  graph.add_node(node);
  graph.outputs = {y};
  return graph;
}

TEST(Text, CompositesKeepNameBodyAndTypedAttributes) {
  const Graph graph = main_graph();
  const std::string text = to_text(graph);
  EXPECT_THAT(text, HasSubstr("graph main {"));
  EXPECT_THAT(text, HasSubstr("body \"linear@1:0123456789abcdef\" name \"encoder/layer.0/query\"\n"));
  const Graph parsed = parse_text(text, "test");
  EXPECT_EQ(to_text(parsed), text);
  EXPECT_EQ(parsed.nodes[0].attributes, graph.nodes[0].attributes);
  EXPECT_EQ(parsed.nodes[0].name, graph.nodes[0].name);
  EXPECT_EQ(parsed.nodes[0].body, graph.nodes[0].body);
  EXPECT_EQ(parsed.nodes[0].inputs, graph.nodes[0].inputs);
}

TEST(Text, EncodingsAreShownAndNotSilentlyLost) {
  Graph graph = main_graph();
  graph.value(1).encoding = Encoding{};
  EXPECT_THAT(to_text(graph), HasSubstr("encoding \"affine 8 bits\""));
  EXPECT_THAT(refusal(to_text(graph)), HasSubstr("cannot be read back"));
}

TEST(Text, ErrorsNameLineAndColumn) {
  const auto in_body = [](const std::string& line) {
    return "body f {\n  in %x : i8[2]\n  " + line + "\n  out %x\n}\n";
  };
  const std::pair<std::string, const char*> kCases[] = {
      {in_body("%y = nonsense(%x) : i8[2]"), "file.txt:3:8: operation 'nonsense' is not known"},
      {in_body("%y = abs(%z) : i8[2]"), "file.txt:3:12: value %z is not defined"},
      {in_body("%x = abs(%x) : i8[2]"), "file.txt:3:3: value %x is defined twice"},
      {in_body("%a, %a = abs(%x) : i8[2], i8[2]"), "file.txt:3:7: value %a is defined twice"},
      {in_body("%y = abs(%x) : i8[3]"), "file.txt:3:3: value %y is annotated i8[3] but abs gives i8[2]"},
      {in_body("%y = abs(%x) : i16[2]"), "file.txt:3:3: value %y is annotated i16[2]"},
      {in_body("%a, %b = abs(%x) : i8[2], i8[2]"), "abs has 1 results, not 2"},
      {in_body("%y = abs(%x, %x) : i8[2]"), "file.txt:3:8: "},
      {in_body("%y = abs(_) : i8[2]"), "an operand is missing"},
      {in_body("%y = abs(%x) {k=1} : i8[2]"), "'k' is not known"},
      {in_body("%y = cast(%x) {type=i8, type=i8} : i8[2]"), "file.txt:3:27: attribute type is given twice"},
      {in_body("%y = abs(%x) : i9[2]"), "file.txt:3:18: 'i9' is not a type"},
      {in_body("%y = abs(%x) : i8[2,]"), "file.txt:3:23: "},
      {in_body("%y = abs(%x) : i8[99999999999999999999]"), "file.txt:3:21: "},
      {in_body("%y = abs(%x) : i8[9223372036854775807,9223372036854775807]"), "too large"},
      {in_body("%y = abs(%x) : i8[2] fact [3,1] \"l\""), "the interval [3,1] is empty"},
      {in_body("%y = abs(%x) : i8[2] fact [3,1.5] \"l\""), "expected an integer"},
      {in_body("%y = abs(%x) : i8[2] fact [3,4] lemma"), "expected a string"},
      {in_body("%y = abs(%x) : i8[2] fact [3,4] \"lemma"), "no closing quote"},
      {in_body("%y = abs(%x) : i8[2] fact [3,4] \"\\q\""), "backslash"},
      {in_body("const %c : i8[] = {128}"), "file.txt:3:22: 128 does not fit i8"},
      {in_body("const %c : i8[2] = {1}"), "1 elements for shape [2]"},
      {in_body("const %c : i8[4611686018427387904,4] = {1}"), "too large"},
      {in_body("const %c : i8[T] = {1}"), "has a symbol"},
      {in_body("const %c : i8[1] = {[[[[[[1]]]]]]}"), "expected a number"},
      {in_body("const %c : i64[] = {9223372036854775808}"), "does not fit 64 bits"},
      {in_body("const %c : f32[] = {1}"), "by name and hash"},
      {in_body("const %c : i8[9] = @c:123"), "16 hexadecimal digits"},
      {in_body("%y = linear(%x) : i8[2] body \"linear@1\""), "a body holds core operations only"},
      {"", "file.txt:1:1: expected a word, found the end of the text"},
      {"body f {", "file.txt:1:9: expected a word, found the end of the text"},
      {"body f {}}", "file.txt:1:10: text after the closing brace"},
      {"function f {}", "file.txt:1:1: expected 'body' or 'graph', found 'function'"},
      {"body f { maybe }", "file.txt:1:10: expected 'in', 'const', 'out', a value or '}', found 'maybe'"},
      {"graph f { in %x : i8[] %y = Gelu(%x) : i8[] }", "operation 'Gelu' is not known"},
  };
  for (const auto& [text, message] : kCases) EXPECT_THAT(refusal(text), HasSubstr(message)) << text;
}

TEST(Text, OversizedTextIsRefused) {
  EXPECT_THAT(refusal(std::string((size_t{64} << 20) + 1, ' ')), HasSubstr("more than"));
}

// Whatever the bytes, a text is refused with a place, or read so that it prints to a text that reads the same.
TEST(Text, BrokenTextsNeverCrash) {
  Random random(test::seed());
  const std::string seeds[] = {kLinear, to_text(main_graph())};
  constexpr std::string_view kBytes = "%@{}[]():=,\"\\/-0919aTix.\n \x00\xff_f64";
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = seeds[round % 2];
    for (uint64_t edits = 1 + random.below(3); edits > 0; --edits) {
      const size_t at = random.below(text.size());
      switch (random.below(4)) {
        case 0:
          text[at] = kBytes[random.below(kBytes.size())];
          break;
        case 1:
          text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
          break;
        case 2:
          text.erase(at, 1 + random.below(20));
          break;
        default:
          text.insert(at, text.substr(random.below(text.size()), random.below(30)));
      }
      if (text.empty()) text = " ";
    }
    try {
      const Graph graph = parse_text(text, "fuzz");
      ++accepted;
      const std::string printed = to_text(graph);
      EXPECT_EQ(to_text(parse_text(printed, "again")), printed);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kMalformed) << error.what();
      EXPECT_THAT(error.what(), ::testing::StartsWith("fuzz:")) << text;
    }
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace dyadic

#include "graph/c_printer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "body_examples.h"
#include "support.h"

namespace dyadic {
namespace {

using test::Example;
using test::Spread;

std::string without_comments(const std::string& code) {
  std::string text;
  for (size_t at = 0; at < code.size();) {
    const size_t begin = code.find("/*", at);
    text += code.substr(at, begin - at);
    if (begin == std::string::npos) break;
    at = code.find("*/", begin) + 2;
  }
  return text;
}

TEST(PrintedCText, HasNoFloatTokens) {
  Random random(test::seed(), 13);
  // Nor a number with a point: the only points are those of the headers' names.
  for (const Example& e : {test::linear_example(5, 16, 70, 3, Spread::kUniform, random),
                           test::add_norm_example(3, 96, Spread::kUniform, random),
                           test::attention_example({3, 0, 7}, 7, 2, 4, Spread::kUniform, random)}) {
    const CFunction f = print_c(e.body, test::type_ranges(e.body), "body");
    for (const std::string& text : {without_comments(f.prelude), without_comments(f.code)})
      for (const char* token : {"float", "double", "math"}) EXPECT_EQ(text.find(token), std::string::npos) << token;
    EXPECT_EQ(std::count(f.code.begin(), f.code.end(), '.'), 0);
  }
}

TEST(PrintedCText, EmbedsConstantsAndNamesThem) {
  BodyBuilder b("square");
  const Var x = b.input("x", DataType::kU8, {"T", 4}, {0, 3});
  b.output(b.lookup(b.constant(Tensor::from<int16_t>({4}, {0, 1, 4, 9}), "squares"), x), "y");
  const Graph body = b.build();
  const CFunction f = print_c(body, test::type_ranges(body), "square");
  EXPECT_EQ(f.symbols, std::vector<std::string>{"T"});
  EXPECT_EQ(f.code,
            "void square(const uint8_t *restrict x, int16_t *restrict y, int64_t T, void *scratch) {\n"
            "  static const int16_t squares[4] = {0, 1, 4, 9};\n"
            "  (void)scratch;\n"
            "  /* lookup */\n"
            "  for (int64_t i0 = 0; i0 < T; ++i0) {\n"
            "    for (int64_t j = 0; j < 4; ++j) {\n"
            "      const int32_t x_ = x[i0 * 4 + j];\n"
            "      const int32_t y_ = squares[x_];\n"
            "      y[i0 * 4 + j] = (int16_t)y_;\n"
            "    }\n"
            "  }\n"
            "}\n");
}

TEST(PrintedCText, MakesNamesOfItsOwn) {
  std::set<std::string> taken;
  const std::pair<const char*, const char*> pairs[] = {{"a/b.c", "a_b_c"},     {"a b c", "a_b_c_2"}, {"int", "int_2"},
                                                       {"int8_t", "v_int8_t"}, {"8bit", "v_8bit"},   {"", "v_"},
                                                       {"memcpy", "memcpy_2"}};
  for (const auto& [wish, name] : pairs) EXPECT_EQ(c_identifier(wish, taken), name);
}

TEST(PrintedCText, RefusesRealNumbers) {
  Graph body;
  body.name = "edge";
  const ValueId x = body.add_input({"x", DataType::kF32, {4}});
  const ValueId y = body.add_value({"y", DataType::kI8, {4}});
  body.add_node({"quantize", "", {x}, {y}, {}, ""});
  body.outputs = {y};
  try {
    print_c(body, test::type_ranges(body), "edge");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kContract);
    EXPECT_THAT(error.what(), testing::HasSubstr("body edge, node 0 (quantize)"));
  }
}

}  // namespace
}  // namespace dyadic

#include <cmath>

#include "methods/methods.h"
#include "quantize/unary.h"
#include "support.h"

namespace dyadic {
namespace {

std::vector<int8_t> table(UnaryRequest request) { return registry().unary("exact-table")->table({}, request); }

Node node(const std::string& op) {
  Node n;
  n.op = op;
  return n;
}

UnaryRequest request(const Node& n, double in_scale, double out_scale) {
  return {&n, *unary_function(n), in_scale, out_scale, 0, 0, {-127, 127}};
}

double gelu(double x) { return 0.5 * x * std::erfc(-x * M_SQRT1_2); }

TEST(ExactTable, EveryEntryOfGeluIsTheRoundedFunction) {
  const Node n = node("Gelu");
  for (double in_scale : {0.01, 0.05, 0.21})
    for (double out_scale : {0.01, 0.04}) {
      const auto entries = table(request(n, in_scale, out_scale));
      ASSERT_EQ(entries.size(), 256u);
      for (int i = 0; i < 256; ++i) {
        const double exact = gelu(in_scale * (i - 128)) / out_scale;
        const double nearest = std::clamp(exact, -127.0, 127.0);
        EXPECT_LE(std::fabs(entries[i] - nearest), 0.5 + 1e-9) << i;
      }
    }
}

TEST(ExactTable, ReluPassesCodes) {
  const Node n = node("Relu");
  const auto entries = table(request(n, 0.1, 0.1));
  for (int i = 0; i < 256; ++i) EXPECT_EQ(entries[i], std::clamp(i - 128, 0, 127)) << i;
}

TEST(ExactTable, ZeroPointsShiftCodes) {
  const Node n = node("Gelu");
  UnaryRequest shifted = request(n, 0.05, 0.03);
  shifted.in_zero = -20;
  shifted.out_zero = -100;
  const auto b = table(shifted);
  for (int code = -127; code <= 127; ++code) {
    const double exact = gelu(0.05 * (code + 20)) / 0.03 - 100;
    EXPECT_LE(std::fabs(b[code + 128] - std::clamp(exact, -127.0, 127.0)), 0.5 + 1e-9) << code;
  }
  EXPECT_EQ(b[-20 + 128], -100);  // 0 stays 0
}

TEST(ExactTable, OutputStaysInsideItsCodes) {
  const Node n = node("Relu");
  UnaryRequest narrow = request(n, 1, 1);
  narrow.out_codes = {-7, 7};
  for (int8_t entry : table(narrow)) EXPECT_TRUE(entry >= -7 && entry <= 7);
  UnaryRequest steep = request(n, 1, 1e-300);
  EXPECT_EQ(table(steep)[255], 127);
}

TEST(ExactTable, FunctionsAreThoseOfOnnx) {
  const auto at = [](const Node& n, double x) { return (*unary_function(n))(x); };
  Node tanh_gelu = node("Gelu");
  tanh_gelu.attributes["approximate"] = std::string("tanh");
  for (double x = -12; x <= 12; x += 0.0625) {
    EXPECT_NEAR(at(node("Gelu"), x), gelu(x), 1e-14);
    EXPECT_NEAR(at(tanh_gelu, x), gelu(x), 5e-4);
    EXPECT_EQ(at(node("Relu"), x), std::max(x, 0.0));
    EXPECT_EQ(at(node("Tanh"), x), std::tanh(x));
    EXPECT_NEAR(at(node("Sigmoid"), x), 0.5 * (1 + std::tanh(x / 2)), 1e-15);
    EXPECT_EQ(at(node("Erf"), x), std::erf(x));
  }
  EXPECT_NE(at(tanh_gelu, 2), at(node("Gelu"), 2));
  for (const char* other : {"Softmax", "Add", "gelu", ""}) EXPECT_FALSE(unary_function(node(other))) << other;
}

TEST(ExactTable, EveryFunctionOfThePartExistsAndIsFlatBelowItsSaturation) {
  for (const std::string& op : registry().unary("exact-table")->ops) {
    const Node n = node(op);
    const auto f = unary_function(n);
    ASSERT_TRUE(f) << op;
    const double low = low_saturation(n);
    ASSERT_TRUE(std::isfinite(low)) << op;
    for (double below : {0.1, 1.0, 10.0, 1000.0}) EXPECT_NEAR((*f)(low - below), (*f)(low), 1e-8) << op;
  }
}

}  // namespace
}  // namespace dyadic

// The loops of both products must keep their sums in registers (see disassembly.h).
#include <map>
#include <string>
#include <vector>

#include "disassembly.h"
#include "kernels/attention/attention.h"
#include "support.h"

namespace dyadic {
namespace {

// Every loop of `multiply`, whatever its tile, holds at least one product a row and vector and leaves the stack alone.
void expect_sums_in_registers(const std::string& product, size_t tiles) {
  if (const std::string why = test::no_disassembly(); !why.empty()) GTEST_SKIP() << why;
  std::map<std::string, int> found;
  for (const test::Function& function : test::disassemble("8multiplyILi")) {
    const size_t at = function.name.find("8multiplyILi");
    const int rows = function.name[at + 12] - '0', vectors = function.name[at + 16] - '0';
    for (const std::vector<test::Instruction>& loop : test::loops(function)) {
      int products = 0;
      for (const test::Instruction& i : loop) products += i.text.rfind(product, 0) == 0;
      if (products == 0) continue;
      EXPECT_GE(products, rows * vectors) << function.name;
      ++found[function.name];
      for (const test::Instruction& i : loop)
        EXPECT_FALSE(test::touches_stack(function, i)) << function.name << ": " << i.text;
    }
  }
  EXPECT_EQ(found.size(), tiles) << product;
}

// The tables of functions must be linked into this program for it to find them.
TEST(AttentionRegisters, Avx512VnniSumsStayInRegisters) {
  ASSERT_NE(attention::kAvx512VnniRows.run, nullptr);
  expect_sums_in_registers("vpdpbusd", 8 * 2);
}

TEST(AttentionRegisters, Avx2SumsStayInRegisters) {
  ASSERT_NE(attention::kAvx2Rows.run, nullptr);
  expect_sums_in_registers("vpmaddwd", 6 * 2);
}

}  // namespace
}  // namespace dyadic

// The loops over K must keep their sums in registers. A compiler that spills them gives the right bits at half the
// speed, so this is shown by disassembling the test itself: no product loop may touch the stack.
#include <string>
#include <vector>

#include "disassembly.h"
#include "kernels/linear/tile.h"
#include "support.h"

namespace dyadic {
namespace {

void expect_sums_in_registers(const std::string& multiply, int sums_per_row) {
  if (const std::string why = test::no_disassembly(); !why.empty()) GTEST_SKIP() << why;
  std::vector<int> found(kTileRows + 1);
  for (const test::Function& function : test::disassemble("dot_tile")) {
    const size_t at = function.name.find("dot_tileILi");
    ASSERT_NE(at, std::string::npos) << function.name;
    const int rows = function.name[at + 11] - '0';
    ASSERT_TRUE(1 <= rows && rows <= kTileRows) << function.name;
    for (const std::vector<test::Instruction>& loop : test::loops(function)) {
      int multiplies = 0;
      for (const test::Instruction& i : loop) multiplies += i.text.rfind(multiply, 0) == 0;
      if (multiplies == 0) continue;
      EXPECT_GE(multiplies, rows * sums_per_row) << function.name;
      ++found[rows];
      for (const test::Instruction& i : loop)
        EXPECT_FALSE(test::touches_stack(function, i)) << function.name << ": " << i.text;
    }
  }
  for (int rows = 1; rows <= kTileRows; ++rows) EXPECT_GE(found[rows], 1) << "no loop of " << multiply << ", " << rows;
}

// The tables of functions must be linked into this program for it to find them.
TEST(LinearRegisters, Avx512VnniSumsStayInRegisters) {
  ASSERT_NE(kLinearAvx512Vnni.dot[kTileRows], nullptr);
  expect_sums_in_registers("vpdpbusd", kPanelVectors);
}

TEST(LinearRegisters, Avx2SumsStayInRegisters) {
  ASSERT_NE(kLinearAvx2.dot[kTileRows], nullptr);
  expect_sums_in_registers("vpmaddwd", kPanelVectors / kLinearAvx2.slices);
}

}  // namespace
}  // namespace dyadic

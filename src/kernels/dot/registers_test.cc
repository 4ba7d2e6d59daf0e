// The loops over K must keep their sums in registers, and a panel's vectors for all rows of a tile. A compiler that
// does not gives the right bits at half the speed, so this is shown by disassembling the test itself.
#include <regex>
#include <string>
#include <vector>

#include "disassembly.h"
#include "kernels/dot/panels.h"
#include "support.h"

namespace dyadic {
namespace {

// The loops of `multiply` in the tiles of a Core: all rows up to the largest, and no stack access.
void expect_sums_in_registers(const std::string& multiply, const std::string& core, int max_rows, int vectors) {
  ASSERT_GE(panel_dots().size(), 4u);  // links the tables of functions into this program
  if (const std::string why = test::no_disassembly(); !why.empty()) GTEST_SKIP() << why;
  std::vector<int> found(kMaxDotRows + 1);
  for (const test::Function& function : test::disassemble("dot_tile")) {
    // _ZN6dyadic..8dot_tileINS_12_GLOBAL__N_1<length><core>ELi<rows>EE..
    // _ZN6dyadic..14dot_tile_codesI.. and dot_tile_by_rowsI.. likewise.
    static const std::regex name(R"(dot_tile(?:_codes|_by_rows)?I.*N_1\d+([A-Za-z]\w*?)ELi(\d)E)");
    std::smatch match;
    ASSERT_TRUE(std::regex_search(function.name, match, name)) << function.name;
    if (match[1] != core) continue;
    const int rows = std::stoi(match[2]);
    // What comes behind the loop of these is made of products, too.
    for (const test::Instruction& i : function.code)
      EXPECT_FALSE(function.name.find("_by_rows") != std::string::npos && i.text.find("%zmm") != std::string::npos &&
                   test::touches_stack(function, i))
          << function.name << ": " << i.text;
    for (const std::vector<test::Instruction>& loop : test::loops(function)) {
      int multiplies = 0;
      for (const test::Instruction& i : loop) multiplies += i.text.rfind(multiply, 0) == 0;
      if (multiplies == 0) continue;
      EXPECT_GE(multiplies, rows * vectors) << function.name;
      ++found[rows];
      for (const test::Instruction& i : loop) {
        EXPECT_FALSE(test::touches_stack(function, i)) << function.name << ": " << i.text;
        const bool reads_memory = i.text.rfind(multiply, 0) == 0 && i.text.find('(') != std::string::npos;
        EXPECT_FALSE(rows > 1 && reads_memory) << function.name << " reads the panel once a row: " << i.text;
      }
    }
  }
  for (int r = 1; r <= max_rows; ++r) EXPECT_GE(found[r], 1) << "no loop of " << core << ", " << r;
}

TEST(DotRegisters, Avx512VnniBytes) { expect_sums_in_registers("vpdpbusd", "VnniBytes", 6, 4); }
TEST(DotRegisters, Avx512VnniWords) { expect_sums_in_registers("vpdpwssd", "VnniWords", 6, 4); }
TEST(DotRegisters, Avx512S16) { expect_sums_in_registers("vpmaddwd", "Avx512S16", 6, 4); }
TEST(DotRegisters, AvxVnniBytes) { expect_sums_in_registers("{vex} vpdpbusd", "AvxVnniBytes", 6, 2); }
TEST(DotRegisters, AvxVnniWords) { expect_sums_in_registers("{vex} vpdpwssd", "AvxVnniWords", 6, 2); }
TEST(DotRegisters, Avx2S16) { expect_sums_in_registers("vpmaddwd", "Avx2S16", 6, 2); }

}  // namespace
}  // namespace dyadic

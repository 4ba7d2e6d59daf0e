// The loops over K must keep their sums in registers. A compiler that spills them gives the right bits at half the
// speed, so this is shown by disassembling the test itself: no product loop may touch the stack.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/linear/tile.h"
#include "support.h"

namespace dyadic {
namespace {

struct Instruction {
  uint64_t address = 0;
  std::string text;
};

struct Function {
  std::string name;
  std::vector<Instruction> code;
};

std::string output_of(const std::string& command) {
  std::string text;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (!pipe) return text;
  char buffer[1 << 16];
  while (const size_t n = fread(buffer, 1, sizeof buffer, pipe.get())) text.append(buffer, n);
  return text;
}

// The functions of this executable whose name contains `part`.
std::vector<Function> disassemble(const std::string& part) {
  char path[4096] = {};
  if (readlink("/proc/self/exe", path, sizeof path - 1) < 0) return {};
  std::istringstream lines(
      output_of("objdump --disassemble --no-show-raw-insn '" + std::string(path) + "' 2>/dev/null"));
  std::vector<Function> functions;
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == ':' && line.find('<') != std::string::npos) {
      inside = line.find(part) != std::string::npos;
      if (inside) functions.push_back({line.substr(line.find('<')), {}});
    } else if (const size_t colon = line.find(":\t"); inside && colon != std::string::npos) {
      functions.back().code.push_back({std::stoull(line.substr(0, colon), nullptr, 16), line.substr(colon + 2)});
    }
  }
  return functions;
}

// The bodies of loops: the code between the target of each jump backward and the jump.
std::vector<std::vector<Instruction>> loops(const Function& function) {
  static const std::regex jump(R"(^j\w+\s+([0-9a-f]+))");
  std::vector<std::vector<Instruction>> result;
  for (const Instruction& from : function.code) {
    std::smatch match;
    if (!std::regex_search(from.text, match, jump)) continue;
    const uint64_t target = std::stoull(match[1], nullptr, 16);
    std::vector<Instruction> body;
    for (const Instruction& i : function.code)
      if (target <= i.address && i.address <= from.address) body.push_back(i);
    if (!body.empty()) result.push_back(body);
  }
  return result;
}

// rbp addresses the stack only in a function that sets it so.
bool touches_stack(const Function& function, const Instruction& instruction) {
  static const std::regex frame(R"(^mov\s+%rsp,%rbp)");
  const auto sets_frame = [](const Instruction& i) { return std::regex_search(i.text, frame); };
  if (instruction.text.find("(%rsp") != std::string::npos) return true;
  return instruction.text.find("(%rbp") != std::string::npos &&
         std::any_of(function.code.begin(), function.code.end(), sets_frame);
}

void expect_sums_in_registers(const std::string& multiply, int sums_per_row) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "SKIPPED: sanitizers add code of their own";
#endif
  if (output_of("objdump --version 2>/dev/null").empty()) GTEST_SKIP() << "SKIPPED: objdump is not installed";
  std::vector<int> found(kTileRows + 1);
  for (const Function& function : disassemble("dot_tile")) {
    const size_t at = function.name.find("dot_tileILi");
    ASSERT_NE(at, std::string::npos) << function.name;
    const int rows = function.name[at + 11] - '0';
    ASSERT_TRUE(1 <= rows && rows <= kTileRows) << function.name;
    for (const std::vector<Instruction>& loop : loops(function)) {
      int multiplies = 0;
      for (const Instruction& i : loop) multiplies += i.text.rfind(multiply, 0) == 0;
      if (multiplies == 0) continue;
      EXPECT_GE(multiplies, rows * sums_per_row) << function.name;
      ++found[rows];
      for (const Instruction& i : loop) EXPECT_FALSE(touches_stack(function, i)) << function.name << ": " << i.text;
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

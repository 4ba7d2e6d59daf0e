// For tests that look at the machine code of the program they are part of: a loop whose sums leave the registers gives
// the right bits at half the speed.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace dyadic::test {

struct Instruction {
  uint64_t address = 0;
  std::string text;
};

struct Function {
  std::string name;
  std::vector<Instruction> code;
};

inline std::string output_of(const std::string& command) {
  std::string text;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (!pipe) return text;
  char buffer[1 << 16];
  while (const size_t n = fread(buffer, 1, sizeof buffer, pipe.get())) text.append(buffer, n);
  return text;
}

// The functions of this executable whose name contains `part`.
inline std::vector<Function> disassemble(const std::string& part) {
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
inline std::vector<std::vector<Instruction>> loops(const Function& function) {
  static const std::regex jump(R"(^j\w+\s+([0-9a-f]+))");
  std::vector<std::vector<Instruction>> result;
  for (const Instruction& from : function.code) {
    std::smatch match;
    if (!std::regex_search(from.text, match, jump)) continue;
    const uint64_t target = std::stoull(match[1], nullptr, 16);
    if (target < function.code.front().address) continue;  // a call as the last thing
    std::vector<Instruction> body;
    for (const Instruction& i : function.code)
      if (target <= i.address && i.address <= from.address) body.push_back(i);
    if (!body.empty()) result.push_back(body);
  }
  return result;
}

// rbp addresses the stack only in a function that sets it so.
inline bool touches_stack(const Function& function, const Instruction& instruction) {
  static const std::regex frame(R"(^mov\s+%rsp,%rbp)");
  const auto sets_frame = [](const Instruction& i) { return std::regex_search(i.text, frame); };
  if (instruction.text.find("(%rsp") != std::string::npos) return true;
  return instruction.text.find("(%rbp") != std::string::npos &&
         std::any_of(function.code.begin(), function.code.end(), sets_frame);
}

// Why this program cannot be disassembled, or empty.
inline std::string no_disassembly() {
#if defined(__SANITIZE_ADDRESS__)
  return "SKIPPED: sanitizers add code of their own";
#else
  return output_of("objdump --version 2>/dev/null").empty() ? "SKIPPED: objdump is not installed" : "";
#endif
}

}  // namespace dyadic::test

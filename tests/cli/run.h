// Runs the command line as a user would: a child process, its exit code and what it printed.
#pragma once
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "support.h"

namespace dyadic::test {

struct CliResult {
  int code = -1;
  std::string out, err;
  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void spit(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

// `arguments` is a shell line behind the program's name; `prefix` sets environment variables or pipes into it.
inline CliResult cli(const std::string& arguments, const std::string& prefix = "") {
  static const std::string dir = temporary_dir();
  const std::string command = prefix + " " + dyadic_program() + " " + arguments + " >" + dir + "/out 2>" + dir + "/err";
  const int status = std::system(command.c_str());
  CliResult result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = slurp(dir + "/out");
  result.err = slurp(dir + "/err");
  return result;
}

// The tiny committed encoder, quantized once a process.
inline const std::string& tiny_dyad() {
  static const std::string path = [] {
    const std::string made = temporary_dir() + "/tiny.dyad";
    const CliResult r =
        cli("quantize " + source_path("models/tiny-encoder") + " --calib " + source_path("examples/sentences.txt") +
            " --sample 64 --require-integer --quiet -o " + made);
    if (r.code != 0) throw std::runtime_error("quantize failed: " + r.err);
    return made;
  }();
  return path;
}

}  // namespace dyadic::test

// Errors: one exception type whose kind is the process's exit code. A message names what is wrong, where (file and byte
// offset or key) and, where that helps, what to do.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace dyadic {

// The values are the exit codes of the command line.
enum class ErrorKind {
  kFailed = 1,        // unequal results, disk full, input or output failed
  kUsage = 2,         // wrong arguments
  kMalformed = 3,     // an input file (model, tokenizer, recipe, text) is not what it should be
  kContract = 4,      // well-formed, but a promise cannot be kept (range not proved, not integer-only, shape too large)
  kInterrupted = 130  // SIGINT
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Joins its arguments with operator<<.
template <class... Args>
std::string cat(Args&&... args) {
  std::ostringstream out;
  (out << ... << std::forward<Args>(args));
  return out.str();
}

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, Args&&... args) {
  throw Error(kind, cat(std::forward<Args>(args)...));
}

// For a broken promise inside the project (never for bad input): a bug if it is ever seen.
#define DYADIC_CHECK(condition, ...)                                                                                \
  do {                                                                                                              \
    if (!(condition))                                                                                               \
      ::dyadic::fail(::dyadic::ErrorKind::kFailed, "internal check failed: ", #condition, " ", ##__VA_ARGS__, " (", \
                     __FILE__, ":", __LINE__, ")");                                                                 \
  } while (0)

}  // namespace dyadic

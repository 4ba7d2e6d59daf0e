// Errors: one exception type whose kind is the process's exit code. A message names what is wrong, where (file and byte
// offset or key) and, where that helps, what to do.
#pragma once
#include <charconv>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace dyadic {

// The values are the exit codes of the command line.
enum class ErrorKind {
  kFailed = 1,        // unequal results, disk full, input or output failed
  kUsage = 2,         // wrong arguments
  kMalformed = 3,     // an input file (model, tokenizer, recipe, text) is not what it should be
  kContract = 4,      // well-formed, but a promise cannot be kept (range not proved, not integer-only, shape too large)
  kInterrupted = 130  // SIGINT, SIGTERM or SIGHUP
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Strings and characters as they are, integers (of one byte, too) in decimal, real numbers with six digits, as "%g".
template <class T>
void append(std::string& text, const T& value) {
  if constexpr (std::is_same_v<T, char>) {
    text += value;
  } else if constexpr (std::is_same_v<T, bool>) {
    text += value ? '1' : '0';
  } else if constexpr (std::is_integral_v<T>) {
    char digits[24];
    text.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
  } else if constexpr (std::is_floating_point_v<T>) {
    char digits[32];
    text.append(digits, static_cast<size_t>(std::snprintf(digits, sizeof(digits), "%g", static_cast<double>(value))));
  } else {
    text += std::string_view(value);
  }
}

// Its arguments, joined. No stream: streams take long to make, and lose what they cannot find memory for.
template <class... Args>
std::string cat(const Args&... args) {
  std::string text;
  (append(text, args), ...);
  return text;
}

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, const Args&... args) {
  throw Error(kind, cat(args...));
}

// For a broken promise inside the project (never for bad input): a bug if it is ever seen.
#define DYADIC_CHECK(condition, ...)                                                                                \
  do {                                                                                                              \
    if (!(condition))                                                                                               \
      ::dyadic::fail(::dyadic::ErrorKind::kFailed, "internal check failed: ", #condition, " ", ##__VA_ARGS__, " (", \
                     __FILE__, ":", __LINE__, ")");                                                                 \
  } while (0)

}  // namespace dyadic

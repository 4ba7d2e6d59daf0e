// What every function of these headers throws when it cannot do its work.
#pragma once
#include <stdexcept>
#include <string>

namespace dyadic::v1 {

// The values are also the exit codes of the command line.
enum class ErrorKind {
  kFailed = 1,        // input or output failed: no such file, disk full
  kUsage = 2,         // an argument is wrong, whatever the files say
  kMalformed = 3,     // a file is not what it should be
  kContract = 4,      // well-formed, but a promise cannot be kept: a number outside its proved range, a text too long
  kInterrupted = 130  // SIGINT, where the program installed a handler
};

// what() names what is wrong, where (file and byte offset, key or input) and, where that helps, what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace dyadic::v1

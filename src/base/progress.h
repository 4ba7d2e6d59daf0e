// Progress on stderr for long work, and the flag that SIGINT, SIGTERM and SIGHUP set.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace dyadic {

// Off by default; the command line turns it on unless --quiet.
void set_progress_enabled(bool enabled);

// Where stderr is no terminal, a line every 10 % instead of a bar, and none before `quiet` is over.
class Progress {
 public:
  Progress(std::string label, int64_t total, std::chrono::milliseconds quiet = std::chrono::seconds(2));
  ~Progress();
  // Adds `count` finished items; throws kInterrupted after such a signal.
  void add(int64_t count = 1);

 private:
  std::string label_;
  int64_t total_, done_ = 0;
  int shown_ = -1;
  bool bar_;
  std::chrono::steady_clock::time_point quiet_until_;
};

// The first of these signals lets work end in order, nothing left behind; the second ends the program at once. A file
// that grows beyond a limit of the process is from now on an error like a full disk.
void install_interrupt_handler();
bool interrupted();
void check_interrupted();  // throws kInterrupted after such a signal

}  // namespace dyadic

// Progress on stderr for long work, and the flag that SIGINT sets.
#pragma once
#include <cstdint>
#include <string>

namespace dyadic {

// Off by default; the command line turns it on unless --quiet. Where stderr is no terminal, a line every 10 % instead
// of a bar.
void set_progress_enabled(bool enabled);

class Progress {
 public:
  Progress(std::string label, int64_t total);
  ~Progress();
  // Adds `count` finished items; throws kInterrupted after SIGINT.
  void add(int64_t count = 1);

 private:
  std::string label_;
  int64_t total_, done_ = 0;
  int shown_ = -1;
  bool bar_;
};

void install_interrupt_handler();
bool interrupted();
void check_interrupted();  // throws kInterrupted after SIGINT

}  // namespace dyadic

#include "base/progress.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>

#include "base/status.h"

namespace dyadic {
namespace {
std::atomic<bool> g_enabled{false};
std::atomic<bool> g_interrupted{false};  // set by a signal, read by any thread
static_assert(std::atomic<bool>::is_always_lock_free);
}  // namespace

void set_progress_enabled(bool enabled) { g_enabled = enabled; }

Progress::Progress(std::string label, int64_t total, std::chrono::milliseconds quiet)
    : label_(std::move(label)),
      total_(total > 0 ? total : 1),
      bar_(isatty(STDERR_FILENO)),
      quiet_until_(std::chrono::steady_clock::now() + quiet) {}

Progress::~Progress() {
  if (g_enabled && bar_ && shown_ >= 0) std::fputc('\n', stderr);
}

void Progress::add(int64_t count) {
  check_interrupted();
  done_ += count;
  if (!g_enabled) return;
  const int percent = static_cast<int>(100 * done_ / total_);
  const int step = bar_ ? percent : percent / 10 * 10;
  if (step == shown_ || (!bar_ && std::chrono::steady_clock::now() < quiet_until_)) return;
  shown_ = step;
  if (bar_) {
    constexpr int kWidth = 30;
    const int filled = kWidth * percent / 100;
    std::fprintf(stderr, "\r%-24s [%.*s%*s] %3d%%", label_.c_str(), filled, "##############################",
                 kWidth - filled, "", percent);
  } else {
    std::fprintf(stderr, "%s %d%%\n", label_.c_str(), step);
  }
  std::fflush(stderr);
}

void install_interrupt_handler() {
  const auto handler = [](int signal) {
    g_interrupted = true;
    std::signal(signal, SIG_DFL);
  };
  for (const int ending : {SIGINT, SIGTERM, SIGHUP})
    if (std::signal(ending, handler) == SIG_IGN) std::signal(ending, SIG_IGN);  // as nohup has it
  std::signal(SIGXFSZ, SIG_IGN);
}
bool interrupted() { return g_interrupted.load(std::memory_order_relaxed); }
void check_interrupted() {
  if (interrupted()) fail(ErrorKind::kInterrupted, "interrupted");
}

}  // namespace dyadic

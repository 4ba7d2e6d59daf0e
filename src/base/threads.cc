#include "base/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "base/status.h"

namespace dyadic {
namespace {

// Looks at `value` until it is no longer `old`, then sleeps on it.
template <class T>
void await_change(const std::atomic<T>& value, T old, int looks) {
  for (int i = 0; i < looks; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

int usable_processors() {
#if defined(__linux__)
  cpu_set_t set;  // of 1024; a machine of more has more than one
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

struct ThreadPool::State {
  std::vector<std::thread> workers;
  int looks = 0;  // before sleeping
  const Body* body = nullptr;
  int64_t count = 0, units = 0, grain = 1;
  std::atomic<uint32_t> generation{0};  // of work
  std::atomic<int> pending{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::exception_ptr error;

  void run_part(int worker) {
    const int64_t parts = std::min<int64_t>(static_cast<int64_t>(workers.size()) + 1, units);
    if (worker >= parts) return;
    const int64_t begin = units * worker / parts * grain, end = std::min(count, units * (worker + 1) / parts * grain);
    try {
      (*body)(begin, end, worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  void loop(int worker) {
    for (uint32_t seen = 0;;) {
      await_change(generation, seen, looks);
      seen = generation.load(std::memory_order_acquire);
      if (stop) return;
      run_part(worker);
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1 || threads > 1024) fail(ErrorKind::kUsage, "threads must be 1..1024, not ", threads);
  // About 50 microseconds; more threads than processors would only keep each other from working.
  state_->looks = threads <= usable_processors() ? 2000 : 0;
  try {
    for (int w = 1; w < threads; ++w) state_->workers.emplace_back([this, w] { state_->loop(w); });
  } catch (const std::system_error& error) {
    end();
    fail(ErrorKind::kFailed, "cannot start ", threads, " threads: ", error.code().message());
  } catch (...) {
    end();
    throw;
  }
}

ThreadPool::~ThreadPool() { end(); }

void ThreadPool::end() {
  state_->stop = true;
  state_->generation.fetch_add(1, std::memory_order_release);
  state_->generation.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(int64_t count, int64_t grain, Body body) {
  if (count <= 0) return;
  State& s = *state_;
  const int64_t units = (count + grain - 1) / grain;
  if (s.workers.empty() || units == 1) return body(0, count, 0);
  s.body = &body;
  s.count = count;
  s.units = units;
  s.grain = grain;
  s.error = nullptr;
  s.pending.store(static_cast<int>(s.workers.size()), std::memory_order_relaxed);
  s.generation.fetch_add(1, std::memory_order_release);
  s.generation.notify_all();
  s.run_part(0);
  for (int left; (left = s.pending.load(std::memory_order_acquire)) != 0;) await_change(s.pending, left, s.looks);
  if (s.error) std::rethrow_exception(s.error);
}

}  // namespace dyadic

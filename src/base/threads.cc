#include "base/threads.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/status.h"

namespace dyadic {

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake, done;
  std::vector<std::thread> workers;
  const std::function<void(int64_t, int64_t, int)>* body = nullptr;
  int64_t count = 0, part = 0;
  uint64_t generation = 0;
  int pending = 0;
  bool stop = false;
  std::exception_ptr error;

  void run_part(int worker) {
    const int64_t begin = std::min(count, part * worker), end = std::min(count, begin + part);
    if (begin >= end) return;
    try {
      (*body)(begin, end, worker);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  void loop(int worker) {
    for (uint64_t seen = 0;;) {
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stop || generation != seen; });
        if (stop) return;
        seen = generation;
      }
      run_part(worker);
      std::lock_guard lock(mutex);
      if (--pending == 0) done.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1 || threads > 1024) fail(ErrorKind::kUsage, "threads must be 1..1024, not ", threads);
  for (int w = 1; w < threads; ++w) state_->workers.emplace_back([this, w] { state_->loop(w); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body) {
  if (count <= 0) return;
  const int64_t units = (count + grain - 1) / grain;
  const int64_t parts = std::min<int64_t>(threads(), units);
  if (parts == 1) return body(0, count, 0);
  State& s = *state_;
  {
    std::lock_guard lock(s.mutex);
    s.body = &body;
    s.count = count;
    s.part = (units + parts - 1) / parts * grain;
    s.pending = static_cast<int>(s.workers.size());
    s.error = nullptr;
    ++s.generation;
  }
  s.wake.notify_all();
  s.run_part(0);
  std::unique_lock lock(s.mutex);
  s.done.wait(lock, [&] { return s.pending == 0; });
  if (s.error) std::rethrow_exception(s.error);
}

}  // namespace dyadic

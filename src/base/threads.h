// One thread pool; work is split statically, so that results and timings do not depend on who is free.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace dyadic {

class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Splits [0, count) into at most threads() contiguous parts whose borders are multiples of `grain`, runs body(begin,
  // end, worker) on each and waits. One caller at a time; an exception of any part is rethrown here.
  void parallel_for(int64_t count, int64_t grain,
                    const std::function<void(int64_t begin, int64_t end, int worker)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dyadic

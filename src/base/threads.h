// One thread pool; work is split statically, so that results and timings do not depend on who is free.
#pragma once
#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace dyadic {

// How many processors this thread and those that it starts may run on: those of the machine, or what `taskset` and the
// like left of them. At least 1.
int usable_processors();

class ThreadPool {
 public:
  using Body = FunctionRef<void(int64_t begin, int64_t end, int worker)>;

  // `threads` >= 1 counts the calling thread. Workers that wait look for work for some microseconds before they sleep:
  // the next composite of a model comes sooner than a sleeping thread wakes.
  // kFailed if the system does not give that many.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Splits [0, count) into at most threads() contiguous parts of nearly equal size whose borders are multiples of
  // `grain`, runs body(begin, end, worker) on each and waits. Does not allocate. One caller at a time, but any number
  // of callers if threads() is 1; an exception of any part is rethrown here.
  void parallel_for(int64_t count, int64_t grain, Body body);

 private:
  void end();

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dyadic

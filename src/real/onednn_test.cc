#include "real/onednn.h"

#include <pthread.h>
#include <sys/time.h>

#include <atomic>
#include <csignal>
#include <vector>

#include "base/random.h"
#include "support.h"

namespace dyadic {
namespace {

std::atomic<int> g_on_stack{0}, g_elsewhere{0};
uintptr_t g_stack_begin = 0, g_stack_end = 0;

void note_frame(int) {
  const char local = 0;
  const auto at = reinterpret_cast<uintptr_t>(&local);
  (at >= g_stack_begin && at < g_stack_end ? g_on_stack : g_elsewhere)++;
}

// oneDNN's matrix products keep their stack pointer in memory of the heap for a while. A signal handler that runs then
// writes its frame over what lies there.
TEST(OneDnn, SignalHandlersRunOnTheStack) {
  pthread_attr_t attributes;
  void* begin = nullptr;
  size_t bytes = 0;
  ASSERT_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
  ASSERT_EQ(pthread_attr_getstack(&attributes, &begin, &bytes), 0);
  pthread_attr_destroy(&attributes);
  g_stack_begin = reinterpret_cast<uintptr_t>(begin);
  g_stack_end = g_stack_begin + bytes;

  struct sigaction action = {}, before = {};
  action.sa_handler = note_frame;
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGALRM, &action, &before), 0);
  const itimerval often = {{0, 100}, {0, 100}}, never = {};
  setitimer(ITIMER_REAL, &often, nullptr);
  Random random(test::seed(), 1);
  for (int i = 0; i < 20000; ++i) {
    const int64_t m = 1 + random.below(40), n = 16 + random.below(100), k = 16 + random.below(100);
    const std::vector<float> x(m * k, 1), w(n * k, 1);
    std::vector<float> y(m * n);
    OneDnn::sgemm(m, n, k, 1, {x.data(), k}, {w.data(), k}, true, 0, {y.data(), n});
    for (float sum : y) ASSERT_EQ(sum, static_cast<float>(k));
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_GT(g_on_stack, 0);
  EXPECT_EQ(g_elsewhere, 0);
}

}  // namespace
}  // namespace dyadic

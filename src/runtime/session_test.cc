// How a Session runs a batch: in blocks, by threads, in the caller's memory, without allocating.
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <random>

#include "base/threads.h"
#include "runtime/container.h"
#include "runtime/session.h"
#include "support.h"
#include "tensor/token_batch.h"

namespace {

std::atomic<int64_t> allocations{0};

// Those of 256 bytes or more can be made to fail. Smaller ones hardly ever do, and copying a std::variant that may hold
// a string crashes where its copy throws: libstdc++ 12 takes such a variant for never valueless and destroys what is
// not there.
constexpr size_t kLarge = 256;
std::atomic<int64_t> large{0}, first_to_fail{INT64_MAX}, last_to_fail{INT64_MAX};  // counted from 1

bool may_allocate(size_t size) {
  ++allocations;
  const int64_t n = size < kLarge ? 0 : ++large;
  return n < first_to_fail || n > last_to_fail;
}

void* allocate(size_t size, size_t alignment) {
  void* p = alignment            ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
            : may_allocate(size) ? std::malloc(size)
                                 : nullptr;
  if (!p) throw std::bad_alloc();
  return p;
}

// Not inlined: gcc would see memory of operator new freed, and warn.
[[gnu::noinline]] void release(void* p) { std::free(p); }

}  // namespace

// What buffers are made of.
extern "C" void* aligned_alloc(size_t alignment, size_t size) {
  void* p = nullptr;
  return may_allocate(size) && posix_memalign(&p, alignment, size) == 0 ? p : nullptr;
}
void* operator new(size_t size) { return allocate(size, 0); }
void* operator new[](size_t size) { return allocate(size, 0); }
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return may_allocate(size) ? std::malloc(size) : nullptr;
}
void* operator new(size_t size, std::align_val_t alignment) { return allocate(size, static_cast<size_t>(alignment)); }
void* operator new[](size_t size, std::align_val_t alignment) { return allocate(size, static_cast<size_t>(alignment)); }
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, size_t) noexcept { release(p); }
void operator delete[](void* p, size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { release(p); }

namespace dyadic {
namespace {

using Feeds = std::map<std::string, Tensor>;

std::shared_ptr<const Model> tiny() {
  static const auto model = load_model(test::source_path("models/golden/tiny.dyad"));
  return model;
}

Feeds batch(std::mt19937_64& random, const std::vector<int>& lengths) {
  std::vector<std::vector<int32_t>> texts;
  for (const int length : lengths) {
    texts.emplace_back();
    for (int i = 0; i < length; ++i) texts.back().push_back(static_cast<int32_t>(random() % 1000));
  }
  return pack_tokens(texts).feeds;
}

std::vector<TensorView> inputs_of(const Feeds& feeds) {
  std::vector<TensorView> views;
  for (ValueId id : tiny()->main().inputs) {
    const Tensor& feed = feeds.at(tiny()->main().value(id).name);
    views.push_back({feed.type(), feed.dims(), const_cast<std::byte*>(feed.raw())});
  }
  return views;
}

// Lengths that fill blocks exactly, by one row too many, with texts longer than a block, and many short ones.
const std::vector<std::vector<int>> kBatches = {
    {1},
    {64, 64, 64, 64},
    {64, 64, 64, 64, 1},
    {128, 128, 65, 128, 63, 1},
    {120, 72, 120, 73, 64},
    std::vector<int>(100, 5),
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30}};

TEST(Session, BlocksThreadsAndSchedulesGiveTheSameBits) {
  std::mt19937_64 random(test::seed());
  Session whole(tiny(), {});
  std::vector<std::unique_ptr<Session>> others;
  for (const Backend backend : {Backend::kKernels, Backend::kTile})
    for (const auto& [schedule, threads] :
         {std::pair(Schedule::kAuto, 2), std::pair(Schedule::kLatency, 2), std::pair(Schedule::kThroughput, 3)})
      others.push_back(std::make_unique<Session>(
          tiny(), SessionOptions{.backend = backend, .threads = threads, .schedule = schedule}));
  const Tap unblocked = [](const Node&, size_t, const TensorView&) {};
  for (const std::vector<int>& lengths : kBatches) {
    const Feeds feeds = batch(random, lengths);
    const Tensor expected = whole.run(feeds, unblocked).at("embedding");
    EXPECT_EQ(whole.run(feeds).at("embedding"), expected);
    for (const auto& session : others) EXPECT_EQ(session->run(feeds).at("embedding"), expected) << lengths.size();
  }
}

// Sequences in another order, with rows between them that belong to none: nothing to cut, the same results.
TEST(Session, GapsAndOrderOfSequencesRunAsOneBatch) {
  std::mt19937_64 random(test::seed());
  Feeds feeds = batch(random, {100, 90, 80, 70});
  Session session(tiny(), {.threads = 2});
  const Tensor all = session.run(feeds).at("embedding");
  feeds["start"] = Tensor::from<int32_t>({3}, std::vector<int32_t>{270, 0, 190});
  feeds["length"] = Tensor::from<int32_t>({3}, std::vector<int32_t>{70, 100, 80});
  const Tensor some = session.run(feeds).at("embedding");
  const int64_t row = all.bytes() / 4;
  const int sources[] = {3, 0, 2};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(std::memcmp(some.raw() + i * row, all.raw() + sources[i] * row, row), 0) << i;
}

TEST(Session, ASiblingSharesWhatIsPacked) {
  std::mt19937_64 random(test::seed());
  const Feeds feeds = batch(random, {30, 60, 90, 120});
  std::unique_ptr<Session> sibling;
  Tensor expected;
  {
    Session session(tiny(), {});
    expected = session.run(feeds).at("embedding");
    const int64_t before = allocations;
    sibling = session.sibling(2);
    EXPECT_LT(allocations - before, 2000);  // no weights
  }
  EXPECT_EQ(sibling->run(feeds).at("embedding"), expected);
  EXPECT_EQ(sibling->options().threads, 2);
}

TEST(Session, ARunOfAShapeSeenBeforeAllocatesNothing) {
  std::mt19937_64 random(test::seed());
  for (const int threads : {1, 2})
    for (const Schedule schedule : {Schedule::kLatency, Schedule::kThroughput}) {
      Session session(tiny(), {.threads = threads, .schedule = schedule});
      ASSERT_EQ(session.explain().find("tile program"), std::string::npos)
          << "every composite has at least a portable kernel";
      // The second shape of a pair shares its bucket with the first.
      for (const auto& [first, second] : std::vector<std::pair<std::vector<int>, std::vector<int>>>{
               {{16}, {15}}, {{128}, {121}}, {{100, 100, 100, 100}, {99, 98, 100, 97}}}) {
        std::vector<Feeds> feeds = {batch(random, first), batch(random, second)};
        std::vector<std::vector<TensorView>> inputs = {inputs_of(feeds[0]), inputs_of(feeds[1])};
        Tensor result(DataType::kI16,
                      {std::ssize(first), tiny()->main().value(tiny()->main().outputs[0]).shape[1].factor});
        const std::vector<TensorView> outputs = {{result.type(), result.dims(), result.mutable_raw()}};
        session.run(inputs[0], outputs);
        const int64_t before = allocations;
        session.run(inputs[0], outputs);
        session.run(inputs[1], outputs);
        EXPECT_EQ(allocations - before, 0) << threads << " threads, " << first.size() << " texts";
        EXPECT_EQ(result, Session(tiny(), {}).run(feeds[1]).at("embedding"));
      }
    }
}

// While it lives, this thread and those that it starts have the first processor of those they may use.
class OneProcessor {
 public:
  OneProcessor() {
    CPU_ZERO(&before_);
    EXPECT_EQ(sched_getaffinity(0, sizeof before_, &before_), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
      if (CPU_ISSET(cpu, &before_)) CPU_SET(cpu, &one);
    EXPECT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  }
  ~OneProcessor() { sched_setaffinity(0, sizeof before_, &before_); }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;

 private:
  cpu_set_t before_;
};

TEST(Session, IsPreparedOnOneProcessorAsOnSeveral) {
  std::mt19937_64 random(test::seed());
  const Feeds feeds = batch(random, {5, 6, 17});
  const Session several(tiny(), {});
  const Tensor expected = Session(tiny(), {}).run(feeds).at("embedding");
  const OneProcessor one;
  ASSERT_EQ(usable_processors(), 1);
  for (const int threads : {1, 2}) {
    Session session(tiny(), {.threads = threads});
    EXPECT_EQ(session.explain(), several.explain());
    EXPECT_EQ(session.run(feeds).at("embedding"), expected);
  }
}

// At any allocation, alone or with all that follow, on whichever thread proves, makes a kernel or waits for both.
TEST(Session, MemoryThatEndsWhileAModelIsPreparedIsAnError) {
  std::mt19937_64 random(test::seed());
  const Feeds feeds = batch(random, {5, 6});
  const Tensor expected = Session(tiny(), {}).run(feeds).at("embedding");
  for (const auto& [threads, processors] : {std::pair(1, 2), {3, 2}, {1, 1}}) {
    std::optional<OneProcessor> one;
    if (processors == 1) one.emplace();
    const int64_t before = large;
    std::optional<Session> session(std::in_place, tiny(), SessionOptions{.threads = threads});
    const int64_t count = large - before;
    int refused = 0;
    constexpr int kTries = 150;
    for (int i = 0; i < kTries; ++i) {
      const int64_t first = large + 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(count));
      last_to_fail = i % 2 ? INT64_MAX : first;
      first_to_fail = first;
      try {
        session.emplace(tiny(), SessionOptions{.threads = threads});
      } catch (const std::bad_alloc&) {
        ++refused;
      } catch (const Error&) {
        ++refused;
      }
      first_to_fail = INT64_MAX;
    }
    EXPECT_GT(refused, kTries / 2) << threads << " threads, " << processors
                                   << " processors";  // a thread that cannot start is done without
    session.emplace(tiny(), SessionOptions{.threads = threads});
    EXPECT_EQ(session->run(feeds).at("embedding"), expected);
  }
}

TEST(Session, OutputsOfAnotherShapeAreRefused) {
  std::mt19937_64 random(test::seed());
  const Feeds feeds = batch(random, {5, 6});
  Session session(tiny(), {});
  Tensor result(DataType::kI16, {3, 128});
  const std::vector<TensorView> wrong = {{result.type(), result.dims(), result.mutable_raw()}};
  EXPECT_THROW(session.run(inputs_of(feeds), wrong), Error);
  EXPECT_THROW(session.run(inputs_of(feeds), {}), Error);
  EXPECT_THROW(session.run({}, wrong), Error);
}

}  // namespace
}  // namespace dyadic

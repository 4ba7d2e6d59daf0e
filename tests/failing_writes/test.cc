// Whatever allocation or write fails while a file is made, the file that was there before stays, no temporary is left
// and the error is exit code 1. Allocations fail one after the other through operator new; writes fail at a size limit
// of the process, which grows byte by byte, as a disk that is full does. Reading without memory is here, too.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>

#include "api/export.h"
#include "base/file.h"
#include "runtime/container.h"
#include "support.h"
#include "tensor/safetensors.h"

namespace {
// Allocations until one fails; negative: none does.
std::atomic<int64_t> allocations_left{-1};

// Not inlined, as release() is not: gcc would take the pair for a mismatch of new and free.
[[gnu::noinline]] void* allocate(size_t size, size_t alignment) {
  if (allocations_left >= 0 && allocations_left-- == 0) throw std::bad_alloc();
  void* p = alignment ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                      : std::malloc(size ? size : 1);
  if (!p) throw std::bad_alloc();
  return p;
}

[[gnu::noinline]] void release(void* p) { std::free(p); }
}  // namespace

void* operator new(size_t size) { return allocate(size, 0); }
void* operator new[](size_t size) { return allocate(size, 0); }
void* operator new(size_t size, std::align_val_t alignment) { return allocate(size, static_cast<size_t>(alignment)); }
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, size_t) noexcept { release(p); }
void operator delete[](void* p, size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { release(p); }

namespace dyadic::test {
namespace {

namespace fs = std::filesystem;

// Writes a file or folder `path`.
using Write = std::function<void(const std::string& path)>;

const Model& model() {
  static const auto loaded = load_model(source_path("models/golden/tiny.dyad"));
  return *loaded;
}

Model small_model() {
  Model small = model();
  small.metadata = {{"task", "none"}};
  return small;
}

std::string contents(const fs::path& path) {
  if (!fs::exists(path)) return "nothing";
  std::string all;
  if (!fs::is_directory(path)) return read_file(path.string());
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files) all += file.filename().string() + ":" + read_file(file.string()) + "\n";
  return all;
}

size_t entries(const fs::path& dir) { return static_cast<size_t>(std::distance(fs::directory_iterator(dir), {})); }

enum class Outcome : uint8_t { kDone, kRefused, kOther };

// What the command line makes exit code 1 of; `work` is called in this process.
Outcome outcome(const std::function<void()>& work) {
  try {
    work();
    return Outcome::kDone;
  } catch (const Error& error) {
    return error.kind() == ErrorKind::kFailed ? Outcome::kRefused : Outcome::kOther;
  } catch (const std::bad_alloc&) {
    return Outcome::kRefused;
  }
}

// In a child that ends as the program does where memory runs out and nothing may be thrown.
Outcome outcome_in_child(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    std::set_terminate([] { std::_Exit(static_cast<int>(Outcome::kRefused)); });
    std::_Exit(static_cast<int>(outcome(work)));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? static_cast<Outcome>(WEXITSTATUS(status)) : Outcome::kOther;
}

// Calls write with fail(n) in force for n = 0, step, 2 step .. until it succeeds.
template <class Fail>
void expect_all_or_nothing(const Write& write, Fail fail, int64_t step,
                           Outcome (*run)(const std::function<void()>&) = outcome) {
  const fs::path dir = temporary_dir();
  const std::string path = dir / "file";
  std::ofstream(path) << "old";
  int64_t n = 0;
  for (; n < 100000000; n += step) {
    Outcome result = Outcome::kOther;
    fail(n, [&] { result = run([&] { write(path); }); });
    if (result == Outcome::kDone) break;
    ASSERT_EQ(result, Outcome::kRefused) << "failure " << n;
    ASSERT_EQ(contents(path), "old") << "failure " << n;
    ASSERT_EQ(entries(dir), 1u) << "failure " << n << " leaves a temporary";
  }
  EXPECT_NE(contents(path), "old");
  EXPECT_EQ(entries(dir), 1u);
  EXPECT_GT(n, 0);
  std::printf("%lld failures\n", static_cast<long long>(n / step));
}

void with_failing_allocation(int64_t n, const std::function<void()>& f) {
  allocations_left = n;
  f();
  allocations_left = -1;
}

void with_full_disk(int64_t bytes, const std::function<void()>& f) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{static_cast<rlim_t>(bytes), before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &full);
  f();
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
}

void write_small(const std::string& path) {
  write_safetensors(path,
                    {{"w", Tensor::from<float>({2, 2}, {1, 2, 3, 4})}, {"x", Tensor::from<int8_t>({3}, {1, 2, 3})}},
                    {{"k", "v"}});
}

TEST(FailingWrites, SafetensorsAtEveryAllocation) { expect_all_or_nothing(write_small, with_failing_allocation, 1); }
TEST(FailingWrites, SafetensorsAtEveryByte) { expect_all_or_nothing(write_small, with_full_disk, 1); }

// Every 97th of the allocations: the model has thousands, most of them in its JSON.
TEST(FailingWrites, ModelAtManyAllocations) {
  const Model small = small_model();
  expect_all_or_nothing([&](const std::string& path) { save_model(path, small); }, with_failing_allocation, 97,
                        outcome_in_child);
}
TEST(FailingWrites, ModelAtManyBytes) {
  const Model small = small_model();
  expect_all_or_nothing([&](const std::string& path) { save_model(path, small); }, with_full_disk, 4093);
}

// A folder is replaced as a whole.
const std::map<std::string, std::string> kFolder = {
    {"a.c", std::string(3000, 'a')}, {"a.h", "short"}, {"Makefile", std::string(500, 'm')}};

template <class Fail>
void expect_folder_replaced(Fail fail, int64_t step) {
  const fs::path dir = temporary_dir();
  const std::string path = dir / "exported";
  replace_folder(path, {{"old.c", "old"}});
  const std::string old = contents(path);
  int64_t n = 0;
  for (; n < 1000000; n += step) {
    Outcome result = Outcome::kOther;
    fail(n, [&] { result = outcome([&] { replace_folder(path, kFolder); }); });
    if (result == Outcome::kDone) break;
    ASSERT_EQ(result, Outcome::kRefused) << "failure " << n;
    ASSERT_EQ(contents(path), old) << "failure " << n;
    ASSERT_EQ(entries(dir), 1u) << "failure " << n << " leaves a temporary";
  }
  EXPECT_EQ(fs::exists(fs::path(path) / "old.c"), false);
  EXPECT_EQ(entries(path), kFolder.size());
  EXPECT_EQ(entries(dir), 1u);
  EXPECT_GT(n, 0);
}

TEST(FailingWrites, FolderAtEveryAllocation) { expect_folder_replaced(with_failing_allocation, 1); }
TEST(FailingWrites, FolderAtManyBytes) { expect_folder_replaced(with_full_disk, 41); }

// Reading ends in the same way, and in no crash of a library that asks for memory without looking at what it gets.
TEST(FailingReads, ModelAtManyAllocations) {
  const std::string path = source_path("models/golden/tiny.dyad");
  int64_t n = 0;
  Outcome result = Outcome::kRefused;
  for (; n < 10000000; n += 97) {
    with_failing_allocation(n, [&] { result = outcome_in_child([&] { load_model(path); }); });
    if (result == Outcome::kDone) break;
    ASSERT_EQ(result, Outcome::kRefused) << "failure " << n;
  }
  EXPECT_EQ(result, Outcome::kDone);
  EXPECT_GT(n, 0);
}

}  // namespace
}  // namespace dyadic::test

#include "base/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/status.h"

namespace dyadic {
namespace {

constexpr size_t kHugePage = size_t{2} << 20, kChunkBytes = size_t{8} << 20;

// bytes + 64 readable ones, rounded up.
size_t padded_bytes(size_t bytes) {
  const size_t padded =
      (bytes + 2 * AlignedBuffer::kAlignment - 1) / AlignedBuffer::kAlignment * AlignedBuffer::kAlignment;
  if (padded < bytes) fail(ErrorKind::kFailed, "out of memory: ", bytes, " bytes wanted");
  return padded;
}

// Zero pages from the system that long-lived buffers are cut from, one after the other.
class Chunk {
 public:
  explicit Chunk(size_t bytes) : mapped_((bytes + 2 * kHugePage - 1) / kHugePage * kHugePage) {
    map_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map_ == MAP_FAILED) fail(ErrorKind::kFailed, "out of memory: ", bytes, " bytes wanted");
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(map_) % kHugePage) % kHugePage;
    next_ = static_cast<std::byte*>(map_) + before;
    left_ = mapped_ - before;
    madvise(next_, left_, MADV_HUGEPAGE);  // a hint: systems without huge pages refuse it
  }
  ~Chunk() { munmap(map_, mapped_); }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  std::byte* take(size_t bytes) {
    if (bytes > left_) return nullptr;
    left_ -= bytes;
    return std::exchange(next_, next_ + bytes);
  }

 private:
  size_t mapped_, left_ = 0;
  void* map_ = nullptr;
  std::byte* next_ = nullptr;
};

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes) : size_(bytes) {
  const size_t padded = padded_bytes(bytes);
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, padded)), std::free);
  if (!data_) fail(ErrorKind::kFailed, "out of memory: ", bytes, " bytes wanted");
  std::memset(data_.get(), 0, padded);
}

AlignedBuffer AlignedBuffer::long_lived(size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  return AlignedBuffer(bytes);  // whose ends the sanitizer watches
#else
  static std::mutex mutex;
  static std::weak_ptr<Chunk> current;
  const size_t padded = padded_bytes(bytes);
  const std::lock_guard lock(mutex);
  std::shared_ptr<Chunk> chunk = current.lock();
  std::byte* data = chunk ? chunk->take(padded) : nullptr;
  if (!data) {
    chunk = std::make_shared<Chunk>(std::max(padded, kChunkBytes));
    current = chunk;
    data = chunk->take(padded);
  }
  AlignedBuffer buffer;
  buffer.size_ = bytes;
  buffer.data_ = std::shared_ptr<std::byte>(chunk, data);
  return buffer;
#endif
}

}  // namespace dyadic

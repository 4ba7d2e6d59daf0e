// For tests of kernels: memory of exactly `bytes` that ends at an unmapped page, so that the first byte beyond faults.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <stdexcept>

namespace dyadic::test {

class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes)
      : page_(sysconf(_SC_PAGESIZE)), mapped_((bytes + page_ - 1) / page_ * page_ + page_) {
    void* base = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::runtime_error("mmap failed");
    base_ = static_cast<std::byte*>(base);
    if (mprotect(base_ + mapped_ - page_, page_, PROT_NONE) != 0) throw std::runtime_error("mprotect failed");
    data_ = base_ + mapped_ - page_ - bytes;
  }
  GuardedMemory(const GuardedMemory&) = delete;
  ~GuardedMemory() { munmap(base_, mapped_); }

  std::byte* data() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  size_t page_, mapped_;
  std::byte *base_, *data_;
};

}  // namespace dyadic::test

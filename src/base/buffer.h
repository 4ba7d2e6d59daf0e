// Owned memory aligned to 64 bytes (a cache line, a zmm register), with 64 readable bytes behind its end.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace dyadic {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;
  AlignedBuffer() = default;
  // Zero-filled. Throws kFailed when memory is exhausted.
  explicit AlignedBuffer(size_t bytes);

  size_t size() const { return size_; }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_.get());
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

}  // namespace dyadic

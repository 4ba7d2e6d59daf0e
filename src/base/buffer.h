// Owned memory aligned to 64 bytes (a cache line, a zmm register), with 64 readable bytes behind its end; zero at
// first.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace dyadic {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;
  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&&) noexcept = default;
  AlignedBuffer& operator=(AlignedBuffer&&) noexcept = default;
  // Throws kFailed when memory is exhausted.
  explicit AlignedBuffer(size_t bytes);
  // For what lives as long as a model: side by side with other such buffers on huge pages, where the system has them.
  // The memory returns to the system when the last of its neighbours goes.
  static AlignedBuffer long_lived(size_t bytes);

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
  std::shared_ptr<std::byte> data_;
  size_t size_ = 0;
};

}  // namespace dyadic

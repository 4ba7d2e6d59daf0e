// A dense row-major array: type, dimensions, bytes. No arithmetic. The bytes are shared and either owned or a view of a
// mapped file; copying a Tensor copies the handle.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/data_type.h"

namespace dyadic {

using Dims = std::vector<int64_t>;

// Product of dims; throws kContract if it exceeds 2^62.
int64_t element_count(const Dims& dims);
std::string to_string(const Dims& dims);  // "[2,3]"

class Tensor {
 public:
  Tensor() = default;
  Tensor(DataType type, Dims dims);  // zero-filled, 64-byte aligned
  // A view of memory that `owner` keeps alive; `data` holds storage_bytes(type, element_count(dims)) bytes.
  Tensor(DataType type, Dims dims, const std::byte* data, std::shared_ptr<const void> owner);
  template <class T>
  static Tensor from(Dims dims, const std::vector<T>& values) {
    Tensor t(kTypeOf<T>, std::move(dims));
    DYADIC_CHECK(t.count() == static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i) t.mutable_data<T>()[i] = values[i];
    return t;
  }
  template <class T>
  static Tensor scalar(T value) {
    return from<T>({}, {value});
  }

  bool defined() const { return data_ != nullptr; }
  DataType type() const { return type_; }
  const Dims& dims() const { return dims_; }
  int64_t dim(int i) const { return dims_[i]; }
  int rank() const { return static_cast<int>(dims_.size()); }
  int64_t count() const { return count_; }
  int64_t bytes() const { return storage_bytes(type_, count_); }
  const std::byte* raw() const { return data_; }
  std::byte* mutable_raw();  // only of an owned tensor whose handle is not shared

  template <class T>
  const T* data() const {
    DYADIC_CHECK(kTypeOf<T> == type_, "tensor is ", name(type_));
    return reinterpret_cast<const T*>(data_);
  }
  template <class T>
  T* mutable_data() {
    DYADIC_CHECK(kTypeOf<T> == type_, "tensor is ", name(type_));
    return reinterpret_cast<T*>(mutable_raw());
  }
  template <class T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<size_t>(count_)};
  }

  // Element i of an integer or packed tensor, widened. Packed codes are little-endian bit fields.
  int64_t at(int64_t i) const;
  // Stores v, which must fit the type, into element i of an owned integer or packed tensor.
  void set(int64_t i, int64_t v);
  std::vector<int64_t> to_int64() const;

  Tensor reshaped(Dims dims) const;  // same bytes, same count
  // Hash of type, dimensions and little-endian content.
  uint64_t hash() const;

 private:
  DataType type_ = DataType::kI8;
  Dims dims_;
  int64_t count_ = 0;
  const std::byte* data_ = nullptr;
  std::byte* mutable_ = nullptr;
  std::shared_ptr<const void> owner_;
};

// Equal type, dimensions and bytes.
bool operator==(const Tensor& a, const Tensor& b);

// A borrowed tensor: what kernels and executors work on.
struct TensorView {
  DataType type = DataType::kI8;
  Dims dims;
  std::byte* data = nullptr;

  int64_t count() const { return element_count(dims); }
  int64_t at(int64_t i) const;  // as Tensor::at
  template <class T>
  T* as() const {
    DYADIC_CHECK(kTypeOf<T> == type, "view is ", name(type));
    return reinterpret_cast<T*>(data);
  }
};

}  // namespace dyadic

// Arrays of integers: what a model reads and writes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dyadic/error.h>

namespace dyadic::v1 {

enum class DataType : uint8_t { kI8, kU8, kI16, kU16, kI32, kU32, kI64 };

const char* name(DataType type) noexcept;      // "i8", "u8", .., "i64"
size_t element_bytes(DataType type) noexcept;  // 1, 2, 4 or 8

// The type that stores T, one of int8_t .. uint32_t and int64_t.
template <class T>
constexpr DataType data_type_of() {
  static_assert(std::is_integral_v<T> && !std::is_same_v<T, bool> && sizeof(T) <= (std::is_signed_v<T> ? 8 : 4));
  if (sizeof(T) == 1) return std::is_signed_v<T> ? DataType::kI8 : DataType::kU8;
  if (sizeof(T) == 2) return std::is_signed_v<T> ? DataType::kI16 : DataType::kU16;
  if (sizeof(T) == 4) return std::is_signed_v<T> ? DataType::kI32 : DataType::kU32;
  return DataType::kI64;
}

// A dense row-major array of integers that owns its memory. A value: copies are independent.
class Tensor {
 public:
  Tensor() = default;  // i8[0]
  // Zeros. kUsage if a dimension is negative or the size does not fit into memory addresses.
  Tensor(DataType type, std::vector<int64_t> dims);
  // kUsage unless the dimensions' product is the number of values.
  template <class T>
  Tensor(std::vector<int64_t> dims, const std::vector<T>& values) : Tensor(data_type_of<T>(), std::move(dims)) {
    const std::span<T> mine = data<T>();
    if (mine.size() != values.size()) throw Error(ErrorKind::kUsage, "tensor: dimensions and number of values differ");
    for (size_t i = 0; i < values.size(); ++i) mine[i] = values[i];
  }

  DataType type() const noexcept { return type_; }
  const std::vector<int64_t>& dims() const noexcept { return dims_; }
  int64_t count() const noexcept { return count_; }  // product of dims; 1 for a scalar

  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  std::span<std::byte> bytes() noexcept { return bytes_; }

  // kUsage unless T is what type() stores.
  template <class T>
  std::span<const T> data() const {
    check(data_type_of<T>());
    return {reinterpret_cast<const T*>(bytes_.data()), static_cast<size_t>(count_)};
  }
  template <class T>
  std::span<T> data() {
    check(data_type_of<T>());
    return {reinterpret_cast<T*>(bytes_.data()), static_cast<size_t>(count_)};
  }

  // Element i in row-major order, whatever the type; kUsage outside 0..count()-1.
  int64_t at(int64_t i) const;

 private:
  void check(DataType wanted) const;

  DataType type_ = DataType::kI8;
  std::vector<int64_t> dims_ = {0};
  int64_t count_ = 0;
  std::vector<std::byte> bytes_;
};

}  // namespace dyadic::v1

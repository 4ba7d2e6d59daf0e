// Storage types of tensors. A DataType says how a code is stored, never what it means (that is an Encoding).
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace dyadic {

enum class DataType : uint8_t {
  kI8,
  kU8,
  kI16,
  kU16,
  kI32,
  kU32,
  kI64,  // the integer types of the core dialect
  kB1,
  kI2,
  kU2,
  kI3,
  kU3,
  kI4,
  kU4,  // packed storage: `unpack` before arithmetic
  kF32,
  kF64,  // real numbers: the real dialect, never a body
};

std::string_view name(DataType type);  // "i8", "u8", .., "f32"
std::optional<DataType> parse_data_type(std::string_view name);
int bits(DataType type);  // 1..64
inline bool is_real(DataType type) { return type == DataType::kF32 || type == DataType::kF64; }
inline bool is_packed(DataType type) { return type >= DataType::kB1 && type <= DataType::kU4; }
inline bool is_integer(DataType type) { return type <= DataType::kI64; }
int64_t lowest(DataType type);  // smallest value of an integer or packed type
int64_t highest(DataType type);
// Bytes of `count` elements; packed types are padded to whole bytes.
inline int64_t storage_bytes(DataType type, int64_t count) { return (count * bits(type) + 7) / 8; }

// An inclusive range of integers.
struct Interval {
  int64_t lo, hi;
  bool operator==(const Interval&) const = default;
  bool contains(const Interval& other) const { return lo <= other.lo && other.hi <= hi; }
};
inline Interval range_of(DataType type) { return {lowest(type), highest(type)}; }

// Calls f with a value of the C++ type that stores an integer `type`: dispatch(t, [](auto zero) { using T =
// decltype(zero); .. }).
template <class F>
decltype(auto) dispatch(DataType type, F&& f) {
  switch (type) {
    case DataType::kI8:
      return f(int8_t{});
    case DataType::kU8:
      return f(uint8_t{});
    case DataType::kI16:
      return f(int16_t{});
    case DataType::kU16:
      return f(uint16_t{});
    case DataType::kI32:
      return f(int32_t{});
    case DataType::kU32:
      return f(uint32_t{});
    default:
      return f(int64_t{});
  }
}

template <class T>
inline constexpr DataType kTypeOf = DataType::kF64;
template <>
inline constexpr DataType kTypeOf<int8_t> = DataType::kI8;
template <>
inline constexpr DataType kTypeOf<uint8_t> = DataType::kU8;
template <>
inline constexpr DataType kTypeOf<int16_t> = DataType::kI16;
template <>
inline constexpr DataType kTypeOf<uint16_t> = DataType::kU16;
template <>
inline constexpr DataType kTypeOf<int32_t> = DataType::kI32;
template <>
inline constexpr DataType kTypeOf<uint32_t> = DataType::kU32;
template <>
inline constexpr DataType kTypeOf<int64_t> = DataType::kI64;
template <>
inline constexpr DataType kTypeOf<float> = DataType::kF32;

}  // namespace dyadic

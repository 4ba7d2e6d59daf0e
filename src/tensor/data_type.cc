#include "tensor/data_type.h"

namespace dyadic {
namespace {

struct Row {
  const char* name;
  uint8_t bits;
  bool is_signed;
};
constexpr Row kRows[] = {
    {"i8", 8, true},   {"u8", 8, false}, {"i16", 16, true}, {"u16", 16, false}, {"i32", 32, true}, {"u32", 32, false},
    {"i64", 64, true}, {"b1", 1, false}, {"i2", 2, true},   {"u2", 2, false},   {"i3", 3, true},   {"u3", 3, false},
    {"i4", 4, true},   {"u4", 4, false}, {"f32", 32, true}, {"f64", 64, true},
};
const Row& row(DataType type) { return kRows[static_cast<int>(type)]; }

}  // namespace

std::string_view name(DataType type) { return row(type).name; }

std::optional<DataType> parse_data_type(std::string_view text) {
  for (size_t i = 0; i < std::size(kRows); ++i)
    if (kRows[i].name == text) return static_cast<DataType>(i);
  return std::nullopt;
}

int bits(DataType type) { return row(type).bits; }

int64_t lowest(DataType type) { return row(type).is_signed ? -(highest(type)) - 1 : 0; }

int64_t highest(DataType type) {
  const int magnitude = row(type).bits - (row(type).is_signed ? 1 : 0);
  return static_cast<int64_t>((uint64_t{1} << magnitude) - 1);
}

}  // namespace dyadic

#include <cstring>

#include "runtime/public/implementation.h"

namespace dyadic::v1 {

static_assert(static_cast<int>(DataType::kI8) == static_cast<int>(dyadic::DataType::kI8) &&
              static_cast<int>(DataType::kU8) == static_cast<int>(dyadic::DataType::kU8) &&
              static_cast<int>(DataType::kI16) == static_cast<int>(dyadic::DataType::kI16) &&
              static_cast<int>(DataType::kU16) == static_cast<int>(dyadic::DataType::kU16) &&
              static_cast<int>(DataType::kI32) == static_cast<int>(dyadic::DataType::kI32) &&
              static_cast<int>(DataType::kU32) == static_cast<int>(dyadic::DataType::kU32) &&
              static_cast<int>(DataType::kI64) == static_cast<int>(dyadic::DataType::kI64));

namespace {

dyadic::DataType to_internal(DataType type) { return static_cast<dyadic::DataType>(type); }

}  // namespace

const char* name(DataType type) noexcept { return dyadic::name(to_internal(type)).data(); }
size_t element_bytes(DataType type) noexcept { return static_cast<size_t>(dyadic::bits(to_internal(type))) / 8; }

Tensor::Tensor(DataType type, std::vector<int64_t> dims) : type_(type), dims_(std::move(dims)) {
  for (const int64_t dim : dims_)
    if (dim < 0) throw Error(ErrorKind::kUsage, "tensor: dimension " + std::to_string(dim) + " is negative");
  translate_errors([&] {
    count_ = element_count(dims_);
    if (static_cast<uint64_t>(count_) > bytes_.max_size() / element_bytes(type_))
      throw Error(ErrorKind::kUsage, "tensor: " + dyadic::to_string(dims_) + " is too large");
    bytes_.resize(static_cast<size_t>(count_) * element_bytes(type_));
  });
}

int64_t Tensor::at(int64_t i) const {
  if (i < 0 || i >= count_)
    throw Error(ErrorKind::kUsage,
                "tensor: element " + std::to_string(i) + " of " + std::to_string(count_) + " does not exist");
  return dispatch(to_internal(type_), [&](auto zero) {
    decltype(zero) value;
    std::memcpy(&value, bytes_.data() + static_cast<size_t>(i) * sizeof value, sizeof value);
    return static_cast<int64_t>(value);
  });
}

void Tensor::check(DataType wanted) const {
  if (wanted != type_)
    throw Error(ErrorKind::kUsage, std::string("tensor: it stores ") + name(type_) + ", not " + name(wanted));
}

DataType to_public(dyadic::DataType type, const std::string& what) {
  if (!is_integer(type))
    fail(dyadic::ErrorKind::kContract, what, ": its type ", dyadic::name(type), " is not one of i8 .. i64");
  return static_cast<DataType>(type);
}

dyadic::Tensor to_internal(const Tensor& tensor) {
  dyadic::Tensor copy(to_internal(tensor.type()), tensor.dims());
  if (tensor.count() > 0) std::memcpy(copy.mutable_raw(), tensor.bytes().data(), tensor.bytes().size());
  return copy;
}

Tensor to_public(const dyadic::Tensor& tensor, const std::string& what) {
  Tensor copy(to_public(tensor.type(), what), tensor.dims());
  if (copy.count() > 0) std::memcpy(copy.bytes().data(), tensor.raw(), copy.bytes().size());
  return copy;
}

}  // namespace dyadic::v1

#include "tensor/tensor.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/buffer.h"
#include "base/hash.h"

namespace dyadic {

static_assert(std::endian::native == std::endian::little || std::endian::native == std::endian::big);

int64_t element_count(const Dims& dims) {
  int64_t count = 1;
  for (int64_t d : dims) {
    if (d < 0) fail(ErrorKind::kContract, "negative dimension in ", to_string(dims));
    if (__builtin_mul_overflow(count, d, &count) || count > (int64_t{1} << 62))
      fail(ErrorKind::kContract, "shape ", to_string(dims), " has too many elements");
  }
  return count;
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? "," : "") + std::to_string(dims[i]);
  return text + "]";
}

Tensor::Tensor(DataType type, Dims dims) : type_(type), dims_(std::move(dims)), count_(element_count(dims_)) {
  auto buffer = std::make_shared<AlignedBuffer>(static_cast<size_t>(bytes()));
  mutable_ = buffer->data();
  data_ = mutable_;
  owner_ = std::move(buffer);
}

Tensor::Tensor(DataType type, Dims dims, const std::byte* data, std::shared_ptr<const void> owner)
    : type_(type), dims_(std::move(dims)), count_(element_count(dims_)), data_(data), owner_(std::move(owner)) {}

std::byte* Tensor::mutable_raw() {
  DYADIC_CHECK(mutable_ != nullptr, "a view of a file is read-only");
  return mutable_;
}

namespace {

int64_t element(DataType type, const std::byte* data, int64_t i) {
  if (is_packed(type)) {
    const int width = dyadic::bits(type);
    int64_t code = 0;
    for (int b = 0; b < width; ++b) {
      const int64_t bit = i * width + b;
      code |= static_cast<int64_t>(std::to_integer<int>(data[bit / 8] >> (bit % 8)) & 1) << b;
    }
    return code > highest(type) ? code - (int64_t{1} << width) : code;
  }
  return dispatch(type,
                  [&](auto zero) { return static_cast<int64_t>(reinterpret_cast<const decltype(zero)*>(data)[i]); });
}

}  // namespace

int64_t Tensor::at(int64_t i) const { return element(type_, data_, i); }
int64_t TensorView::at(int64_t i) const { return element(type, data, i); }

void Tensor::set(int64_t i, int64_t v) {
  std::byte* data = mutable_raw();
  if (is_packed(type_)) {
    const int width = dyadic::bits(type_);
    for (int b = 0; b < width; ++b) {
      const int64_t bit = i * width + b;
      const std::byte mask = std::byte{1} << (bit % 8);
      data[bit / 8] = (v >> b & 1) ? data[bit / 8] | mask : data[bit / 8] & ~mask;
    }
    return;
  }
  dispatch(type_, [&](auto zero) {
    using T = decltype(zero);
    reinterpret_cast<T*>(data)[i] = static_cast<T>(v);
  });
}

std::vector<int64_t> Tensor::to_int64() const {
  std::vector<int64_t> values(count_);
  if (is_packed(type_)) {
    for (int64_t i = 0; i < count_; ++i) values[i] = at(i);
  } else {
    dispatch(type_, [&](auto zero) {
      const auto* p = reinterpret_cast<const decltype(zero)*>(data_);
      std::copy(p, p + count_, values.begin());
    });
  }
  return values;
}

Tensor Tensor::reshaped(Dims dims) const {
  Tensor t = *this;
  DYADIC_CHECK(element_count(dims) == count_, to_string(dims_), " to ", to_string(dims));
  t.dims_ = std::move(dims);
  return t;
}

uint64_t Tensor::hash() const {
  Hash64 h;
  h.update(name(type_));
  h.update(to_string(dims_));
  if (std::endian::native == std::endian::little || dyadic::bits(type_) <= 8) {
    h.update(data_, static_cast<size_t>(bytes()));
  } else {
    const int width = dyadic::bits(type_) / 8;
    for (int64_t i = 0; i < count_; ++i)
      for (int b = width - 1; b >= 0; --b) h.update(data_ + i * width + b, 1);
  }
  return h.value();
}

bool operator==(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() && a.dims() == b.dims() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0);
}

}  // namespace dyadic

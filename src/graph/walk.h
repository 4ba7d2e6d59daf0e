// Index arithmetic of dense row-major tensors: strides, broadcasting, permuted axes.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace dyadic {

inline Dims strides_of(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

// Visits the rows (last axis) of a walk over `dims` by several operands with their own strides, 0 where they broadcast;
// neighbouring axes that every operand walks without a gap are merged first.
template <size_t N>
struct Walk {
  Dims dims{1};
  std::array<Dims, N> strides;

  Walk(const Dims& shape, const std::array<Dims, N>& shape_strides) {
    for (auto& s : strides) s = {0};
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (shape[axis] == 1) continue;
      bool merge = true;
      for (size_t k = 0; k < N; ++k)
        merge &= strides[k].back() == shape_strides[k][axis] * shape[axis] || dims.back() == 1;
      if (merge) {
        dims.back() *= shape[axis];
      } else {
        dims.push_back(shape[axis]);
      }
      for (size_t k = 0; k < N; ++k) {
        if (!merge) strides[k].push_back(0);
        strides[k].back() = shape_strides[k][axis];
      }
    }
  }

  template <class Row>
  void rows(const Row& row) const {
    if (std::count(dims.begin(), dims.end(), 0)) return;
    Dims index(dims.size());
    std::array<int64_t, N> offset{};
    for (;;) {
      row(offset);
      size_t axis = dims.size() - 1;
      for (;; --axis) {
        if (axis == 0) return;
        ++index[axis - 1];
        for (size_t k = 0; k < N; ++k) offset[k] += strides[k][axis - 1];
        if (index[axis - 1] < dims[axis - 1]) break;
        for (size_t k = 0; k < N; ++k) offset[k] -= strides[k][axis - 1] * dims[axis - 1];
        index[axis - 1] = 0;
      }
    }
  }
};

// Strides of an operand of shape `dims` in a walk over `shape`: NumPy broadcasting.
inline Dims broadcast_strides(const Dims& dims, const Dims& shape) {
  const Dims own = strides_of(dims);
  Dims strides(shape.size(), 0);
  for (size_t i = 0; i < dims.size(); ++i)
    if (dims[i] != 1) strides[shape.size() - dims.size() + i] = own[i];
  return strides;
}

// The elements of x with its axes in the order `perm`.
template <class T>
std::vector<T> permuted(const T* x, const Dims& dims, const std::vector<int>& perm) {
  const Dims own = strides_of(dims);
  Dims shape, strides;
  for (int p : perm) {
    shape.push_back(dims[p]);
    strides.push_back(own[p]);
  }
  std::vector<T> result(element_count(shape));
  const Walk<1> walk(shape, {strides});
  const int64_t n = walk.dims.back(), step = walk.strides[0].back();
  T* out = result.data();
  walk.rows([&](const std::array<int64_t, 1>& at) {
    for (int64_t j = 0; j < n; ++j) *out++ = x[at[0] + j * step];
  });
  return result;
}

}  // namespace dyadic

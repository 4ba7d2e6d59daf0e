// For tests and benchmarks of kernels: building a KernelSpec by hand and running one row on buffers of exactly the
// promised size, so that a sanitizer sees any access beyond.
#pragma once
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace dyadic::testing {

inline KernelOperand parameter(std::string name, Tensor constant) {
  return {std::move(name), constant.type(), constant.dims(), constant, {}};
}
template <class T>
KernelOperand parameter(std::string name, const std::vector<T>& values) {
  return parameter(std::move(name), Tensor::from<T>({static_cast<int64_t>(values.size())}, values));
}
inline KernelOperand data(std::string name, DataType type, Dims dims) {
  return {std::move(name), type, std::move(dims), {}, range_of(type)};
}

// A copy of `tensor` in memory of exactly its size.
struct ExactBuffer {
  explicit ExactBuffer(const Tensor& tensor)
      : bytes(new std::byte[tensor.bytes()]), view{tensor.type(), tensor.dims(), bytes.get()} {
    if (tensor.bytes()) std::memcpy(bytes.get(), tensor.raw(), tensor.bytes());
  }
  std::unique_ptr<std::byte[]> bytes;
  TensorView view;
};

// Results of one kernel. `outputs` gives types and dimensions; what they hold at first is noise.
inline std::vector<Tensor> run(const Kernel& kernel, const std::vector<Tensor>& inputs,
                               const std::vector<Tensor>& outputs, int64_t max_length, int threads) {
  std::vector<ExactBuffer> in, out;
  std::vector<TensorView> in_views, out_views;
  std::vector<Dims> dims;
  for (const Tensor& tensor : inputs) {
    in_views.push_back(in.emplace_back(tensor).view);
    dims.push_back(tensor.dims());
  }
  for (const Tensor& tensor : outputs) {
    out_views.push_back(out.emplace_back(tensor).view);
    std::memset(out.back().bytes.get(), 0x5a, tensor.bytes());
  }
  const size_t scratch_bytes = kernel.scratch_bytes(dims, max_length);
  std::vector<std::unique_ptr<std::byte[]>> scratch;
  std::vector<std::byte*> pointers;
  for (int i = 0; i < threads; ++i) {
    pointers.push_back(scratch.emplace_back(new std::byte[scratch_bytes]).get());
    std::memset(pointers.back(), 0xa5, scratch_bytes);
  }
  ThreadPool pool(threads);
  kernel.run(in_views, out_views, {&pool, pointers});
  std::vector<Tensor> results;
  for (const ExactBuffer& buffer : out) {
    Tensor& result = results.emplace_back(buffer.view.type, buffer.view.dims);
    std::memcpy(result.mutable_raw(), buffer.bytes.get(), result.bytes());
  }
  return results;
}

// The rows of a composite.
inline std::vector<const KernelRow*> rows_of(const std::string& composite) {
  std::vector<const KernelRow*> rows;
  for (const KernelRow& row : kernel_rows())
    if (row.composite == composite) rows.push_back(&row);
  return rows;
}

}  // namespace dyadic::testing

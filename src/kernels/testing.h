// For tests and benchmarks of kernels: building a KernelSpec by hand and running one row on buffers of exactly the
// promised size, with an unmapped page behind each, so that any access beyond is an end.
#pragma once
#include <algorithm>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "kernels/guarded_memory.h"
#include "kernels/kernel.h"

extern "C" void omp_set_num_threads(int);  // of the OpenMP library that oneDNN is linked with

namespace dyadic::testing {

inline KernelOperand parameter(std::string name, const Tensor& constant) {
  return {std::move(name), constant.type(), constant.dims(), constant, {}};
}
template <class T>
KernelOperand parameter(std::string name, const std::vector<T>& values) {
  return parameter(std::move(name), Tensor::from<T>({static_cast<int64_t>(values.size())}, values));
}
inline KernelOperand data(std::string name, DataType type, Dims dims) {
  return {std::move(name), type, std::move(dims), {}, range_of(type)};
}

// All operands of the body in its order: the parameters of `spec`, and `inputs` for what is not constant.
inline std::vector<Tensor> operands(const KernelSpec& spec, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> all;
  auto next = inputs.begin();
  for (const KernelOperand& operand : spec.inputs)
    all.push_back(operand.constant.defined() ? operand.constant : *next++);
  return all;
}

// For benchmarks beside oneDNN, on the thread that calls it: its loops get no other, whatever OMP_NUM_THREADS says, so
// that the CPU time of this thread is all that they take.
inline void hold_onednn_to_this_thread() { omp_set_num_threads(1); }

// A kernel with its operands, scratch and threads, to be run as often as wanted.
class Bound {
 public:
  // `outputs` gives types and dimensions; what they hold at first is noise.
  Bound(const Kernel& kernel, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs, int64_t max_length,
        int threads)
      : kernel_(kernel), pool_(threads) {
    std::vector<Dims> dims;
    for (const Tensor& tensor : inputs) {
      inputs_.push_back({tensor.type(), tensor.dims(), buffer(tensor.bytes(), 0)});
      if (tensor.bytes()) std::memcpy(inputs_.back().data, tensor.raw(), tensor.bytes());
      dims.push_back(tensor.dims());
    }
    for (const Tensor& tensor : outputs)
      outputs_.push_back({tensor.type(), tensor.dims(), buffer(tensor.bytes(), 0x5a)});
    for (int i = 0; i < threads; ++i) scratch_.push_back(buffer(kernel.scratch_bytes(dims, max_length), 0xa5));
  }

  void run() { kernel_.run(inputs_, outputs_, {&pool_, scratch_}); }
  std::vector<Tensor> results() const {
    std::vector<Tensor> results;
    for (const TensorView& view : outputs_) {
      Tensor& result = results.emplace_back(view.type, view.dims);
      if (result.bytes()) std::memcpy(result.mutable_raw(), view.data, result.bytes());
    }
    return results;
  }

 private:
  std::byte* buffer(size_t bytes, int fill) {
    std::byte* p = buffers_.emplace_back(std::make_unique<test::GuardedMemory>(bytes))->data();
    std::memset(p, fill, bytes);
    return p;
  }

  const Kernel& kernel_;
  ThreadPool pool_;
  std::vector<std::unique_ptr<test::GuardedMemory>> buffers_;
  std::vector<TensorView> inputs_, outputs_;
  std::vector<std::byte*> scratch_;
};

inline std::vector<Tensor> run(const Kernel& kernel, const std::vector<Tensor>& inputs,
                               const std::vector<Tensor>& outputs, int64_t max_length, int threads) {
  Bound bound(kernel, inputs, outputs, max_length, threads);
  bound.run();
  return bound.results();
}

// The rows of a composite.
inline std::vector<const KernelRow*> rows_of(const std::string& composite) {
  std::vector<const KernelRow*> rows;
  for (const KernelRow& row : kernel_rows())
    if (row.composite == composite) rows.push_back(&row);
  return rows;
}

// Nanoseconds of processor time of `calls` calls on this thread; other jobs of the machine do not count.
template <class F>
double time_ns(int64_t calls, const F& f) {
  const auto now = [] {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec);
  };
  const double start = now();
  for (int64_t i = 0; i < calls; ++i) f();
  return now() - start;
}

// Median nanoseconds of a call over 5 to 201 batches of at least 0.1 ms.
template <class F>
double median_ns(const F& f) {
  int64_t calls = 1;
  double trial = time_ns(calls, f);
  while (trial < 1e5) trial = time_ns(calls *= 2, f);
  std::vector<double> ns(static_cast<size_t>(std::clamp(5e8 / trial, 5.0, 201.0)));
  for (double& x : ns) x = time_ns(calls, f) / static_cast<double>(calls);
  std::nth_element(ns.begin(), ns.begin() + ns.size() / 2, ns.end());
  return ns[ns.size() / 2];
}

// Cycles a nanosecond, from a chain of additions that take a cycle each.
inline double measured_ghz() {
  constexpr int kSteps = 20000;
  return kSteps / median_ns([] {
           int64_t x = 0;
#pragma GCC unroll 20
           for (int i = 0; i < kSteps; ++i) {
             ++x;
             asm volatile("" : "+r"(x));
           }
         });
}

}  // namespace dyadic::testing

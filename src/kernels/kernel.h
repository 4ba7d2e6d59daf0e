// Kernels replace bodies where speed matters; each equals its body in every bit. A kernel row states what it is for;
// selection checks it; a test runs every row against its body because it is a row.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/threads.h"
#include "tensor/epilogue.h"
#include "tensor/tensor.h"

namespace dyadic {

struct KernelOperand {
  std::string name;  // as the body's input or output is called
  DataType type = DataType::kI8;
  Dims dims;             // -1 for a symbolic dimension
  Tensor constant;       // defined() for a parameter
  Interval range{0, 0};  // proved
};

// One composite of a model, as a kernel sees it.
struct KernelSpec {
  std::string composite;                    // "linear"
  int version = 1;                          // of the body
  std::map<std::string, int64_t> integers;  // attributes, e.g. heads, head_dim
  std::vector<EpilogueStage> epilogue;
  std::vector<KernelOperand> inputs, outputs;  // in the order of the body's inputs and outputs

  const KernelOperand* find_input(const std::string& name) const;
  const Tensor& parameter(const std::string& name) const;  // kContract if it is not a constant input
  int64_t integer(const std::string& name) const;          // kContract if absent
};

// Scratch memory of one worker thread, at least Kernel::scratch_bytes.
struct KernelContext {
  ThreadPool* pool = nullptr;
  std::span<std::byte* const> scratch;  // one a worker

  // ThreadPool::parallel_for, on the calling thread alone without a pool.
  void parallel_for(int64_t count, int64_t grain, ThreadPool::Body body) const {
    if (pool) return pool->parallel_for(count, grain, body);
    if (count > 0) body(0, count, 0);
  }
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  // `inputs` are the non-constant operands in order, with their actual dimensions.
  virtual void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                   const KernelContext& context) const = 0;
  // Scratch each worker needs for inputs up to these dimensions; `max_length` bounds the length of one sequence.
  virtual size_t scratch_bytes(std::span<const Dims> inputs, int64_t max_length) const;
  // What this instance decided, for people: e.g. "32-bit requantize, 6x64 tile".
  virtual std::string describe() const { return ""; }
};

struct KernelRow {
  const char* composite;
  const char* name;  // "linear_avx512vnni"
  Isa isa;
  std::string (*reject)(const KernelSpec& spec);            // why this row cannot serve, or empty
  std::unique_ptr<Kernel> (*make)(const KernelSpec& spec);  // packs parameters
};

// Every row of kernels.inc: fastest first within a composite, portable last.
std::span<const KernelRow> kernel_rows();
// The first row for spec.composite with isa <= `isa` that does not reject; nullptr with reasons in *why otherwise.
const KernelRow* select_kernel(const KernelSpec& spec, Isa isa, std::string* why = nullptr);

}  // namespace dyadic

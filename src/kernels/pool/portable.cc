// pool: the mean of each sequence's rows in the rows' scale, then (normalize) its unit vector in steps of 2^-15.
#include <algorithm>
#include <string>

#include "base/fixed_point.h"
#include "kernels/kernel.h"

namespace dyadic {
namespace {

constexpr int64_t kMaxWidth = int64_t{1} << 14;   // sums of squares stay below 2^46
constexpr int64_t kMaxLength = int64_t{1} << 16;  // column sums stay below 2^31

// mean[i] -> its share of the vector's length in steps of 2^-15, saturated at 32767; a zero vector stays zero.
void normalize(int16_t* mean, int64_t n) {
  int64_t squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += int64_t{mean[i]} * mean[i];
  if (squares == 0) return;
  const int half = (61 - log2_floor(squares)) / 2;  // squares * 4^half is in [2^60, 2^62)
  const int64_t root = static_cast<int64_t>(isqrt(static_cast<uint64_t>(squares) << (2 * half)));
  const int64_t reciprocal = ((int64_t{1} << 61) - 1) / root;
  for (int64_t i = 0; i < n; ++i)
    mean[i] = static_cast<int16_t>(clamp64(mul_shift(mean[i], reciprocal, 46 - half), -32768, 32767));
}

class PoolKernel : public Kernel {
 public:
  explicit PoolKernel(const KernelSpec& spec) : normalize_(spec.integer("normalize") != 0) {}

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int64_t rows = inputs[0].dims[0], n = inputs[0].dims[1];
    const int16_t* x = inputs[0].as<int16_t>();
    const int32_t *start = inputs[1].as<int32_t>(), *length = inputs[2].as<int32_t>();
    int16_t* out = outputs[0].as<int16_t>();
    context.parallel_for(inputs[1].dims[0], 1, [&](int64_t begin, int64_t end, int worker) {
      int32_t* sum = reinterpret_cast<int32_t*>(context.scratch[worker]);
      for (int64_t b = begin; b < end; ++b) {
        if (start[b] < 0 || length[b] < 0 || length[b] > std::min(kMaxLength, rows - start[b]))
          fail(ErrorKind::kContract, "pool: sequence ", b, " of ", length[b], " rows from row ", start[b],
               " does not lie within ", rows, " rows or is longer than ", kMaxLength);
        std::fill_n(sum, n, 0);
        for (int64_t r = 0; r < length[b]; ++r)
          for (int64_t i = 0; i < n; ++i) sum[i] += x[(start[b] + r) * n + i];
        const int64_t count = std::max(1, length[b]);
        for (int64_t i = 0; i < n; ++i)
          out[b * n + i] = static_cast<int16_t>(div_floor(int64_t{2} * sum[i] + count, 2 * count));
        if (normalize_) normalize(out + b * n, n);
      }
    });
  }

  size_t scratch_bytes(std::span<const Dims> inputs, int64_t) const override {
    return static_cast<size_t>(inputs[0][1]) * sizeof(int32_t);
  }

 private:
  bool normalize_;
};

}  // namespace

std::string pool_portable_reject(const KernelSpec& spec) {
  if (spec.version != 1) return cat("version ", spec.version, " of the body is unknown");
  const int64_t n = spec.inputs[0].dims[1];
  return n < 1 || n > kMaxWidth ? cat("width ", n, ": want 1..", kMaxWidth) : "";
}
std::unique_ptr<Kernel> pool_portable_make(const KernelSpec& spec) { return std::make_unique<PoolKernel>(spec); }

}  // namespace dyadic

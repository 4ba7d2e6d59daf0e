// The rows of `pool` as the registry sees them, and the walk over sequences.
#include "kernels/pool/pool.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/fixed_point.h"
#include "kernels/kernel.h"

namespace dyadic {
namespace pool {
namespace {

constexpr int64_t kMaxWidth = int64_t{1} << 14;   // sums of squares stay below 2^46
constexpr int64_t kMaxLength = int64_t{1} << 16;  // column sums stay below 2^31

void portable_add(const int16_t* x, int64_t stride, int64_t rows, int64_t n, int32_t* sum) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) sum[i] += x[r * stride + i];
}

// mean[i] -> its share of the vector's length in steps of 2^-15, saturated at 32767; a zero vector stays zero.
void normalize(const RowLoops* vector, int64_t n, int16_t* mean) {
  int64_t squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += int64_t{mean[i]} * mean[i];
  if (squares == 0) return;
  const int half = (61 - log2_floor(static_cast<uint64_t>(squares))) / 2;  // squares * 4^half is in [2^60, 2^62)
  const auto root = static_cast<int64_t>(isqrt_normalized(static_cast<uint64_t>(squares) << (2 * half)));
  const auto reciprocal = static_cast<int32_t>(((int64_t{1} << 61) - 1) / root);
  const auto word = vector ? word_ratio(32768, reciprocal, 46 - half) : std::nullopt;
  if (word) return vector->scale(*word, n, mean);
  for (int64_t i = 0; i < n; ++i)
    mean[i] = static_cast<int16_t>(clamp64(mul_shift(mean[i], reciprocal, 46 - half), -32768, 32767));
}

class PoolKernel : public Kernel {
 public:
  PoolKernel(const KernelSpec& spec, const RowLoops* vector)
      : normalize_(spec.integer("normalize") != 0), vector_(vector) {}

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int64_t rows = inputs[0].dims[0], n = inputs[0].dims[1];
    const int16_t* x = inputs[0].as<int16_t>();
    const int32_t *start = inputs[1].as<int32_t>(), *length = inputs[2].as<int32_t>();
    int16_t* out = outputs[0].as<int16_t>();
    const auto add = vector_ ? vector_->add : portable_add;
    context.parallel_for(inputs[1].dims[0], 1, [&](int64_t begin, int64_t end, int worker) {
      int32_t* sum = reinterpret_cast<int32_t*>(context.scratch[worker]);
      for (int64_t b = begin; b < end; ++b) {
        if (start[b] < 0 || length[b] < 0 || length[b] > std::min(kMaxLength, rows - start[b]))
          fail(ErrorKind::kContract, "pool: sequence ", b, " of ", length[b], " rows from row ", start[b],
               " does not lie within ", rows, " rows or is longer than ", kMaxLength);
        std::fill_n(sum, n, 0);
        add(x + start[b] * n, n, length[b], n, sum);
        const int64_t count = std::max(1, length[b]);
        const FloorDivisor divisor(2 * count);
        for (int64_t i = 0; i < n; ++i) out[b * n + i] = static_cast<int16_t>(divisor(int64_t{2} * sum[i] + count));
        if (normalize_) normalize(vector_, n, out + b * n);
      }
    });
  }

  size_t scratch_bytes(std::span<const Dims> inputs, int64_t) const override {
    return static_cast<size_t>(inputs[0][1]) * sizeof(int32_t);
  }

 private:
  bool normalize_;
  const RowLoops* vector_;
};

std::string reject(const KernelSpec& spec) {
  if (spec.version != 1) return cat("version ", spec.version, " of the body is unknown");
  const int64_t n = spec.inputs[0].dims[1];
  return n < 1 || n > kMaxWidth ? cat("width ", n, ": want 1..", kMaxWidth) : "";
}

}  // namespace
}  // namespace pool

#define DYADIC_POOL_ROW(suffix, loops)                                                      \
  std::string pool_##suffix##_reject(const KernelSpec& spec) { return pool::reject(spec); } \
  std::unique_ptr<Kernel> pool_##suffix##_make(const KernelSpec& spec) {                    \
    return std::make_unique<pool::PoolKernel>(spec, loops);                                 \
  }
DYADIC_POOL_ROW(portable, nullptr)
DYADIC_POOL_ROW(avx2, &pool::kAvx2Loops)
DYADIC_POOL_ROW(avx512vnni, &pool::kAvx512VnniLoops)
#undef DYADIC_POOL_ROW

}  // namespace dyadic

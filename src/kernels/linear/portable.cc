// Plain loops: the kernel for every CPU, and the one that says what the others must give. Weights are kept as 16-bit
// values, because compilers turn a product sum of those into pmaddwd, twice as fast as one of 8-bit values.
#include <algorithm>

#include "base/buffer.h"
#include "kernels/dot/dot.h"
#include "kernels/linear/linear.h"

namespace dyadic {
namespace {

constexpr int64_t kBlock = 64;  // columns that share one widened row of x

class PortableLinear : public Kernel {
 public:
  explicit PortableLinear(const KernelSpec& spec)
      : p_(linear_parameters(spec)), weight_(static_cast<size_t>(p_.N * p_.K) * 2) {
    const std::span<const int8_t> codes = p_.weight.span<int8_t>();
    std::copy(codes.begin(), codes.end(), weight_.as<int16_t>());
    p_.weight = Tensor();
    int64_t column = 0;
    for (size_t g = 0; g < p_.ends.size(); ++g)
      for (; column < p_.ends[g]; ++column) table_of_.push_back(p_.tables.data<int8_t>() + 256 * g);
    column = 0;
    for (int64_t width : p_.splits) starts_.push_back(column), column += width;
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const auto body = [&](int64_t begin, int64_t end, int worker) {
      int16_t* row = reinterpret_cast<int16_t*>(context.scratch[worker]);
      for (int64_t c = begin; c < end; c += kBlock) run_block(inputs[0], outputs, c, std::min(end, c + kBlock), row);
    };
    if (context.pool)
      context.pool->parallel_for(p_.N, kBlock, body);
    else
      body(0, p_.N, 0);
  }

  size_t scratch_bytes(std::span<const Dims>, int64_t) const override { return 2 * p_.K; }
  std::string describe() const override { return "plain loops"; }

 private:
  void run_block(const TensorView& x, std::span<const TensorView> outputs, int64_t begin, int64_t end,
                 int16_t* row) const {
    int32_t sums[kBlock];
    const int8_t* codes = x.as<int8_t>();
    for (int64_t t = 0; t < x.dims[0]; ++t) {
      std::copy(codes + t * p_.K, codes + (t + 1) * p_.K, row);
      dot_s16s16_s32(1, end - begin, p_.K, row, p_.K, weight_.as<int16_t>() + begin * p_.K, p_.K, sums, kBlock);
      for (size_t j = 0; j < outputs.size(); ++j) {
        const int64_t first = std::max(begin, starts_[j]), last = std::min(end, starts_[j] + p_.splits[j]);
        const auto store = [&](auto* y) {
          for (int64_t c = first; c < last; ++c) y[c - starts_[j]] = code(sums[c - begin], c);
        };
        if (p_.code == DataType::kI8)
          store(outputs[j].as<int8_t>() + t * p_.splits[j]);
        else
          store(outputs[j].as<int16_t>() + t * p_.splits[j]);
      }
    }
  }

  int64_t code(int32_t sum, int64_t column) const {
    const int64_t y = p_.requantize(int64_t{sum} + p_.bias[column], column);
    return table_of_.empty() ? y : table_of_[column][y + 128];
  }

  LinearParameters p_;
  AlignedBuffer weight_;                 // i16 [N,K]
  std::vector<const int8_t*> table_of_;  // by column
  std::vector<int64_t> starts_;          // first column of each output
};

}  // namespace

std::string linear_portable_reject(const KernelSpec& spec) { return linear_reject(spec); }
std::unique_ptr<Kernel> linear_portable_make(const KernelSpec& spec) { return std::make_unique<PortableLinear>(spec); }

}  // namespace dyadic

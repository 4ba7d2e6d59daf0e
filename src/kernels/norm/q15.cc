// Norms in Q15: bodies with lane_bits = 16 (README.md).
#include "kernels/norm/row_kernel.h"

namespace dyadic::norm {
namespace {

constexpr int64_t kMostY = 1 << 14;

int64_t mul_q15(int64_t a, int64_t b) { return (a * b + (1 << 14)) >> 15; }

std::vector<Q15Output> outputs_of(const KernelSpec& spec) {
  std::vector<Q15Output> outputs;
  for (size_t j = 0; j < spec.outputs.size(); ++j) {
    const std::string name = cat("out", j);
    outputs.push_back({spec.outputs[j].type, spec.parameter(name + "_m").data<int16_t>(),
                       spec.parameter(name + "_beta").data<int16_t>(),
                       spec.parameter(name + "_shift").data<uint8_t>()[0]});
  }
  return outputs;
}

// Half of what an output's shift to the right drops.
int64_t rounding(const Q15Output& output) {
  return output.type == DataType::kI8 && output.shift > 0 ? int64_t{1} << (output.shift - 1) : 0;
}

std::string reject(const KernelSpec& spec) {
  if (std::string why = reject_shape(spec); !why.empty()) return why;
  for (const Q15Output& output : outputs_of(spec)) {
    if (output.shift > 8) return "a shift exceeds 8";
    for (int64_t i = 0; i < width_of(spec); ++i)
      if (((kMostY * std::abs(int64_t{output.m[i]})) >> 15) + 1 + std::abs(int64_t{output.beta[i]}) + rounding(output) >
          INT16_MAX)
        return "an output's product and beta may leave a word";
  }
  return "";
}

Q15Ratios ratios_of(const KernelSpec& spec) {
  return {spec.parameter("sublayer_m").data<int16_t>()[0], spec.parameter("identity_m").data<int16_t>()[0]};
}

// d = ((256 q - mu) 2^e + 2^15) >> 16, and floors compose. Left of the point only the last 16 bits matter, as d is a
// word; right of it q + add is one too if the mean is small. Where it is not, `add` leaves a one to `average`.
Q15Scale q15_scale(const RowScale& row) {
  const int left = std::max(row.e - 8, 0), right = std::max(8 - row.e, 0);
  const int64_t add = right == 0 ? ((int64_t{1} << 15) - row.mu * (int64_t{1} << row.e)) >> 16
                                 : ((int64_t{1} << (15 - row.e)) - row.mu) >> 8;
  const bool wide = right > 0 && std::abs(add) > INT16_MAX - kLargestQ15Sum;
  return {static_cast<int16_t>(wide ? add - 1 : add), static_cast<int16_t>(row.reciprocal >> 16), wide, left, right};
}

class Q15Kernel : public RowKernel {
 public:
  static constexpr Interval kSums{-kLargestQ15Sum, kLargestQ15Sum};

  Q15Kernel(const KernelSpec& spec, const RowLoops* vector) : RowKernel(spec, vector), outputs_(outputs_of(spec)) {
    for (Q15Output& output : outputs_) prepare(output);
  }
  std::string describe() const override { return vector_ ? "in words of 16 bits" : ""; }

 protected:
  void finish(const int16_t* q, std::span<const RowScale> rows, std::byte* const* to) const override {
    Q15Scale scales[kGroup];
    std::transform(rows.begin(), rows.end(), scales, q15_scale);
    if (vector_) return vector_->finish_q15(q, ldq_, {scales, rows.size()}, n_, outputs_, to);
    for (size_t r = 0; r < rows.size(); ++r) finish_row(q + r * ldq_, scales[r], r, to);
  }

 private:
  void finish_row(const int16_t* q, const Q15Scale& scale, int64_t row, std::byte* const* to) const {
    int16_t y[kColumns];
    for (int64_t begin = 0; begin < n_; begin += kColumns) {
      const int64_t end = std::min(n_, begin + kColumns);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t sum = (int64_t{q[i]} << scale.left) + scale.add, d = (sum + scale.wide) >> scale.right;
        y[i - begin] = static_cast<int16_t>(mul_q15(static_cast<int16_t>(d), scale.reciprocal));
      }
      for (size_t j = 0; j < outputs_.size(); ++j) {
        const Q15Output& output = outputs_[j];
        const bool bytes = output.type == DataType::kI8;
        const int right = bytes ? output.shift : 0, left = bytes ? 0 : output.shift;
        store_codes(output.type, begin, end, to[j] + row * row_bytes(j),
                    [&](int64_t i) { return (mul_q15(y[i - begin], output.m[i]) + output.beta[i]) >> right << left; });
      }
    }
  }

  // Copies of m and of beta with its rounding, padded to what vectors read.
  void prepare(Q15Output& output) {
    const int64_t padded = round_up(n_, vector_ ? 2 * vector_->block : 1);
    AlignedBuffer& buffer = buffers_.emplace_back(static_cast<size_t>(2 * padded) * sizeof(int16_t));
    int16_t *m = buffer.as<int16_t>(), *beta = m + padded;
    for (int64_t i = 0; i < n_; ++i) {
      m[i] = output.m[i];
      beta[i] = static_cast<int16_t>(output.beta[i] + rounding(output));
    }
    output.m = m;
    output.beta = beta;
  }

  std::vector<Q15Output> outputs_;
  std::vector<AlignedBuffer> buffers_;
};

class Q15AddNormKernel final : public Q15Kernel {
 public:
  Q15AddNormKernel(const KernelSpec& spec, const RowLoops* vector)
      : Q15Kernel(spec, vector), ratios_(ratios_of(spec)) {}

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int16_t *a = inputs[0].as<int16_t>(), *b = inputs[1].as<int16_t>();
    const auto sum = [&](int64_t t, int64_t count, int16_t* q, Sums* sums) {
      if (vector_) return vector_->add_q15(a + t * n_, b + t * n_, ratios_, n_, count, q, ldq_, sums);
      for (int64_t r = 0; r < count; ++r) sums[r] = portable_sum(a + (t + r) * n_, b + (t + r) * n_, q + r * ldq_);
    };
    run_rows(inputs[0].dims[0], outputs, context, sum, [](int64_t) {});
  }

 private:
  Sums portable_sum(const int16_t* a, const int16_t* b, int16_t* q) const {
    Sums sums{0, 0};
    for (int64_t i = 0; i < n_; ++i) {
      const int64_t code = mul_q15(a[i], ratios_.first) + mul_q15(b[i], ratios_.second);
      q[i] = static_cast<int16_t>(code);
      sums.sum += code;
      sums.squares += static_cast<uint64_t>(code * code);
    }
    return sums;
  }

  Q15Ratios ratios_;
};

}  // namespace

bool is_q15(const KernelSpec& spec) {
  const auto it = spec.integers.find("lane_bits");
  return it != spec.integers.end() && it->second == 16;
}

std::string reject_q15_add_norm(const KernelSpec& spec) {
  const Q15Ratios ratios = ratios_of(spec);
  if (std::abs(int{ratios.first}) + std::abs(int{ratios.second}) > kLargestQ15Sum) return "the sum may leave a word";
  return reject(spec);
}

std::string reject_q15_embed_norm(const KernelSpec& spec) { return reject(spec); }

std::unique_ptr<Kernel> make_q15_add_norm(const KernelSpec& spec, const RowLoops* vector) {
  return std::make_unique<Q15AddNormKernel>(spec, vector);
}
std::unique_ptr<Kernel> make_q15_embed_norm(const KernelSpec& spec, const RowLoops* vector) {
  return std::make_unique<EmbedNormKernel<Q15Kernel>>(spec, vector);
}

}  // namespace dyadic::norm

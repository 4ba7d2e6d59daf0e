// The rows of `attention` as the registry sees them: what each accepts, and the walk over heads and sequences.
#include "kernels/attention/attention.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "base/fixed_point.h"
#include "kernels/kernel.h"

namespace dyadic {
namespace attention {
namespace {

Parameters parameters_of(const KernelSpec& spec) {
  Parameters p;
  p.heads = spec.integer("heads");
  p.head_dim = spec.integer("head_dim");
  std::copy_n(spec.parameter("table").data<uint8_t>(), 256, p.table);
  p.distance = {spec.parameter("distance_m").data<int32_t>()[0], spec.parameter("distance_s").data<uint8_t>()[0]};
  p.out = {spec.parameter("out_m").data<int32_t>()[0], spec.parameter("out_s").data<uint8_t>()[0]};
  return p;
}

std::string reject(const KernelSpec& spec) {
  if (spec.version != 1) return cat("version ", spec.version, " of the body is unknown");
  const Parameters p = parameters_of(spec);
  if (p.heads < 1 || p.head_dim < 1 || p.head_dim > kMaxHeadDim)
    return cat(p.heads, " heads of ", p.head_dim, ": want at least one of 1..", kMaxHeadDim);
  if (p.distance.m < 0) return "distance_m is negative: distances would be";
  if (p.distance.s > 62 || p.out.s > 62) return "a shift exceeds 62";
  if (p.table[0] < 3) return "table[0] below 3: 2^32 divided by it exceeds i32";
  return "";
}

// How a distance up to `largest` becomes D in 32 bits without sign and a shift of at least `least`, if it can.
std::optional<HighShift> shift_of_32_bits(Ratio& ratio, int64_t largest, int least) {
  if (ratio.s > 0 && largest * ratio.m < int64_t{1} << (ratio.s - 1)) ratio = {0, least};  // D is 0 everywhere
  while (ratio.m % 2 == 0 && ratio.s > least) ratio = {ratio.m / 2, ratio.s - 1};
  if (ratio.s < least || ratio.s > 31) return std::nullopt;
  const int64_t half = int64_t{1} << (ratio.s - 1);
  if (largest * ratio.m + half > UINT32_MAX) return std::nullopt;
  return HighShift{0, 0, ratio.s, static_cast<int32_t>(half)};
}

// Nothing, and the reason in *why, if vector rows cannot compute this exactly.
std::optional<VectorParameters> vector_parameters(const KernelSpec& spec, const VectorRows& rows, std::string* why) {
  VectorParameters p{parameters_of(spec)};
  if (p.head_dim % 4 != 0 || p.head_dim > kMaxVectorHeadDim) {
    *why = cat("head_dim ", p.head_dim, ": want a multiple of 4 up to ", kMaxVectorHeadDim);
    return std::nullopt;
  }
  const int64_t largest = 2 * 127 * 127 * p.head_dim;
  auto distance = shift_of_32_bits(p.distance, largest, rows.least_right);
  p.product32 = distance.has_value();
  if (!distance) distance = high_shift(signed_bits(largest), signed_bits(p.distance.m), p.distance.s);
  if (!distance || p.out.s < 33) {
    *why = "a ratio is too large for the high half of a 32-bit product";
    return std::nullopt;
  }
  p.distance_shift = *distance;
  p.distance.m <<= distance->m_left;
  p.out_shift = {0, 0, p.out.s - 32, int32_t{1} << (p.out.s - 33)};
  if (rows.uses_factors) {
    const auto factors = factor(p.table);
    p.has_factors = factors.has_value();
    if (factors) p.factors = *factors;
  } else {
    p.half_table = std::all_of(p.table + 127, p.table + 256, [&](uint8_t e) { return e == p.table[127]; });
  }
  return p;
}

std::string reject_vector(const KernelSpec& spec, const VectorRows& rows) {
  std::string why = reject(spec);
  if (why.empty()) vector_parameters(spec, rows, &why);
  return why;
}

class AttentionKernel : public Kernel {
 public:
  explicit AttentionKernel(const KernelSpec& spec)
      : heads_(spec.integer("heads")), head_dim_(spec.integer("head_dim")) {}

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int64_t rows = inputs[0].dims[0], sequences = inputs[3].dims[0], stride = heads_ * head_dim_;
    const int8_t *q = inputs[0].as<int8_t>(), *k = inputs[1].as<int8_t>(), *v = inputs[2].as<int8_t>();
    const int32_t *start = inputs[3].as<int32_t>(), *length = inputs[4].as<int32_t>();
    int8_t* out = outputs[0].as<int8_t>();
    if (covered_rows(start, length, sequences, rows) != rows) std::memset(out, 0, rows * stride);
    // Heads outside, sequences inside: workers get whole heads, equal work however the lengths differ.
    context.parallel_for(heads_ * sequences, 1, [&](int64_t begin, int64_t end, int worker) {
      begin_heads();
      for (int64_t i = begin; i < end; ++i) {
        const int64_t sequence = i % sequences, at = start[sequence] * stride + i / sequences * head_dim_;
        if (length[sequence] == 0) continue;
        run_head({q + at, k + at, v + at, out + at, stride, length[sequence], context.scratch[worker]});
      }
      end_heads();
    });
  }

 protected:
  // Around the heads that a thread runs.
  virtual void begin_heads() const {}
  virtual void end_heads() const {}
  virtual void run_head(const Head& head) const = 0;
  int64_t heads_, head_dim_;

 private:
  static int64_t covered_rows(const int32_t* start, const int32_t* length, int64_t sequences, int64_t rows) {
    int64_t covered = 0;
    for (int64_t i = 0; i < sequences; ++i) {
      if (start[i] < 0 || length[i] < 0 || length[i] > std::min(kMaxLength, rows - start[i]))
        fail(ErrorKind::kContract, "attention: sequence ", i, " of ", length[i], " rows from row ", start[i],
             " does not lie within ", rows, " rows or is longer than ", kMaxLength);
      covered += length[i];
    }
    return covered;
  }
};

class PortableAttention : public AttentionKernel {
 public:
  explicit PortableAttention(const KernelSpec& spec) : AttentionKernel(spec), p_(parameters_of(spec)) {}

  size_t scratch_bytes(std::span<const Dims>, int64_t max_length) const override {
    return static_cast<size_t>(max_length + head_dim_) * sizeof(int32_t);
  }

 protected:
  void run_head(const Head& head) const override {
    int32_t* score = reinterpret_cast<int32_t*>(head.scratch);
    int32_t* acc = score + head.length;
    for (int64_t r = 0; r < head.length; ++r) {
      const int8_t* q = head.q + r * head.stride;
      for (int64_t c = 0; c < head.length; ++c) {
        const int8_t* k = head.k + c * head.stride;
        int32_t sum = 0;
        for (int64_t i = 0; i < head_dim_; ++i) sum += q[i] * k[i];
        score[c] = sum;
      }
      const int64_t top = *std::max_element(score, score + head.length);
      int32_t sigma = 0;
      std::fill_n(acc, head_dim_, 0);
      for (int64_t c = 0; c < head.length; ++c) {
        const int32_t e = p_.table[std::min<int64_t>(255, mul_shift(top - score[c], p_.distance.m, p_.distance.s))];
        const int8_t* v = head.v + c * head.stride;
        sigma += e;
        for (int64_t i = 0; i < head_dim_; ++i) acc[i] += e * v[i];
      }
      const int64_t reciprocal = (int64_t{1} << 32) / sigma;
      int8_t* y = head.context + r * head.stride;
      for (int64_t i = 0; i < head_dim_; ++i)
        y[i] =
            static_cast<int8_t>(clamp64(mul_shift(mul_shift(acc[i], reciprocal, 16), p_.out.m, p_.out.s), -127, 127));
    }
  }

 private:
  Parameters p_;
};

class VectorAttention : public AttentionKernel {
 public:
  VectorAttention(const KernelSpec& spec, const VectorRows& rows) : AttentionKernel(spec), rows_(rows) {
    std::string why;
    const auto parameters = vector_parameters(spec, rows, &why);
    if (!parameters) fail(ErrorKind::kContract, "attention: ", why);
    p_ = *parameters;
  }

  size_t scratch_bytes(std::span<const Dims>, int64_t max_length) const override {
    return rows_.scratch_bytes(head_dim_, max_length);
  }
  std::string describe() const override {
    return cat(p_.product32 ? "32-bit" : "high-half", " distances, table of ",
               p_.has_factors  ? "16 x 16 factors"
               : p_.half_table ? "128"
                               : "256");
  }

 protected:
  void begin_heads() const override {
    if (rows_.begin) rows_.begin(p_);
  }
  void end_heads() const override {
    if (rows_.end) rows_.end();
  }
  void run_head(const Head& head) const override { rows_.run(p_, head); }

 private:
  VectorParameters p_;
  const VectorRows& rows_;
};

}  // namespace
}  // namespace attention

std::string attention_portable_reject(const KernelSpec& spec) { return attention::reject(spec); }
std::unique_ptr<Kernel> attention_portable_make(const KernelSpec& spec) {
  return std::make_unique<attention::PortableAttention>(spec);
}
std::string attention_amx_reject(const KernelSpec& spec) {
  std::string why = attention::reject_vector(spec, attention::kAmxRows);
  if (const int64_t depth = spec.integer("head_dim"); why.empty() && attention::amx_step(depth) == 0)
    why = cat("head_dim ", depth, ": cannot be cut into equal steps of at most 64, each a multiple of 4");
  return why;
}
std::unique_ptr<Kernel> attention_amx_make(const KernelSpec& spec) {
  return std::make_unique<attention::VectorAttention>(spec, attention::kAmxRows);
}
std::string attention_avx512vnni_reject(const KernelSpec& spec) {
  return attention::reject_vector(spec, attention::kAvx512VnniRows);
}
std::unique_ptr<Kernel> attention_avx512vnni_make(const KernelSpec& spec) {
  return std::make_unique<attention::VectorAttention>(spec, attention::kAvx512VnniRows);
}
std::string attention_avx2_reject(const KernelSpec& spec) {
  return attention::reject_vector(spec, attention::kAvx2Rows);
}
std::unique_ptr<Kernel> attention_avx2_make(const KernelSpec& spec) {
  return std::make_unique<attention::VectorAttention>(spec, attention::kAvx2Rows);
}

}  // namespace dyadic

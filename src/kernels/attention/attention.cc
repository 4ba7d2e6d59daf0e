// The rows of `attention` as the registry sees them: what each accepts, and the walk over heads and sequences.
#include "kernels/attention/attention.h"

#include <algorithm>
#include <cstring>
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
  std::copy_n(spec.parameter("table").data<uint8_t>(), 256, p.table.begin());
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

class AttentionKernel : public Kernel {
 public:
  AttentionKernel(const KernelSpec& spec, const HeadKernel& head) : parameters_(parameters_of(spec)), head_(head) {}

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int64_t rows = inputs[0].dims[0], sequences = inputs[3].dims[0];
    const int64_t head_dim = parameters_.head_dim, stride = parameters_.heads * head_dim;
    const int8_t *q = inputs[0].as<int8_t>(), *k = inputs[1].as<int8_t>(), *v = inputs[2].as<int8_t>();
    const int32_t *start = inputs[3].as<int32_t>(), *length = inputs[4].as<int32_t>();
    int8_t* out = outputs[0].as<int8_t>();
    if (covered_rows(start, length, sequences, rows) != rows) std::memset(out, 0, rows * stride);
    // Heads outside, sequences inside: workers get whole heads, equal work however the lengths differ.
    context.parallel_for(parameters_.heads * sequences, 1, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t sequence = i % sequences, at = start[sequence] * stride + i / sequences * head_dim;
        if (length[sequence] == 0) continue;
        head_.run(parameters_, {q + at, k + at, v + at, out + at, stride, length[sequence], context.scratch[worker]});
      }
    });
  }

  size_t scratch_bytes(std::span<const Dims>, int64_t max_length) const override {
    return head_.scratch_bytes(parameters_.head_dim, max_length);
  }

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

  Parameters parameters_;
  HeadKernel head_;
};

size_t portable_scratch_bytes(int64_t head_dim, int64_t max_length) {
  return static_cast<size_t>(max_length + head_dim) * sizeof(int32_t);
}

void portable_head(const Parameters& p, const Head& head) {
  const int64_t length = head.length, depth = p.head_dim;
  int32_t* score = reinterpret_cast<int32_t*>(head.scratch);  // then e
  int32_t* acc = score + length;
  for (int64_t r = 0; r < length; ++r) {
    const int8_t* q = head.q + r * head.stride;
    for (int64_t c = 0; c < length; ++c) {
      const int8_t* k = head.k + c * head.stride;
      int32_t sum = 0;
      for (int64_t i = 0; i < depth; ++i) sum += q[i] * k[i];
      score[c] = sum;
    }
    const int64_t top = *std::max_element(score, score + length);
    int32_t sigma = 0;
    std::fill_n(acc, depth, 0);
    for (int64_t c = 0; c < length; ++c) {
      const int32_t e = p.table[std::min<int64_t>(255, mul_shift(top - score[c], p.distance.m, p.distance.s))];
      const int8_t* v = head.v + c * head.stride;
      sigma += e;
      for (int64_t i = 0; i < depth; ++i) acc[i] += e * v[i];
    }
    const int64_t reciprocal = (int64_t{1} << 32) / sigma;
    int8_t* y = head.context + r * head.stride;
    for (int64_t i = 0; i < depth; ++i)
      y[i] = static_cast<int8_t>(clamp64(mul_shift(mul_shift(acc[i], reciprocal, 16), p.out.m, p.out.s), -127, 127));
  }
}

constexpr HeadKernel kPortable = {portable_scratch_bytes, portable_head};

}  // namespace
}  // namespace attention

std::string attention_portable_reject(const KernelSpec& spec) { return attention::reject(spec); }
std::unique_ptr<Kernel> attention_portable_make(const KernelSpec& spec) {
  return std::make_unique<attention::AttentionKernel>(spec, attention::kPortable);
}

}  // namespace dyadic

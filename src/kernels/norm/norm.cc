// The rows of `add_norm` and `embed_norm` as the registry sees them: what each accepts, and the walk over tokens.
#include "kernels/norm/norm.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/fixed_point.h"
#include "kernels/kernel.h"

namespace dyadic {
namespace norm {
namespace {

constexpr int64_t kGrain = 8;  // rows that are worth a thread

RowScale row_scale(const Sums& sums, int64_t n) {
  const int64_t mu = div_floor(512 * sums.sum + n, 2 * n);
  // V = sum (256 q - mu)^2, exact modulo 2^64 and below 2^62.
  const uint64_t variance = (sums.squares << 16) - static_cast<uint64_t>(512 * mu * sums.sum) +
                            static_cast<uint64_t>(n) * static_cast<uint64_t>(mu * mu);
  if (variance == 0) return {static_cast<int32_t>(mu), 0, 0};  // every d is 0
  const int e = (61 - log2_floor(variance)) / 2;
  const uint64_t root = isqrt(variance << (2 * e));
  return {static_cast<int32_t>(mu), static_cast<int32_t>(((uint64_t{1} << 61) - 1) / root), e};
}

std::vector<Output> outputs_of(const KernelSpec& spec) {
  std::vector<Output> outputs;
  for (size_t j = 0; j < spec.outputs.size(); ++j) {
    const std::string name = cat("out", j);
    outputs.push_back({spec.outputs[j].type, spec.parameter(name + "_m").data<int32_t>(),
                       spec.parameter(name + "_beta").data<int32_t>(), spec.parameter(name + "_s").data<uint8_t>()[0]});
  }
  return outputs;
}

std::string reject(const KernelSpec& spec) {
  if (spec.version != 1) return cat("version ", spec.version, " of the body is unknown");
  if (spec.outputs.empty()) return "no outputs";
  const int64_t n = spec.outputs[0].dims[1];
  if (n < 1 || n > kMaxWidth) return cat("width ", n, ": want 1..", kMaxWidth);
  for (const Output& output : outputs_of(spec)) {
    if (output.type != DataType::kI8 && output.type != DataType::kI16)
      return cat("an output of type ", name(output.type), ": want i8 or i16");
    if (output.s > 62) return "a shift exceeds 62";
  }
  return "";
}

// The names of the data inputs: an embed_norm's tables.
std::vector<std::string> data_inputs(const KernelSpec& spec) {
  std::vector<std::string> names;
  for (const KernelOperand& input : spec.inputs)
    if (!input.constant.defined()) names.push_back(input.name);
  return names;
}

class NormKernel : public Kernel {
 public:
  NormKernel(const KernelSpec& spec, const RowKernel& row)
      : n_(spec.outputs[0].dims[1]), outputs_(outputs_of(spec)), row_(row) {
    for (const KernelOperand& input : spec.inputs)
      if (input.constant.defined()) kept_.push_back(input.constant);
  }

  size_t scratch_bytes(std::span<const Dims>, int64_t) const override {
    return static_cast<size_t>(n_) * sizeof(int16_t);
  }

 protected:
  // sum(t, q) makes row t's codes.
  template <class Sum>
  void run_rows(int64_t rows, std::span<const TensorView> outputs, const KernelContext& context, const Sum& sum) const {
    context.parallel_for(rows, kGrain, [&](int64_t begin, int64_t end, int worker) {
      int16_t* q = reinterpret_cast<int16_t*>(context.scratch[worker]);
      for (int64_t t = begin; t < end; ++t) {
        const RowScale scale = row_scale(sum(t, q), n_);
        for (size_t j = 0; j < outputs_.size(); ++j)
          row_.apply(q, n_, scale, outputs_[j], outputs[j].data + t * n_ * (bits(outputs_[j].type) / 8));
      }
    });
  }

  int64_t n_;
  std::vector<Output> outputs_;
  RowKernel row_;

 private:
  std::vector<Tensor> kept_;  // what the pointers above point to
};

class AddNormKernel : public NormKernel {
 public:
  AddNormKernel(const KernelSpec& spec, const RowKernel& row)
      : NormKernel(spec, row),
        add_{spec.parameter("sublayer_m").data<int32_t>()[0], spec.parameter("identity_m").data<int32_t>()[0],
             spec.parameter("sublayer_s").data<uint8_t>()[0], spec.parameter("identity_s").data<uint8_t>()[0]} {}

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int16_t *a = inputs[0].as<int16_t>(), *b = inputs[1].as<int16_t>();
    run_rows(inputs[0].dims[0], outputs, context,
             [&](int64_t t, int16_t* q) { return row_.add(add_, a + t * n_, b + t * n_, n_, q); });
  }

 private:
  Add add_;
};

class EmbedNormKernel : public NormKernel {
 public:
  EmbedNormKernel(const KernelSpec& spec, const RowKernel& row) : NormKernel(spec, row) {
    for (const std::string& name : data_inputs(spec)) {
      const Tensor& codes = spec.parameter(name + "_codes");
      tables_.push_back({codes.data<int8_t>(), spec.parameter(name + "_m").data<int32_t>(),
                         spec.parameter(name + "_s").data<uint8_t>(), codes.dim(0)});
    }
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int count = static_cast<int>(tables_.size());
    const int32_t* ids[kMaxTables];
    for (int i = 0; i < count; ++i) ids[i] = inputs[i].as<int32_t>();
    run_rows(inputs[0].dims[0], outputs, context, [&](int64_t t, int16_t* q) {
      int32_t index[kMaxTables];
      for (int i = 0; i < count; ++i) {
        index[i] = ids[i][t];
        if (index[i] < 0 || index[i] >= tables_[i].rows)
          fail(ErrorKind::kContract, "embed_norm: row ", t, " wants row ", index[i], " of a table of ",
               tables_[i].rows);
      }
      return row_.embed(tables_.data(), index, count, n_, q);
    });
  }

 private:
  std::vector<Table> tables_;
};

Sums sums_of(const int16_t* q, int64_t n) {
  Sums sums{0, 0};
  for (int64_t i = 0; i < n; ++i) {
    sums.sum += q[i];
    sums.squares += static_cast<uint32_t>(q[i] * q[i]);
  }
  return sums;
}

int16_t saturate16(int64_t x) { return static_cast<int16_t>(clamp64(x, -32768, 32767)); }

Sums portable_add(const Add& add, const int16_t* a, const int16_t* b, int64_t n, int16_t* q) {
  for (int64_t i = 0; i < n; ++i)
    q[i] = saturate16(
        shift_right(mul_shift(a[i], add.a_m, add.a_s) + mul_shift(b[i], add.b_m, add.b_s), 8, Rounding::kHalfUp));
  return sums_of(q, n);
}

Sums portable_embed(const Table* tables, const int32_t* index, int count, int64_t n, int16_t* q) {
  for (int64_t i = 0; i < n; ++i) {
    int64_t sum = 0;
    for (int j = 0; j < count; ++j) {
      const Table& table = tables[j];
      sum += mul_shift(table.codes[index[j] * n + i], table.m[index[j]], table.s[index[j]]);
    }
    q[i] = saturate16(shift_right(sum, 8, Rounding::kHalfUp));
  }
  return sums_of(q, n);
}

void portable_apply(const int16_t* q, int64_t n, const RowScale& scale, const Output& output, std::byte* y) {
  for (int64_t i = 0; i < n; ++i) {
    const int64_t d = (int64_t{q[i]} * 256 - scale.mu) << scale.e;
    const int64_t z = mul_shift(mul_shift(d, scale.reciprocal, 41), output.m[i], output.s) + output.beta[i];
    const int64_t code = shift_right(z, 8, Rounding::kHalfUp);
    if (output.type == DataType::kI8)
      reinterpret_cast<int8_t*>(y)[i] = static_cast<int8_t>(clamp64(code, -127, 127));
    else
      reinterpret_cast<int16_t*>(y)[i] = saturate16(code);
  }
}

constexpr RowKernel kPortable = {portable_add, portable_embed, portable_apply};

std::string add_reject(const KernelSpec& spec) {
  if (spec.parameter("sublayer_s").data<uint8_t>()[0] > 62 || spec.parameter("identity_s").data<uint8_t>()[0] > 62)
    return "a shift exceeds 62";
  return reject(spec);
}

std::string embed_reject(const KernelSpec& spec) {
  const std::vector<std::string> tables = data_inputs(spec);
  if (tables.empty() || tables.size() > kMaxTables) return cat(tables.size(), " tables: want 1..", kMaxTables);
  for (const std::string& table : tables)
    for (uint8_t s : spec.parameter(table + "_s").span<uint8_t>())
      if (s > 62) return cat("a shift of table ", table, " exceeds 62");
  return reject(spec);
}

}  // namespace
}  // namespace norm

std::string add_norm_portable_reject(const KernelSpec& spec) { return norm::add_reject(spec); }
std::unique_ptr<Kernel> add_norm_portable_make(const KernelSpec& spec) {
  return std::make_unique<norm::AddNormKernel>(spec, norm::kPortable);
}
std::string embed_norm_portable_reject(const KernelSpec& spec) { return norm::embed_reject(spec); }
std::unique_ptr<Kernel> embed_norm_portable_make(const KernelSpec& spec) {
  return std::make_unique<norm::EmbedNormKernel>(spec, norm::kPortable);
}

}  // namespace dyadic

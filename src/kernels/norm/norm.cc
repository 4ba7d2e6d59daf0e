// The rows of `add_norm` and `embed_norm` as the registry sees them: what each accepts, and the walk over tokens.
#include "kernels/norm/norm.h"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernel.h"

namespace dyadic {
namespace norm {
namespace {

constexpr int64_t kGrain = 8;  // rows that are worth a thread
// Widths of what is multiplied, so that -2^bits <= x < 2^bits.
constexpr int kAddBits = 15, kEmbedBits = 7, kYBits = 21;
constexpr int64_t kMaxY = int64_t{1} << 20;

// ---------------------------------------------------------------------------------------------- portable loops

int16_t saturate16(int64_t x) { return static_cast<int16_t>(clamp64(x, -32768, 32767)); }

template <class Code>
void portable_sum(const Term<Code>* terms, int count, Columns columns, int16_t* q) {
  for (int64_t i = columns.begin; i < columns.end; ++i) {
    int64_t sum = 0;
    for (int j = 0; j < count; ++j) sum += mul_shift(terms[j].codes[i], terms[j].ratio.m, terms[j].ratio.s);
    q[i] = saturate16(shift_right(sum, 8, Rounding::kHalfUp));
  }
}

void portable_add(const Term<int16_t> terms[2], Columns columns, int16_t* q) { portable_sum(terms, 2, columns, q); }

Sums portable_sums(const int16_t* q, Columns columns) {
  Sums sums{0, 0};
  for (int64_t i = columns.begin; i < columns.end; ++i) {
    sums.sum += q[i];
    sums.squares += static_cast<uint32_t>(q[i] * q[i]);
  }
  return sums;
}

void portable_normalize(const int16_t* q, const RowScale& scale, Columns columns, int32_t* y) {
  for (int64_t i = columns.begin; i < columns.end; ++i)
    y[i] = static_cast<int32_t>(mul_shift((int64_t{q[i]} * 256 - scale.mu) << scale.e, scale.reciprocal, 41));
}

void portable_emit(const int32_t* y, const Output& output, Columns columns, std::byte* out) {
  for (int64_t i = columns.begin; i < columns.end; ++i) {
    const int64_t code = shift_right(mul_shift(y[i], output.m[i], output.s) + output.beta[i], 8, Rounding::kHalfUp);
    if (output.type == DataType::kI8)
      reinterpret_cast<int8_t*>(out)[i] = static_cast<int8_t>(clamp64(code, -127, 127));
    else
      reinterpret_cast<int16_t*>(out)[i] = saturate16(code);
  }
}

constexpr RowLoops kPortableLoops = {portable_add, portable_sum<int8_t>, portable_sums, portable_normalize,
                                     portable_emit};

// ---------------------------------------------------------------------------------------------- parameters

std::vector<Output> outputs_of(const KernelSpec& spec) {
  std::vector<Output> outputs;
  for (size_t j = 0; j < spec.outputs.size(); ++j) {
    const std::string name = cat("out", j);
    outputs.push_back({spec.outputs[j].type,
                       spec.parameter(name + "_m").data<int32_t>(),
                       spec.parameter(name + "_beta").data<int32_t>(),
                       spec.parameter(name + "_s").data<uint8_t>()[0],
                       {}});
  }
  return outputs;
}

int64_t width_of(const KernelSpec& spec) { return spec.outputs[0].dims[1]; }

std::vector<Ratio> add_ratios(const KernelSpec& spec) {
  std::vector<Ratio> ratios;
  for (const std::string name : {"sublayer", "identity"})
    ratios.push_back(
        {spec.parameter(name + "_m").data<int32_t>()[0], spec.parameter(name + "_s").data<uint8_t>()[0], {}});
  return ratios;
}

struct Table {
  const int8_t* codes;
  std::vector<Ratio> ratios;  // one a row
};

std::vector<Table> tables_of(const KernelSpec& spec) {
  std::vector<Table> tables;
  for (const KernelOperand& input : spec.inputs) {
    if (input.constant.defined()) continue;
    Table& table = tables.emplace_back(Table{spec.parameter(input.name + "_codes").data<int8_t>(), {}});
    const auto m = spec.parameter(input.name + "_m").span<int32_t>();
    const auto s = spec.parameter(input.name + "_s").span<uint8_t>();
    for (size_t r = 0; r < m.size(); ++r) table.ratios.push_back({m[r], s[r], {}});
  }
  return tables;
}

// Largest |mul_shift(x, m, s)| for |x| <= x_max, or one more.
int64_t largest_product(int64_t x_max, int64_t m, int s) { return (x_max * std::abs(m) >> s) + 1; }

int widest(const int32_t* m, int64_t n) {
  int bits = 0;
  for (int64_t i = 0; i < n; ++i) bits = std::max(bits, signed_bits(m[i]));
  return bits;
}

// Fills in the form of vector loops; false if there is none.
bool prepare(Ratio& ratio, int x_bits) {
  const auto shift = high_shift(x_bits, signed_bits(ratio.m), ratio.s);
  if (shift) ratio.high = {static_cast<int32_t>(int64_t{ratio.m} << shift->m_left), *shift};
  return shift.has_value();
}

// ---------------------------------------------------------------------------------------------- what rows accept

constexpr char kLargeRatio[] = "a ratio is too large for the high half of a 32-bit product";

std::string reject(const KernelSpec& spec, Isa isa) {
  if (spec.version != 1) return cat("version ", spec.version, " of the body is unknown");
  if (spec.outputs.empty()) return "no outputs";
  const int64_t n = width_of(spec);
  if (n < 1 || n > kMaxWidth) return cat("width ", n, ": want 1..", kMaxWidth);
  for (const Output& output : outputs_of(spec)) {
    if (output.type != DataType::kI8 && output.type != DataType::kI16)
      return cat("an output of type ", name(output.type), ": want i8 or i16");
    if (output.s > 62) return "a shift exceeds 62";
    if (isa == Isa::kPortable) continue;
    if (!high_shift(kYBits, widest(output.m, n), output.s)) return kLargeRatio;
    for (int64_t i = 0; i < n; ++i)
      if (largest_product(kMaxY, output.m[i], output.s) + std::abs(int64_t{output.beta[i]}) + 128 > INT32_MAX)
        return cat("column ", i, " may leave 32 bits before its last shift");
  }
  return "";
}

// Of the terms of a sum: `largest` bounds |mul_shift| of each, all together.
std::string reject_sum(int64_t largest, Isa isa) {
  return isa != Isa::kPortable && largest + 128 > INT32_MAX ? "the sum may leave 32 bits before its last shift" : "";
}

std::string reject_ratio(Ratio ratio, int x_bits, Isa isa) {
  if (ratio.s > 62) return "a shift exceeds 62";
  return isa == Isa::kPortable || prepare(ratio, x_bits) ? "" : kLargeRatio;
}

template <Isa kIsa>
std::string add_reject(const KernelSpec& spec) {
  int64_t largest = 0;
  for (const Ratio& ratio : add_ratios(spec)) {
    if (const std::string why = reject_ratio(ratio, kAddBits, kIsa); !why.empty()) return why;
    largest += largest_product(int64_t{1} << kAddBits, ratio.m, ratio.s);
  }
  const std::string why = reject_sum(largest, kIsa);
  return why.empty() ? reject(spec, kIsa) : why;
}

template <Isa kIsa>
std::string embed_reject(const KernelSpec& spec) {
  const std::vector<Table> tables = tables_of(spec);
  if (tables.empty() || tables.size() > kMaxTables) return cat(tables.size(), " tables: want 1..", kMaxTables);
  int64_t largest = 0;
  for (const Table& table : tables) {
    int64_t largest_row = 0;
    for (const Ratio& ratio : table.ratios) {
      if (const std::string why = reject_ratio(ratio, kEmbedBits, kIsa); !why.empty()) return why;
      largest_row = std::max(largest_row, largest_product(int64_t{1} << kEmbedBits, ratio.m, ratio.s));
    }
    largest += largest_row;
  }
  const std::string why = reject_sum(largest, kIsa);
  return why.empty() ? reject(spec, kIsa) : why;
}

// ---------------------------------------------------------------------------------------------- kernels

RowScale row_scale(const Sums& sums, int64_t n) {
  const int64_t mu = div_floor(512 * sums.sum + n, 2 * n);
  // V = sum (256 q - mu)^2, exact modulo 2^64 and below 2^62.
  const uint64_t variance = (sums.squares << 16) - static_cast<uint64_t>(512 * mu * sums.sum) +
                            static_cast<uint64_t>(n) * static_cast<uint64_t>(mu * mu);
  if (variance == 0) return {static_cast<int32_t>(mu), 0, 0};  // every d is 0
  const int e = (61 - log2_floor(variance)) / 2;
  const uint64_t root = isqrt_normalized(variance << (2 * e));
  return {static_cast<int32_t>(mu), static_cast<int32_t>(((uint64_t{1} << 61) - 1) / root), e};
}

class NormKernel : public Kernel {
 public:
  NormKernel(const KernelSpec& spec, const RowLoops* vector)
      : n_(width_of(spec)), blocks_(vector ? n_ / kBlock * kBlock : 0), vector_(vector), outputs_(outputs_of(spec)) {
    for (const KernelOperand& input : spec.inputs)
      if (input.constant.defined()) kept_.push_back(input.constant);
    if (vector)
      for (Output& output : outputs_) prepare_output(output);
  }

  size_t scratch_bytes(std::span<const Dims>, int64_t) const override {
    return static_cast<size_t>(n_) * (sizeof(int32_t) + sizeof(int16_t));
  }
  std::string describe() const override { return vector_ ? cat(blocks_, " of ", n_, " columns in blocks") : ""; }

 protected:
  // sum(loops, columns, t, q) makes these columns of row t's codes.
  template <class Sum>
  void run_rows(int64_t rows, std::span<const TensorView> outputs, const KernelContext& context, const Sum& sum) const {
    context.parallel_for(rows, kGrain, [&](int64_t begin, int64_t end, int worker) {
      int32_t* y = reinterpret_cast<int32_t*>(context.scratch[worker]);
      int16_t* q = reinterpret_cast<int16_t*>(y + n_);
      for (int64_t t = begin; t < end; ++t) {
        Sums sums{0, 0};
        in_parts([&](const RowLoops& loops, Columns columns) {
          sum(loops, columns, t, q);
          const Sums part = loops.sums(q, columns);
          sums = {sums.sum + part.sum, sums.squares + part.squares};
        });
        const RowScale scale = row_scale(sums, n_);
        in_parts([&](const RowLoops& loops, Columns columns) {
          loops.normalize(q, scale, columns, y);
          for (size_t j = 0; j < outputs_.size(); ++j)
            loops.emit(y, outputs_[j], columns, outputs[j].data + storage_bytes(outputs_[j].type, t * n_));
        });
      }
    });
  }

  int64_t n_;

 private:
  // Whole blocks by vectors, the rest by portable loops.
  template <class F>
  void in_parts(const F& f) const {
    if (blocks_ > 0) f(*vector_, Columns{0, blocks_});
    if (blocks_ < n_) f(kPortableLoops, Columns{blocks_, n_});
  }

  void prepare_output(Output& output) {
    const HighShift shift = high_shift(kYBits, widest(output.m, n_), output.s).value();
    std::vector<int32_t>& m = prepared_.emplace_back(output.m, output.m + n_);
    std::vector<int32_t>& beta = prepared_.emplace_back(output.beta, output.beta + n_);
    for (int32_t& x : m) x = static_cast<int32_t>(int64_t{x} << shift.m_left);
    for (int32_t& x : beta) x += 128;
    output.high = {m.data(), beta.data(), shift};
  }

  int64_t blocks_;  // columns in whole blocks
  const RowLoops* vector_;
  std::vector<Output> outputs_;
  std::deque<std::vector<int32_t>> prepared_;
  std::vector<Tensor> kept_;  // what the pointers above point to
};

class AddNormKernel : public NormKernel {
 public:
  AddNormKernel(const KernelSpec& spec, const RowLoops* vector) : NormKernel(spec, vector), ratios_(add_ratios(spec)) {
    for (Ratio& ratio : ratios_) prepare(ratio, kAddBits);
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int16_t *a = inputs[0].as<int16_t>(), *b = inputs[1].as<int16_t>();
    run_rows(inputs[0].dims[0], outputs, context, [&](const RowLoops& loops, Columns columns, int64_t t, int16_t* q) {
      const Term<int16_t> terms[2] = {{a + t * n_, ratios_[0]}, {b + t * n_, ratios_[1]}};
      loops.add(terms, columns, q);
    });
  }

 private:
  std::vector<Ratio> ratios_;
};

class EmbedNormKernel : public NormKernel {
 public:
  EmbedNormKernel(const KernelSpec& spec, const RowLoops* vector) : NormKernel(spec, vector), tables_(tables_of(spec)) {
    for (Table& table : tables_)
      for (Ratio& ratio : table.ratios) prepare(ratio, kEmbedBits);
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int count = static_cast<int>(tables_.size());
    const int32_t* ids[kMaxTables];
    for (int j = 0; j < count; ++j) ids[j] = inputs[j].as<int32_t>();
    run_rows(inputs[0].dims[0], outputs, context, [&](const RowLoops& loops, Columns columns, int64_t t, int16_t* q) {
      Term<int8_t> terms[kMaxTables];
      for (int j = 0; j < count; ++j) {
        const Table& table = tables_[j];
        const int64_t row = ids[j][t], rows = static_cast<int64_t>(table.ratios.size());
        if (row < 0 || row >= rows)
          fail(ErrorKind::kContract, "embed_norm: token ", t, " wants row ", row, " of table ", j, ", which has ",
               rows);
        terms[j] = {table.codes + row * n_, table.ratios[row]};
      }
      loops.embed(terms, count, columns, q);
    });
  }

 private:
  std::vector<Table> tables_;
};

}  // namespace
}  // namespace norm

#define DYADIC_NORM_ROWS(suffix, isa, loops)                                                                      \
  std::string add_norm_##suffix##_reject(const KernelSpec& spec) { return norm::add_reject<Isa::isa>(spec); }     \
  std::unique_ptr<Kernel> add_norm_##suffix##_make(const KernelSpec& spec) {                                      \
    return std::make_unique<norm::AddNormKernel>(spec, loops);                                                    \
  }                                                                                                               \
  std::string embed_norm_##suffix##_reject(const KernelSpec& spec) { return norm::embed_reject<Isa::isa>(spec); } \
  std::unique_ptr<Kernel> embed_norm_##suffix##_make(const KernelSpec& spec) {                                    \
    return std::make_unique<norm::EmbedNormKernel>(spec, loops);                                                  \
  }
DYADIC_NORM_ROWS(portable, kPortable, nullptr)
DYADIC_NORM_ROWS(avx2, kAvx2, &norm::kAvx2Loops)
DYADIC_NORM_ROWS(avx512vnni, kAvx512Vnni, &norm::kAvx512VnniLoops)
#undef DYADIC_NORM_ROWS

}  // namespace dyadic

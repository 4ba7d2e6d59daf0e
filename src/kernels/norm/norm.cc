// The rows of `add_norm` and `embed_norm` as the registry sees them, and norms in lanes of 32 bits: what each accepts
// and how it is prepared. Those in Q15 are in q15.cc.
#include "kernels/norm/norm.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "kernels/norm/row_kernel.h"

namespace dyadic {
namespace norm {

std::vector<Table> tables_of(const KernelSpec& spec) {
  std::vector<Table> tables;
  for (const KernelOperand& input : spec.inputs)
    if (!input.constant.defined())
      tables.push_back({spec.parameter(input.name + "_codes").data<int8_t>(),
                        spec.parameter(input.name + "_m").span<int32_t>(),
                        spec.parameter(input.name + "_s").span<uint8_t>(),
                        {}});
  return tables;
}

std::string reject_shape(const KernelSpec& spec) {
  if (spec.version != 1) return cat("version ", spec.version, " of the body is unknown");
  if (spec.outputs.empty() || spec.outputs.size() > kMaxOutputs)
    return cat(spec.outputs.size(), " outputs: want 1..", kMaxOutputs);
  const int64_t n = width_of(spec);
  if (n < 1 || n > kMaxWidth) return cat("width ", n, ": want 1..", kMaxWidth);
  for (const KernelOperand& output : spec.outputs)
    if (output.type != DataType::kI8 && output.type != DataType::kI16)
      return cat("an output of type ", name(output.type), ": want i8 or i16");
  return "";
}

namespace {

constexpr int kYBits = 21;  // -2^21 <= y < 2^21
constexpr int64_t kMaxY = int64_t{1} << 20;

// ---------------------------------------------------------------------------------------------- portable loops

void portable_finish(const int16_t* q, const RowScale& scale, int64_t n, std::span<const Output> outputs,
                     std::byte* const* rows) {
  int64_t y[kColumns];
  for (int64_t begin = 0; begin < n; begin += kColumns) {
    const int64_t end = std::min(n, begin + kColumns);
    const RoundingShift normalize(41);
    const int64_t reciprocal = int64_t{scale.reciprocal} << scale.e;
    for (int64_t i = begin; i < end; ++i) y[i - begin] = normalize((int64_t{q[i]} * 256 - scale.mu) * reciprocal);
    for (size_t j = 0; j < outputs.size(); ++j) {
      const Output& output = outputs[j];
      store_codes(output.type, begin, end, rows[j], [&, shift = RoundingShift(output.s)](int64_t i) {
        return kFraction(shift(y[i - begin] * output.m[i]) + output.beta[i]);
      });
    }
  }
}

// ---------------------------------------------------------------------------------------------- parameters

std::vector<Output> outputs_of(const KernelSpec& spec) {
  std::vector<Output> outputs;
  for (size_t j = 0; j < spec.outputs.size(); ++j) {
    const std::string name = cat("out", j);
    outputs.push_back({spec.outputs[j].type, spec.parameter(name + "_m").data<int32_t>(),
                       spec.parameter(name + "_beta").data<int32_t>(), spec.parameter(name + "_s").data<uint8_t>()[0],
                       nullptr, 0});
  }
  return outputs;
}

std::vector<Ratio> add_ratios(const KernelSpec& spec) {
  std::vector<Ratio> ratios;
  for (const std::string name : {"sublayer", "identity"})
    ratios.push_back({spec.parameter(name + "_m").data<int32_t>()[0], spec.parameter(name + "_s").data<uint8_t>()[0]});
  return ratios;
}

// Nothing unless one term needs no rounding, m = k 2^s, and all fits: with the other's m and s
//   (mul_shift(x, m, s) + k y + 2^7) >> 8 = (x m + 2^(s-1) + (k y + 2^7) 2^s) >> (s + 8)
// since floors compose.
std::optional<PairRatio> pair_ratio(const std::vector<Ratio>& ratios) {
  const auto whole = [](const Ratio& r) { return r.s < 16 && r.m % (1 << r.s) == 0; };
  const int exact = whole(ratios[1]) ? 1 : 0;
  const Ratio& other = ratios[1 - exact];
  if (!whole(ratios[exact]) || other.s > 15) return std::nullopt;
  int64_t m[2];
  m[1 - exact] = other.m;
  m[exact] = int64_t{ratios[exact].m >> ratios[exact].s} << other.s;
  const int64_t add = RoundingShift(other.s).half + (kFraction.half << other.s);
  if (std::max(std::abs(m[0]), std::abs(m[1])) > INT16_MAX) return std::nullopt;
  if (32768 * (std::abs(m[0]) + std::abs(m[1])) + add > INT32_MAX) return std::nullopt;
  return PairRatio{static_cast<int16_t>(m[0]), static_cast<int16_t>(m[1]), static_cast<int32_t>(add),
                   other.s + kFraction.s};
}

// Largest |mul_shift(x, m, s)| for |x| <= x_max, or one more.
int64_t largest_product(int64_t x_max, int64_t m, int s) { return (x_max * std::abs(m) >> s) + 1; }

int widest(const int32_t* m, int64_t n) {
  int bits = 0;
  for (int64_t i = 0; i < n; ++i) bits = std::max(bits, signed_bits(m[i]));
  return bits;
}

// How far y is shifted left so that every output's product has a high half (the least that serves; at most 10, so that
// it fits 32 bits), or -1.
int y_left_of(std::span<const Output> outputs, int64_t n) {
  int left = 0;
  for (const Output& output : outputs) left = std::max(left, 33 - output.s - (31 - widest(output.m, n)));
  return left <= 31 - kYBits ? left : -1;
}

// One output in the form of vectors: m << m_left, and for each column what is added to the high half (narrow: to the
// whole product, which fits 32 bits) before its only shift: the two roundings and beta. Beta is cut to where the output
// saturates anyway.
struct Emission {
  static constexpr int kMaxRight = 31 - 8;
  int m_left, right;
  std::vector<int64_t> add;
  bool fits;  // 32 bits, with shifts of lanes

  Emission(const Output& output, int y_left, bool narrow, int64_t n)
      : m_left(narrow ? 0 : std::max(0, 33 - output.s - y_left)),
        right(narrow ? output.s : output.s + y_left + m_left - 32),
        fits(right > 0 && right <= kMaxRight) {
    const int64_t most = output.type == DataType::kI8 ? 128 : 32768;
    for (int64_t i = 0; fits && i < n; ++i) {
      const int64_t saturating = largest_product(kMaxY, output.m[i], output.s) + 256 * most;
      add.push_back((int64_t{1} << (right - 1)) +
                    (clamp64(output.beta[i] + int64_t{128}, -saturating, saturating) << right));
      const int64_t m = std::abs(int64_t{output.m[i]});
      const int64_t product = narrow ? kMaxY * m : ((kMaxY << y_left) * (m << m_left) >> 32) + 1;
      fits = product + std::abs(add.back()) <= INT32_MAX;
    }
  }
};

bool all_narrow(std::span<const Output> outputs, int64_t n) {
  return std::all_of(outputs.begin(), outputs.end(),
                     [&](const Output& output) { return Emission(output, 0, true, n).fits; });
}

// ---------------------------------------------------------------------------------------------- what rows accept

std::string reject(const KernelSpec& spec, Isa isa) {
  if (std::string why = reject_shape(spec); !why.empty()) return why;
  const int64_t n = width_of(spec);
  const std::vector<Output> outputs = outputs_of(spec);
  for (const Output& output : outputs)
    if (output.s > 62) return "a shift exceeds 62";
  if (isa == Isa::kPortable) return "";
  if (all_narrow(outputs, n)) return "";
  const int y_left = y_left_of(outputs, n);
  for (const Output& output : outputs)
    if (y_left < 0 || !Emission(output, y_left, false, n).fits)
      return "an output's ratio or beta is too large for the high half of a 32-bit product";
  return "";
}

// Of the terms of a sum: `largest` bounds |mul_shift| of each, all together.
std::string reject_sum(int64_t largest, Isa isa) {
  return isa != Isa::kPortable && largest + 128 > INT32_MAX ? "the sum may leave 32 bits before its last shift" : "";
}

template <Isa kIsa>
std::string add_reject(const KernelSpec& spec) {
  if (is_q15(spec)) return reject_q15_add_norm(spec);
  int64_t largest = 0;
  for (const Ratio& ratio : add_ratios(spec)) {
    if (ratio.s > 62) return "a shift exceeds 62";
    largest += largest_product(32768, ratio.m, ratio.s);
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
    for (int64_t r = 0; r < table.rows(); ++r) {
      if (table.s[r] > 62) return "a shift exceeds 62";
      largest_row = std::max(largest_row, largest_product(128, table.m[r], table.s[r]));
    }
    largest += largest_row;
  }
  const std::string why = reject_sum(largest, kIsa);
  if (!why.empty()) return why;
  return is_q15(spec) ? reject_q15_embed_norm(spec) : reject(spec, kIsa);
}

// ---------------------------------------------------------------------------------------------- kernels

// Nothing for what words cannot compute: variances below 2^28 (e > 16) or from 2^58 on (the sum might not fit), and a
// reciprocal without halves.
std::optional<WordScale> word_scale(const RowScale& scale) {
  const int64_t high = (int64_t{scale.reciprocal} + 0x8000) >> 16;
  if (scale.e < 2 || scale.e > 16 || high > INT16_MAX) return std::nullopt;
  // y = (q rec + c) >> (33 - e): a carry out of the lower words, which starts at `bound`, instead of the lower word of
  // c.
  const int64_t c = ((int64_t{1} << (40 - scale.e)) - int64_t{scale.mu} * scale.reciprocal) >> 8;
  return WordScale{static_cast<int16_t>(high), static_cast<int16_t>(scale.reciprocal - (high << 16)),
                   static_cast<uint16_t>(-c), static_cast<int32_t>((c - 1) >> 16), 17 - scale.e};
}

class NormKernel : public RowKernel {
 public:
  static constexpr Interval kSums{-32768, 32767};

  NormKernel(const KernelSpec& spec, const RowLoops* vector) : RowKernel(spec, vector), outputs_(outputs_of(spec)) {
    if (!vector) return;
    narrow_ = all_narrow(outputs_, n_);
    y_left_ = narrow_ ? 0 : y_left_of(outputs_, n_);
    for (Output& output : outputs_) prepare(output);
  }

  std::string describe() const override {
    return !vector_ ? "" : narrow_ ? "outputs by 32-bit products" : "outputs by high halves";
  }

 protected:
  void finish(const int16_t* q, std::span<const RowScale> scales, std::byte* const* rows) const override {
    std::byte* row[kMaxOutputs];
    std::copy_n(rows, outputs_.size(), row);
    for (const RowScale& scale : scales) {
      const auto words = vector_ ? word_scale(scale) : std::nullopt;
      if (words)
        (narrow_ ? vector_->finish_narrow : vector_->finish)(q, *words, y_left_, n_, outputs_, row);
      else
        portable_finish(q, scale, n_, outputs_, row);
      q += ldq_;
      for (size_t j = 0; j < outputs_.size(); ++j) row[j] += row_bytes(j);
    }
  }

 private:
  void prepare(Output& output) {
    const Emission emission(output, y_left_, narrow_, n_);
    const int64_t block = vector_->block, lanes = block / 2;
    AlignedBuffer& buffer = blocks_.emplace_back(static_cast<size_t>(3 * round_up(n_, block)) * sizeof(int32_t));
    for (int64_t i = 0; i < n_; ++i) {
      const int64_t column = i % block, half = column / 4 % 2, lane = half * lanes + column / 8 * 4 + column % 4;
      int32_t* to = buffer.as<int32_t>() + 3 * (i - column);
      const int32_t m = static_cast<int32_t>(int64_t{output.m[i]} << emission.m_left);
      to[lane] = static_cast<int32_t>(emission.add[i]);
      to[block + lane] = m;
      if (lane % 2) to[2 * block + lane - 1] = m;
    }
    output.blocks = buffer.as<int32_t>();
    output.right = emission.right + 8;
  }

  bool narrow_ = false;  // every output's product fits 32 bits
  int y_left_ = 0;
  std::vector<Output> outputs_;
  std::vector<AlignedBuffer> blocks_;
};

class AddNormKernel final : public NormKernel {
 public:
  AddNormKernel(const KernelSpec& spec, const RowLoops* vector) : NormKernel(spec, vector), ratios_(add_ratios(spec)) {
    if (!vector) return;
    pair_ = pair_ratio(ratios_);
    for (const Ratio& ratio : ratios_)
      if (const auto word = word_ratio(32768, ratio.m, ratio.s)) words_.push_back(*word);
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int16_t *a = inputs[0].as<int16_t>(), *b = inputs[1].as<int16_t>();
    const bool vector = words_.size() == 2;
    const auto sum = [&](int64_t t, int16_t* q) {
      Term<int16_t> terms[2] = {{a + t * n_, ratios_[0], {}}, {b + t * n_, ratios_[1], {}}};
      if (pair_) return vector_->add_pairs(a + t * n_, b + t * n_, *pair_, n_, q);
      if (!vector) return portable_sum(terms, 2, kSums, n_, q);
      for (int j = 0; j < 2; ++j) terms[j].word = words_[j];
      return vector_->add(terms, n_, q);
    };
    run_rows(inputs[0].dims[0], outputs, context, each_row(sum), [](int64_t) {});
  }
  std::string describe() const override {
    const char* sums = pair_ ? ", sums by pairs" : vector_ && words_.size() < 2 ? ", sums by scalars" : "";
    return cat(NormKernel::describe(), sums);
  }

 private:
  std::vector<Ratio> ratios_;
  std::optional<PairRatio> pair_;  // if vectors can take both in one product
  std::vector<WordRatio> words_;   // of both, if words can
};

std::unique_ptr<Kernel> make_add_norm(const KernelSpec& spec, const RowLoops* vector) {
  return is_q15(spec) ? make_q15_add_norm(spec, vector) : std::make_unique<AddNormKernel>(spec, vector);
}
std::unique_ptr<Kernel> make_embed_norm(const KernelSpec& spec, const RowLoops* vector) {
  return is_q15(spec) ? make_q15_embed_norm(spec, vector) : std::make_unique<EmbedNormKernel<NormKernel>>(spec, vector);
}

}  // namespace
}  // namespace norm

#define DYADIC_NORM_ROWS(suffix, isa, loops)                                                                      \
  std::string add_norm_##suffix##_reject(const KernelSpec& spec) { return norm::add_reject<Isa::isa>(spec); }     \
  std::unique_ptr<Kernel> add_norm_##suffix##_make(const KernelSpec& spec) {                                      \
    return norm::make_add_norm(spec, loops);                                                                      \
  }                                                                                                               \
  std::string embed_norm_##suffix##_reject(const KernelSpec& spec) { return norm::embed_reject<Isa::isa>(spec); } \
  std::unique_ptr<Kernel> embed_norm_##suffix##_make(const KernelSpec& spec) {                                    \
    return norm::make_embed_norm(spec, loops);                                                                    \
  }
DYADIC_NORM_ROWS(portable, kPortable, nullptr)
DYADIC_NORM_ROWS(avx2, kAvx2, &norm::kAvx2Loops)
DYADIC_NORM_ROWS(avx512vnni, kAvx512Vnni, &norm::kAvx512VnniLoops)
#undef DYADIC_NORM_ROWS

}  // namespace dyadic

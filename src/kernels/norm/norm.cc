// The rows of `add_norm` and `embed_norm` as the registry sees them: what each accepts, and the walk over tokens.
#include "kernels/norm/norm.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/prefetch.h"
#include "kernels/kernel.h"

namespace dyadic {
namespace norm {
namespace {

constexpr int64_t kGroup = 4;           // rows whose square roots and reciprocals overlap
constexpr int64_t kAhead = 8;           // rows from the prefetch of what a row reads to its turn
constexpr int64_t kGrain = 2 * kGroup;  // rows that are worth a thread
constexpr size_t kMaxOutputs = 16;
constexpr int kYBits = 21;  // -2^21 <= y < 2^21
constexpr int64_t kMaxY = int64_t{1} << 20;

// ---------------------------------------------------------------------------------------------- portable loops

int16_t saturate16(int64_t x) { return static_cast<int16_t>(clamp64(x, -32768, 32767)); }

// Rounds half up by s bits: shift_right without its cases, where |x| + half is below 2^63. Here half <= 2^61, and x is
// at most 2^46 (a code times m), 2^61 + 2^40 (|y| <= 2^20 before its shift) or 2^51 (y times m).
struct RoundingShift {
  int s;
  int64_t half;
  constexpr explicit RoundingShift(int bits) : s(bits), half(bits == 0 ? 0 : int64_t{1} << (bits - 1)) {}
  constexpr int64_t operator()(int64_t x) const { return (x + half) >> s; }
};
constexpr RoundingShift kFraction(8);
constexpr int64_t kColumns = 64;  // that pass through all steps together

template <class Code>
Sums portable_sum(const Term<Code>* terms, int count, int64_t n, int16_t* q) {
  Sums sums{0, 0};
  for (int64_t begin = 0; begin < n; begin += kColumns) {
    const int64_t columns = std::min(kColumns, n - begin);
    int64_t sum[kColumns] = {};
    for (int j = 0; j < count; ++j) {
      const Code* codes = terms[j].codes + begin;
      const int64_t m = terms[j].ratio.m;
      const RoundingShift shift(terms[j].ratio.s);
      for (int64_t i = 0; i < columns; ++i) sum[i] += shift(codes[i] * m);
    }
    for (int64_t i = 0; i < columns; ++i) {
      const int16_t code = q[begin + i] = saturate16(kFraction(sum[i]));
      sums.sum += code;
      sums.squares += static_cast<uint32_t>(code * code);
    }
  }
  return sums;
}

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
      const auto code = [&, shift = RoundingShift(output.s)](int64_t i) {
        return kFraction(shift(y[i - begin] * output.m[i]) + output.beta[i]);
      };
      if (output.type == DataType::kI8) {
        int8_t* to = reinterpret_cast<int8_t*>(rows[j]);
        for (int64_t i = begin; i < end; ++i) to[i] = static_cast<int8_t>(clamp64(code(i), -127, 127));
      } else {
        int16_t* to = reinterpret_cast<int16_t*>(rows[j]);
        for (int64_t i = begin; i < end; ++i) to[i] = saturate16(code(i));
      }
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

int64_t width_of(const KernelSpec& spec) { return spec.outputs[0].dims[1]; }

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

struct Table {
  const int8_t* codes;
  std::span<const int32_t> m;
  std::span<const uint8_t> s;
  AlignedBuffer words;  // WordRatio of each row; right = 0 where there is none

  int64_t rows() const { return static_cast<int64_t>(m.size()); }
};

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
  if (spec.version != 1) return cat("version ", spec.version, " of the body is unknown");
  if (spec.outputs.empty() || spec.outputs.size() > kMaxOutputs)
    return cat(spec.outputs.size(), " outputs: want 1..", kMaxOutputs);
  const int64_t n = width_of(spec);
  if (n < 1 || n > kMaxWidth) return cat("width ", n, ": want 1..", kMaxWidth);
  const std::vector<Output> outputs = outputs_of(spec);
  for (const Output& output : outputs) {
    if (output.type != DataType::kI8 && output.type != DataType::kI16)
      return cat("an output of type ", name(output.type), ": want i8 or i16");
    if (output.s > 62) return "a shift exceeds 62";
  }
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

class NormKernel : public Kernel {
 public:
  NormKernel(const KernelSpec& spec, const RowLoops* vector)
      : n_(width_of(spec)), vector_(vector), outputs_(outputs_of(spec)) {
    for (const KernelOperand& input : spec.inputs)
      if (input.constant.defined()) kept_.push_back(input.constant);
    row_bytes_ = round_up(n_, vector ? vector->block : 1) * static_cast<int64_t>(sizeof(int16_t));
    if (!vector) return;
    narrow_ = all_narrow(outputs_, n_);
    y_left_ = narrow_ ? 0 : y_left_of(outputs_, n_);
    for (Output& output : outputs_) prepare(output);
  }

  size_t scratch_bytes(std::span<const Dims>, int64_t) const override {
    return static_cast<size_t>(kGroup * row_bytes_);
  }

  std::string describe() const override {
    return !vector_ ? "" : narrow_ ? "outputs by 32-bit products" : "outputs by high halves";
  }

 protected:
  // sum(t, q) makes row t's codes; prefetch(t) expects that row soon.
  template <class Sum, class Prefetch>
  void run_rows(int64_t rows, std::span<const TensorView> outputs, const KernelContext& context, const Sum& sum,
                const Prefetch& prefetch) const {
    context.parallel_for(rows, kGrain, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t t = begin; t < std::min(end, begin + kAhead); ++t) prefetch(t);
      for (int64_t t = begin; t < end; t += kGroup) {
        const int64_t count = std::min(kGroup, end - t);
        for (int64_t r = t + kAhead; r < std::min(end, t + kAhead + kGroup); ++r) prefetch(r);
        const auto q = [&](int64_t r) { return reinterpret_cast<int16_t*>(context.scratch[worker] + r * row_bytes_); };
        Sums sums[kGroup];
        RowScale scales[kGroup];
        for (int64_t r = 0; r < count; ++r) sums[r] = sum(t + r, q(r));
        for (int64_t r = 0; r < count; ++r) scales[r] = row_scale(sums[r], n_);
        for (int64_t r = 0; r < count; ++r) finish(q(r), scales[r], t + r, outputs);
      }
    });
  }

  int64_t n_;
  const RowLoops* vector_;

 private:
  static int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

  void finish(const int16_t* q, const RowScale& scale, int64_t t, std::span<const TensorView> outputs) const {
    std::byte* rows[kMaxOutputs];
    for (size_t j = 0; j < outputs_.size(); ++j) rows[j] = outputs[j].data + storage_bytes(outputs_[j].type, t * n_);
    const auto words = vector_ ? word_scale(scale) : std::nullopt;
    if (words)
      (narrow_ ? vector_->finish_narrow : vector_->finish)(q, *words, y_left_, n_, outputs_, rows);
    else
      portable_finish(q, scale, n_, outputs_, rows);
  }

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

  int64_t row_bytes_;    // of q
  bool narrow_ = false;  // every output's product fits 32 bits
  int y_left_ = 0;
  std::vector<Output> outputs_;
  std::vector<AlignedBuffer> blocks_;
  std::vector<Tensor> kept_;  // what the pointers above point to
};

class AddNormKernel : public NormKernel {
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
    run_rows(
        inputs[0].dims[0], outputs, context,
        [&](int64_t t, int16_t* q) {
          Term<int16_t> terms[2] = {{a + t * n_, ratios_[0], {}}, {b + t * n_, ratios_[1], {}}};
          if (pair_) return vector_->add_pairs(a + t * n_, b + t * n_, *pair_, n_, q);
          if (!vector) return portable_sum(terms, 2, n_, q);
          for (int j = 0; j < 2; ++j) terms[j].word = words_[j];
          return vector_->add(terms, n_, q);
        },
        [](int64_t) {});
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

class EmbedNormKernel : public NormKernel {
 public:
  EmbedNormKernel(const KernelSpec& spec, const RowLoops* vector) : NormKernel(spec, vector), tables_(tables_of(spec)) {
    if (!vector) return;
    for (Table& table : tables_) {
      table.words = AlignedBuffer::long_lived(static_cast<size_t>(table.rows()) * sizeof(WordRatio));
      for (int64_t r = 0; r < table.rows(); ++r)
        table.words.as<WordRatio>()[r] =
            word_ratio(127 << kTableCodeLeft, table.m[r], table.s[r] + kTableCodeLeft).value_or(WordRatio{0, 0, 0});
    }
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int count = static_cast<int>(tables_.size());
    const int32_t* ids[kMaxTables];
    for (int j = 0; j < count; ++j) ids[j] = inputs[j].as<int32_t>();
    run_rows(
        inputs[0].dims[0], outputs, context,
        [&](int64_t t, int16_t* q) {
          Term<int8_t> terms[kMaxTables];
          bool vector = vector_ != nullptr;
          for (int j = 0; j < count; ++j) {
            const Table& table = tables_[j];
            const int64_t row = ids[j][t];
            if (row < 0 || row >= table.rows())
              fail(ErrorKind::kContract, "embed_norm: token ", t, " wants row ", row, " of table ", j, ", which has ",
                   table.rows());
            terms[j].codes = table.codes + row * n_;
            if (vector_) terms[j].word = table.words.as<WordRatio>()[row];
            vector = vector && terms[j].word.right > 0;
          }
          if (vector) return vector_->embed(terms, count, n_, q);
          for (int j = 0; j < count; ++j) terms[j].ratio = {tables_[j].m[ids[j][t]], tables_[j].s[ids[j][t]]};
          return portable_sum(terms, count, n_, q);
        },
        [&](int64_t t) {
          for (int j = 0; j < count; ++j) {
            const Table& table = tables_[j];
            const int64_t row = ids[j][t];
            if (table.rows() * n_ < kFarTable || row < 0 || row >= table.rows()) continue;
            for (int64_t i = 0; i < n_; i += kCacheLine) prefetch(table.codes + row * n_ + i);
            if (vector_) prefetch(table.words.as<WordRatio>() + row);
          }
        });
  }

 private:
  static constexpr int64_t kCacheLine = 64;
  static constexpr int64_t kFarTable = int64_t{1} << 20;  // bytes; rows of smaller tables are near, or come in order
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

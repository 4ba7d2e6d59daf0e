// What the kernels of norms share, whatever their arithmetic: the walk over rows, a row's scale, tables.
#pragma once
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/prefetch.h"
#include "base/status.h"
#include "kernels/kernel.h"
#include "kernels/norm/norm.h"

namespace dyadic::norm {

inline constexpr int64_t kGroup = 4;           // rows whose square roots and reciprocals overlap
inline constexpr int64_t kAhead = 8;           // rows from the prefetch of what a row reads to its turn
inline constexpr int64_t kGrain = 2 * kGroup;  // rows that are worth a thread
inline constexpr size_t kMaxOutputs = 16;
inline constexpr int64_t kColumns = 64;  // that pass through all steps of a portable loop together

inline int64_t width_of(const KernelSpec& spec) { return spec.outputs[0].dims[1]; }
inline int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

// Rounds half up by s bits: shift_right without its cases, where |x| + half is below 2^63. Here half <= 2^61, and x is
// at most 2^46 (a code times m), 2^61 + 2^40 (|y| <= 2^20 before its shift) or 2^51 (y times m).
struct RoundingShift {
  int s;
  int64_t half;
  constexpr explicit RoundingShift(int bits) : s(bits), half(bits == 0 ? 0 : int64_t{1} << (bits - 1)) {}
  constexpr int64_t operator()(int64_t x) const { return (x + half) >> s; }
};
inline constexpr RoundingShift kFraction(8);

// Stores n codes made by code(i), cut to what the type of an output holds.
template <class MakeCode>
void store_codes(DataType type, int64_t begin, int64_t end, std::byte* row, const MakeCode& code) {
  if (type == DataType::kI8)
    for (int64_t i = begin; i < end; ++i)
      reinterpret_cast<int8_t*>(row)[i] = static_cast<int8_t>(clamp64(code(i), -127, 127));
  else
    for (int64_t i = begin; i < end; ++i)
      reinterpret_cast<int16_t*>(row)[i] = static_cast<int16_t>(clamp64(code(i), -32768, 32767));
}

// q = the sum of the terms, rounded and cut to `limits`.
template <class Code>
Sums portable_sum(const Term<Code>* terms, int count, Interval limits, int64_t n, int16_t* q) {
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
      const int16_t code = q[begin + i] = static_cast<int16_t>(clamp64(kFraction(sum[i]), limits.lo, limits.hi));
      sums.sum += code;
      sums.squares += static_cast<uint32_t>(code * code);
    }
  }
  return sums;
}

inline RowScale row_scale(const Sums& sums, const FloorDivisor& by_2n, int64_t n) {
  const int64_t mu = by_2n(512 * sums.sum + n);
  // V = sum (256 q - mu)^2, exact modulo 2^64 and below 2^62.
  const uint64_t variance = (sums.squares << 16) - static_cast<uint64_t>(512 * mu * sums.sum) +
                            static_cast<uint64_t>(n) * static_cast<uint64_t>(mu * mu);
  if (variance == 0) return {static_cast<int32_t>(mu), 0, 0};  // every d is 0
  const int e = (61 - log2_floor(variance)) / 2;
  const uint64_t root = isqrt_normalized(variance << (2 * e));
  return {static_cast<int32_t>(mu), static_cast<int32_t>(((uint64_t{1} << 61) - 1) / root), e};
}

// Rows of sums on their way to rows of outputs.
class RowKernel : public Kernel {
 public:
  RowKernel(const KernelSpec& spec, const RowLoops* vector) : n_(width_of(spec)), vector_(vector), by_2n_(2 * n_) {
    for (const KernelOperand& input : spec.inputs)
      if (input.constant.defined()) kept_.push_back(input.constant);
    for (const KernelOperand& output : spec.outputs) types_.push_back(output.type);
    row_bytes_ = round_up(n_, vector ? 2 * vector->block : 1) * static_cast<int64_t>(sizeof(int16_t));
  }

  size_t scratch_bytes(std::span<const Dims>, int64_t) const override {
    return static_cast<size_t>(kGroup * row_bytes_);
  }

 protected:
  virtual void finish(const int16_t* q, const RowScale& scale, std::byte* const* rows) const = 0;

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
        for (int64_t r = 0; r < count; ++r) scales[r] = row_scale(sums[r], by_2n_, n_);
        for (int64_t r = 0; r < count; ++r) {
          std::byte* to[kMaxOutputs];
          for (size_t j = 0; j < types_.size(); ++j) to[j] = outputs[j].data + storage_bytes(types_[j], (t + r) * n_);
          finish(q(r), scales[r], to);
        }
      }
    });
  }

  int64_t n_;
  const RowLoops* vector_;  // none: portable

 private:
  FloorDivisor by_2n_;
  int64_t row_bytes_;  // of q
  std::vector<DataType> types_;
  std::vector<Tensor> kept_;  // what kernels point to
};

struct Table {
  const int8_t* codes;
  std::span<const int32_t> m;
  std::span<const uint8_t> s;
  AlignedBuffer words;  // WordRatio of each row; right = 0 where there is none

  int64_t rows() const { return static_cast<int64_t>(m.size()); }
};
std::vector<Table> tables_of(const KernelSpec& spec);

// embed_norm in the arithmetic of `Norm`, whose kSums cut the sums.
template <class Norm>
class EmbedNormKernel final : public Norm {
 public:
  EmbedNormKernel(const KernelSpec& spec, const RowLoops* vector) : Norm(spec, vector), tables_(tables_of(spec)) {
    if (!vector) return;
    for (Table& table : tables_) {
      table.words = AlignedBuffer::long_lived(static_cast<size_t>(table.rows()) * sizeof(WordRatio));
      for (int64_t r = 0; r < table.rows(); ++r)
        table.words.as<WordRatio>()[r] =
            word_ratio(127 << kTableCodeLeft, table.m[r], table.s[r] + kTableCodeLeft).value_or(WordRatio{0, 0, 0});
    }
  }

  std::string describe() const override {
    int64_t scalar = 0;
    for (const Table& table : tables_)
      for (int64_t r = 0; vector_ && r < table.rows(); ++r) scalar += table.words.as<WordRatio>()[r].right == 0;
    return scalar ? cat(Norm::describe(), ", ", scalar, " table rows by scalars") : Norm::describe();
  }

  void run(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
           const KernelContext& context) const override {
    const int count = static_cast<int>(tables_.size());
    const int32_t* ids[kMaxTables];
    for (int j = 0; j < count; ++j) ids[j] = inputs[j].as<int32_t>();
    this->run_rows(
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
          if (vector) return vector_->embed(terms, count, Norm::kSums, n_, q);
          for (int j = 0; j < count; ++j) terms[j].ratio = {tables_[j].m[ids[j][t]], tables_[j].s[ids[j][t]]};
          return portable_sum(terms, count, Norm::kSums, n_, q);
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
  using Norm::n_, Norm::vector_;
  static constexpr int64_t kCacheLine = 64;
  static constexpr int64_t kFarTable = int64_t{1} << 20;  // bytes; rows of smaller tables are near, or come in order
  std::vector<Table> tables_;
};

// The kernels of bodies with lane_bits = 16 (q15.cc).
bool is_q15(const KernelSpec& spec);
std::string reject_q15_add_norm(const KernelSpec& spec);
std::string reject_q15_embed_norm(const KernelSpec& spec);
std::unique_ptr<Kernel> make_q15_add_norm(const KernelSpec& spec, const RowLoops* vector);
std::unique_ptr<Kernel> make_q15_embed_norm(const KernelSpec& spec, const RowLoops* vector);

// What every form asks of a norm's width and outputs.
std::string reject_shape(const KernelSpec& spec);

}  // namespace dyadic::norm

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
    ldq_ = round_up(n_, vector ? 2 * vector->block : 1);
  }

  size_t scratch_bytes(std::span<const Dims>, int64_t) const override {
    return static_cast<size_t>(2 * kGroup * ldq_) * sizeof(int16_t);
  }

 protected:
  // Rows of q are ldq_ words apart; rows[j] is the first of them of output j.
  virtual void finish(const int16_t* q, std::span<const RowScale> scales, std::byte* const* rows) const = 0;

  // sum(t, count, q, sums) makes the codes of rows t .. t + count - 1; prefetch(t) expects that row soon.
  template <class Sum, class Prefetch>
  void run_rows(int64_t rows, std::span<const TensorView> outputs, const KernelContext& context, const Sum& sum,
                const Prefetch& prefetch) const {
    context.parallel_for(rows, kGrain, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t t = begin; t < std::min(end, begin + kAhead); ++t) prefetch(t);
      // A group is finished after the next one is summed, whose divisions then run beside the sums that follow.
      struct Group {
        int64_t row = 0, count = 0;
        int16_t* q;
        RowScale scales[kGroup];
      } groups[2];
      for (int g = 0; g < 2; ++g) groups[g].q = reinterpret_cast<int16_t*>(context.scratch[worker]) + g * kGroup * ldq_;
      const auto finish_group = [&](const Group& group) {
        std::byte* to[kMaxOutputs];
        for (size_t j = 0; j < types_.size(); ++j) to[j] = outputs[j].data + group.row * row_bytes(j);
        finish(group.q, {group.scales, static_cast<size_t>(group.count)}, to);
      };
      int g = 0;
      for (int64_t t = begin; t < end; t += kGroup, g ^= 1) {
        Group& group = groups[g];
        group.row = t, group.count = std::min(kGroup, end - t);
        for (int64_t r = t + kAhead; r < std::min(end, t + kAhead + kGroup); ++r) prefetch(r);
        Sums sums[kGroup];
        sum(t, group.count, group.q, sums);
        if (t > begin) finish_group(groups[g ^ 1]);
        for (int64_t r = 0; r < group.count; ++r) group.scales[r] = row_scale(sums[r], by_2n_, n_);
      }
      if (begin < end) finish_group(groups[g ^ 1]);
    });
  }

  // The same of sum(t, q), which makes the codes of row t.
  template <class Sum>
  auto each_row(const Sum& sum) const {
    return [=, this](int64_t t, int64_t count, int16_t* q, Sums* sums) {
      for (int64_t r = 0; r < count; ++r) sums[r] = sum(t + r, q + r * ldq_);
    };
  }

  int64_t row_bytes(size_t output) const { return storage_bytes(types_[output], n_); }

  int64_t n_, ldq_;
  const RowLoops* vector_;  // none: portable

 private:
  FloorDivisor by_2n_;
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
    const auto sum = [&](int64_t t, int16_t* q) {
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
    };
    const auto expect = [&](int64_t t) {
      for (int j = 0; j < count; ++j) {
        const Table& table = tables_[j];
        const int64_t row = ids[j][t];
        if (table.rows() * n_ < kFarTable || row < 0 || row >= table.rows()) continue;
        for (int64_t i = 0; i < n_; i += kCacheLine) prefetch(table.codes + row * n_ + i);
        if (vector_) prefetch(table.words.as<WordRatio>() + row);
      }
    };
    this->run_rows(inputs[0].dims[0], outputs, context, this->each_row(sum), expect);
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

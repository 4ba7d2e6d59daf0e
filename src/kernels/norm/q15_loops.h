// The row loops of a norm in Q15 over Words, two of them at a time: 32 or 64 columns.
#pragma once
#include "kernels/norm/row_loops.h"

namespace dyadic::norm {

template <class Words>
struct WordPair {
  static constexpr int kCount = 2 * Words::kCount;
  Words lo, hi;

  static inline DYADIC_INLINE WordPair load(const int16_t* p) {
    return {Words::load(p), Words::load(p + Words::kCount)};
  }
  inline DYADIC_INLINE void store(int16_t* p) const {
    lo.store(p);
    hi.store(p + Words::kCount);
  }
  inline DYADIC_INLINE void store(int8_t* p) const { store_clamped(lo, hi, p); }
};

template <class Words, class RowSums>
void add_q15(const int16_t* x, const int16_t* y, const Q15Ratios& ratios, int64_t n, int64_t count, int16_t* q,
             int64_t ldq, Sums sums[kGroup]) {
  using Pair = WordPair<Words>;
  static_assert(4 * kLargestQ15Sum * kLargestQ15Sum < int64_t{1} << 32, "RowSums takes four squares at once");
  const Words mx = Words::broadcast(ratios.first), my = Words::broadcast(ratios.second);
  RowSums rows[kGroup];
  for (int64_t r = 0; r < kGroup; ++r) {
    RowSums row = RowSums::zeros();
    if (r < count) {
      for_blocks<Pair>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
        const Pair a = load_columns<Pair>(x + r * n + i, columns), b = load_columns<Pair>(y + r * n + i, columns);
        const Pair sum = {mul_q15(a.lo, mx) + mul_q15(b.lo, my), mul_q15(a.hi, mx) + mul_q15(b.hi, my)};
        sum.store(q + r * ldq + i);
        row.add(sum.lo, sum.hi);
      });
    }
    rows[r] = row;
  }
  int64_t sum[kGroup];
  uint64_t squares[kGroup];
  RowSums::totals(rows, sum, squares);
  for (int64_t r = 0; r < count; ++r) sums[r] = {sum[r], squares[r]};
}

// kRows rows from `row` on, so that each reads the parameters of the others.
template <class Words, int kRows, bool kWide>
inline DYADIC_INLINE void finish_rows_q15(const int16_t* q, int64_t ldq, std::span<const Q15Scale> scales, int64_t row,
                                          int64_t n, std::span<const Q15Output> outputs, std::byte* const* rows) {
  using Pair = WordPair<Words>;
  using Shift = typename Words::Shift;
  Words add[kRows], reciprocal[kRows];
  Shift left[kRows], right[kRows];
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r) {
    const Q15Scale& scale = scales[row + r];
    add[r] = Words::broadcast(scale.add), reciprocal[r] = Words::broadcast(scale.reciprocal);
    left[r] = Shift::by(scale.left), right[r] = Shift::by(kWide ? scale.right - 1 : scale.right);
  }
  q += row * ldq;
  for_blocks<Pair>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
    Pair y[kRows];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const auto normalized = [&](Words x) DYADIC_INLINE {
        return mul_q15((kWide ? average(x, add[r]) : (x << left[r]) + add[r]) >> right[r], reciprocal[r]);
      };
      const Pair x = Pair::load(q + r * ldq + i);
      y[r] = {normalized(x.lo), normalized(x.hi)};
    }
    for (size_t j = 0; j < outputs.size(); ++j) {
      const Q15Output& output = outputs[j];
      const Pair m = Pair::load(output.m + i), beta = Pair::load(output.beta + i);
      const bool bytes = output.type == DataType::kI8;
      const Shift shift = Shift::by(output.shift);
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        Pair z = {mul_q15(y[r].lo, m.lo) + beta.lo, mul_q15(y[r].hi, m.hi) + beta.hi};
        if (bytes) {
          store_columns<Pair, int8_t>({z.lo >> shift, z.hi >> shift}, rows[j] + (row + r) * n, i, columns);
          continue;
        }
        for (int s = 0; s < output.shift; ++s) z = {doubled(z.lo), doubled(z.hi)};
        store_columns<Pair, int16_t>(z, rows[j] + (row + r) * n * 2, i, columns);
      }
    }
  });
}

template <class Words>
void finish_q15(const int16_t* q, int64_t ldq, std::span<const Q15Scale> scales, int64_t n,
                std::span<const Q15Output> outputs, std::byte* const* rows) {
  const int64_t count = static_cast<int64_t>(scales.size());
  for (int64_t r = 0; r < count;) {
    if (scales[r].wide) {
      finish_rows_q15<Words, 1, true>(q, ldq, scales, r++, n, outputs, rows);
    } else if (r + 1 < count && !scales[r + 1].wide) {
      finish_rows_q15<Words, 2, false>(q, ldq, scales, r, n, outputs, rows);
      r += 2;
    } else {
      finish_rows_q15<Words, 1, false>(q, ldq, scales, r++, n, outputs, rows);
    }
  }
}

template <class Words, class WordSums, class RowSums>
inline constexpr RowLoops kLoops = {
    Words::kCount,        add_terms<Words, WordSums>, add_pairs<Words, WordSums>, embed_terms<Words, WordSums>,
    finish<Words, false>, finish<Words, true>,        add_q15<Words, RowSums>,    finish_q15<Words>};

}  // namespace dyadic::norm

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

template <class Words, class WordSums>
Sums add_q15(const int16_t* x, const int16_t* y, const Q15Ratios& ratios, int64_t n, int16_t* q) {
  using Pair = WordPair<Words>;
  const Words mx = Words::broadcast(ratios.first), my = Words::broadcast(ratios.second);
  WordSums sums;
  for_blocks<Pair>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
    const Pair a = load_columns<Pair>(x + i, columns), b = load_columns<Pair>(y + i, columns);
    const Pair sum = {mul_q15(a.lo, mx) + mul_q15(b.lo, my), mul_q15(a.hi, mx) + mul_q15(b.hi, my)};
    sum.store(q + i);
    sums.add(sum.lo);
    sums.add(sum.hi);
  });
  return {sums.sum(), sums.sum_of_squares()};
}

template <class Words, bool kLeft>
inline DYADIC_INLINE void finish_rows_q15(const int16_t* q, const Q15Scale& scale, int64_t n,
                                          std::span<const Q15Output> outputs, std::byte* const* rows) {
  using Pair = WordPair<Words>;
  const Words add = Words::broadcast(scale.add), reciprocal = Words::broadcast(scale.reciprocal);
  const auto normalized = [&](Words x) DYADIC_INLINE {
    return mul_q15(kLeft ? (x << scale.shift) + add : average(x, add) >> (scale.shift - 1), reciprocal);
  };
  for_blocks<Pair>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
    const Pair x = Pair::load(q + i), y = {normalized(x.lo), normalized(x.hi)};
    for (size_t j = 0; j < outputs.size(); ++j) {
      const Q15Output& output = outputs[j];
      const Pair m = Pair::load(output.m + i), beta = Pair::load(output.beta + i);
      Pair z = {mul_q15(y.lo, m.lo) + beta.lo, mul_q15(y.hi, m.hi) + beta.hi};
      if (output.type == DataType::kI8) {
        store_columns<Pair, int8_t>({z.lo >> output.shift, z.hi >> output.shift}, rows[j], i, columns);
        continue;
      }
      for (int s = 0; s < output.shift; ++s) z = {doubled(z.lo), doubled(z.hi)};
      store_columns<Pair, int16_t>(z, rows[j], i, columns);
    }
  });
}

template <class Words>
void finish_q15(const int16_t* q, const Q15Scale& scale, int64_t n, std::span<const Q15Output> outputs,
                std::byte* const* rows) {
  if (scale.left) return finish_rows_q15<Words, true>(q, scale, n, outputs, rows);
  finish_rows_q15<Words, false>(q, scale, n, outputs, rows);
}

template <class Words, class WordSums>
inline constexpr RowLoops kLoops = {
    Words::kCount,        add_terms<Words, WordSums>, add_pairs<Words, WordSums>, embed_terms<Words, WordSums>,
    finish<Words, false>, finish<Words, true>,        add_q15<Words, WordSums>,   finish_q15<Words>};

}  // namespace dyadic::norm

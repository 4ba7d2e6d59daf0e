// The row loops of a norm in Q15 over Words, two of them at a time: 32 or 64 columns.
#pragma once
#include "kernels/norm/row_loops.h"

namespace dyadic::norm {

template <class Words>
struct WordPair {
  Words lo, hi;

  template <class Code>
  static inline DYADIC_INLINE WordPair load(const Code* p) {
    return {Words::load(p), Words::load(p + Words::kCount)};
  }
};

// The first `count` of 2 * kCount columns; zeros behind them.
template <class Words>
inline DYADIC_INLINE WordPair<Words> load_pair(const int16_t* p, int64_t count) {
  constexpr int64_t kColumns = 2 * Words::kCount;
  if (count == kColumns) return WordPair<Words>::load(p);
  int16_t part[kColumns] = {};
  __builtin_memcpy(part, p, static_cast<size_t>(count) * sizeof(int16_t));
  return WordPair<Words>::load(part);
}

template <class Words, class Code>
inline DYADIC_INLINE void store_pair(WordPair<Words> x, std::byte* row, int64_t begin, int64_t count) {
  constexpr int64_t kColumns = 2 * Words::kCount;
  Code* p = reinterpret_cast<Code*>(row) + begin;
  if (count == kColumns) return store(x.lo, x.hi, p);
  Code part[kColumns];
  store(x.lo, x.hi, part);
  __builtin_memcpy(p, part, static_cast<size_t>(count) * sizeof(Code));
}

// for_blocks of two.
template <class Words, class Block>
inline DYADIC_INLINE void for_pairs(int64_t n, const Block& block) {
  constexpr int64_t kColumns = 2 * Words::kCount;
  int64_t i = 0;
  for (; i + kColumns <= n; i += kColumns) block(i, kColumns);
  if (i < n) block(i, n - i);
}

template <class Words, class WordSums>
Sums add_q15(const int16_t* x, const int16_t* y, const Q15Ratios& ratios, int64_t n, int16_t* q) {
  const Words mx = Words::broadcast(ratios.first), my = Words::broadcast(ratios.second);
  WordSums sums;
  for_pairs<Words>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
    const WordPair<Words> a = load_pair<Words>(x + i, columns), b = load_pair<Words>(y + i, columns);
    const Words lo = mul_q15(a.lo, mx) + mul_q15(b.lo, my), hi = mul_q15(a.hi, mx) + mul_q15(b.hi, my);
    store(lo, hi, q + i);
    sums.add(lo);
    sums.add(hi);
  });
  return {sums.sum(), sums.sum_of_squares()};
}

template <class Words, bool kLeft>
inline DYADIC_INLINE void finish_rows_q15(const int16_t* q, const Q15Scale& scale, int64_t n,
                                          std::span<const Q15Output> outputs, std::byte* const* rows) {
  const Words add = Words::broadcast(scale.add), reciprocal = Words::broadcast(scale.reciprocal);
  const auto normalized = [&](Words x) DYADIC_INLINE {
    return mul_q15(kLeft ? (x << scale.shift) + add : average(x, add) >> (scale.shift - 1), reciprocal);
  };
  for_pairs<Words>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
    const auto x = WordPair<Words>::load(q + i);
    const WordPair<Words> y = {normalized(x.lo), normalized(x.hi)};
    for (size_t j = 0; j < outputs.size(); ++j) {
      const Q15Output& output = outputs[j];
      const auto m = WordPair<Words>::load(output.m + i), beta = WordPair<Words>::load(output.beta + i);
      WordPair<Words> z = {mul_q15(y.lo, m.lo) + beta.lo, mul_q15(y.hi, m.hi) + beta.hi};
      if (output.type == DataType::kI8) {
        store_pair<Words, int8_t>({z.lo >> output.shift, z.hi >> output.shift}, rows[j], i, columns);
        continue;
      }
      for (int s = 0; s < output.shift; ++s) z = {doubled(z.lo), doubled(z.hi)};
      store_pair<Words, int16_t>(z, rows[j], i, columns);
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

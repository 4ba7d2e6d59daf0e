// The row loops of a norm over Words, 16 or 32 i16 of an instruction set (kernels/lanes_*.h).
#pragma once
#include "kernels/norm/norm.h"

namespace dyadic::norm {

#define DYADIC_INLINE __attribute__((always_inline))

// The first `count` columns of a block; zeros behind them.
template <class Words, class Code>
inline DYADIC_INLINE Words load_columns(const Code* p, int64_t count) {
  if (count == Words::kCount) return Words::load(p);
  Code part[Words::kCount] = {};
  __builtin_memcpy(part, p, static_cast<size_t>(count) * sizeof(Code));
  return Words::load(part);
}

template <class Words, class Code>
inline DYADIC_INLINE void store_columns(Words x, std::byte* row, int64_t begin, int64_t count) {
  Code* p = reinterpret_cast<Code*>(row) + begin;
  if (count == Words::kCount) return x.store(p);
  Code part[Words::kCount];
  x.store(part);
  __builtin_memcpy(p, part, static_cast<size_t>(count) * sizeof(Code));
}

// Calls block(begin, count) for whole blocks of columns and for the rest.
template <class Words, class Block>
inline DYADIC_INLINE void for_blocks(int64_t n, const Block& block) {
  int64_t i = 0;
  for (; i + Words::kCount <= n; i += Words::kCount) block(i, Words::kCount);
  if (i < n) block(i, n - i);
}

template <class Words, class WordSums, int kLeft, bool kClamped = false, class Code>
inline DYADIC_INLINE Sums sum_terms(const Term<Code>* terms, int count, Interval limits, int64_t n, int16_t* q) {
  using Wide = typename Words::Wide;
  WordProduct<Words> products[kMaxTables];
  for (int j = 0; j < count; ++j) products[j] = WordProduct<Words>::of(terms[j].word);
  const Wide half = Wide::broadcast(128), fraction = Wide::broadcast(8);
  const Words lo = Words::broadcast(static_cast<int16_t>(limits.lo)),
              hi = Words::broadcast(static_cast<int16_t>(limits.hi));
  WordSums sums;
  for_blocks<Words>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
    Wide sum = half;
    for (int j = 0; j < count; ++j)
      sum = sum + products[j](load_columns<Words>(terms[j].codes + i, columns).template shifted<kLeft>());
    Words code = Words::saturated(sum >> fraction);
    if (kClamped) code = clamped(code, lo, hi);
    code.store(q + i);
    sums.add(code);
  });
  return {sums.sum(), sums.sum_of_squares()};
}

template <class Words, class WordSums>
Sums add_terms(const Term<int16_t> terms[2], int64_t n, int16_t* q) {
  return sum_terms<Words, WordSums, 0>(terms, 2, {INT16_MIN, INT16_MAX}, n, q);
}

template <class Words, class WordSums>
Sums add_pairs(const int16_t* x, const int16_t* y, const PairRatio& ratio, int64_t n, int16_t* q) {
  using Wide = typename Words::Wide;
  const uint32_t pair = static_cast<uint16_t>(ratio.first) | static_cast<uint32_t>(ratio.second) << 16;
  const Wide factors = Wide::broadcast(static_cast<int32_t>(pair)), add = Wide::broadcast(ratio.add);
  const Wide right = Wide::broadcast(ratio.right);
  WordSums sums;
  for_blocks<Words>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
    const Wide pairs = interleave(load_columns<Words>(x + i, columns), load_columns<Words>(y + i, columns));
    const Words code = Words::saturated(dot(add, pairs, factors) >> right);
    code.store(q + i);
    sums.add(code);
  });
  return {sums.sum(), sums.sum_of_squares()};
}

template <class Words, class WordSums>
Sums embed_terms(const Term<int8_t>* terms, int count, Interval limits, int64_t n, int16_t* q) {
  if (limits.lo != INT16_MIN || limits.hi != INT16_MAX)
    return sum_terms<Words, WordSums, kTableCodeLeft, true>(terms, count, limits, n, q);
  if (count == 3) return sum_terms<Words, WordSums, kTableCodeLeft>(terms, 3, limits, n, q);  // token, position, type
  return sum_terms<Words, WordSums, kTableCodeLeft>(terms, count, limits, n, q);
}

template <class Words, bool kNarrow>
void finish(const int16_t* q, const WordScale& scale, int y_left, int64_t n, std::span<const Output> outputs,
            std::byte* const* rows) {
  using Wide = typename Words::Wide;
  const Words low = Words::broadcast(scale.low), bound = Words::broadcast(static_cast<int16_t>(scale.bound));
  const uint32_t pair = static_cast<uint16_t>(scale.high) | uint32_t{1} << 16;
  const Wide factors = Wide::broadcast(static_cast<int32_t>(pair)), add = Wide::broadcast(scale.add);
  const Wide right = Wide::broadcast(scale.right), left = Wide::broadcast(y_left);
  for_blocks<Words>(n, [&](int64_t i, int64_t columns) DYADIC_INLINE {
    const Words x = Words::load(q + i);
    const Words upper = carried(mul_high(x, low), mul_low(x, low), bound);
    const Wide normalized = dot(add, interleave(x, upper), factors) >> right;
    const Wide y = kNarrow ? normalized : normalized << left, odd = y.odd();
    for (size_t j = 0; j < outputs.size(); ++j) {
      const Output& output = outputs[j];
      const int32_t* block = output.blocks + 3 * i;
      const Wide m = Wide::load(block + Words::kCount);
      const Wide product = kNarrow ? y * m : mul_high(y, m, odd, Wide::load(block + 2 * Words::kCount));
      const Wide code = (product + Wide::load(block)) >> Wide::broadcast(output.right);
      if (output.type == DataType::kI8)
        store_columns<Words, int8_t>(Words::saturated(code), rows[j], i, columns);
      else
        store_columns<Words, int16_t>(Words::saturated(code), rows[j], i, columns);
    }
  });
}

}  // namespace dyadic::norm

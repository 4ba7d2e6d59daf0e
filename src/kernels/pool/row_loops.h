// The row loops of pooling over Words, 16 or 32 i16 of an instruction set (kernels/lanes_*.h).
#pragma once
#include "kernels/pool/pool.h"

namespace dyadic::pool {

// Columns stay in registers while rows go by, two at a time: their words meet in pairs.
template <class Words>
void add(const int16_t* x, int64_t stride, int64_t rows, int64_t n, int32_t* sum) {
  using Wide = typename Words::Wide;
  const Wide ones = Wide::broadcast(0x00010001);
  const Words zero = Words::broadcast(0);
  int64_t i = 0;
  for (; i + Words::kCount <= n; i += Words::kCount) {
    Wide total = Wide::broadcast(0);
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2)
      total = dot(total, interleave(Words::load(x + r * stride + i), Words::load(x + (r + 1) * stride + i)), ones);
    if (r < rows) total = dot(total, interleave(Words::load(x + r * stride + i), zero), ones);
    // Back into the order of columns: four lanes of `lo`, four of `hi`.
    int32_t lanes[Words::kCount];
    total.store(lanes);
    for (int j = 0; j < Words::kCount; j += 8)
      for (int k = 0; k < 4; ++k) {
        sum[i + j + k] += lanes[j / 2 + k];
        sum[i + j + 4 + k] += lanes[Words::kCount / 2 + j / 2 + k];
      }
  }
  for (; i < n; ++i)
    for (int64_t r = 0; r < rows; ++r) sum[i] += x[r * stride + i];
}

template <class Words>
void scale(const WordRatio& ratio, int64_t n, int16_t* x) {
  const WordProduct<Words> product = WordProduct<Words>::of(ratio);
  int64_t i = 0;
  for (; i + Words::kCount <= n; i += Words::kCount) Words::saturated(product(Words::load(x + i))).store(x + i);
  if (i == n) return;
  int16_t part[Words::kCount] = {};
  __builtin_memcpy(part, x + i, static_cast<size_t>(n - i) * sizeof(int16_t));
  Words::saturated(product(Words::load(part))).store(part);
  __builtin_memcpy(x + i, part, static_cast<size_t>(n - i) * sizeof(int16_t));
}

template <class Words>
inline constexpr RowLoops kLoops = {add<Words>, scale<Words>};

}  // namespace dyadic::pool

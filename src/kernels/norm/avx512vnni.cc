#include "kernels/lanes_avx512.h"
#include "kernels/norm/row_loops.h"

namespace dyadic::norm {
namespace {

// Two squares of -32768 add up to 2^31: pair sums are read without sign.
Sums sums(const int16_t* q, Columns columns) {
  const __m512i ones = _mm512_set1_epi16(1), low = _mm512_set1_epi64(0xffffffff);
  __m512i sum = _mm512_setzero_si512(), squares = sum;
  for (int64_t i = columns.begin; i < columns.end; i += 2 * kBlock) {
    const __mmask32 valid = columns.end - i < 2 * kBlock ? 0x0000ffff : 0xffffffff;
    const __m512i x = _mm512_maskz_loadu_epi16(valid, q + i);
    const __m512i pairs = _mm512_madd_epi16(x, x);
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(x, ones));
    squares = _mm512_add_epi64(squares, _mm512_add_epi64(_mm512_and_si512(pairs, low), _mm512_srli_epi64(pairs, 32)));
  }
  alignas(64) int32_t s[16];
  alignas(64) uint64_t t[8];
  _mm512_store_si512(s, sum);
  _mm512_store_si512(t, squares);
  Sums result{0, 0};
  for (int32_t x : s) result.sum += x;
  for (uint64_t x : t) result.squares += x;
  return result;
}

using avx512::Lanes;

}  // namespace

const RowLoops kAvx512VnniLoops = {add_terms<Lanes>, embed_terms<Lanes>, sums, normalize<Lanes>, emit<Lanes>};

}  // namespace dyadic::norm

#include "kernels/lanes_avx2.h"
#include "kernels/norm/row_loops.h"

namespace dyadic::norm {
namespace {

// Two squares of -32768 add up to 2^31: pair sums are read without sign.
Sums sums(const int16_t* q, Columns columns) {
  const __m256i ones = _mm256_set1_epi16(1), low = _mm256_set1_epi64x(0xffffffff);
  __m256i sum = _mm256_setzero_si256(), squares = sum;
  for (int64_t i = columns.begin; i < columns.end; i += kBlock) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + i));
    const __m256i pairs = _mm256_madd_epi16(x, x);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, ones));
    squares = _mm256_add_epi64(squares, _mm256_add_epi64(_mm256_and_si256(pairs, low), _mm256_srli_epi64(pairs, 32)));
  }
  alignas(32) int32_t s[8];
  alignas(32) uint64_t t[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(s), sum);
  _mm256_store_si256(reinterpret_cast<__m256i*>(t), squares);
  Sums result{0, t[0] + t[1] + t[2] + t[3]};
  for (int32_t x : s) result.sum += x;
  return result;
}

using avx2::Lanes;

}  // namespace

const RowLoops kAvx2Loops = {add_terms<Lanes>, embed_terms<Lanes>, sums, normalize<Lanes>, emit<Lanes>};

}  // namespace dyadic::norm

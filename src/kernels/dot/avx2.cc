// 6 rows x 16 columns in 12 registers: one broadcast of two 16-bit values of a row feeds two vpmaddwd. Operands of 8
// bits are widened when they are packed, which makes their products exact as those of vpmaddubsw are not.
#include <immintrin.h>

#include "kernels/dot/tile.h"

namespace dyadic {

extern const PanelDot kDotsAvx2[4];

namespace {

struct Avx2S16 {
  using Vector = __m256i;
  using Element = int16_t;
  static constexpr int kLanes = 8, kVectors = 2, kRows = 6, kPrefetchRows = 4;
  static constexpr int32_t kOffset = 0;
  static Vector load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, Vector x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  static void keep(Vector& x) { asm("" : "+x"(x)); }
  static void prefetch(const std::byte* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
  static Vector broadcast(const std::byte* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return _mm256_set1_epi32(x);
  }
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, w)); }
};

}  // namespace

const PanelDot kDotsAvx2[4] = {
    panel_dot_of<Avx2S16, int8_t>("s8s8_avx2", Isa::kAvx2, DataType::kI8, DataType::kI8),
    panel_dot_of<Avx2S16, uint8_t>("u8s8_avx2", Isa::kAvx2, DataType::kU8, DataType::kI8),
    panel_dot_of<Avx2S16, int16_t>("s16s8_avx2", Isa::kAvx2, DataType::kI16, DataType::kI8),
    panel_dot_of<Avx2S16, int16_t>("s16s16_avx2", Isa::kAvx2, DataType::kI16, DataType::kI16)};

}  // namespace dyadic

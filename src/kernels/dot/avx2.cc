// 6 rows x 16 columns in 12 registers: one broadcast of two 16-bit values of a row feeds two vpmaddwd. Operands of 8
// bits are widened when they are packed, which makes their products exact as those of vpmaddubsw are not.
#include "kernels/dot/tile.h"
#include "kernels/dot/ymm.h"

namespace dyadic {

extern const PanelDot kDotsAvx2[4];

namespace {

struct Unit;

struct Avx2S16 : Ymm<Unit> {
  using Element = int16_t;
  using Row = int16_t;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, w)); }
};

}  // namespace

const PanelDot kDotsAvx2[4] = {
    panel_dot_of<Avx2S16, int8_t>("s8s8_avx2", Isa::kAvx2, DotFeature::kNone, DataType::kI8),
    panel_dot_of<Avx2S16, uint8_t>("u8s8_avx2", Isa::kAvx2, DotFeature::kNone, DataType::kI8),
    panel_dot_of<Avx2S16, int16_t>("s16s8_avx2", Isa::kAvx2, DotFeature::kNone, DataType::kI8),
    panel_dot_of<Avx2S16, int16_t>("s16s16_avx2", Isa::kAvx2, DotFeature::kNone, DataType::kI16)};

}  // namespace dyadic

// AVX-512 without VNNI: 6 rows x 64 columns, one broadcast of two 16-bit values of a row feeds four vpmaddwd. Operands
// of 8 bits are widened when they are packed.
#include "kernels/dot/tile.h"
#include "kernels/dot/zmm.h"

namespace dyadic {

extern const PanelDot kDotsAvx512[4];

namespace {

struct Unit;

struct Avx512S16 : Zmm<Unit> {
  using Element = int16_t;
  using Row = int16_t;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm512_add_epi32(acc, _mm512_madd_epi16(x, w)); }
};

}  // namespace

const PanelDot kDotsAvx512[4] = {
    panel_dot_of<Avx512S16, int8_t>("s8s8_avx512", Isa::kAvx2, DotFeature::kAvx512, DataType::kI8),
    panel_dot_of<Avx512S16, uint8_t>("u8s8_avx512", Isa::kAvx2, DotFeature::kAvx512, DataType::kI8),
    panel_dot_of<Avx512S16, int16_t>("s16s8_avx512", Isa::kAvx2, DotFeature::kAvx512, DataType::kI8),
    panel_dot_of<Avx512S16, int16_t>("s16s16_avx512", Isa::kAvx2, DotFeature::kAvx512, DataType::kI16)};

}  // namespace dyadic

// AVX-VNNI, the 256-bit form: 6 rows x 16 columns in 12 registers.
#include "kernels/dot/tile.h"
#include "kernels/dot/ymm.h"

namespace dyadic {

extern const PanelDot kDotsAvxVnni[4];

namespace {

struct Unit;

struct AvxVnniBytes : Ymm<Unit> {
  using Element = int8_t;
  using Row = uint8_t;
  static constexpr int kWantedSums = 10;  // 5 cycles x 2 pipes of Intel's cores
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm256_dpbusd_avx_epi32(acc, x, w); }
};

struct AvxVnniWords : Ymm<Unit> {
  using Element = int16_t;
  using Row = int16_t;
  static constexpr int kWantedSums = 10;  // 5 cycles x 2 pipes of Intel's cores
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm256_dpwssd_avx_epi32(acc, x, w); }
};

}  // namespace

const PanelDot kDotsAvxVnni[4] = {
    panel_dot_of<AvxVnniBytes, int8_t>("s8s8_avxvnni", Isa::kAvx2, DotFeature::kAvxVnni, DataType::kI8),
    panel_dot_of<AvxVnniBytes, uint8_t>("u8s8_avxvnni", Isa::kAvx2, DotFeature::kAvxVnni, DataType::kI8),
    panel_dot_of<AvxVnniWords, int16_t>("s16s8_avxvnni", Isa::kAvx2, DotFeature::kAvxVnni, DataType::kI8),
    panel_dot_of<AvxVnniWords, int16_t>("s16s16_avxvnni", Isa::kAvx2, DotFeature::kAvxVnni, DataType::kI16)};

}  // namespace dyadic

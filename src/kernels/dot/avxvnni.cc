// AVX-VNNI, the 256-bit form: 6 rows x 16 columns in 12 registers.
#include "kernels/dot/tile.h"
#include "kernels/dot/ymm.h"

namespace dyadic {

extern const PanelDot kDotsAvxVnni[4];

namespace {

struct Unit;

struct AvxVnniU8 : Ymm<Unit> {
  using Element = int8_t;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm256_dpbusd_avx_epi32(acc, x, w); }
};

// As in avx512_vnni.cc.
struct AvxVnniS8 : AvxVnniU8 {
  static constexpr int32_t kOffset = 128;
  static Vector broadcast(const std::byte* p) { return _mm256_xor_si256(Ymm::broadcast(p), _mm256_set1_epi8(-128)); }
};

struct AvxVnniS16 : Ymm<Unit> {
  using Element = int16_t;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm256_dpwssd_avx_epi32(acc, x, w); }
};

}  // namespace

const PanelDot kDotsAvxVnni[4] = {
    panel_dot_of<AvxVnniS8, int8_t>("s8s8_avxvnni", Isa::kAvx2, DotFeature::kAvxVnni, DataType::kI8),
    panel_dot_of<AvxVnniU8, uint8_t>("u8s8_avxvnni", Isa::kAvx2, DotFeature::kAvxVnni, DataType::kI8),
    panel_dot_of<AvxVnniS16, int16_t>("s16s8_avxvnni", Isa::kAvx2, DotFeature::kAvxVnni, DataType::kI8),
    panel_dot_of<AvxVnniS16, int16_t>("s16s16_avxvnni", Isa::kAvx2, DotFeature::kAvxVnni, DataType::kI16)};

}  // namespace dyadic

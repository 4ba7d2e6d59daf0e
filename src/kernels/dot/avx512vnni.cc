// 5 rows x 64 columns in 20 registers: one broadcast of four bytes of a row feeds four vpdpbusd or vpdpwssd.
#include "kernels/dot/tile.h"
#include "kernels/dot/zmm.h"

namespace dyadic {

extern const PanelDot kDotsAvx512Vnni[4];

namespace {

struct Unit;

struct VnniU8 : Zmm<Unit> {
  using Element = int8_t;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm512_dpbusd_epi32(acc, x, w); }
};

// vpdpbusd wants its first operand unsigned, so it sees a + 128.
struct VnniS8 : VnniU8 {
  static constexpr int32_t kOffset = 128;
  static Vector broadcast(const std::byte* p) { return _mm512_xor_si512(Zmm::broadcast(p), _mm512_set1_epi8(-128)); }
};

struct VnniS16 : Zmm<Unit> {
  using Element = int16_t;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm512_dpwssd_epi32(acc, x, w); }
};

}  // namespace

const PanelDot kDotsAvx512Vnni[4] = {
    panel_dot_of<VnniS8, int8_t>("s8s8_avx512vnni", Isa::kAvx512Vnni, DotFeature::kNone, DataType::kI8),
    panel_dot_of<VnniU8, uint8_t>("u8s8_avx512vnni", Isa::kAvx512Vnni, DotFeature::kNone, DataType::kI8),
    panel_dot_of<VnniS16, int16_t>("s16s8_avx512vnni", Isa::kAvx512Vnni, DotFeature::kNone, DataType::kI8),
    panel_dot_of<VnniS16, int16_t>("s16s16_avx512vnni", Isa::kAvx512Vnni, DotFeature::kNone, DataType::kI16)};

}  // namespace dyadic

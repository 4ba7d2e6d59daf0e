// AArch64 with the dot product extension: 5 rows x 16 columns, sdot of four 8-bit values.
#if defined(__aarch64__)
#include "kernels/dot/neon.h"

#include "kernels/dot/tile.h"

namespace dyadic {

extern const PanelDot kDotsNeonDotprod[2];

namespace {

struct Unit;

struct DotprodBytes : Neon<Unit> {
  using Element = int8_t;
  using Row = int8_t;
  static constexpr int kRows = 5;
  static int8x16_t load_panel(const std::byte* p) { return vld1q_s8(reinterpret_cast<const int8_t*>(p)); }
  static int8x16_t broadcast(const std::byte* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(x));
  }
  static void accumulate(Vector& acc, int8x16_t x, int8x16_t w) { acc = vdotq_s32(acc, x, w); }
};

}  // namespace

const PanelDot kDotsNeonDotprod[2] = {
    panel_dot_of<DotprodBytes, int8_t>("s8s8_dotprod", Isa::kPortable, DotFeature::kNeonDotprod, DataType::kI8),
    panel_dot_of<DotprodBytes, uint8_t>("u8s8_dotprod", Isa::kPortable, DotFeature::kNeonDotprod, DataType::kI8)};

}  // namespace dyadic
#endif

// AArch64 without the dot product extension: 4 rows x 16 columns, smlal of 16-bit values.
#if defined(__aarch64__)
#include "kernels/dot/neon.h"

#include "kernels/dot/tile.h"

namespace dyadic {

extern const PanelDot kDotsNeon[4];

namespace {

struct Unit;

struct NeonS16 : Neon<Unit> {
  using Element = int16_t;
  using Row = int16_t;
  static constexpr int kRows = 4;
  // The first and the second k of four columns.
  static int16x4x2_t load_panel(const std::byte* p) { return vld2_s16(reinterpret_cast<const int16_t*>(p)); }
  static int16x4_t broadcast(const std::byte* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return vreinterpret_s16_s32(vdup_n_s32(x));
  }
  static void accumulate(Vector& acc, int16x4_t x, int16x4x2_t w) {
    acc = vmlal_lane_s16(vmlal_lane_s16(acc, w.val[0], x, 0), w.val[1], x, 1);
  }
};

}  // namespace

const PanelDot kDotsNeon[4] = {
    panel_dot_of<NeonS16, int8_t>("s8s8_neon", Isa::kPortable, DotFeature::kNeon, DataType::kI8),
    panel_dot_of<NeonS16, uint8_t>("u8s8_neon", Isa::kPortable, DotFeature::kNeon, DataType::kI8),
    panel_dot_of<NeonS16, int16_t>("s16s8_neon", Isa::kPortable, DotFeature::kNeon, DataType::kI8),
    panel_dot_of<NeonS16, int16_t>("s16s16_neon", Isa::kPortable, DotFeature::kNeon, DataType::kI16)};

}  // namespace dyadic
#endif

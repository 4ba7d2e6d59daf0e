// What AMX wants to know of its tile registers before they are used (ldtilecfg).
#pragma once
#include <cstdint>

namespace dyadic {

// Palette 1: eight registers of up to 16 rows of 64 bytes; all of them, unless changed.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

}  // namespace dyadic

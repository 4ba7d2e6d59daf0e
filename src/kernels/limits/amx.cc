#include <immintrin.h>

#include "kernels/limits/limits.h"
#include "kernels/tile_config.h"

namespace dyadic {

extern const Probe kDotLimitAmx;

namespace {

constexpr int kRounds = 250;

constexpr TileConfig kConfig;

// All kinds of codes: with zeros the clock would be higher than with any network's.
struct alignas(64) Codes {
  int8_t of[2048];
  Codes() {
    uint32_t x = 1;
    for (int8_t& code : of) code = static_cast<int8_t>((x = x * 1664525 + 1013904223) >> 24);
  }
};

// Eight tile registers: four of sums, each of two tiles times each of two others.
void dot() {
  static const Codes codes;
  _tile_loadconfig(&kConfig);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, codes.of, 64);
  _tile_loadd(5, codes.of + 512, 64);
  _tile_loadd(6, codes.of + 1024, 64);
  _tile_loadd(7, codes.of + 256, 64);
  for (int round = 0; round < kRounds; ++round) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
}

}  // namespace

const Probe kDotLimitAmx = {"tdpbssd", int64_t{kRounds} * 4 * 16 * 16 * 64, dot};

}  // namespace dyadic

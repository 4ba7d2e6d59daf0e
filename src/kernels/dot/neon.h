// What Cores of AArch64 share (tile.h), as zmm.h.
#pragma once
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dyadic {

template <class Unit>
struct Neon {
  using Vector = int32x4_t;
  static constexpr int kLanes = 4, kVectors = 4, kPrefetchRows = 4, kLastSteps = 0, kWantedSums = 1;
  static Vector load(const int32_t* p) { return vld1q_s32(p); }
  static void store(int32_t* p, Vector x) { vst1q_s32(p, x); }
  static void prefetch(const std::byte* p) { __builtin_prefetch(p, 0, 3); }
  static void prefetch_next(const std::byte* p) { __builtin_prefetch(p, 0, 2); }
  static void keep(Vector& x) { asm("" : "+w"(x)); }
  static void keep(int8x16_t& x) { asm("" : "+w"(x)); }
  static void keep(int16x4x2_t&) {}
};

}  // namespace dyadic

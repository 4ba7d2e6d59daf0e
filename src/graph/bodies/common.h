// What the shared bodies have in common: lemmas, requantization, packed sequences, the reciprocal of a norm.
#pragma once
#include <string>

#include "graph/builder.h"

namespace dyadic {

// The lemmas that these bodies rely on (docs/core-ops.md).
inline constexpr char kHullLemma[] = "a weighted mean lies in the hull of the values";
inline constexpr char kLayerNormLemma[] = "|layer norm| <= sqrt(n-1)";

inline constexpr Interval kCode8{-127, 127};           // i8 codes are symmetric: -128 never occurs
inline constexpr Interval kShift{1, 62};               // of a requantization
inline constexpr Interval kRows{0, int64_t{1} << 28};  // starts and lengths of sequences; keeps sums of two in i32

// Parameters of mul_shift: <name>_m i32 and <name>_s u8 of the given shapes.
struct Multiplier {
  Var m, s;
};
inline Multiplier multiplier(BodyBuilder& b, const std::string& name, Shape m, Shape s) {
  const Var multiplier = b.input(name + "_m", DataType::kI32, std::move(m));
  return {multiplier, b.input(name + "_s", DataType::kU8, std::move(s), kShift)};
}

// i64 -> i8, clamped to [-127, 127].
inline Var to_code8(BodyBuilder& b, Var x) { return b.cast(b.clamp(x, kCode8.lo, kCode8.hi), DataType::kI8); }

// Sequences packed in T rows: sequence j is the rows start[j] .. start[j] + length[j] - 1. They are disjoint, need not
// be sorted or gapless, and may be empty; no result depends on the symbol L, which bounds a length.
struct Sequences {
  Var start, length;  // i32 [B]
  Var rows;           // i32 [B,L]: the row of each position, cut at T-1 (padding reads whatever row is there)
  Var valid;          // u8 [B,L]: 1 within the sequence
};
Sequences sequences(BodyBuilder& b, Var start, Var length);

// The reciprocal of sqrt(square) for square i64 >= 0: with square * 4^half in [2^60, 2^62), reciprocal =
// floor((2^61 - 1) / floor(sqrt(square * 4^half))), in [2^30, 2^31), hence x / sqrt(square) is about
// x * reciprocal * 2^(half - 61). A square of 0 gives half 30 and the largest reciprocal, 2^31 - 1.
struct ReciprocalRoot {
  Var reciprocal, half;  // i32, u8
};
ReciprocalRoot reciprocal_root(BodyBuilder& b, Var square);

}  // namespace dyadic

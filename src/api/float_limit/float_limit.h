// How many float multiply-adds one core does at most: what integers are compared with. Not in libdyadic_runtime, which
// computes no float.
#pragma once
#include "kernels/limits/limits.h"

namespace dyadic {

// Fused multiply-adds of f32 from registers (portable: a plain loop of multiplications and additions).
const Probe& float_probe(Isa isa);

}  // namespace dyadic

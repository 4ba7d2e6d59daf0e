// What one core can do at most: rounds of independent instructions from registers, and reads of memory. `dyadic doctor`
// prints them; benchmarks say which share of them a kernel reaches.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu.h"

namespace dyadic {

struct Probe {
  const char* instructions;  // what is repeated, e.g. "vpdpbusd"
  int64_t work;              // operations of one call of run
  void (*run)();
};

// The probes of one instruction set, in the forms that its kernels use.
struct LimitProbes {
  Isa isa;
  Probe dot;         // 8-bit multiply-accumulates
  Probe lookup_16;   // bytes looked up in 16 entries
  Probe lookup_256;  // bytes looked up in 256 entries
  Probe mul_shift;   // 32 x 32 -> 64-bit product, rounded and shifted to 32 bits
  // Reads `bytes` (a multiple of 1024) at `data`.
  void (*read)(const std::byte* data, int64_t bytes);
};

// One entry an instruction set, portable first. A CPU may run those with isa <= detected_isa().
std::span<const LimitProbes* const> limit_probes();
const LimitProbes& limit_probes(Isa isa);

// Operations a second of the calling thread, in its own CPU time: the best sample out of as many as fit into about
// `nanoseconds`, so that other load on the machine lowers it little.
int64_t operations_per_second(const Probe& probe, int64_t nanoseconds);

// Bytes a second of the calling thread when it reads a buffer of that size again and again. `bytes` is rounded up to a
// multiple of 1024.
int64_t read_bytes_per_second(Isa isa, int64_t bytes, int64_t nanoseconds);

}  // namespace dyadic

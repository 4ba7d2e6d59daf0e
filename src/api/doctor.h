// `dyadic doctor`: what this machine can do at most, what Dyadic will use of it, what is missing and what that costs.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu.h"

namespace dyadic {

struct CpuFeature {
  std::string name;  // as /proc/cpuinfo says it, e.g. "avx512_vnni"
  bool present = false;
};

// The best of one core, measured on this thread.
struct MeasuredLimit {
  std::string what;          // "dot", "lookup_16", "lookup_256", "mul_shift", "float"
  std::string isa;           // "portable", "avx2", "avx512vnni", "amx"
  std::string instructions;  // "vpdpbusd"
  double per_second = 0;     // operations: multiply-accumulates, look-ups, products
};

struct MeasuredMemory {
  std::string level;         // "L1", "L2", "L3", "DRAM"
  int64_t cache_bytes = 0;   // of that cache; 0 for DRAM
  int64_t buffer_bytes = 0;  // what was read again and again
  double bytes_per_second = 0;
};

struct KernelFamily {
  std::string composite, kernel;  // the first row of this composite for the instruction set in use
};

// A folder or program that some part of Dyadic looks for.
struct Finding {
  std::string what, purpose;
  std::string where;  // empty: missing
  std::string cost;   // of its being missing, and what to do about it
};

struct DoctorReport {
  std::string cpu;
  int cores = 0, hardware_threads = 0;
  double load = -1;  // runnable processes, mean of the last minute; -1: not known
  Isa detected = Isa::kPortable, active = Isa::kPortable;
  std::vector<CpuFeature> features;
  std::vector<MeasuredLimit> limits;
  std::vector<MeasuredMemory> memory;
  std::vector<KernelFamily> kernels;
  std::vector<Finding> findings;
  std::vector<std::string> costs;  // each: what is missing or in the way, and what that costs
};

// Measures for about `seconds` of this thread's time in all.
DoctorReport examine_machine(double seconds = 1);

// Cores (not hardware threads) that this process may count on.
int core_count();

// Multiply-accumulates a second that `threads` threads can do at most with the instructions of `isa`, measured now on
// one core in about 50 ms; 0 for the portable kernels, whose limit is the compiler's.
double dot_limit(Isa isa, int threads);

}  // namespace dyadic

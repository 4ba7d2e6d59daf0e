#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "base/status.h"

namespace dyadic {

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kAmx:
      return "amx";
  }
  return "?";
}

Isa parse_isa(std::string_view name) {
  for (Isa isa : kAllIsas)
    if (isa_name(isa) == name) return isa;
  fail(ErrorKind::kUsage, "unknown instruction set '", name, "'; use portable, avx2, avx512vnni or amx");
}

namespace {

#if defined(__x86_64__) && defined(__linux__)
// Tile registers enlarge what the kernel saves of a thread by 8 KiB, so Linux (5.16) hands them out on request only,
// for the whole process; it refuses where an alternate signal stack is too small for them.
bool amx_granted() {
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (kTile | kInt8)) != (kTile | kInt8)) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#elif defined(__x86_64__)
bool amx_granted() { return false; }
#endif

}  // namespace

Isa detected_isa() {
#if defined(__x86_64__)
  static const Isa isa = [] {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::kPortable;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512vbmi"))
      return amx_granted() ? Isa::kAmx : Isa::kAvx512Vnni;
    return Isa::kAvx2;
  }();
  return isa;
#else
  return Isa::kPortable;
#endif
}

Isa active_isa() {
  const char* cap = std::getenv("DYADIC_ISA");
  if (!cap || !*cap) return detected_isa();
  try {
    return std::min(detected_isa(), parse_isa(cap));
  } catch (const Error& error) {
    fail(error.kind(), "DYADIC_ISA: ", error.what());
  }
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0)
      if (const auto colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  return "unknown CPU";
}

}  // namespace dyadic

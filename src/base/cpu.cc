#include "base/cpu.h"

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
  }
  return "?";
}

Isa parse_isa(std::string_view name) {
  for (Isa isa : kAllIsas)
    if (isa_name(isa) == name) return isa;
  fail(ErrorKind::kUsage, "unknown instruction set '", name, "'; use portable, avx2 or avx512vnni");
}

Isa detected_isa() {
#if defined(__x86_64__)
  static const Isa isa = [] {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::kPortable;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512vbmi"))
      return Isa::kAvx512Vnni;
    return Isa::kAvx2;
  }();
  return isa;
#else
  return Isa::kPortable;
#endif
}

Isa active_isa() {
  const char* cap = std::getenv("DYADIC_ISA");
  return cap && *cap ? std::min(detected_isa(), parse_isa(cap)) : detected_isa();
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0)
      if (const auto colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  return "unknown CPU";
}

}  // namespace dyadic

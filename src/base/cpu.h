// Instruction sets that kernels are written for, found at run time.
#pragma once
#include <string>
#include <string_view>

namespace dyadic {

// Ordered: a CPU that has one level has all below it.
//   kAmx  AMX-INT8 (Sapphire Rapids and later) beside all of kAvx512Vnni, where the operating system grants it
enum class Isa { kPortable = 0, kAvx2 = 1, kAvx512Vnni = 2, kAmx = 3 };

inline constexpr Isa kAllIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512Vnni, Isa::kAmx};

std::string_view isa_name(Isa isa);    // "portable", "avx2", "avx512vnni", "amx"
Isa parse_isa(std::string_view name);  // throws kUsage for an unknown name
// The best this CPU and operating system can run. Where that is kAmx, the first call has asked Linux for the process's
// right to use tile registers.
Isa detected_isa();
// The best level to use: detected_isa(), capped by the environment variable DYADIC_ISA if it is set; kUsage if that
// names none.
Isa active_isa();
std::string cpu_model();  // e.g. "AMD EPYC", for reports

}  // namespace dyadic

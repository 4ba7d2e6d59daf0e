#include "kernels/limits/limits.h"

#include "support.h"

namespace dyadic {
namespace {

TEST(Limits, EveryProbeOfThisCpuMeasuresSomethingPlausible) {
  constexpr int64_t kTime = 2'000'000;
  for (const LimitProbes* probes : limit_probes()) {
    if (probes->isa > detected_isa()) continue;
    EXPECT_EQ(&limit_probes(probes->isa), probes);
    for (const Probe& probe : {probes->dot, probes->lookup_16, probes->lookup_256, probes->mul_shift}) {
      const int64_t rate = operations_per_second(probe, kTime);
      // A million a second is a broken clock, sixteen thousand a nanosecond (AMX: three) a loop that the compiler
      // removed.
      EXPECT_GT(rate, 1'000'000) << isa_name(probes->isa) << " " << probe.instructions;
      EXPECT_LT(rate, int64_t{1'000'000'000} << 14) << isa_name(probes->isa) << " " << probe.instructions;
    }
    const int64_t read = read_bytes_per_second(probes->isa, 16 << 10, kTime);
    EXPECT_GT(read, 100'000'000) << isa_name(probes->isa);
    EXPECT_LT(read, int64_t{1'000'000'000} << 10) << isa_name(probes->isa);
  }
}

TEST(Limits, ReadsNothingBeyondTheBuffer) {
  for (const LimitProbes* probes : limit_probes()) {
    if (probes->isa > detected_isa()) continue;
    const auto bytes = std::make_unique<std::byte[]>(1024);  // AddressSanitizer guards its end
    probes->read(bytes.get(), 1024);
  }
}

}  // namespace
}  // namespace dyadic

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
      // A million a second is a broken clock, a thousand a nanosecond a loop that the compiler removed.
      EXPECT_GT(rate, 1'000'000) << isa_name(probes->isa) << " " << probe.instructions;
      EXPECT_LT(rate, int64_t{1'000'000'000} << 10) << isa_name(probes->isa) << " " << probe.instructions;
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

#if defined(__x86_64__) && defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
TEST(Limits, WiderInstructionsDoMore) {
  constexpr int64_t kTime = 20'000'000;
  for (size_t i = 1; i < limit_probes().size(); ++i) {
    const LimitProbes &wide = *limit_probes()[i], &narrow = *limit_probes()[i - 1];
    if (wide.isa > detected_isa()) break;
    EXPECT_GT(operations_per_second(wide.dot, kTime), operations_per_second(narrow.dot, kTime));
    EXPECT_GT(operations_per_second(wide.lookup_256, kTime), operations_per_second(narrow.lookup_256, kTime));
  }
}
#endif

}  // namespace
}  // namespace dyadic

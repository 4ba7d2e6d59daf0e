// What helps a user of the command line: doctor, and benchmarks that say how far from the machine's limit they are.
#include "run.h"

namespace dyadic::test {
namespace {
using testing::HasSubstr;

TEST(Doctor, SaysWhatThisMachineCanDo) {
  const CliResult r = cli("doctor --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = r.json();
  EXPECT_GE(json["cores"].get<int>(), 1);
  EXPECT_GE(json["hardware_threads"].get<int>(), json["cores"].get<int>());
  EXPECT_GE(json["limits"].size(), 5u);
  for (const auto& limit : json["limits"]) EXPECT_GT(limit["per_second"].get<double>(), 1e6) << limit;
  double faster = 1e300;
  for (const auto& level : json["memory"]) {
    EXPECT_GT(level["bytes_per_second"].get<double>(), 1e8) << level;
    EXPECT_LT(level["bytes_per_second"].get<double>(), 1.5 * faster) << level;
    faster = level["bytes_per_second"].get<double>();
  }
  EXPECT_EQ(json["memory"].back()["level"], "DRAM");
  for (const char* composite : {"linear", "attention", "add_norm", "embed_norm", "pool"})
    EXPECT_THAT(json["kernels"][composite].get<std::string>(), HasSubstr(composite));
  EXPECT_TRUE(json["found"]["recipes"].is_string());
}

TEST(Doctor, SaysWhatIsMissingAndWhatThatCosts) {
  const CliResult r = cli("doctor", "DYADIC_ISA=portable DYADIC_DATA=/no/such/folder PATH=/no/such/folder");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("instruction set: portable"));
  EXPECT_THAT(r.out, HasSubstr("linear_portable"));
  EXPECT_THAT(r.out, HasSubstr("- no gcc: verify skips generated C"));
  EXPECT_THAT(r.out, HasSubstr("- no data: "));
  const auto isa = cli("doctor --json").json()["isa"]["detected"].get<std::string>();
  if (isa != "portable") {
    EXPECT_THAT(r.out, HasSubstr("although this CPU has " + isa));
  }
}

TEST(Doctor, BenchSaysHowFarFromTheLimitItIs) {
  const std::string arguments = "bench " + tiny_dyad() + " --batch 1 --length 8 --repetitions 3 --quiet";
  const auto json = cli(arguments + " --json").json();
  const auto& result = json["results"][0];
  EXPECT_NEAR(result["gmacs"].get<double>(), result["macs"].get<double>() / result["ms"]["median"].get<double>() * 1e-6,
              1e-6);
  if (json["isa"] == "portable") {
    EXPECT_TRUE(json["limit_gmacs"].is_null());
    EXPECT_TRUE(result["fraction"].is_null());
  } else {
    EXPECT_GT(json["limit_gmacs"].get<double>(), 1);
    EXPECT_GT(result["fraction"].get<double>(), 0);
    EXPECT_LT(result["fraction"].get<double>(), 1);
    EXPECT_THAT(cli(arguments).out, HasSubstr("of limit"));
  }
  EXPECT_TRUE(cli(arguments + " --json", "DYADIC_ISA=portable").json()["limit_gmacs"].is_null());
}

}  // namespace
}  // namespace dyadic::test

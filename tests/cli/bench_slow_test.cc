// `dyadic bench --executors`: compiles every body of the tiny encoder for every instruction set.
#include "run.h"

namespace dyadic::test {
namespace {

TEST(BenchExecutors, ComparesHandGeneratedAndTile) {
  const CliResult r = cli("bench " + tiny_dyad() + " --executors --batch 2 --length 5 --repetitions 1 --json --quiet");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = r.json();
  std::map<std::string, int64_t> layers;  // of each instruction set
  for (const auto& row : json["rows"]) {
    layers[row["isa"]] += row["layers"].get<int64_t>();
    EXPECT_TRUE(row["ms"].contains("tile")) << row;
    for (const auto& [name, ms] : row["ms"].items()) {
      EXPECT_GT(ms.get<double>(), 0) << name << row;
      EXPECT_LE(row["ms"][row["fastest"].get<std::string>()], ms) << row;
    }
    EXPECT_EQ(row["gain"].get<double>() > 1, row["fastest"] == "hand") << row;
  }
  ASSERT_TRUE(layers.count("portable"));
  const auto composites = cli("inspect " + tiny_dyad() + " --json").json()["composites"].size();
  for (const auto& [isa, count] : layers) EXPECT_EQ(count, static_cast<int64_t>(composites)) << isa;
}

}  // namespace
}  // namespace dyadic::test

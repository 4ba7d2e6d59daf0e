// `dyadic explain` on a real encoder: the split is exact, and what helps on some texts helps on others.
#include "run.h"

namespace dyadic::test {
namespace {

TEST(MiniLmExplain, TheFirstRepairHelpsOtherTextsToo) {
  const auto model = minilm_dir();
  DYADIC_SKIP_WITHOUT(model, "no MiniLM model folder (scripts/fetch_models.sh, DYADIC_MODELS)");
  const auto train = data_path("text/stsb/sts-train.csv.zst"), dev = data_path("text/stsb/sts-dev.csv.zst");
  DYADIC_SKIP_WITHOUT(train && dev ? train : std::nullopt, "no STS-B (DYADIC_DATA)");
  const std::string dir = temporary_dir(), calib = " --calib " + *train;
  const auto quantize = [&](const std::string& recipe, const std::string& output) {
    const CliResult r =
        cli("quantize " + *model + " --recipe " + recipe + calib + " --columns 6,7 --quiet -o " + dir + output);
    ASSERT_EQ(r.code, 0) << r.err;
  };
  const auto explain = [&](const std::string& file, const std::string& options) {
    const CliResult r = cli("explain " + dir + file + " --reference " + *model + " --data " + *dev +
                            " --columns 6,7 --json --quiet " + options);
    EXPECT_EQ(r.code, 0) << r.err;
    return r.json();
  };
  quantize("default", "/default.dyad");
  const auto first = explain("/default.dyad", "--rows 1-1500 --repairs 1" + calib);
  EXPECT_EQ(first["layers"].size(), 44u);
  for (const auto& layer : first["layers"]) {
    EXPECT_LE(layer["residual"].get<double>(), 1e-6) << layer["name"];
    const auto& c = layer["causes"];
    EXPECT_NEAR(c["weight"].get<double>() + c["approximation"].get<double>() + c["clipping"].get<double>() +
                    c["requantization"].get<double>(),
                1, 1e-6)
        << layer["name"];
  }
  EXPECT_EQ(first["layers"][0]["name"], "encoder/layer.0/intermediate/dense");
  EXPECT_GT(first["layers"][0]["causes"]["requantization"].get<double>(), 0.7);
  const auto& best = first["suggestions"][0];
  EXPECT_GT(best["gain"].get<double>(), 0.0007);

  spit(dir + "/repaired.toml", slurp(source_path("recipes/default.toml")) + "\n" + best["rule"].get<std::string>());
  quantize(dir + "/repaired.toml", "/repaired.dyad");
  const auto mean = [&](const std::string& file) {
    return explain(file, "--rows 1501- --sample 128")["cosine"]["mean"].get<double>();
  };
  const double gain = mean("/repaired.dyad") - mean("/default.dyad");
  std::printf("gain on the first half %.5f, on the second %.5f\n", best["gain"].get<double>(), gain);
  EXPECT_GT(gain, best["gain"].get<double>() / 2);
}

}  // namespace
}  // namespace dyadic::test

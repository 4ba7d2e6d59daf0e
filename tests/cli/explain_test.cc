// `dyadic explain` through the command line, on the committed tiny encoder.
#include "graph/model.h"
#include "run.h"
#include "runtime/container.h"

namespace dyadic::test {
namespace {

std::string explain(const std::string& model) {
  return "explain " + model + " --reference " + source_path("models/tiny-encoder") + " --data " +
         source_path("examples/sentences.txt") + " --quiet";
}

TEST(Explain, SplitsEveryLayerOfTheTinyEncoder) {
  const CliResult r = cli(explain(tiny_dyad()) + " --sample 32 --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = r.json();
  EXPECT_EQ(json["texts"], 32);
  const CliResult inspected = cli("inspect " + tiny_dyad() + " --json");
  EXPECT_EQ(json["layers"].size(), inspected.json()["composites"].size());
  double last = 1;
  for (const auto& layer : json["layers"]) {
    double sum = 0;
    for (const auto& [cause, share] : layer["causes"].items()) sum += share.get<double>();
    EXPECT_NEAR(sum, 1, 1e-6) << layer["name"];
    EXPECT_LE(layer["residual"].get<double>(), 1e-6) << layer["name"];
    EXPECT_LE(layer["total"].get<double>(), last) << "largest first";
    last = layer["total"];
  }
  const CliResult text = cli(explain(tiny_dyad()) + " --rows 1-20 --sample 0 --top 3");
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, testing::HasSubstr("20 texts"));
  EXPECT_THAT(text.out, testing::HasSubstr("more layers: --top 0"));
}

TEST(Explain, TriesRepairsOnCalibrationTexts) {
  EXPECT_THAT(cli(explain(tiny_dyad())).out, testing::HasSubstr("no repairs: give --calib"));

  const std::string calib = " --calib " + source_path("examples/sentences.txt") + " --calib-sample 64 --repairs 2";
  const std::string page = temporary_dir() + "/page.html";
  const CliResult r = cli(explain(tiny_dyad()) + " --sample 32 --json --html " + page + calib);
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = r.json();
  int64_t tried = 0;
  for (const auto& s : json["suggestions"]) {
    EXPECT_THAT(s["rule"].get<std::string>(), testing::StartsWith("[[rule]]\n"));
    if (s.contains("refused")) continue;
    ++tried;
    EXPECT_NEAR(s["gain"].get<double>(), s["cosine"]["mean"].get<double>() - json["cosine"]["mean"].get<double>(),
                1e-9);
    EXPECT_LT(std::abs(s["bytes"].get<int64_t>()), 4096);
    EXPECT_TRUE(s["ops"].is_number_integer());
    EXPECT_GT(s["local"]["before"].get<double>(), 0);
  }
  EXPECT_EQ(tried, 2);
  const std::string html = slurp(page);
  EXPECT_THAT(html, testing::StartsWith("<!doctype html>"));
  EXPECT_THAT(html, testing::HasSubstr("class=\"requantization\""));
  EXPECT_THAT(html, testing::Not(testing::HasSubstr("http")));

  // Pasted behind the recipe, a rule gives what was promised.
  const auto& first = json["suggestions"][0];
  const std::string recipe = temporary_dir() + "/repaired.toml", repaired = temporary_dir() + "/repaired.dyad";
  spit(recipe, slurp(source_path("recipes/default.toml")) + "\n" + first["rule"].get<std::string>());
  const CliResult made = cli("quantize " + source_path("models/tiny-encoder") + " --recipe " + recipe + " --calib " +
                             source_path("examples/sentences.txt") + " --sample 64 --quiet -o " + repaired);
  ASSERT_EQ(made.code, 0) << made.err;
  const CliResult after = cli(explain(repaired) + " --sample 32 --json");
  EXPECT_NEAR(after.json()["cosine"]["mean"].get<double>(), first["cosine"]["mean"].get<double>(), 1e-9);

  const CliResult other = cli(explain(tiny_dyad()) + " --sample 8 --top 1 --seed 3" + calib);
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_THAT(other.out, testing::HasSubstr("the calibration is not the file's"));
}

TEST(Explain, RefusesWhatItCannotExplain) {
  Model model = *load_model(tiny_dyad());
  model.assets.erase("calibration.json");
  const std::string old = temporary_dir() + "/old.dyad";
  save_model(old, model);
  const CliResult r = cli(explain(old));
  EXPECT_EQ(r.code, 4);
  EXPECT_THAT(r.err, testing::HasSubstr("quantize the model again"));

  const CliResult rows = cli(explain(tiny_dyad()) + " --rows 100000-");
  EXPECT_EQ(rows.code, 2);
  EXPECT_THAT(rows.err, testing::HasSubstr("chooses none"));
  EXPECT_EQ(cli(explain(tiny_dyad()) + " --rows 7").code, 2);

  const std::string folder = temporary_dir();
  std::filesystem::copy(source_path("models/tiny-encoder"), folder, std::filesystem::copy_options::recursive);
  std::string weights = slurp(folder + "/model.safetensors");
  weights[weights.size() - 1000] ^= 1;  // the lowest bits of one number
  spit(folder + "/model.safetensors", weights);
  const CliResult other = cli("explain " + tiny_dyad() + " --reference " + folder + " --data " +
                              source_path("examples/sentences.txt") + " --quiet");
  EXPECT_EQ(other.code, 4);
  EXPECT_THAT(other.err, testing::HasSubstr("not the model that was quantized"));
}

}  // namespace
}  // namespace dyadic::test

// `dyadic compare` on the tiny committed encoder.
#include <csignal>

#include "cli/run.h"

namespace dyadic::test {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kTiny = source_path("models/tiny-encoder");
const std::string kSentences = source_path("examples/sentences.txt");
const std::string kTexts = " --data " + kSentences + " --calib " + kSentences + " --sample 64 --task cosine --quiet ";

// The default recipe without an answer for the activation function.
std::string incomplete_recipe(const std::string& dir) {
  std::string text = slurp(source_path("recipes/default.toml"));
  const std::string answer = "approximate = \"exact-table\"";
  text.replace(text.find(answer), answer.size(), "");
  text.replace(text.find("\"default\""), 9, "\"incomplete\"");
  spit(dir + "/incomplete.toml", text);
  return dir + "/incomplete.toml";
}

TEST(CliCompare, PrintsOneRowARecipe) {
  const std::string dir = temporary_dir();
  const std::string recipes = "default," + incomplete_recipe(dir) + ",int8";
  const CliResult r = cli("compare " + kTiny + " --recipes " + recipes + kTexts + "--json");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto rows = r.json()["rows"];
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["recipe"], "default");
  EXPECT_EQ(rows[0]["islands"].size(), 0u);
  EXPECT_GT(rows[0]["cosine"]["mean"].get<double>(), 0.97);
  EXPECT_LT(rows[0]["ratio"].get<double>(), 0.6);
  EXPECT_GT(rows[0]["texts_per_second"].get<double>(), 0);
  EXPECT_THAT(rows[1]["error"].get<std::string>(), HasSubstr("no approximation of Gelu"));
  EXPECT_FALSE(rows[1].contains("cosine"));
  EXPECT_EQ(rows[2]["islands"].size(), 9u);
  EXPECT_GT(rows[2]["cosine"]["mean"].get<double>(), 0.97);
  const CliResult text = cli("compare " + kTiny + " --recipes " + recipes + kTexts);
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.out, testing::ContainsRegex("\nincomplete: not possible here: .*no approximation of Gelu"));
}

TEST(CliCompare, SaysHowManyTextsItCut) {
  const std::string data = temporary_dir() + "/texts.txt";
  std::string lines = "one\n";
  for (int i = 0; i < 70; ++i) lines += "word ";  // the model takes 64 tokens
  spit(data, lines + "\n");
  const CliResult r = cli("compare " + kTiny + " --recipes default --task cosine --data " + data + " --calib " + data +
                          " --quiet --json");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.err, "dyadic: warning: 1 of 2 texts cut to 64 tokens\n");
  EXPECT_EQ(r.json()["texts_cut"], 1);
}

TEST(CliCompare, FinishedRowsAreNotComputedAgain) {
  const std::string dir = temporary_dir(), work = dir + "/work";
  const std::string call = "compare " + kTiny + kTexts + "--json --work " + work + " --resume --recipes ";
  const CliResult first = cli(call + "default");
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_FALSE(first.json()["rows"][0]["resumed"].get<bool>());
  const CliResult second = cli(call + "int8,default");
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_FALSE(second.json()["rows"][0]["resumed"].get<bool>());
  EXPECT_TRUE(second.json()["rows"][1]["resumed"].get<bool>());
  EXPECT_EQ(second.json()["rows"][1]["cosine"], first.json()["rows"][0]["cosine"]);
  EXPECT_EQ(second.json()["rows"][1]["digest"], first.json()["rows"][0]["digest"]);
  // Anything that changes the result is computed anew: the seed, the recipe's text.
  EXPECT_FALSE(cli(call + "default --seed 5").json()["rows"][0]["resumed"].get<bool>());
  spit(dir + "/changed.toml", slurp(source_path("recipes/default.toml")) + "\n# changed\n");
  EXPECT_FALSE(cli(call + dir + "/changed.toml").json()["rows"][0]["resumed"].get<bool>());
  for (const auto& entry : std::filesystem::directory_iterator(work))
    if (entry.path().extension() == ".json") spit(entry.path().string(), "{\"recipe\": ");
  const CliResult damaged = cli(call + "default");
  EXPECT_EQ(damaged.code, 3);
  EXPECT_NE(damaged.err.find("delete the file"), std::string::npos) << damaged.err;
  // Without --resume nothing is taken up.
  EXPECT_FALSE(cli("compare " + kTiny + kTexts + "--json --work " + work + " --recipes default")
                   .json()["rows"][0]["resumed"]
                   .get<bool>());
}

TEST(CliCompare, ARowWithoutItsModelIsComputedAgain) {
  const std::string work = temporary_dir() + "/work";
  const std::string call = "compare " + kTiny + kTexts + "--json --recipes default --resume --work " + work;
  ASSERT_EQ(cli(call).code, 0);
  std::string model;
  for (const auto& entry : fs::directory_iterator(work))
    if (entry.path().extension() == ".dyad") model = entry.path().string();
  ASSERT_NE(model, "");
  const auto bytes = fs::file_size(model);
  EXPECT_TRUE(cli(call).json()["rows"][0]["resumed"].get<bool>());
  spit(model, "");
  EXPECT_FALSE(cli(call).json()["rows"][0]["resumed"].get<bool>());
  EXPECT_EQ(fs::file_size(model), bytes);
}

// A finished recipe stays when the next one is interrupted: SIGINT as soon as the first row is there.
TEST(CliCompare, AnInterruptedRunLeavesWhatIsFinished) {
  const std::string dir = temporary_dir(), work = dir + "/work";
  const std::string call = dyadic_program() + " compare " + kTiny + kTexts + "--work " + work + " --resume --recipes ";
  const std::string recipes = "default,int8,i-bert,nn-lut";
  const std::string script = "set -m; " + call + recipes + " >" + dir +
                             "/out 2>&1 & p=$!; while kill -0 $p 2>/dev/null && ! ls " + work +
                             "/default-*.json >/dev/null 2>&1; do sleep 0.005; done; kill -INT $p; wait $p";
  const int status = std::system(("bash -c '" + script + "'").c_str());
  const int code = WEXITSTATUS(status);
  EXPECT_TRUE(code == 130 || code == 0 || code == 128 + SIGINT) << slurp(dir + "/out");  // 0: it was faster
  const CliResult again = cli("compare " + kTiny + kTexts + "--json --work " + work + " --resume --recipes " + recipes);
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(again.json()["rows"][0]["resumed"].get<bool>());
}

TEST(CliCompare, WrongCallsExitWithTheDocumentedCode) {
  const std::string dir = temporary_dir();
  spit(dir + "/bad.toml", "name = \"x\"\nfrobnicate = 1\n");
  EXPECT_EQ(cli("compare " + kTiny + kTexts + "--recipes nonsense").code, 2);
  EXPECT_EQ(cli("compare " + kTiny + kTexts + "--recipes default --resume").code, 2);
  EXPECT_EQ(cli("compare " + kTiny + kTexts + "--recipes default," + dir + "/bad.toml").code, 3);
  EXPECT_EQ(cli("compare " + kTiny + kTexts + "--recipes " + incomplete_recipe(dir)).code, 4);
  EXPECT_EQ(cli("compare " + tiny_dyad() + kTexts + "--recipes default").code, 3);
  EXPECT_EQ(cli("compare nonexistent" + kTexts + "--recipes default").code, 1);
  EXPECT_EQ(cli("compare " + kTiny + kTexts + "--recipes default,default").code, 2);
  EXPECT_EQ(cli("compare " + kTiny + kTexts + "--recipes default --columns 2").code, 2);
  spit(dir + "/file", "");
  EXPECT_EQ(cli("compare " + kTiny + kTexts + "--recipes default --work " + dir + "/file").code, 1);
}

}  // namespace
}  // namespace dyadic::test

// The command line end to end on the tiny committed encoder: what it prints, what it writes, how it fails.
#include "run.h"

namespace dyadic::test {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kTiny = source_path("models/tiny-encoder");
const std::string kSentences = source_path("examples/sentences.txt");

TEST(Cli, QuantizeWritesAnIntegerOnlyFile) {
  const std::string out = temporary_dir() + "/a.dyad";
  const CliResult r =
      cli("quantize " + kTiny + " --calib " + kSentences + " --sample 64 --require-integer --json --quiet -o " + out);
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = r.json();
  EXPECT_EQ(json["islands"].size(), 0u);
  for (const auto& row : json["coverage"]) EXPECT_TRUE(row["integer"].get<bool>()) << row;
  EXPECT_GT(json["held_back"]["mean"].get<double>(), 0.97);
  EXPECT_LT(json["bytes_after"].get<double>(), json["bytes_before"].get<double>() * 0.6);
}

TEST(Cli, QuantizeIsReproducible) {
  const std::string dir = temporary_dir();
  const std::string call = "quantize " + kTiny + " --calib " + kSentences + " --sample 64 --seed 3 --quiet -o " + dir;
  for (const char* name : {"/a.dyad", "/b.dyad"}) ASSERT_EQ(cli(call + name).code, 0);
  EXPECT_TRUE(slurp(dir + "/a.dyad") == slurp(dir + "/b.dyad"));
}

TEST(Cli, VerifyFindsAllExecutorsEqual) {
  const CliResult r = cli("verify " + tiny_dyad() + " --json --quiet");
  ASSERT_EQ(r.code, 0) << r.err << r.out;
  const auto json = r.json();
  EXPECT_TRUE(json["integer_only"].get<bool>());
  EXPECT_TRUE(json["equal"].get<bool>());
  EXPECT_TRUE(json["first_difference"].is_null());
  EXPECT_GE(json["layers"].size(), 10u);
  for (const auto& layer : json["layers"]) EXPECT_GE(layer["hashes"].size(), 5u);
}

TEST(Cli, VerifyFindsPlantedFaults) {
  const CliResult r = cli("verify " + tiny_dyad() + " --inject 20 --seed 5 --json --quiet");
  ASSERT_EQ(r.code, 0) << r.err << r.out;
  const auto inject = r.json()["inject"];
  EXPECT_EQ(inject["planted"], 20);
  EXPECT_EQ(inject["found"], 20);
  EXPECT_TRUE(inject["missed"].empty());
  for (const auto& fault : inject["faults"])
    for (const char* key : {"layer", "backend", "constant", "found_by"}) EXPECT_FALSE(fault[key].empty()) << fault;
  EXPECT_FALSE(cli("verify " + tiny_dyad() + " --json --quiet").json().contains("inject"));
}

TEST(Cli, InspectCountsMacsByWidth) {
  const CliResult r = cli("inspect " + tiny_dyad() + " --json");
  ASSERT_EQ(r.code, 0) << r.err;
  double sum = 0;
  const auto json = r.json();
  for (const auto& [width, share] : json["macs"].items()) sum += share.get<double>();
  EXPECT_NEAR(sum, 1, 1e-9);
  EXPECT_GT(json["macs"]["8x8"].get<double>(), 0.95);
  EXPECT_EQ(json["islands"].size(), 0u);
  EXPECT_GT(json["table_bytes"].get<int64_t>(), 0);
  EXPECT_FALSE(json["lemmas"].empty());
}

TEST(Cli, InspectCountsBytesOfFloatParameters) {
  const CliResult r = cli("inspect " + source_path("models/tiny-encoder") + " --json");
  ASSERT_EQ(r.code, 0) << r.err;
  int64_t bytes = 0;
  const auto json = r.json();
  for (const auto& composite : json["composites"]) bytes += composite["parameter_bytes"].get<int64_t>();
  EXPECT_EQ(bytes, json["parameters"].get<int64_t>() * static_cast<int64_t>(sizeof(float)));
}

TEST(Cli, RunSaysHowManyTextsItCut) {
  const std::string texts = "printf 'one\\ntwo three four five six\\n\\n' |";
  const std::string call = "run " + tiny_dyad() + " --max-length 5";
  const CliResult r = cli(call, texts);
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.err, "dyadic: warning: 1 of 3 texts cut to 5 tokens\n");
  EXPECT_EQ(cli("run " + tiny_dyad(), texts).err, "");
}

TEST(Cli, RunPrintsOneObjectALine) {
  const CliResult r = cli("run " + tiny_dyad() + " --quiet", "printf 'one\\ntwo words\\n\\n' |");
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(r.out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["embedding"].size(), 64u);
  }
  EXPECT_EQ(count, 3);
}

TEST(Cli, EvalComparesWithTheFloatModel) {
  const CliResult r =
      cli("eval " + tiny_dyad() + " --task cosine --data " + kSentences + " --reference " + kTiny + " --json --quiet");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_GT(r.json()["cosine"]["mean"].get<double>(), 0.97);
  EXPECT_GT(r.json()["texts_per_second"].get<double>(), 0);
}

TEST(Cli, EvalSaysHowManyTextsItCut) {
  const std::string data = temporary_dir() + "/texts.txt", dyad = tiny_dyad();
  spit(data, "one two three four five six\none\ntwo\none two three four five six\n");
  const auto eval = [&](const std::string& more) {
    return cli("eval " + dyad + " --task cosine --data " + data + " --reference " + kTiny + " --json --quiet " + more);
  };
  const CliResult cut = eval("--max-length 5"), whole = eval(""), joined = eval("--concatenate 5");
  ASSERT_EQ(cut.code, 0) << cut.err;
  EXPECT_EQ(cut.err, "dyadic: warning: 1 of 3 texts cut to 5 tokens\n");
  EXPECT_EQ(cut.json()["texts_cut"], 1);
  EXPECT_EQ(whole.err, "");
  EXPECT_EQ(whole.json()["texts_cut"], 0);
  EXPECT_EQ(joined.err, "");  // which was asked to
  EXPECT_EQ(joined.json()["texts_cut"], 0);
}

TEST(Cli, EveryVerbSaysHowManyTextsItCut) {
  const std::string dir = temporary_dir(), data = dir + "/texts.txt", dyad = dir + "/short.dyad";
  spit(data, "one\none two three four five six seven\n");
  const std::string calibration = " --calib " + kSentences + " --sample 16";
  const CliResult made = cli("quantize " + kTiny + " -o " + dyad + calibration + " --max-length 6 --quiet --json");
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_GT(made.json()["texts_cut"], 0);
  EXPECT_EQ(made.err, "dyadic: warning: " + made.json()["texts_cut"].dump() + " of 16 texts cut to 6 tokens\n");
  for (const std::string& call :
       {"verify " + dyad + " --texts " + data, "export c " + dyad + " -o " + dir + "/c --texts " + data,
        "bench " + dyad + " --batch 1 --repetitions 1 --text " + data,
        "explain " + dyad + " --reference " + kTiny + " --data " + data}) {
    const CliResult r = cli(call + " --json --quiet");
    ASSERT_EQ(r.code, 0) << call << ": " << r.err;
    EXPECT_EQ(r.err, "dyadic: warning: 1 of 2 texts cut to 6 tokens\n") << call;
    EXPECT_EQ(r.json()["texts_cut"], 1) << call;
  }
}

TEST(Cli, EvalStsOnAHandmadeFile) {
  const std::string data = temporary_dir() + "/sts.tsv";
  spit(data,
       "g\tf\ty\t1\t5.0\ta cat sits\ta cat sits\ng\tf\ty\t2\t1.0\ta cat sits\tthe stock market fell\n"
       "g\tf\ty\t3\t3.0\ta dog runs\ta dog walks\textra\tfields\n");
  const CliResult r = cli("eval " + kTiny + " --task sts --data " + data + " --json --quiet");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.json()["count"], 3);
  EXPECT_TRUE(r.json()["metric"].contains("spearman"));
}

TEST(Cli, BenchChecksAndTimes) {
  const CliResult r =
      cli("bench " + tiny_dyad() + " --batch 1,2 --length 8 --repetitions 3 --baseline " + kTiny + " --json --quiet");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = r.json();
  ASSERT_EQ(json["results"].size(), 2u);
  EXPECT_GT(json["results"][0]["ms"]["median"].get<double>(), 0);
  EXPECT_GT(json["results"][0]["baseline_ms"]["median"].get<double>(), 0);
}

TEST(Cli, BenchRunsTextsWithTheirOwnLengths) {
  const CliResult r =
      cli("bench " + tiny_dyad() + " --batch 2,3 --text " + kSentences + " --sample 7 --repetitions 1 --json --quiet");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto results = r.json()["results"];
  ASSERT_EQ(results.size(), 2u);
  EXPECT_TRUE(results[0]["length"].is_null());
  EXPECT_EQ(results[0]["texts"], 7);
  EXPECT_GT(results[0]["tokens"], 7);
  // Batches are packed, so how texts are grouped changes neither tokens nor products.
  EXPECT_EQ(results[0]["tokens"], results[1]["tokens"]);
  EXPECT_EQ(results[0]["macs"], results[1]["macs"]);
}

TEST(Cli, BenchLayersAddUpToTheRun) {
  const CliResult r = cli("bench " + tiny_dyad() + " --batch 2 --length 8 --repetitions 1 --csv --layers --quiet");
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(r.out);
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line);
    rows.emplace_back();
    for (std::string cell; std::getline(cells, cell, ',');) rows.back().push_back(cell);
    ASSERT_EQ(rows.back().size(), rows[0].size()) << line;
  }
  ASSERT_GT(rows.size(), 3u);
  const auto column = [&](const char* name) {
    return static_cast<size_t>(std::find(rows[0].begin(), rows[0].end(), name) - rows[0].begin());
  };
  ASSERT_LT(column("macs"), rows[0].size());
  EXPECT_EQ(rows.back()[column("layer")], "outside");
  int64_t macs = 0;
  for (size_t i = 2; i < rows.size(); ++i) {
    macs += std::stoll(rows[i][column("macs")]);
    EXPECT_GE(std::stod(rows[i][column("ms")]), 0) << rows[i][column("layer")];
  }
  EXPECT_EQ(macs, std::stoll(rows[1][column("macs")]));
}

TEST(Cli, ListNamesRecipesAndParts) {
  const CliResult r = cli("list --json");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("\"default\""));
  EXPECT_THAT(r.out, HasSubstr("scale-migration"));
}

TEST(Cli, HelpTeaches) {
  EXPECT_THAT(cli("--help").out, HasSubstr("Exit codes"));
  for (const char* verb : {"inspect", "list", "quantize", "run", "eval", "verify", "compare", "bench"}) {
    const CliResult r = cli(std::string(verb) + " --help");
    EXPECT_EQ(r.code, 0);
    EXPECT_THAT(r.out, HasSubstr("xample")) << verb;
  }
}

struct BadCall {
  std::string arguments;
  int code;
  std::string message;
};

TEST(Cli, WrongCallsExitWithTheDocumentedCode) {
  const std::string dir = temporary_dir();
  spit(dir + "/empty.txt", "");
  spit(dir + "/bad_utf8.txt", "fine\n\xff\xfe broken\n");
  spit(dir + "/bad.toml", "name = \"x\"\n[[rule]]\nop = \"Gemm\"\nencode.input = { afine = { bits = 8 } }\n");
  spit(dir + "/uncovered.toml", "name = \"x\"\n[[rule]]\nop = \"Gemm\"\nencode.input = { affine = { bits = 8 } }\n");
  spit(dir + "/sts.tsv", "only\tthree\tfields\n");
  const std::string full = fs::exists("/dev/full") ? "/dev/full" : "";
  const std::string q = "quantize " + kTiny + " --quiet -o " + dir + "/x.dyad ";
  const std::vector<BadCall> calls = {
      {"", 2, ""},
      {"frobnicate", 2, ""},
      {"inspect", 2, "MODEL"},
      {"inspect " + dir + "/absent.dyad", 1, "absent.dyad"},
      {"inspect " + dir, 3, "config.json"},
      {"inspect " + dir + "/empty.txt", 3, "empty.txt"},
      {q + "--calib " + dir + "/empty.txt", 3, "no text"},
      {q + "--calib " + dir + "/absent.txt", 1, "absent.txt"},
      {q + "--calib " + dir + "/bad_utf8.txt", 3, "2"},
      {q + "--calib " + kSentences + " --recipe nonsense", 2, "default"},
      {q + "--calib " + kSentences + " --recipe " + dir + "/bad.toml", 3, "afine"},
      {q + "--calib " + kSentences + " --recipe " + dir + "/uncovered.toml", 4, "encode"},
      {q + "--calib " + kSentences + " --columns x", 2, "--columns"},
      {q + "--calib " + kSentences + " --max-length 100000", 2, "max-length"},
      {"eval " + kTiny + " --task sts --data " + dir + "/sts.tsv --quiet", 3, "sts.tsv"},
      {"eval " + kTiny + " --task cosine --data " + kSentences + " --quiet", 2, "reference"},
      {"bench " + tiny_dyad() + " --batch 0 --quiet", 2, "--batch"},
      {"bench " + tiny_dyad() + " --text " + dir + "/none.txt --quiet", 1, "none.txt"},
      {"bench " + tiny_dyad() + " --columns 2 --quiet", 2, "--text"},
      {"verify " + kSentences + " --quiet", 3, "sentences.txt"},
      {"quantize " + kTiny + " --quiet --sample 8 --calib " + kSentences + " -o " + dir + "/no/such/folder.dyad", 1,
       "folder.dyad"},
  };
  for (const BadCall& call : calls) {
    const CliResult r = cli(call.arguments);
    EXPECT_EQ(r.code, call.code) << call.arguments << "\n" << r.err;
    EXPECT_THAT(r.err + r.out, HasSubstr(call.message)) << call.arguments;
    EXPECT_FALSE(fs::exists(dir + "/x.dyad")) << call.arguments;
  }
}

TEST(Cli, ReportsAFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "SKIPPED: no /dev/full";
  const std::string dir = temporary_dir();
  const std::string command = dyadic_program() + " inspect " + tiny_dyad() + " >/dev/full 2>" + dir + "/err";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_THAT(slurp(dir + "/err"), HasSubstr("stdout"));
}

// Every truncation at a power of two and many flipped bits of a .dyad file: an error with its name, never a crash, and
// a file that loads gives the same bits or is refused.
TEST(Cli, DamagedDyadFilesAreRefused) {
  const std::string dir = temporary_dir(), good = slurp(tiny_dyad());
  const std::string path = dir + "/damaged.dyad";
  for (size_t size = 0; size < good.size(); size = size ? size * 2 : 1) {
    spit(path, good.substr(0, size));
    const CliResult r = cli("inspect " + path);
    EXPECT_EQ(r.code, 3) << "truncated to " << size << ": " << r.err;
    EXPECT_THAT(r.err, HasSubstr("damaged.dyad"));
  }
  uint64_t state = seed();
  for (int i = 0; i < 40; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    std::string bad = good;
    // Half of the flips hit the first 4 kB: header and graph.
    const size_t at = (state >> 20) % (i % 2 ? std::min<size_t>(4096, bad.size()) : bad.size());
    bad[at] = static_cast<char>(bad[at] ^ (1 << (state >> 60 & 7)));
    spit(path, bad);
    const CliResult r = cli("inspect " + path);
    EXPECT_TRUE(r.code == 0 || r.code == 3 || r.code == 4) << "flip at " << at << ": exit " << r.code << " " << r.err;
  }
}

}  // namespace
}  // namespace dyadic::test

// `dyadic export c` end to end: what it writes compiles without a warning, computes the model's bits, has no float.
#include "run.h"

namespace dyadic::test {
namespace {
namespace fs = std::filesystem;
using testing::HasSubstr;

CliResult shell(const std::string& command) {
  static const std::string log = temporary_dir() + "/log";
  const int status = std::system((command + " >" + log + " 2>&1").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, slurp(log), ""};
}

bool has_program(const std::string& name) { return shell("command -v " + name).code == 0; }

CliResult make(const std::string& folder, const std::string& compiler, const std::string& flags = "-O1") {
  return shell("make -C " + folder + " clean test CC=" + compiler + " CFLAGS='" + flags + "'");
}

void export_tiny(const std::string& folder, const std::string& options = "") {
  const CliResult r = cli("export c " + tiny_dyad() + " --quiet -o " + folder + " " + options);
  ASSERT_EQ(r.code, 0) << r.err;
}

void replace(const std::string& path, const std::string& what, const std::string& by) {
  std::string text = slurp(path);
  const size_t at = text.find(what);
  ASSERT_NE(at, std::string::npos) << path << ": " << what;
  spit(path, text.replace(at, what.size(), by));
}

class ExportC : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!has_program(GetParam())) GTEST_SKIP() << "SKIPPED: no C compiler named " << GetParam();
    if (!has_program("make")) GTEST_SKIP() << "SKIPPED: no make";
  }
};

TEST_P(ExportC, GivesTheModelsBitsWithoutFloat) {
  for (const char* weights : {"arrays", "binary"}) {
    const std::string folder = temporary_dir() + "/c";
    export_tiny(folder, std::string("--weights ") + weights);
    const CliResult r = make(folder, GetParam(), "-O2");
    EXPECT_EQ(r.code, 0) << r.out;
    EXPECT_THAT(r.out, HasSubstr("all equal in every bit"));
    if (!has_program("objdump")) continue;
    const CliResult checked = shell(source_path("scripts/check_no_float") + " " + folder + "/model.o");
    EXPECT_EQ(checked.code, 0) << checked.out;
  }
}

// A lower maximum moves everything in the static memory; what still fits must come out the same.
TEST_P(ExportC, TakesALowerMaximumLength) {
  const std::string folder = temporary_dir() + "/c";
  export_tiny(folder, "--weights binary --max-length 40");
  int64_t larger = INT64_MAX;
  for (const char* maximum : {"40", "31", "5", "1"}) {
    const CliResult r = make(folder, GetParam(), std::string("-O1 -DMODEL_MAX_LENGTH=") + maximum);
    ASSERT_EQ(r.code, 0) << r.out;
    EXPECT_EQ(r.out.find("SKIPPED") != std::string::npos, std::string(maximum) != "40") << r.out;
    const size_t at = r.out.find(" layers, ");
    ASSERT_NE(at, std::string::npos) << r.out;
    const int64_t bytes = std::stoll(r.out.substr(at + 9));
    EXPECT_LT(bytes, larger);
    larger = bytes;
  }
  EXPECT_NE(make(folder, GetParam(), "-DMODEL_MAX_LENGTH=41").code, 0);
}

TEST_P(ExportC, HasNoUndefinedBehaviour) {
  const std::string folder = temporary_dir() + "/c";
  export_tiny(folder, "--weights binary --max-length 17");
  const CliResult r = make(folder, GetParam(), "-O1 -fsanitize=undefined,address -fno-sanitize-recover=all");
  EXPECT_EQ(r.code, 0) << r.out;
}

INSTANTIATE_TEST_SUITE_P(Compilers, ExportC, testing::Values("gcc", "clang"));

struct Machine {
  const char *compiler, *flags, *run;
  bool little_endian = true;  // binary weights are
};

class ExportCElsewhere : public testing::TestWithParam<Machine> {};

TEST_P(ExportCElsewhere, GivesTheModelsBits) {
  const auto& [compiler, flags, run, little_endian] = GetParam();
  const std::string folder = temporary_dir(), program = folder + "/program";
  spit(program + ".c", "#include <stdio.h>\nint main(void) { return puts(\"here\") < 0; }\n");
  const std::string build = std::string(compiler) + " " + flags + " -o " + program + " " + program + ".c && ";
  if (shell(build + run + " " + program).code != 0)
    GTEST_SKIP() << "SKIPPED: no " << compiler << " " << flags << " that builds, or nothing that runs what it builds";
  for (const char* weights : {"arrays", "binary"}) {
    export_tiny(folder + "/c", std::string("--weights ") + weights);
    const CliResult r = make(folder + "/c", std::string("'") + compiler + " " + flags + "' RUN=" + run);
    EXPECT_EQ(r.code == 0, little_endian || std::string(weights) == "arrays") << r.out;
  }
}

INSTANTIATE_TEST_SUITE_P(Machines, ExportCElsewhere,
                         testing::Values(Machine{"gcc", "-m32", ""},
                                         Machine{"aarch64-linux-gnu-gcc", "-static", "qemu-aarch64"},
                                         Machine{"arm-linux-gnueabihf-gcc", "-static", "qemu-arm"},
                                         Machine{"s390x-linux-gnu-gcc", "-static", "qemu-s390x", false}));

TEST(ExportCTests, FindAWrongNumber) {
  if (!has_program("cc") || !has_program("make")) GTEST_SKIP() << "SKIPPED: no C compiler";
  const std::string folder = temporary_dir() + "/c";
  export_tiny(folder);
  replace(folder + "/test_vectors.h", "UINT64_C(0x", "UINT64_C(1) + UINT64_C(0x");  // the first layer's hash
  CliResult r = make(folder, "cc");
  EXPECT_NE(r.code, 0);
  EXPECT_THAT(r.out, HasSubstr("layer embeddings/LayerNorm: hash"));

  export_tiny(folder, "--weights binary");
  std::string weights = slurp(folder + "/model.bin");
  weights[weights.size() / 2] ^= 1;
  spit(folder + "/model.bin", weights);
  r = make(folder, "cc");
  EXPECT_NE(r.code, 0);
  EXPECT_THAT(r.out, HasSubstr("not the weights of this program"));
}

// The hashes that `verify` computed for these texts when the golden model was made.
TEST(ExportCTests, HashLayersAsVerifyDoes) {
  const std::string golden = source_path("models/golden"), folder = temporary_dir() + "/c";
  const CliResult r = cli("export c " + golden + "/tiny.dyad --texts " + golden + "/texts.txt --quiet -o " + folder);
  ASSERT_EQ(r.code, 0) << r.err;
  const std::string vectors = slurp(folder + "/test_vectors.h");
  const auto hashes = nlohmann::json::parse(slurp(golden + "/hashes.json"));
  EXPECT_GE(hashes.size(), 10u);
  for (const auto& [layer, hash] : hashes.items())
    EXPECT_THAT(vectors, HasSubstr("UINT64_C(0x" + hash.get<std::string>() + "),\n")) << layer;
  if (!has_program("cc") || !has_program("make")) GTEST_SKIP() << "SKIPPED: no C compiler";
  const CliResult built = make(folder, "cc");
  EXPECT_EQ(built.code, 0) << built.out;
}

TEST(ExportCFolder, HoldsWhatTheReportSays) {
  const std::string folder = temporary_dir() + "/c";
  const CliResult r = cli("export c " + tiny_dyad() + " --json --quiet --prefix tiny --max-length 20 -o " + folder);
  ASSERT_EQ(r.code, 0) << r.err;
  const auto json = r.json();
  EXPECT_EQ(json["max_length"], 20);
  EXPECT_GT(json["layers"], json["bodies"]);
  EXPECT_GT(json["arena_bytes"], 0);
  for (const auto& [name, bytes] : json["files"].items()) EXPECT_EQ(slurp(folder + "/" + name).size(), bytes) << name;
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), json["files"].size());
  for (const char* name : {"tiny.h", "tiny.c", "tiny_weights.c", "Makefile", "README.txt"})
    EXPECT_TRUE(json["files"].contains(name)) << name;
  // One function a layer, named as in the graph.
  EXPECT_THAT(slurp(folder + "/tiny.c"), HasSubstr("static void encoder_layer_0_attention_self(char *arena"));
}

TEST(ExportCFolder, IsReplacedOnlyIfAnExportWroteIt) {
  const std::string dir = temporary_dir();
  const std::string folder = dir + "/c", command = "export c " + tiny_dyad() + " --quiet -o " + folder;
  fs::create_directory(folder);
  EXPECT_EQ(cli(command).code, 0);  // an empty one
  spit(folder + "/model.o", "");
  EXPECT_EQ(cli(command + "/ --prefix other").code, 0);  // an earlier export, built
  EXPECT_FALSE(fs::exists(folder + "/model.c"));
  spit(folder + "/notes.txt", "mine");
  const CliResult refused = cli(command);
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr(folder + ": holds files that no export has written"));
  EXPECT_EQ(slurp(folder + "/notes.txt"), "mine");
  EXPECT_EQ(cli(command + " --force").code, 0);
  EXPECT_FALSE(fs::exists(folder + "/notes.txt"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), {}), 1) << "a temporary is left";

  EXPECT_EQ(cli("export c " + tiny_dyad() + " --quiet -o " + dir + "/no/c").code, 1);
  spit(dir + "/file", "mine");
  EXPECT_EQ(cli("export c " + tiny_dyad() + " --quiet --force -o " + dir + "/file").code, 2);
}

TEST(ExportCFolder, RefusesWhatCannotBe) {
  const std::string command = "export c " + tiny_dyad() + " --quiet -o " + temporary_dir() + "/c ";
  for (const char* options : {"--max-length 100000", "--prefix 9x", "--prefix int", "--prefix Model", "--weights some"})
    EXPECT_EQ(cli(command + options).code, 2) << options;
  EXPECT_EQ(cli("export c " + source_path("README.md") + " -o " + temporary_dir() + "/c").code, 3);
}

}  // namespace
}  // namespace dyadic::test

// What helps a user of the command line: doctor, benchmarks that say how far from the machine's limit they are, help,
// completion, the manual page.
#include <regex>

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

TEST(Environment, AnUnknownInstructionSetIsNamed) {
  for (const char* arguments : {"doctor", "list", "--help"}) {
    const CliResult r = cli(arguments, "DYADIC_ISA=amz");
    EXPECT_EQ(r.code, 2) << arguments;
    EXPECT_EQ(r.out, "") << arguments;
    EXPECT_EQ(r.err, "dyadic: DYADIC_ISA: unknown instruction set 'amz'; use portable, avx2, avx512vnni or amx\n")
        << arguments;
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
    // Layers are those of a run by one thread, and so is their limit.
    const auto two = cli(arguments + " --threads 2 --json").json();
    const int cores = std::min(2, cli("doctor --json").json()["cores"].get<int>());
    const auto& layer = two["results"][0]["layers"][1];
    EXPECT_EQ(layer["name"], "encoder/layer.0/attention/self/query+key+value");
    EXPECT_NEAR(layer["macs"].get<double>() / layer["ms"].get<double>() * 1e-6 / layer["fraction"].get<double>(),
                two["limit_gmacs"].get<double>() / cores, 1e-3 * two["limit_gmacs"].get<double>());
  }
  EXPECT_TRUE(cli(arguments + " --json", "DYADIC_ISA=portable").json()["limit_gmacs"].is_null());
}

std::vector<std::string> found(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> words;
  for (std::sregex_iterator i(text.begin(), text.end(), regex), end; i != end; ++i) words.push_back((*i)[1]);
  return words;
}

std::vector<std::string> verbs() {
  const std::string help = cli("--help").out;
  const auto begin = help.find("Subcommands:\n");
  return found(help.substr(begin, help.find("\n\n", begin) - begin), "\n  ([a-z]+) ");
}

std::vector<std::string> options(const std::string& verb) {
  return found(cli(verb + " --help").out, "\n  (?:-[a-z],)?(--[a-z-]+)");
}

TEST(Help, EveryVerbHasTheSameFrame) {
  ASSERT_GE(verbs().size(), 9u);
  for (const auto& verb : verbs()) {
    const CliResult r = cli(verb + " --help");
    EXPECT_EQ(r.code, 0);
    const size_t example = r.out.find("Example"), codes = r.out.find("\nExit codes:\n  0    ok\n");
    EXPECT_LT(example, codes) << verb;
    EXPECT_LT(codes, r.out.find("\nEnvironment:\n")) << verb;
    EXPECT_THAT(options(verb), testing::IsSupersetOf({"--help", "--json", "--quiet", "--threads", "--seed"})) << verb;
    for (const auto& line : found(r.out, "(.*)\n")) EXPECT_LE(line.size(), 160u) << verb << ": " << line;
  }
}

// What bash offers for the last of `words`.
std::string offered(const std::string& words, int count) {
  const std::string script = temporary_dir() + "/complete.bash";
  spit(script, cli("completion bash").out + "COMP_WORDS=(dyadic " + words + ")\nCOMP_CWORD=" + std::to_string(count) +
                   "\n_dyadic\necho \"${COMPREPLY[*]}\"\n");
  const std::string out = temporary_dir() + "/out";
  EXPECT_EQ(std::system(("bash " + script + " >" + out).c_str()), 0);
  std::string words_offered = slurp(out);
  words_offered.pop_back();
  return words_offered;
}

TEST(Completion, BashOffersVerbsOptionsAndChoices) {
  EXPECT_EQ(offered("insp", 1), "inspect");
  EXPECT_EQ(offered("quantize --cal", 2), "--calib");
  EXPECT_EQ(offered("eval --task ''", 3), "sts cosine");
  EXPECT_EQ(offered("eval --task s", 3), "sts");
  EXPECT_EQ(offered("quantize --calib ''", 3), "");  // then bash completes file names
  EXPECT_EQ(offered("completion ''", 2), "bash zsh fish");
  const std::string all = " " + offered("''", 1) + " ";
  for (const auto& verb : verbs()) EXPECT_THAT(all, HasSubstr(" " + verb + " "));
  for (const auto& verb : verbs()) {
    const std::string words = " " + offered(verb + " -", 2) + " ";
    for (const auto& option : options(verb)) EXPECT_THAT(words, HasSubstr(" " + option + " ")) << verb;
  }
}

TEST(Completion, OtherShellsAndTheManualHaveEveryOption) {
  const std::string zsh = cli("completion zsh").out, fish = cli("completion fish").out, man = cli("man").out;
  EXPECT_TRUE(man.starts_with(".TH DYADIC 1")) << man;
  for (const auto& verb : verbs()) {
    EXPECT_THAT(zsh, HasSubstr("    " + verb + ")\n"));
    EXPECT_THAT(fish, HasSubstr(" -a " + verb + " -d '"));
    for (std::string option : options(verb)) {
      EXPECT_THAT(zsh, HasSubstr(")" + option + "["));
      EXPECT_THAT(fish, HasSubstr(" -l " + option.substr(2) + " "));
      for (size_t at = 0; (at = option.find('-', at)) != option.npos; at += 2) option.insert(at, "\\");
      EXPECT_THAT(man, HasSubstr(option + "\\fR"));
    }
  }
  EXPECT_EQ(cli("completion tcsh").code, 2);
  if (std::system("command -v groff >/dev/null") == 0) {
    const std::string dir = temporary_dir();
    spit(dir + "/dyadic.1", man);
    EXPECT_EQ(std::system(("groff -man -ww -z " + dir + "/dyadic.1 2>" + dir + "/warnings").c_str()), 0);
    EXPECT_EQ(slurp(dir + "/warnings"), "");
  }
}

}  // namespace
}  // namespace dyadic::test

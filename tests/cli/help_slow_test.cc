// Every example of every --help is typed into a shell, where files of the names that they use lie.
#include <regex>

#include "run.h"

namespace dyadic::test {
namespace {
namespace fs = std::filesystem;

// A folder with a model, its .dyad file, texts and scored pairs, and `dyadic` on the path of a fresh home.
std::string workplace() {
  const std::string dir = temporary_dir();
  fs::create_directory_symlink(source_path("models/tiny-encoder"), dir + "/all-MiniLM-L6-v2");
  fs::copy_file(tiny_dyad(), dir + "/minilm.dyad");
  fs::create_directories(dir + "/bin");
  fs::create_symlink(dyadic_program(), dir + "/bin/dyadic");
  fs::create_directories(dir + "/.zfunc");
  fs::create_directories(dir + "/.config/fish/completions");

  std::istringstream lines(slurp(source_path("examples/sentences.txt")));
  std::string texts, pairs, first, second;
  for (int i = 0; i < 60 && std::getline(lines, first) && std::getline(lines, second); ++i) {
    texts += first + "\n" + second + "\n";
    pairs += "a\tb\tc\t" + std::to_string(i) + "\t" + std::to_string(i % 6) + "\t" + first + "\t" + second + "\n";
  }
  spit(dir + "/sentences.txt", texts);
  for (const char* name : {"/sts-train.tsv", "/sts-dev.tsv", "/sts-test.tsv"}) spit(dir + name, pairs);
  return dir;
}

TEST(HelpExamples, EveryOneWorks) {
  const std::string dir = workplace(), help = cli("--help").out;
  const std::regex verb_line("\n  ([a-z]+) ");
  const auto list = help.substr(help.find("Subcommands:\n"), help.find("Exit codes") - help.find("Subcommands:\n"));
  int run = 0;
  for (std::sregex_iterator verb(list.begin(), list.end(), verb_line), end; verb != end; ++verb) {
    std::istringstream lines(cli(verb->str(1) + " --help").out);
    bool inside = false;
    int of_this = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("Example")) inside = true;
      if (line.starts_with("Exit codes")) inside = false;
      std::string command = line.starts_with("Example: ") ? line.substr(9) : line;
      if (!inside || command.find("dyadic ") == command.npos) continue;
      // The tiny encoder takes no more tokens than this.
      command = std::regex_replace(command, std::regex("\\b(128|384|512)\\b"), "32");
      const std::string log = dir + "/log";
      spit(dir + "/example.bash", "set -o pipefail\ncd " + dir + "\n" + command + "\n");
      const int status = std::system(
          ("HOME=" + dir + " PATH=" + dir + "/bin:$PATH bash " + dir + "/example.bash >" + log + " 2>&1").c_str());
      EXPECT_EQ(status, 0) << command << "\n" << slurp(log);
      ++of_this;
    }
    EXPECT_GE(of_this, 1) << verb->str(1);
    run += of_this;
  }
  EXPECT_GE(run, 15);
}

}  // namespace
}  // namespace dyadic::test

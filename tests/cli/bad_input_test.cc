// A handful of bad files and failing writes through the program itself: exit code, one line on stderr, nothing on
// stdout.
#include <sys/stat.h>

#include "run.h"

namespace dyadic::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

struct BadCall {
  std::string arguments;
  int code;
  std::string message;
};

TEST(Cli, BadFilesEndInOneLine) {
  const std::string dir = temporary_dir(), good = slurp(tiny_dyad()), tiny = source_path("models/tiny-encoder");
  const std::string texts = source_path("examples/sentences.txt");
  spit(dir + "/short.dyad", good.substr(0, 1000));
  spit(dir + "/long.dyad", good + "x");
  spit(dir + "/latin1.txt", "na\xefve\n");
  spit(dir + "/bad.toml", "name = \"x\"\n[[rule]]\nencode.input = \"afine\"\n");
  ASSERT_EQ(mkfifo((dir + "/pipe.dyad").c_str(), 0600), 0);
  const std::string quantize = "quantize " + tiny + " --quiet -o " + dir + "/out.dyad ";
  const std::vector<BadCall> calls = {
      {"inspect " + dir + "/short.dyad", 3, dir + "/short.dyad: the header length at byte 0"},
      {"inspect --json " + dir + "/long.dyad", 3, dir + "/long.dyad: 1 bytes behind the last tensor"},
      {"inspect " + dir + "/pipe.dyad", 3, dir + "/pipe.dyad: not a regular file"},
      {"verify --quiet " + dir + "/short.dyad", 3, dir + "/short.dyad"},
      {"run " + tiny_dyad() + " " + dir + "/latin1.txt", 3, dir + "/latin1.txt:1: "},
      {"run " + tiny_dyad() + " " + dir, 1, dir + ": cannot read"},
      {"run " + tiny_dyad() + " /dev/zero", 3, "/dev/zero:1: text of 67108866 bytes"},
      {"eval " + tiny_dyad() + " --quiet --task sts --data " + dir + "/latin1.txt", 3, dir + "/latin1.txt: line 1"},
      {quantize + "--calib " + dir + "/latin1.txt", 3, dir + "/latin1.txt: line 1"},
      {quantize + "--calib " + texts + " --recipe " + dir + "/bad.toml", 3, dir + "/bad.toml:3: unknown part 'afine'"},
  };
  for (const BadCall& call : calls) {
    const CliResult r = cli(call.arguments);
    EXPECT_EQ(r.code, call.code) << call.arguments << "\n" << r.err;
    EXPECT_THAT(r.err, StartsWith("dyadic: ")) << call.arguments;
    EXPECT_THAT(r.err, HasSubstr(call.message)) << call.arguments;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << call.arguments << "\n" << r.err;
    EXPECT_EQ(r.out, "") << call.arguments;
  }
  EXPECT_FALSE(fs::exists(dir + "/out.dyad"));
}

TEST(Cli, EveryReportNoticesAFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "SKIPPED: no /dev/full";
  const std::string err = temporary_dir() + "/err", texts = source_path("examples/sentences.txt");
  for (const std::string& call : {"inspect --json " + tiny_dyad(), "inspect --bodies " + tiny_dyad(),
                                  std::string("list --json"), "run " + tiny_dyad() + " " + texts,
                                  "eval --json --quiet --sample 4 --task cosine --data " + texts + " --reference " +
                                      tiny_dyad() + " " + tiny_dyad()}) {
    const int status = std::system((dyadic_program() + " " + call + " >/dev/full 2>" + err).c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1) << call;
    EXPECT_THAT(slurp(err), HasSubstr("stdout: write failed")) << call;
  }
}

// A limit on the size of files stands for a full disk.
TEST(Cli, AFullDiskLeavesTheOldFile) {
  const std::string dir = temporary_dir();
  const std::string quantize = "quantize " + source_path("models/tiny-encoder") + " --calib " +
                               source_path("examples/sentences.txt") + " --sample 16 --quiet -o " + dir + "/model.dyad";
  spit(dir + "/model.dyad", "old");
  const CliResult r = cli(quantize, "trap '' XFSZ; ulimit -f 64;");
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_THAT(r.err, HasSubstr(dir + "/model.dyad: write failed"));
  EXPECT_EQ(slurp(dir + "/model.dyad"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), {}), 1);
}

}  // namespace
}  // namespace dyadic::test

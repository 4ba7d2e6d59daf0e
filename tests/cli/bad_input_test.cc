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

void expect_one_line_each(const std::vector<BadCall>& calls) {
  for (const BadCall& call : calls) {
    const CliResult r = cli(call.arguments);
    EXPECT_EQ(r.code, call.code) << call.arguments << "\n" << r.err;
    EXPECT_THAT(r.err, StartsWith("dyadic: ")) << call.arguments;
    EXPECT_THAT(r.err, HasSubstr(call.message)) << call.arguments;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << call.arguments << "\n" << r.err;
    EXPECT_EQ(r.out, "") << call.arguments;
  }
}

TEST(Cli, BadFilesEndInOneLine) {
  const std::string dir = temporary_dir(), good = slurp(tiny_dyad()), tiny = source_path("models/tiny-encoder");
  const std::string texts = source_path("examples/sentences.txt");
  spit(dir + "/short.dyad", good.substr(0, 1000));
  spit(dir + "/long.dyad", good + "x");
  spit(dir + "/latin1.txt", "na\xefve\n");
  spit(dir + "/empty.txt", "");
  spit(dir + "/pair.tsv", "g\tf\ty\t1\t2.5\tone\ttwo\n");
  spit(dir + "/bad.toml", "name = \"x\"\n[[rule]]\nencode.input = \"afine\"\n");
  ASSERT_EQ(mkfifo((dir + "/pipe.dyad").c_str(), 0600), 0);
  const std::string quantize = "quantize " + tiny + " --quiet -o " + dir + "/out.dyad ";
  const std::vector<BadCall> calls = {
      {"inspect " + dir + "/short.dyad", 3, dir + "/short.dyad: the header length at byte 0"},
      {"inspect --json " + dir + "/long.dyad", 3, dir + "/long.dyad: 1 bytes behind the last tensor"},
      {"inspect " + dir + "/pipe.dyad", 3, dir + "/pipe.dyad: not a regular file"},
      {"verify --quiet " + dir + "/short.dyad", 3, dir + "/short.dyad"},
      {"run " + tiny_dyad() + " " + dir + "/latin1.txt", 3, dir + "/latin1.txt:1: "},
      {"run " + tiny_dyad() + " " + dir, 3, dir + ": a folder, not a text file"},
      {"run " + tiny_dyad() + " " + dir + "/none", 1, dir + "/none: cannot open: No such file"},
      {"inspect " + texts, 3, "is it a .dyad or .safetensors file?"},
      {"verify " + tiny, 3, tiny + ": not a regular file but a folder; a .dyad file is needed"},
      {quantize + "--calib " + texts + " " + tiny_dyad(), 2, "argument was not expected"},
      {"quantize " + tiny_dyad() + " --quiet --calib " + texts + " -o " + dir + "/out.dyad", 3, "not a model folder"},
      {"verify --quiet " + tiny_dyad() + " --texts " + dir + "/empty.txt", 3, dir + "/empty.txt: has no line"},
      {"eval " + tiny_dyad() + " --quiet --task sts --data " + dir + "/pair.tsv", 3, "two pairs of different scores"},
      {"eval " + tiny_dyad() + " --task sts --concatenate 9 --data " + dir + "/pair.tsv", 2, "belong to --task cosine"},
      {"eval " + tiny_dyad() + " --task cosine --reference " + tiny_dyad() + " --data " + dir + "/pair.tsv", 2,
       "--columns 6,7"},
      {"eval " + tiny_dyad() + " --task cosine --reference " + tiny + " --data " + texts + " --concatenate 999", 2,
       "--concatenate must be 2..128 for this model, not 999"},
      {"eval " + tiny_dyad() + " --task cosine --reference " + tiny + " --data " + texts +
           " --concatenate 64 --max-length 9",
       2, "--max-length is refused"},
      {"bench " + tiny_dyad() + " --text " + dir + "/pair.tsv", 2, "--columns 6,7"},
      {"run " + tiny_dyad() + " /dev/zero", 3, "/dev/zero:1: text of 67108866 bytes"},
      {"eval " + tiny_dyad() + " --quiet --task sts --data " + dir + "/latin1.txt", 3, dir + "/latin1.txt: line 1"},
      {quantize + "--calib " + dir + "/latin1.txt", 3, dir + "/latin1.txt: line 1"},
      {quantize + "--calib " + texts + " --recipe " + dir + "/bad.toml", 3, dir + "/bad.toml:3: unknown part 'afine'"},
  };
  expect_one_line_each(calls);
  EXPECT_FALSE(fs::exists(dir + "/out.dyad"));
}

TEST(Cli, WrongWordsAreNamed) {
  const std::string tiny = tiny_dyad();
  const std::vector<BadCall> calls = {
      {"bogus", 2, "there is no verb 'bogus'"},
      {"", 2, "say what to do"},
      {"inspect --bogus", 2, "there is no option --bogus; see `dyadic inspect --help`"},
      {"--json inspect " + tiny, 2, "options stand behind the verb: `dyadic inspect .. --json`"},
      {"inspect", 2, "MODEL is required; see `dyadic inspect --help`"},
      {"inspect " + tiny + " --seed -1", 2, "'-1' is not a number in 0..18446744073709551615"},
      {"inspect " + tiny + " --seed 010", 2, "'010' is not a number"},
      {"inspect " + tiny + " --seed 18446744073709551616", 2, "is not a number"},
      {"bench " + tiny + " --csv --json", 2, "--csv and --json exclude each other"},
      {"bench " + tiny + " --executors --layers", 2, "excludes"},
      {"bench " + tiny + " --batch 999999999", 2, "1..9999999"},
      {"export c " + tiny + " -o x --weights foo", 2, "foo not in {auto,arrays,binary}"},
      {"export c " + tiny + " -o x --max-length -1", 2, "'-1' is not a number in 0..1000000"},
      {"export c " + tiny + " -o x --prefix int", 2, "is a word of C"},
      {"export c " + tiny + " -o x --prefix test_vectors", 2, "is a word of C or of the files"},
      {"run " + tiny + " --max-length 010", 2, "'010' is not a number in 0..1000000"},
      {"run " + tiny + " --threads 0x2", 2, "'0x2' is not a number in 1..1024"},
      {"bench " + tiny + " --length 513", 2, "--length must be 1..128"},
      {"bench " + tiny + " --executors --batch 1,2", 2, "one --batch and one --length"},
      {"explain " + tiny + " --reference x --data y --calib-sample 3", 2, "--calib-sample requires --calib"},
      {"export c " + tiny + " -o x --prefix 1a", 2, "must be a name in C"},
  };
  expect_one_line_each(calls);
  EXPECT_EQ(cli("list --quiet", "DYADIC_RECIPES=/nonexistent").code, 0);
  const CliResult r = cli("quantize x --calib y -o z", "DYADIC_RECIPES=/nonexistent");
  EXPECT_THAT(r.err, HasSubstr("the recipes in /nonexistent, where there are none"));
}

// What -o and --html name is asked about before the work for it, and never takes the place of what is read.
TEST(Cli, OutputsReplaceNothingThatIsNoOutput) {
  const std::string dir = temporary_dir(), tiny = source_path("models/tiny-encoder");
  const std::string texts = source_path("examples/sentences.txt"), quantize = "quantize " + tiny + " --quiet --calib ";
  spit(dir + "/calib.txt", "one\ntwo\n");
  const std::string model = temporary_dir() + "/model", recipes = temporary_dir();
  fs::copy(tiny, model);
  fs::rename(model + "/vocab.txt", model + "-words");  // as caches of models have it
  fs::create_symlink(model + "-words", model + "/vocab.txt");
  fs::copy(source_path("recipes/default.toml"), recipes);
  const std::string vocabulary = slurp(model + "/vocab.txt"), recipe = slurp(recipes + "/default.toml");
  const std::string copied = "quantize " + model + " --quiet --calib " + texts;
  ASSERT_EQ(mkfifo((dir + "/pipe").c_str(), 0600), 0);
  const std::string explain =
      "explain " + tiny_dyad() + " --reference " + tiny + " --data " + dir + "/calib.txt --html ";
  const std::vector<BadCall> calls = {
      {quantize + dir + "/calib.txt -o " + dir + "/calib.txt", 2, "would replace"},
      {quantize + texts + " -o " + dir + "/pipe", 1, "a device or a pipe"},
      {quantize + texts + " -o " + dir, 1, "a folder"},
      {quantize + texts + " -o " + dir + "/no/x.dyad", 1, "No such file"},
      {quantize + texts + " -o ''", 1, "without a name"},
      {copied + " -o " + model + "/vocab.txt", 2, "would replace a file of " + model},
      {copied + " -o " + model + "-words", 2, "would replace a file of " + model},
      {copied + " -o " + recipes + "/default.toml --recipe " + recipes + "/default.toml", 2, "would replace"},
      {"compare " + model + " --recipes default --task cosine --data " + texts + " --calib " + texts + " --work " +
           model,
       2, "lies in the model's folder"},
      {"export c " + model + "/x.dyad -o " + model + " --force", 2, "x.dyad, which is read"},
      {explain + dir + "/calib.txt", 2, "would replace"},
      {explain + dir + "/pipe", 1, "a device or a pipe"},
  };
  expect_one_line_each(calls);
  const CliResult named = cli(copied + " -o " + recipes + "/default.toml", "DYADIC_RECIPES=" + recipes);
  EXPECT_EQ(named.code, 2) << named.err;
  EXPECT_EQ(slurp(recipes + "/default.toml"), recipe);
  EXPECT_EQ(slurp(model + "/vocab.txt"), vocabulary);
  EXPECT_EQ(slurp(dir + "/calib.txt"), "one\ntwo\n");
  EXPECT_TRUE(fs::is_fifo(dir + "/pipe"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), {}), 2);
}

TEST(Cli, RunWaitsForTextsAndCanBeEnded) {
  const std::string dir = temporary_dir();
  ASSERT_EQ(mkfifo((dir + "/texts").c_str(), 0600), 0);
  for (const std::string& signal : {std::string("INT"), std::string("TERM")}) {
    // A first answer says that it waits for the second text.
    const std::string script = "set -m; " + dyadic_program() + " run " + tiny_dyad() + " " + dir + "/texts >" + dir +
                               "/out 2>" + dir + "/err & p=$!; exec 3>" + dir +
                               "/texts; echo one >&3; while kill -0 $p " + "2>/dev/null && ! [ -s " + dir +
                               "/out ]; do sleep 0.01; done; kill -" + signal + " $p; wait $p";
    const int status = std::system(("bash -c '" + script + "'").c_str());
    EXPECT_EQ(WEXITSTATUS(status), 130) << signal;
    EXPECT_EQ(slurp(dir + "/err"), "dyadic: interrupted\n");
    const std::string out = slurp(dir + "/out");
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
    fs::remove(dir + "/out");
  }
}

// What `call` says of an interrupt that comes a moment after `ready`, a condition of the shell, holds of process $p.
void expect_interrupted(const std::string& call, const std::string& ready) {
  const std::string err = temporary_dir() + "/err";
  const std::string script = "set -m; " + dyadic_program() + " " + call + " 2>" + err +
                             " >/dev/null & p=$!; for i in $(seq 2000); do kill -0 $p || exit 9; " + ready +
                             " && break; sleep 0.01; done; sleep 0.3; kill -INT $p; wait $p";
  EXPECT_EQ(WEXITSTATUS(std::system(("timeout 100 bash -c '" + script + "'").c_str())), 130) << call;
  EXPECT_EQ(slurp(err), "dyadic: interrupted\n") << call;
}

TEST(Cli, BenchCanBeEnded) {
  expect_interrupted("bench " + tiny_dyad() + " --batch 1 --length 8 --repetitions 1000000 --quiet",
                     "[ /proc/$p/exe -ef " + dyadic_program() + " ]");
}

TEST(Cli, APipeThatNobodyWritesCanBeLeft) {
  const std::string pipe = temporary_dir() + "/texts";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_interrupted("run " + tiny_dyad() + " " + pipe, "ls -l /proc/$p/fd | grep -q " + pipe);
}

TEST(Cli, AClosedStderrChangesNoExitCode) {
  const auto code = [](const std::string& call) {
    const int status = std::system((dyadic_program() + " " + call).c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  };
  const std::string out = temporary_dir() + "/out.dyad";
  std::vector<std::string> nowhere = {"2>&-"};
  if (fs::exists("/dev/full")) nowhere.emplace_back("2>/dev/full");
  for (const std::string& to : nowhere) {
    EXPECT_EQ(code("inspect missing " + to), 1) << to;
    EXPECT_EQ(code("bogus " + to), 2) << to;
    EXPECT_EQ(
        code("run " + tiny_dyad() + " " + source_path("examples/sentences.txt") + " --max-length 5 >/dev/null " + to),
        0);
  }
  // No file takes the place of a stream, and a closed stdout is noticed.
  EXPECT_EQ(code("quantize " + source_path("models/tiny-encoder") + " --sample 16 --calib " +
                 source_path("examples/sentences.txt") + " -o " + out + " >&- 2>&-"),
            1);
  EXPECT_EQ(code("inspect " + out + " >/dev/null"), 0);
}

TEST(Cli, AnswersComeBeforeAnError) {
  const CliResult r = cli("run " + tiny_dyad(), "printf 'one\\n\\377\\n' |");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.out, HasSubstr("{\"text\":\"one\""));
  EXPECT_THAT(r.err, HasSubstr("stdin:2: "));
}

TEST(Cli, ThreadsThatTheSystemDoesNotGiveAreSaid) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "SKIPPED: sanitizers need more address space than is left here";
#endif
  const CliResult r = cli("run " + tiny_dyad() + " --threads 1024 </dev/null", "ulimit -s 8192; ulimit -v 4000000;");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("cannot start 1024 threads"));
}

TEST(Cli, AFolderForTemporariesThatIsNotThereIsNamed) {
  const std::string texts = source_path("examples/sentences.txt");
  const CliResult r = cli("compare " + source_path("models/tiny-encoder") + " --recipes default --task cosine --data " +
                              texts + " --calib " + texts,
                          "TMPDIR=/nonexistent");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("TMPDIR"));
}

TEST(Cli, EveryReportNoticesAFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "SKIPPED: no /dev/full";
  const std::string err = temporary_dir() + "/err", texts = source_path("examples/sentences.txt");
  for (const std::string& call :
       {std::string("--help"), std::string("--version"), "inspect --json " + tiny_dyad(),
        "inspect --bodies " + tiny_dyad(), std::string("list --json"), "run " + tiny_dyad() + " " + texts,
        "eval --json --quiet --sample 4 --task cosine --data " + texts + " --reference " + tiny_dyad() + " " +
            tiny_dyad()}) {
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

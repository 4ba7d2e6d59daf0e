// Bad files of every kind, made from good ones and given to what the command line runs. Each ends with its documented
// exit code and a message that names the file and the place in it, within bounded time and memory, and leaves nothing
// behind. docs/bad-input.md is the table of this file.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <set>

#include "api/encoder.h"
#include "api/evaluate.h"
#include "api/inspect.h"
#include "base/status.h"
#include "container_cases.h"
#include "dyad_cases.h"
#include "good_files.h"
#include "model_folder_cases.h"
#include "text_cases.h"

#if defined(__SANITIZE_ADDRESS__)
// Freed memory must not wait and count as used; a request for too much must fail as it does elsewhere.
extern "C" const char* __asan_default_options() {
  return "quarantine_size_mb=8:allocator_release_to_os_interval_ms=0:allocator_may_return_null=1";
}
constexpr int64_t kSlower = 8;
#else
constexpr int64_t kSlower = 1;
#endif

namespace dyadic::test {
namespace {

constexpr int64_t kMaxSeconds = 8 * kSlower, kMaxMegabytes = 400;
constexpr int64_t kMaxTextMegabytes = 1400;  // a text file may have up to 1 GiB

const BadFiles& bad_files() {
  static const BadFiles all = [] {
    BadFiles cases;
    for (const BadFiles& part :
         {container_cases("encoder/model.safetensors", "inspect", "encoder.layer.0.output.dense.bias"),
          file_cases("encoder/model.safetensors", "inspect"), weight_cases(), shard_cases(), config_cases(),
          sentence_transformer_cases(), vocabulary_cases(), tokenizer_cases(),
          container_cases("encoder.dyad", "inspect", "graph.json"), file_cases("encoder.dyad", "inspect"),
          graph_cases(), body_cases(), recipe_cases(), text_cases(), file_cases("texts.txt", "quantize")})
      cases.insert(cases.end(), part.begin(), part.end());
    return cases;
  }();
  return all;
}

// The folder of a file of a model folder, else the file.
std::string top(const std::string& file) { return file.substr(0, file.find('/')); }

struct Ending {
  int code = -1;  // negative: the signal that ended the process
  std::string message;
  double seconds = 0;     // of processor time
  int64_t megabytes = 0;  // at most in use at once
};

void run_verb(const std::string& verb, const fs::path& dir, const std::string& file) {
  const std::string folder = top(file);
  const bool is_model = folder == "encoder" || folder == "fast" || folder == "sharded" || folder == "encoder.dyad";
  const std::string model = (dir / (is_model ? folder : "encoder")).string();
  if (verb == "inspect") {
    inspect_model(model);
  } else if (verb == "run") {
    const std::string texts[] = {"a man is eating", "foods", ""};
    open_encoder(model)->encode(texts);
  } else if (verb == "eval") {
    EvaluateRequest request;
    request.model = (dir / "encoder.dyad").string();
    request.data = (dir / file).string();
    evaluate_model(request);
  } else {
    QuantizeRequest request;
    request.model = model;
    request.recipe = (dir / "recipe.toml").string();
    request.calibration = (dir / "texts.txt").string();
    request.sample = 8;
    request.output = (dir / "out.dyad").string();
    quantize_model(request);
  }
}

// What apps/dyadic/main.cc makes of an exception.
template <class F>
std::pair<int, std::string> caught(F f) {
  try {
    f();
    return {0, ""};
  } catch (const Error& error) {
    return {static_cast<int>(error.kind()), error.what()};
  } catch (const std::exception& error) {
    return {1, cat("not an Error: ", error.what())};
  }
}

// Runs f in a child process, so that crashes, endless loops and peaks of memory are seen.
template <class F>
Ending in_child(F f) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    alarm(120);  // for what waits without computing
    const auto [code, message] = caught(f);
    const std::string text = message.substr(0, 4000);
    if (write(ends[1], text.data(), text.size()) < 0) _exit(99);
    _exit(code);
  }
  close(ends[1]);
  Ending ending;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
    ending.message.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  rusage use{};
  wait4(child, &status, 0, &use);
  ending.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  ending.seconds = seconds(use.ru_utime) + seconds(use.ru_stime);
  ending.megabytes = use.ru_maxrss / 1024;
  return ending;
}

// Made once, by a child: the process that forks stays small and without threads.
const fs::path& good_files() {
  static const fs::path dir = [] {
    const fs::path made = fs::path(temporary_dir()) / "good";
    const Ending ending = in_child([&] { write_good_files(made); });
    if (ending.code != 0) throw std::runtime_error("cannot make the good files: " + ending.message);
    return made;
  }();
  return dir;
}

// A private copy of what a verb reads for this file.
class Copy {
 public:
  Copy(const std::string& verb, const std::string& file) : dir_(fs::path(temporary_dir())) {
    std::set<std::string> needed = {top(file)};
    if (verb == "quantize") needed.insert({"encoder", "recipe.toml", "texts.txt"});
    if (verb == "eval") needed.insert("encoder.dyad");
    for (const auto& name : needed) fs::copy(good_files() / name, dir_ / name, fs::copy_options::recursive);
  }
  ~Copy() { fs::remove_all(dir_); }
  const fs::path& dir() const { return dir_; }

 private:
  fs::path dir_;
};

void expect_nothing_written(const fs::path& dir) {
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    EXPECT_NE(entry.path().filename(), "out.dyad");
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
  }
}

// Whether the parts, divided by " .. ", stand in the text in this order.
bool holds(std::string_view text, std::string_view parts) {
  constexpr std::string_view kGap = " .. ";
  for (;;) {
    const size_t gap = parts.find(kGap);
    const std::string_view part = parts.substr(0, gap);
    const size_t at = text.find(part);
    if (at == text.npos) return false;
    if (gap == parts.npos) return true;
    text.remove_prefix(at + part.size());
    parts.remove_prefix(gap + kGap.size());
  }
}

class BadFileTest : public testing::TestWithParam<size_t> {};

TEST_P(BadFileTest, EndsAsDocumented) {
  const BadFile& bad = bad_files()[GetParam()];
  SCOPED_TRACE(bad);
  const Copy copy(bad.verb, bad.file);
  static const int64_t before = in_child([] {}).megabytes;
  const Ending ending = in_child([&] {
    bad.damage(copy.dir() / bad.file);
    run_verb(bad.verb, copy.dir(), bad.file);
  });
  const std::string where = (copy.dir() / top(bad.file)).string();
  EXPECT_EQ(ending.code, bad.code) << ending.message;
  EXPECT_TRUE(bad.code == 0 || holds(ending.message, where + " .. " + bad.message)) << ending.message;
  EXPECT_LE(ending.seconds, static_cast<double>(kMaxSeconds)) << ending.message;
  EXPECT_LE(ending.megabytes - before, bad.file == "texts.txt" ? kMaxTextMegabytes : kMaxMegabytes) << ending.message;
  if (bad.code != 0) expect_nothing_written(copy.dir());
}

INSTANTIATE_TEST_SUITE_P(All, BadFileTest, testing::Range<size_t>(0, bad_files().size()), [](const auto& info) {
  const BadFile& bad = bad_files()[info.param];
  std::string name = cat(info.index, "_", bad.file, "_", bad.name);
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
});

TEST(GoodFiles, AreGood) {
  for (const auto& [verb, file] : std::vector<std::pair<std::string, std::string>>{{"inspect", "encoder"},
                                                                                   {"inspect", "sharded"},
                                                                                   {"inspect", "encoder.dyad"},
                                                                                   {"run", "encoder"},
                                                                                   {"run", "fast"},
                                                                                   {"run", "encoder.dyad"},
                                                                                   {"quantize", "recipe.toml"},
                                                                                   {"eval", "pairs.tsv"}}) {
    const Copy copy(verb, file);
    const Ending ending = in_child([&, v = verb, f = file] { run_verb(v, copy.dir(), f); });
    EXPECT_EQ(ending.code, 0) << verb << " " << file << ": " << ending.message;
  }
}

// ---- docs/bad-input.md

std::string table() {
  std::map<std::string, std::map<std::string, int>> endings;  // by file: exit code -> cases
  for (const BadFile& bad : bad_files()) ++endings[bad.file][std::to_string(bad.code)];
  std::string text = "| file | read by | cases | exit 0 | exit 1 | exit 3 | exit 4 |\n|---|---|---|---|---|---|---|\n";
  std::string list;
  std::set<std::string> seen;
  for (const BadFile& of : bad_files()) {
    if (!seen.insert(of.file).second) continue;
    std::set<std::string> verbs;
    list += cat("\n### ", of.file, "\n\n");
    int cases = 0;
    for (const BadFile& bad : bad_files())
      if (bad.file == of.file) {
        ++cases;
        verbs.insert(bad.verb);
        list += cat("- ", bad.name, ": ", bad.code == 0 ? "runs, exit 0" : cat("exit ", bad.code), "\n");
      }
    text += cat("| ", of.file, " |");
    for (const auto& verb : verbs) text += cat(" ", verb);
    text += cat(" | ", cases, " |");
    for (const char* code : {"0", "1", "3", "4"}) text += cat(" ", endings[of.file][code], " |");
    text += "\n";
  }
  return cat(text, "\n## Every case\n", list);
}

// DYADIC_UPDATE_DOCS=1 writes the table instead.
TEST(BadInput, DocumentHoldsTheTable) {
  const fs::path file = source_path("docs/bad-input.md");
  const std::string mark = "<!-- generated: bad files -->\n", page = slurp(file), made = table();
  std::cout << made.substr(0, made.find("\n##")) << bad_files().size() << " bad files\n";
  const size_t at = page.find(mark);
  ASSERT_NE(at, page.npos);
  if (std::getenv("DYADIC_UPDATE_DOCS")) spit(file, page.substr(0, at + mark.size()) + made);
  EXPECT_EQ(slurp(file).substr(at + mark.size()), made) << "DYADIC_UPDATE_DOCS=1 writes it anew";
}

}  // namespace
}  // namespace dyadic::test

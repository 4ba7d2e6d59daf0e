#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <system_error>

#include "base/progress.h"
#include "base/status.h"
#include "commands.h"

namespace {

// Memory that runs out where nothing may be thrown, e.g. in a destructor of the JSON library, ends the program as
// memory that runs out elsewhere.
[[noreturn]] void terminate() {
  try {
    if (const auto error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    std::fputs("dyadic: out of memory\n", stderr);
    std::_Exit(static_cast<int>(dyadic::ErrorKind::kFailed));
  } catch (...) {
  }
  std::abort();
}

// A file that is opened must not become a closed stdin, stdout or stderr. What holds their places takes no data:
// writing fails as it should.
void hold_standard_streams() {
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream)
    if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) != stream)
      std::_Exit(static_cast<int>(dyadic::ErrorKind::kFailed));
}

int run(int argc, char** argv) {
  using namespace dyadic;
  CLI::App app(
      "Dyadic turns a trained network into one that computes with integers only, and proves it.\n"
      "A first session:\n"
      "  dyadic quantize all-MiniLM-L6-v2 --recipe default --calib sentences.txt -o minilm.dyad\n"
      "  dyadic verify minilm.dyad\n"
      "  echo 'A man is eating food.' | dyadic run minilm.dyad",
      "dyadic");
  app.formatter(cli::help_formatter());
  app.require_subcommand(1);
  app.set_version_flag("--version", "dyadic " DYADIC_VERSION);
  const std::string shared =
      "Exit codes:\n"
      "  0    ok\n"
      "  1    failed: results differ, no such file, disk full\n"
      "  2    usage: an argument is wrong\n"
      "  3    malformed: a model, tokenizer, recipe or text is not what it should be; file and place are named\n"
      "  4    a contract is unmet: a range not proved, a node not covered, not integer-only\n"
      "  130  interrupted, by SIGINT, SIGTERM or SIGHUP\n"
      "\n"
      "Environment:\n"
      "  DYADIC_ISA      portable, avx2, avx512vnni or amx: the best instruction set to use; results are the same\n"
      "  DYADIC_RECIPES  the folder of recipes that are given by name\n"
      "  DYADIC_MODELS   the folder of trained models that tests use; scripts/fetch_models.sh fills it\n"
      "  DYADIC_DATA     the folder of data sets that tests and benchmarks use";
  app.footer(shared);

  cli::Common common;
  std::map<CLI::App*, cli::Action> actions;
  const char* const shared_group = "Options of every verb";
  const auto verb = [&](const char* name, const char* summary, cli::Action (*add)(CLI::App&)) {
    CLI::App* sub = app.add_subcommand(name, summary);
    actions[sub] = add(*sub);
    sub->footer(sub->get_footer() + "\n\n" + shared);
    sub->add_flag("--json", common.json, "One JSON object on stdout instead of text")->group(shared_group);
    sub->add_flag("--quiet", common.quiet, "No progress on stderr")->group(shared_group);
    sub->add_option("--threads", common.threads, "Worker threads")
        ->check(cli::whole_number(1, 1024))
        ->capture_default_str()
        ->group(shared_group);
    sub->add_option("--seed", common.seed, "Seed of everything that is drawn at random")
        ->check(cli::whole_number())
        ->capture_default_str()
        ->group(shared_group);
  };
  verb("inspect", "What is in a model, and what it costs", cli::add_inspect);
  verb("list", "Every recipe and every part that a recipe may use", cli::add_list);
  verb("quantize", "Turn a float model folder into an integer .dyad file", cli::add_quantize);
  verb("run", "Embed lines of text", cli::add_run);
  verb("eval", "Measure a model on real data", cli::add_eval);
  verb("verify", "Prove ranges, and that all executors give the same bits", cli::add_verify);
  verb("explain", "Where a .dyad file loses accuracy against its float model, and why", cli::add_explain);
  verb("compare", "One model by several recipes, as one table", cli::add_compare);
  verb("bench", "Time a .dyad file, after checking its results", cli::add_bench);
  verb("export", "Write a .dyad file as C99 without float", cli::add_export);
  verb("doctor", "What this machine can do, what is missing and what that costs", cli::add_doctor);
  verb("completion", "A script that completes words in your shell", cli::add_completion);
  verb("man", "The manual page", cli::add_man);

  // CLI11 would miss the verb only.
  if (argc == 1) fail(ErrorKind::kUsage, "say what to do; `dyadic --help` lists the verbs");
  const auto verb_of = [&](const std::string& name) -> const CLI::App* {
    for (const auto& [verb, action] : actions)
      if (verb->get_name() == name) return verb;
    return nullptr;
  };
  const std::string first = argv[1];
  if (first[0] != '-' && !verb_of(first))
    fail(ErrorKind::kUsage, "there is no verb '", first, "'; `dyadic --help` lists them");
  for (int i = 2; i < argc && !app.get_option_no_throw(first); ++i)
    if (const CLI::App* verb = verb_of(argv[i]); verb && verb->get_option_no_throw(first))
      fail(ErrorKind::kUsage, "options stand behind the verb: `dyadic ", argv[i], " .. ", first, "`");
  app.failure_message([](const CLI::App* at, const CLI::Error& error) {
    // CLI11 tells of what is missing before it tells of what it does not know, which may be the same word misspelt.
    std::string unknown;
    for (const std::string& word : at->remaining(true))
      if (word.size() > 1 && word[0] == '-') unknown += (unknown.empty() ? "" : ", ") + word;
    const std::string why = unknown.empty() ? error.what() : "there is no option " + unknown;
    const auto verbs = at->get_subcommands();
    return fmt::format("dyadic: {}; see `dyadic {}--help`\n", why, verbs.empty() ? "" : verbs[0]->get_name() + " ");
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    if (code != 0) return static_cast<int>(ErrorKind::kUsage);
    if (!std::cout.flush() || std::fflush(stdout) != 0) fail(ErrorKind::kFailed, "stdout: write failed");
    return 0;
  }
  install_interrupt_handler();
  set_progress_enabled(!common.quiet);
  const int code = actions.at(app.get_subcommands().front())(common);
  if (std::fflush(stdout) != 0) fail(ErrorKind::kFailed, "stdout: write failed");
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace dyadic;
  std::set_terminate(terminate);
  hold_standard_streams();
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    cli::say(error.what());
    return static_cast<int>(error.kind());
  } catch (const std::bad_alloc&) {
    cli::say("out of memory");
  } catch (const std::filesystem::filesystem_error& error) {
    cli::say(error.path1().string() + ": " + error.code().message());
  } catch (const std::system_error& error) {
    // fmt reports a failed write to stdout, e.g. a full disk, this way.
    cli::say("stdout: write failed: " + error.code().message());
  } catch (const std::exception& error) {
    cli::say(error.what());
  }
  return static_cast<int>(ErrorKind::kFailed);
}

// The verbs of the command line. Each adds its options to a CLI11 sub-command and returns what to run.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/encoder.h"

namespace dyadic::cli {

using Json = nlohmann::ordered_json;

// Options that every verb has.
struct Common {
  bool json = false, quiet = false;
  int threads = 1;
  uint64_t seed = 0;
};

// Runs the verb; the result is the exit code.
using Action = std::function<int(const Common&)>;

Action add_inspect(CLI::App& app);
Action add_list(CLI::App& app);
Action add_quantize(CLI::App& app);
Action add_run(CLI::App& app);
Action add_eval(CLI::App& app);
Action add_verify(CLI::App& app);
Action add_explain(CLI::App& app);
Action add_bench(CLI::App& app);
Action add_export(CLI::App& app);
Action add_compare(CLI::App& app);
Action add_doctor(CLI::App& app);
Action add_completion(CLI::App& app);
Action add_man(CLI::App& app);

// What --help says behind the options: what the verb reads, does and prints, then commands that work. Exit codes and
// environment, which all verbs share, follow.
void set_help(CLI::App& app, const std::string& about, const std::vector<std::string>& examples);

std::shared_ptr<CLI::FormatterBase> help_formatter();
// What an option takes: "N in 1..1024, default 1", "sts|cosine, default sts"; empty for a flag.
std::string value_text(const CLI::Option& option);
// The words that it takes, if they are few.
std::vector<std::string> choices_of(const CLI::Option& option);

// For an option of a number without sign: decimal digits only. CLI11 would read -1 as 2^64 - 1, 010 as eight
// and 0x10 as sixteen.
CLI::Validator whole_number(uint64_t least = 0, uint64_t most = UINT64_MAX);

// "6,7" as numbers.
std::vector<int> parse_numbers(const std::string& text, const std::string& option);

// A table on stdout: columns padded to their widest cell, numbers aligned right.
void print_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

std::string bytes_text(int64_t bytes);                        // "23.1 MB"
std::string score_text(double x);                             // "0.12345"; "undefined" for a correlation that is
std::string difference_text(double x);                        // "+0.00123"
std::string counted(int64_t count, const std::string& noun);  // "1 text", "2 texts"

// "dyadic: text" on stderr, which may be closed or full: then nobody reads it.
void say(const std::string& text);
// Unless cut is 0.
void warn_of_cut_texts(const TextCounts& texts);

}  // namespace dyadic::cli

#include <fmt/format.h>

#include "api/encoder.h"
#include "api/files.h"
#include "base/progress.h"
#include "base/status.h"
#include "commands.h"

namespace dyadic::cli {
namespace {

struct RunOptions {
  std::string model, input = "-";
  int64_t max_length = 0;
};

// Texts are embedded in groups as they arrive, so that a pipe gets answers before its end.
int run(const RunOptions& options, const Common& common) {
  EncoderOptions encoder_options;
  encoder_options.session.threads = common.threads;
  encoder_options.max_length = options.max_length;
  const auto encoder = open_encoder(options.model, encoder_options);
  TextLines lines(options.input);
  constexpr size_t kGroup = 32;
  std::vector<std::string> group;
  std::vector<TokenIds> ids;
  int64_t line = 0, cut = 0;
  const auto flush = [&] {
    const Embeddings embeddings = encoder->encode(ids);
    for (size_t i = 0; i < group.size(); ++i) {
      const auto row = embeddings.row(static_cast<int64_t>(i));
      fmt::print("{}\n", Json{{"text", group[i]}, {"embedding", std::vector<float>(row.begin(), row.end())}}.dump());
    }
    if (std::fflush(stdout) != 0) fail(ErrorKind::kFailed, "stdout: write failed");
    group.clear();
    ids.clear();
  };
  for (std::string text; lines.next(text);) {
    check_interrupted();
    ++line;
    if (!text.empty() && text.back() == '\r') text.pop_back();
    try {
      auto tokens = encoder->tokenize(text);
      cut += tokens.truncated;
      ids.push_back(std::move(tokens.ids));
    } catch (const Error& error) {
      flush();  // the texts before it have their answers
      fail(error.kind(), lines.name(), ":", line, ": ", error.what());
    }
    group.push_back(text);
    if (group.size() == kGroup || lines.may_wait()) flush();
  }
  flush();
  warn_of_cut_texts({line, cut, encoder->max_length()});
  return 0;
}

}  // namespace

Action add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  app.add_option("MODEL", options->model, "A .dyad file or a model folder")->required();
  app.add_option("INPUT", options->input, "A text file, one text a line, plain or .zst; - is stdin")
      ->capture_default_str();
  app.add_option("--max-length", options->max_length, "Tokens a text is cut to; 0: the model's own")
      ->check(whole_number(0, 1000000))
      ->capture_default_str();
  set_help(
      app,
      "Prints one JSON object a line as texts arrive: {\"text\", \"embedding\": [..]}. A text must be UTF-8; an empty\n"
      "line is a text too. stderr says at the end how many texts were cut.",
      {"echo 'A man is eating food.' | dyadic run minilm.dyad",
       "dyadic run minilm.dyad sentences.txt > embeddings.jsonl"});
  return [options](const Common& common) { return run(*options, common); };
}

}  // namespace dyadic::cli

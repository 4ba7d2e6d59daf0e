#include "api/encoder.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <future>

#include "base/json.h"
#include "base/located.h"
#include "base/progress.h"
#include "base/status.h"
#include "io/datasets/text.h"
#include "io/huggingface/importer.h"
#include "real/executor.h"
#include "runtime/container.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

std::string_view asset_text(const std::map<std::string, Tensor>& assets, const std::string& name) {
  const Tensor& t = assets.at(name);
  return {reinterpret_cast<const char*>(t.raw()), static_cast<size_t>(t.bytes())};
}

WordPiece read_tokenizer(const std::map<std::string, Tensor>& assets, const std::string& where) {
  if (assets.count("tokenizer.json"))
    return WordPiece::from_tokenizer_json(asset_text(assets, "tokenizer.json"), where + ": tokenizer.json");
  if (!assets.count("vocab.txt")) fail(ErrorKind::kMalformed, where, ": neither tokenizer.json nor vocab.txt");
  WordPieceOptions options;
  if (assets.count("tokenizer_config.json")) {
    const std::string name = where + ": tokenizer_config.json";
    const Json json = parse_json(asset_text(assets, "tokenizer_config.json"), name);
    const JsonObject config(json, name);
    options.lowercase = config.boolean("do_lower_case", true);
    options.handle_chinese_chars = config.boolean("tokenize_chinese_chars", true);
    if (config.has("strip_accents")) options.strip_accents = config.boolean("strip_accents", true);
  }
  return WordPiece::from_vocab_txt(asset_text(assets, "vocab.txt"), where + ": vocab.txt", options);
}

// What texts are cut to if the caller says nothing: a promise that the file makes, so it must be one that can be kept.
int64_t stored_length(const Model& model, const std::string& path, int64_t most) {
  const auto it = model.metadata.find("max_length");
  if (it == model.metadata.end()) return most;
  int64_t length = 0;
  const char* end = it->second.data() + it->second.size();
  const auto parsed = std::from_chars(it->second.data(), end, length);
  if (parsed.ec != std::errc() || parsed.ptr != end || length < 2 || length > most)
    fail(ErrorKind::kMalformed, path, ": metadata 'max_length' is '", it->second, "', not a number of 2..", most);
  return length;
}

int64_t longest_text(const Model& model) {
  const auto it = model.symbols.find("L");
  return it == model.symbols.end() ? 512 : std::min<int64_t>(it->second.maximum, 1 << 20);
}

// Token ids that the model takes: 0 .. rows - 1.
int64_t token_rows(const Model& model, const std::string& path) {
  const ValueId id = model.main().find("token");
  if (id < 0) fail(ErrorKind::kContract, path, ": not a text encoder: no input 'token'");
  const Value& token = model.main().value(id);
  return 1 + (token.fact ? token.fact->range : range_of(token.type)).hi;
}

std::string stem(const std::string& path) {
  const auto p = std::filesystem::path(path);
  return (p.has_filename() ? p : p.parent_path()).filename().string();
}

class TokenizingEncoder : public TextEncoder {
 public:
  TokenizingEncoder(WordPiece tokenizer, int64_t model_length, int64_t most, const EncoderOptions& options)
      : tokenizer_(std::move(tokenizer)), max_length_(options.max_length ? options.max_length : model_length) {
    if (max_length_ < 2 || max_length_ > most)
      fail(ErrorKind::kUsage, options.max_length_from, " must be 2..", most, " for this model, not ", max_length_);
    batch_tokens = options.batch_tokens;
  }
  WordPiece::Encoded tokenize(const std::string& text) const override {
    return tokenizer_.encode(text, static_cast<int>(max_length_));
  }
  int64_t max_length() const override { return max_length_; }

 private:
  WordPiece tokenizer_;
  int64_t max_length_;
};

class FloatEncoder : public TokenizingEncoder {
 public:
  FloatEncoder(const std::string& path, const ImportedModel& model, const EncoderOptions& options)
      : TokenizingEncoder(load_tokenizer(model.assets, path, model.vocabulary), model.max_length, model.max_positions,
                          options),
        executor_(model.graph, options.session.threads),
        name_(stem(path) + " (float)") {}
  Embeddings encode_ids(std::span<const TokenIds> texts) override {
    const Tensor out = executor_.run(pack_tokens(texts).feeds).at("embedding");
    return {out.dims().back(), {out.data<float>(), out.data<float>() + out.count()}};
  }
  std::string describe() const override { return name_; }

 private:
  RealExecutor executor_;
  std::string name_;
};

class IntegerEncoder : public TokenizingEncoder {
 public:
  IntegerEncoder(const std::string& path, const Model& model, WordPiece tokenizer, std::unique_ptr<Session> session,
                 const EncoderOptions& options)
      : TokenizingEncoder(std::move(tokenizer), stored_length(model, path, longest_text(model)), longest_text(model),
                          options),
        path_(path),
        session_(std::move(session)),
        name_(stem(path) + " (integer)") {
    const Graph& main = model.main();
    if (main.outputs.size() != 1 || !main.value(main.outputs[0]).encoding)
      fail(ErrorKind::kContract, path, ": not a text encoder: it needs one output with an encoding");
    const Value& output = main.value(main.outputs[0]);
    output_ = output.name;
    encoding_ = *output.encoding;
    if (encoding_.scale.size() != 1) fail(ErrorKind::kContract, path, ": the output needs one scale");
    if (output.shape.size() != 2 || output.shape[0] != Dim("B"))
      fail(ErrorKind::kContract, path, ": output ", output_, " is ", to_string(output.shape),
           ", no embedding for each text");
  }
  Embeddings encode_ids(std::span<const TokenIds> texts) override {
    const Tensor codes = located(path_, [&] { return session_->run(pack_tokens(texts).feeds).at(output_); });
    Embeddings result{codes.dims().back(), {}};
    for (int64_t i = 0; i < codes.count(); ++i)
      result.values.push_back(
          static_cast<float>(encoding_.scale[0] * static_cast<double>(codes.at(i) - encoding_.zero_point[0])));
    return result;
  }
  std::string describe() const override { return name_; }

 private:
  std::string path_;
  std::unique_ptr<Session> session_;
  std::string name_, output_;
  Encoding encoding_;
};

}  // namespace

WordPiece load_tokenizer(const std::map<std::string, Tensor>& assets, const std::string& where, int64_t rows) {
  WordPiece tokenizer = read_tokenizer(assets, where);
  if (static_cast<int64_t>(tokenizer.vocab_size()) > rows)
    fail(ErrorKind::kMalformed, where, ": the tokenizer has ", tokenizer.vocab_size(), " tokens, the model ", rows);
  return tokenizer;
}

std::vector<std::pair<size_t, size_t>> group_texts(std::span<const TokenIds> texts, int64_t batch_tokens) {
  std::vector<std::pair<size_t, size_t>> groups;
  int64_t tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto count = static_cast<int64_t>(texts[i].size());
    if (groups.empty() || tokens + count > batch_tokens) {
      groups.emplace_back(i, i);
      tokens = 0;
    }
    groups.back().second = i + 1;
    tokens += count;
  }
  return groups;
}

TokenizedTexts TextEncoder::tokenize_all(std::span<const std::string> texts) const {
  TokenizedTexts result{{}, {std::ssize(texts), 0, max_length()}};
  result.ids.reserve(texts.size());
  for (const std::string& text : texts) {
    WordPiece::Encoded tokens = tokenize(text);
    result.counts.cut += tokens.truncated;
    result.ids.push_back(std::move(tokens.ids));
  }
  return result;
}

Embeddings TextEncoder::encode(std::span<const std::string> texts, const std::string& label) {
  return encode(tokenize_all(texts).ids, label);
}

Embeddings TextEncoder::encode(std::span<const TokenIds> texts, const std::string& label) {
  Embeddings all;
  std::optional<Progress> progress;
  if (!label.empty()) progress.emplace(label, static_cast<int64_t>(texts.size()));
  for (const auto& [begin, end] : group_texts(texts, batch_tokens)) {
    const Embeddings part = encode_ids(texts.subspan(begin, end - begin));
    all.dim = part.dim;
    all.values.insert(all.values.end(), part.values.begin(), part.values.end());
    if (progress) progress->add(static_cast<int64_t>(end - begin));
  }
  return all;
}

TokenizedTexts tokenize_lines(const std::string& path, const TextEncoder& encoder) {
  const std::vector<std::string> lines = read_lines(path);
  if (lines.empty()) fail(ErrorKind::kMalformed, path, ": has no line");
  return encoder.tokenize_all(lines);
}

std::unique_ptr<TextEncoder> open_encoder(const std::string& path, const EncoderOptions& options) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return std::make_unique<FloatEncoder>(path, import_huggingface(path), options);
  if (!std::filesystem::exists(path, error)) fail(ErrorKind::kFailed, path, ": no such file or folder");
  const std::shared_ptr<const Model> model = load_model(path);
  // The vocabulary is read while the weights are packed.
  std::future<WordPiece> tokenizer = std::async(std::launch::async | std::launch::deferred, [&] {
    return load_tokenizer(model->assets, path, token_rows(*model, path));
  });
  auto session = located(path, [&] { return std::make_unique<Session>(model, options.session); });
  return std::make_unique<IntegerEncoder>(path, *model, tokenizer.get(), std::move(session), options);
}

}  // namespace dyadic

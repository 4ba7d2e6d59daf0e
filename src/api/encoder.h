// Text in, embeddings out, for a float model folder and a .dyad file alike.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/tokenizers/wordpiece.h"
#include "runtime/session.h"
#include "tensor/tensor.h"

namespace dyadic {

// count vectors of `dim` numbers; an integer model's codes times the scale of its output edge (dequantize).
struct Embeddings {
  int64_t dim = 0;
  std::vector<float> values;
  int64_t count() const { return dim ? static_cast<int64_t>(values.size()) / dim : 0; }
  std::span<const float> row(int64_t i) const { return {values.data() + i * dim, static_cast<size_t>(dim)}; }
};

struct EncoderOptions {
  SessionOptions session;                        // threads serve the float executor too
  int64_t max_length = 0;                        // tokens, special tokens included; 0: what the model was made for
  std::string max_length_from = "--max-length";  // the option that set it, for the message if the model takes fewer
  int64_t batch_tokens = 2048;                   // texts are packed in order until a batch would exceed this
};

using TokenIds = std::vector<int32_t>;

// How many texts there were, and how many of them were cut to max_length tokens.
struct TextCounts {
  int64_t count = 0, cut = 0, max_length = 0;
};

struct TokenizedTexts {
  std::vector<TokenIds> ids;
  TextCounts counts;
};

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  // Special tokens added, cut at max_length(). kMalformed naming the byte if a text is not UTF-8.
  virtual WordPiece::Encoded tokenize(const std::string& text) const = 0;
  TokenizedTexts tokenize_all(std::span<const std::string> texts) const;
  // One packed batch of at least one text; every text has at least one token.
  virtual Embeddings encode_ids(std::span<const TokenIds> texts) = 0;
  virtual int64_t max_length() const = 0;
  virtual std::string describe() const = 0;  // e.g. "all-MiniLM-L6-v2 (float)"

  // Packs and encodes in batches of batch_tokens, with progress under `label` unless it is empty.
  Embeddings encode(std::span<const TokenIds> texts, const std::string& label = "");
  // Tokenizes before that.
  Embeddings encode(std::span<const std::string> texts, const std::string& label = "");
  int64_t batch_tokens = 2048;
};

// The tokenizer that travels in a model's assets: tokenizer.json, else vocab.txt with tokenizer_config.json. kMalformed
// naming `where` and the file; also if it has more tokens than the `rows` of the model's table.
WordPiece load_tokenizer(const std::map<std::string, Tensor>& assets, const std::string& where, int64_t rows);

// The lines of a file, one text each. kMalformed naming it if it has none.
TokenizedTexts tokenize_lines(const std::string& path, const TextEncoder& encoder);

// `path` is a .dyad file or a model folder; kFailed or kMalformed naming it otherwise.
std::unique_ptr<TextEncoder> open_encoder(const std::string& path, const EncoderOptions& options = {});

// Consecutive groups of texts of at most `batch_tokens` tokens (a longer text stands alone): [begin, end) pairs.
std::vector<std::pair<size_t, size_t>> group_texts(std::span<const TokenIds> texts, int64_t batch_tokens);

}  // namespace dyadic

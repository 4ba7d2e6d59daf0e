// Text in, embeddings out, for a .dyad file and a float model folder alike. In libdyadic.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <dyadic/error.h>

namespace dyadic::v1 {

// One row of `dimension` numbers for each text.
struct Embeddings {
  int64_t dimension = 0;
  std::vector<float> values;

  int64_t count() const { return dimension ? static_cast<int64_t>(values.size()) / dimension : 0; }
  std::span<const float> row(int64_t i) const {
    return {values.data() + i * dimension, static_cast<size_t>(dimension)};
  }
};

struct TextEncoderOptions {
  int threads = 1;         // 1..1024
  int64_t max_length = 0;  // tokens a text is cut to, special tokens included; 0: what the model was made for
};

// One thread at a time may use a TextEncoder.
class TextEncoder {
 public:
  // `path` is a .dyad file or a model folder (config.json, *.safetensors, tokenizer files). kFailed or kMalformed
  // naming it if it cannot be read, kContract if it is no text encoder.
  explicit TextEncoder(const std::string& path, const TextEncoderOptions& options = {});
  ~TextEncoder();
  TextEncoder(TextEncoder&&) noexcept;
  TextEncoder& operator=(TextEncoder&&) noexcept;

  // UTF-8 texts, packed without padding. kMalformed if one is not UTF-8.
  Embeddings embed(const std::vector<std::string>& texts);
  // Ids with special tokens, cut at max_length().
  std::vector<int32_t> tokenize(const std::string& text) const;
  int64_t max_length() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dyadic::v1

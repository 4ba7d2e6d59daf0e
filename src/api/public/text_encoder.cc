#include "dyadic/text_encoder.h"

#include "api/encoder.h"
#include "runtime/public/implementation.h"

namespace dyadic::v1 {

struct TextEncoder::State {
  std::unique_ptr<dyadic::TextEncoder> encoder;
};

TextEncoder::TextEncoder(const std::string& path, const TextEncoderOptions& options)
    : state_(translate_errors([&] {
        EncoderOptions internal;
        internal.session.threads = options.threads;
        internal.max_length = options.max_length;
        return std::make_unique<State>(State{open_encoder(path, internal)});
      })) {}
TextEncoder::~TextEncoder() = default;
TextEncoder::TextEncoder(TextEncoder&&) noexcept = default;
TextEncoder& TextEncoder::operator=(TextEncoder&&) noexcept = default;

Embeddings TextEncoder::embed(const std::vector<std::string>& texts) {
  return translate_errors([&] {
    dyadic::Embeddings embeddings = state_->encoder->encode(texts);
    return Embeddings{embeddings.dim, std::move(embeddings.values)};
  });
}

std::vector<int32_t> TextEncoder::tokenize(const std::string& text) const {
  return translate_errors([&] { return state_->encoder->tokenize(text).ids; });
}

int64_t TextEncoder::max_length() const { return state_->encoder->max_length(); }

}  // namespace dyadic::v1

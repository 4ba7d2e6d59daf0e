// The tokenizer of BERT (Devlin et al., NAACL 2019): a basic tokenizer that cleans, lower-cases and splits at white
// space and punctuation, then WordPiece, which cuts each word into the longest pieces of a vocabulary from left to
// right (Wu et al., "Google's neural machine translation system", 2016).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dyadic {

// The defaults are those of bert-base-uncased.
struct WordPieceOptions {
  bool lowercase = true;
  std::optional<bool> strip_accents;   // remove nonspacing marks after canonical decomposition; unset: as `lowercase`
  bool clean_text = true;              // drop control, format and private-use characters and U+FFFD
  bool handle_chinese_chars = true;    // every CJK ideograph is a word
  int max_input_chars_per_word = 100;  // code points; a longer word is one unk_token
  std::string unk_token = "[UNK]", cls_token = "[CLS]", sep_token = "[SEP]";
  std::string continuing_subword_prefix = "##";
};

// Immutable and cheap to copy; all members may be called from several threads.
// Lower-casing is that of Unicode's full mapping in the root locale, with the final sigma, as in the original
// implementation. The names of special tokens inside a text are plain text: "[SEP]" gives "[", "sep", "]".
class WordPiece {
 public:
  // `text` holds one token a line (LF or CR LF); the id is the line's index from 0. `where` names the file in errors.
  // kMalformed: ill-formed UTF-8, an empty line, a token over 512 bytes or that stands twice, a special token that is
  // missing, over 2^22 tokens or 64 MiB.
  static WordPiece from_vocab_txt(std::string_view text, const std::string& where, WordPieceOptions options = {});

  // A Hugging Face tokenizer.json: model WordPiece, normalizer BertNormalizer, pre-tokenizer BertPreTokenizer,
  // post-processor BertProcessing, "[CLS] A [SEP]" as a template, or none. Its padding and truncation are ignored:
  // encode() is told a length. kMalformed: anything else, ids that are not 0..size-1, added tokens that would change
  // how plain text is split.
  static WordPiece from_tokenizer_json(std::string_view json, const std::string& where);

  // The pieces of a text without special tokens. kMalformed with the byte offset if the text is not UTF-8; texts may
  // have up to 64 MiB.
  std::vector<int32_t> ids(std::string_view utf8) const;
  std::vector<std::string> tokens(std::string_view utf8) const;

  struct Encoded {
    std::vector<int32_t> ids;  // cls_token, pieces, sep_token
    bool truncated;            // pieces at the end were left out
  };
  // At most max_length ids, the two special tokens included. kUsage if max_length < 2; else as ids().
  Encoded encode(std::string_view utf8, int max_length) const;

  std::optional<int32_t> id(std::string_view token) const;
  const std::string& token(int32_t id) const;  // 0 <= id < vocab_size()
  size_t vocab_size() const;
  const WordPieceOptions& options() const;

 private:
  struct Vocabulary;
  explicit WordPiece(std::shared_ptr<const Vocabulary> vocabulary) : vocabulary_(std::move(vocabulary)) {}
  std::shared_ptr<const Vocabulary> vocabulary_;
};

}  // namespace dyadic

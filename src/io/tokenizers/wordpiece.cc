#include "io/tokenizers/wordpiece.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "base/json.h"
#include "base/name_index.h"
#include "base/status.h"
#include "io/tokenizers/utf8.h"

namespace dyadic {
namespace {

constexpr size_t kMaxTextBytes = size_t{64} << 20;
constexpr size_t kMaxTokens = size_t{1} << 22;
constexpr size_t kMaxTokenBytes = 512;  // bounds the work a word can make
constexpr int kMaxCharsPerWord = 4096;

// The classes of characters as the original implementation has them.

bool is_whitespace(UChar32 c) { return c < 0x80 ? c == ' ' || (c >= '\t' && c <= '\r') : u_isUWhiteSpace(c); }

// Control, format and private use; tab and line ends are white space instead. Unassigned code points stay (and become
// unk_token), so that a newer Unicode changes no ids by assigning one.
bool is_control(UChar32 c) {
  if (c < 0x80) return (c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
  return (U_GET_GC_MASK(c) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

// All ASCII symbols count, '$' and '^' too, although Unicode calls them symbols.
bool is_punctuation(UChar32 c) {
  if (c < 0x80)
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  return (U_GET_GC_MASK(c) & U_GC_P_MASK) != 0;
}

// The CJK ideographs; not Hangul, Hiragana and Katakana, whose words are written apart or split as any other script's.
bool is_cjk(UChar32 c) {
  static constexpr UChar32 kBlocks[][2] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                           {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f},
                                           {0x2b820, 0x2ceaf}, {0x2f800, 0x2fa1f}};
  return c >= 0x3400 && std::any_of(std::begin(kBlocks), std::end(kBlocks),
                                    [c](const auto& block) { return c >= block[0] && c <= block[1]; });
}

void append_utf8(std::string& out, UChar32 c) {
  char bytes[U8_MAX_LENGTH];
  int32_t size = 0;
  U8_APPEND_UNSAFE(bytes, size, c);
  out.append(bytes, static_cast<size_t>(size));
}

// text = step(text) for an ICU function step(target, capacity, source, length, &status) that returns the length it
// needs.
template <class Step>
void transform(std::u16string& text, Step step) {
  std::u16string out(text.size() + 16, u'\0');
  for (;;) {
    UErrorCode status = U_ZERO_ERROR;
    const int32_t length =
        step(out.data(), static_cast<int32_t>(out.size()), text.data(), static_cast<int32_t>(text.size()), &status);
    const bool overflow = status == U_BUFFER_OVERFLOW_ERROR;
    DYADIC_CHECK(overflow || U_SUCCESS(status), u_errorName(status));
    out.resize(static_cast<size_t>(length));
    if (!overflow) break;
  }
  text = std::move(out);
}

void normalize(std::string& word, bool lowercase, bool strip_accents) {
  std::u16string wide(word.size(), u'\0');
  UErrorCode status = U_ZERO_ERROR;
  int32_t length = 0;
  u_strFromUTF8(wide.data(), static_cast<int32_t>(wide.size()), &length, word.data(), static_cast<int32_t>(word.size()),
                &status);
  DYADIC_CHECK(U_SUCCESS(status), u_errorName(status));
  wide.resize(static_cast<size_t>(length));
  if (lowercase)
    transform(wide, [](char16_t* target, int32_t capacity, const char16_t* source, int32_t size, UErrorCode* error) {
      return u_strToLower(target, capacity, source, size, "", error);
    });
  if (strip_accents)
    transform(wide, [](char16_t* target, int32_t capacity, const char16_t* source, int32_t size, UErrorCode* error) {
      return unorm2_normalize(unorm2_getNFDInstance(error), source, size, target, capacity, error);
    });
  word.clear();
  for (size_t i = 0; i < wide.size();) {
    UChar32 c;
    U16_NEXT(wide.data(), i, wide.size(), c);
    if (!strip_accents || u_charType(c) != U_NON_SPACING_MARK) append_utf8(word, c);
  }
}

// Calls use(word) for each word of well-formed text, cleaned, normalized and split at white space and punctuation,
// until it returns false. A word lives only as long as the call.
template <class Use>
void for_each_word(std::string_view text, const WordPieceOptions& options, Use use) {
  const bool strip_accents = options.strip_accents.value_or(options.lowercase);
  std::string chunk;  // what stands between white space
  bool ascii = true;
  const auto flush = [&]() -> bool {
    if (!ascii && (options.lowercase || strip_accents)) normalize(chunk, options.lowercase, strip_accents);
    const std::string_view whole = chunk;
    size_t begin = 0;
    for (size_t i = 0; i < whole.size();) {
      const size_t start = i;
      UChar32 c;
      U8_NEXT_UNSAFE(whole.data(), i, c);
      if (!is_punctuation(c)) continue;
      if (start > begin && !use(whole.substr(begin, start - begin))) return false;
      if (!use(whole.substr(start, i - start))) return false;
      begin = i;
    }
    if (begin < whole.size() && !use(whole.substr(begin))) return false;
    chunk.clear();
    ascii = true;
    return true;
  };
  for (size_t i = 0; i < text.size();) {
    UChar32 c;
    U8_NEXT_UNSAFE(text.data(), i, c);
    if (options.clean_text && (c == 0xfffd || is_control(c))) continue;
    const bool alone = options.handle_chinese_chars && is_cjk(c);
    if ((alone || is_whitespace(c)) && !chunk.empty() && !flush()) return;
    if (is_whitespace(c)) continue;
    if (c < 0x80) {
      chunk += static_cast<char>(options.lowercase && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    } else {
      append_utf8(chunk, c);
      ascii = false;
    }
    if (alone && !flush()) return;
  }
  if (!chunk.empty()) flush();
}

// A token as it stands in a message.
std::string in_quotes(std::string_view token) {
  size_t shown = 60;
  if (token.size() <= shown) return cat("'", token, "'");
  while (shown > 0 && U8_IS_TRAIL(token[shown])) --shown;
  return cat("'", token.substr(0, shown), "...'");
}

}  // namespace

struct WordPiece::Vocabulary {
  WordPieceOptions options;
  std::vector<std::string> tokens;
  NameIndex initial;     // every token
  NameIndex continuing;  // those with the prefix, by what follows it
  size_t longest = 0;    // bytes of the longest token
  int32_t unk = 0, cls = 0, sep = 0;

  std::optional<uint32_t> find(std::string_view token) const {
    return initial.find(token, [&](uint32_t id) { return std::string_view(tokens[id]); });
  }
  std::optional<uint32_t> find_continuing(std::string_view piece) const {
    return continuing.find(piece, [&](uint32_t id) { return after_prefix(id); });
  }
  std::string_view after_prefix(uint32_t id) const {
    return std::string_view(tokens[id]).substr(options.continuing_subword_prefix.size());
  }

  // `place(i)` names token i in errors.
  template <class Place>
  static std::shared_ptr<const Vocabulary> make(std::vector<std::string> tokens, WordPieceOptions options,
                                                const std::string& where, Place place);
  void append_pieces(std::string_view word, std::vector<int32_t>& out) const;
  // Appends the pieces of `text`; stops soon after `out` has more than `enough`.
  void append_ids(std::string_view text, size_t enough, std::vector<int32_t>& out) const;
};

template <class Place>
std::shared_ptr<const WordPiece::Vocabulary> WordPiece::Vocabulary::make(std::vector<std::string> tokens,
                                                                         WordPieceOptions options,
                                                                         const std::string& where, Place place) {
  if (tokens.size() > kMaxTokens)
    fail(ErrorKind::kMalformed, where, ": ", tokens.size(), " tokens, more than the ", kMaxTokens, " allowed");
  auto v = std::make_shared<Vocabulary>();
  v->options = std::move(options);
  v->tokens = std::move(tokens);
  v->initial = v->continuing = NameIndex(v->tokens.size());
  const std::string_view prefix = v->options.continuing_subword_prefix;
  for (uint32_t i = 0; i < v->tokens.size(); ++i) {
    const std::string_view token = v->tokens[i];
    if (token.empty() || token.size() > kMaxTokenBytes)
      fail(ErrorKind::kMalformed, where, ": ", place(i), ": a token of ", token.size(), " bytes; 1..", kMaxTokenBytes,
           " are allowed");
    if (const auto first = v->initial.add(i, [&](uint32_t id) { return std::string_view(v->tokens[id]); }))
      fail(ErrorKind::kMalformed, where, ": ", place(i), ": token ", in_quotes(token), " already stands at ",
           place(*first));
    if (token.starts_with(prefix)) v->continuing.add(i, [&](uint32_t id) { return v->after_prefix(id); });
    v->longest = std::max(v->longest, token.size());
  }
  const auto special = [&](const std::string& token) {
    const auto id = v->find(token);
    if (!id) fail(ErrorKind::kMalformed, where, ": the special token ", in_quotes(token), " is not in the vocabulary");
    return static_cast<int32_t>(*id);
  };
  v->unk = special(v->options.unk_token);
  v->cls = special(v->options.cls_token);
  v->sep = special(v->options.sep_token);
  return v;
}

void WordPiece::Vocabulary::append_pieces(std::string_view word, std::vector<int32_t>& out) const {
  const auto starts_char = [word](size_t i) { return i == word.size() || !U8_IS_TRAIL(word[i]); };
  const auto max_chars = static_cast<size_t>(options.max_input_chars_per_word);
  if (word.size() > max_chars) {
    size_t chars = 0;
    for (size_t i = 0; i < word.size(); ++i) chars += starts_char(i);
    if (chars > max_chars) return out.push_back(unk);
  }
  const size_t before = out.size();
  for (size_t start = 0; start < word.size();) {
    size_t end = std::min(word.size(), start + longest);
    for (; end > start; --end) {
      if (!starts_char(end)) continue;
      const std::string_view piece = word.substr(start, end - start);
      const auto id = start == 0 ? find(piece) : find_continuing(piece);
      if (!id) continue;
      out.push_back(static_cast<int32_t>(*id));
      break;
    }
    if (end == start) {  // one part that is unknown makes the whole word unknown
      out.resize(before);
      return out.push_back(unk);
    }
    start = end;
  }
}

void WordPiece::Vocabulary::append_ids(std::string_view text, size_t enough, std::vector<int32_t>& out) const {
  if (text.size() > kMaxTextBytes)
    fail(ErrorKind::kMalformed, "text of ", text.size(), " bytes: more than the ", kMaxTextBytes,
         " that can be tokenized at once; split it");
  check_utf8(text, "text");
  for_each_word(text, options, [&](std::string_view word) {
    append_pieces(word, out);
    return out.size() <= enough;
  });
}

WordPiece WordPiece::from_vocab_txt(std::string_view text, const std::string& where, WordPieceOptions options) {
  if (text.size() > kMaxTextBytes)
    fail(ErrorKind::kMalformed, where, ": ", text.size(), " bytes, more than the ", kMaxTextBytes, " allowed");
  const auto place = [](size_t i) { return cat("line ", i + 1); };
  std::vector<std::string> tokens;
  while (!text.empty()) {
    const size_t size = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, size);
    text.remove_prefix(std::min(size + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (find_invalid_utf8(line) != std::string_view::npos) check_utf8(line, cat(where, ": ", place(tokens.size())));
    tokens.emplace_back(line);
  }
  return WordPiece(Vocabulary::make(std::move(tokens), std::move(options), where, place));
}

namespace {

JsonObject object_of_type(const JsonObject& root, const std::string& key, std::string_view type) {
  const JsonObject object = root.object(key);
  const std::string found = object.string("type");
  if (found != type)
    fail(ErrorKind::kMalformed, object.where(), ": type ", in_quotes(found), " is not supported, only '", type, "'");
  return object;
}

// What the post-processor puts before and after a text.
void read_special_tokens(const JsonObject& root, WordPieceOptions& options) {
  if (!root.has("post_processor")) return;
  const JsonObject processor = root.object("post_processor");
  const std::string type = processor.string("type");
  const auto unsupported = [&](const char* what) {
    fail(ErrorKind::kMalformed, processor.where(), ": ", what,
         " is not supported, only BertProcessing and a template of ", "one special token, the text, one special token");
  };
  if (type == "BertProcessing") {
    const auto name = [&](const std::string& key) {
      const Json& pair = processor.at(key);
      if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string())
        fail(ErrorKind::kMalformed, processor.where(), ": key '", key, "' must be a token and its id");
      return pair[0].get<std::string>();
    };
    options.cls_token = name("cls");
    options.sep_token = name("sep");
  } else if (type == "TemplateProcessing") {
    const Json& single = processor.at("single");
    if (!single.is_array() || single.size() != 3) unsupported("this template");
    const auto part = [&](size_t i, const char* kind) {
      const JsonObject item(single[i], cat(processor.where(), ": single[", i, "]"));
      if (!item.has(kind)) unsupported("this template");
      return item.object(kind).string("id");
    };
    options.cls_token = part(0, "SpecialToken");
    part(1, "Sequence");
    options.sep_token = part(2, "SpecialToken");
  } else {
    unsupported(in_quotes(type).c_str());
  }
}

// The tokens by id; the ids must be 0..size-1.
std::vector<std::string> read_vocabulary(const JsonObject& model) {
  const JsonObject vocabulary = model.object("vocab");
  const Json& entries = vocabulary.json();
  std::vector<std::string> tokens(entries.size());
  std::vector<bool> seen(entries.size());
  for (const auto& [token, id] : entries.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= tokens.size())
      fail(ErrorKind::kMalformed, vocabulary.where(), ": the id of ", in_quotes(token), " must be an integer of 0..",
           tokens.size() - 1, ", as there are ", tokens.size(), " tokens");
    const auto i = id.get<size_t>();
    if (seen[i])
      fail(ErrorKind::kMalformed, vocabulary.where(), ": ", in_quotes(token), " and ", in_quotes(tokens[i]),
           " share the id ", i);
    seen[i] = true;
    tokens[i] = token;
  }
  return tokens;
}

// Added tokens are matched in the raw text before anything else. Special ones cannot stand in plain text; others would
// change how it is split, so they are refused.
void check_added_tokens(const JsonObject& root, const WordPiece& tokenizer) {
  if (!root.has("added_tokens")) return;
  const Json& added = root.at("added_tokens");
  if (!added.is_array()) fail(ErrorKind::kMalformed, root.where(), ": key 'added_tokens' must be an array");
  for (size_t i = 0; i < added.size(); ++i) {
    const JsonObject entry(added[i], cat(root.where(), ": added_tokens[", i, "]"));
    const std::string content = entry.string("content");
    const int64_t id = entry.integer("id", 0, INT32_MAX);
    if (!entry.boolean("special", false))
      fail(ErrorKind::kMalformed, entry.where(), ": ", in_quotes(content),
           " is not special; such tokens are not supported");
    const auto known = tokenizer.id(content);
    if (known && *known != id)
      fail(ErrorKind::kMalformed, entry.where(), ": ", in_quotes(content), " has id ", id, " but ", *known,
           " in model.vocab");
  }
}

}  // namespace

WordPiece WordPiece::from_tokenizer_json(std::string_view json, const std::string& where) {
  const Json document = parse_json(json, where);
  const JsonObject root(document, where);
  const JsonObject model = object_of_type(root, "model", "WordPiece");
  const JsonObject normalizer = object_of_type(root, "normalizer", "BertNormalizer");
  object_of_type(root, "pre_tokenizer", "BertPreTokenizer");
  WordPieceOptions options;
  options.lowercase = normalizer.boolean("lowercase", options.lowercase);
  if (normalizer.has("strip_accents")) options.strip_accents = normalizer.boolean("strip_accents", false);
  options.clean_text = normalizer.boolean("clean_text", options.clean_text);
  options.handle_chinese_chars = normalizer.boolean("handle_chinese_chars", options.handle_chinese_chars);
  options.max_input_chars_per_word = static_cast<int>(
      model.integer("max_input_chars_per_word", 1, kMaxCharsPerWord, options.max_input_chars_per_word));
  options.unk_token = model.string("unk_token", options.unk_token);
  options.continuing_subword_prefix = model.string("continuing_subword_prefix", options.continuing_subword_prefix);
  read_special_tokens(root, options);
  const WordPiece tokenizer(Vocabulary::make(read_vocabulary(model), std::move(options), cat(where, ": model.vocab"),
                                             [](size_t i) { return cat("id ", i); }));
  check_added_tokens(root, tokenizer);
  return tokenizer;
}

std::vector<int32_t> WordPiece::ids(std::string_view utf8) const {
  std::vector<int32_t> out;
  vocabulary_->append_ids(utf8, SIZE_MAX, out);
  return out;
}

std::vector<std::string> WordPiece::tokens(std::string_view utf8) const {
  std::vector<std::string> out;
  for (int32_t i : ids(utf8)) out.push_back(token(i));
  return out;
}

WordPiece::Encoded WordPiece::encode(std::string_view utf8, int max_length) const {
  if (max_length < 2)
    fail(ErrorKind::kUsage, "a maximum length of ", max_length, " leaves no room for the special tokens");
  const auto limit = static_cast<size_t>(max_length) - 1;  // without sep_token
  Encoded encoded{{vocabulary_->cls}, false};
  vocabulary_->append_ids(utf8, limit, encoded.ids);
  if (encoded.ids.size() > limit) {
    encoded.truncated = true;
    encoded.ids.resize(limit);
  }
  encoded.ids.push_back(vocabulary_->sep);
  return encoded;
}

std::optional<int32_t> WordPiece::id(std::string_view token) const {
  const auto id = vocabulary_->find(token);
  return id ? std::optional(static_cast<int32_t>(*id)) : std::nullopt;
}

const std::string& WordPiece::token(int32_t id) const { return vocabulary_->tokens.at(static_cast<size_t>(id)); }
size_t WordPiece::vocab_size() const { return vocabulary_->tokens.size(); }
const WordPieceOptions& WordPiece::options() const { return vocabulary_->options; }

}  // namespace dyadic

#include <functional>
#include <random>

#include "base/json.h"
#include "base/status.h"
#include "io/tokenizers/utf8.h"
#include "io/tokenizers/wordpiece.h"
#include "support.h"

namespace dyadic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Tokens = std::vector<std::string>;

// The message of the kMalformed error that `act` throws, or "".
std::string malformed(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMalformed) << e.what();
    return e.what();
  }
  return "";
}

const Tokens& small_vocabulary() {
  static const Tokens tokens = {"[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "the", "cafe",
                                "##s",   "!",     ",",     "[",  "]",     "sep",    "中",  "文",
                                "a",     "##a",   "i",     "ß",  "οδος",  "οδοσ",   "$",   "¿",
                                "é",     "Caf",   "##é",   "ee", "‑",     "##文",   "́"};
  return tokens;
}

std::string lines(const Tokens& tokens, const std::string& end = "\n") {
  std::string text;
  for (const auto& token : tokens) text += token + end;
  return text;
}

WordPiece small(const WordPieceOptions& options = {}) {
  return WordPiece::from_vocab_txt(lines(small_vocabulary()), "vocab.txt", options);
}

TEST(WordPiece, LongestPiecesFromLeftToRight) {
  const auto w = small();
  EXPECT_THAT(w.tokens("unaffable"), ElementsAre("un", "##aff", "##able"));
  EXPECT_THAT(w.ids("unaffable"), ElementsAre(3, 4, 5));
  EXPECT_THAT(w.tokens("THE Cafes"), ElementsAre("the", "cafe", "##s"));
  EXPECT_THAT(w.tokens("unaffablex the"), ElementsAre("[UNK]", "the"));  // one unknown part makes the word unknown
  EXPECT_THAT(w.tokens("able ##able"), ElementsAre("[UNK]", "[UNK]", "[UNK]", "[UNK]"));  // '#' is punctuation
  EXPECT_THAT(w.tokens("aaa"), ElementsAre("a", "##a", "##a"));
  EXPECT_THAT(w.tokens(""), IsEmpty());
  EXPECT_THAT(w.tokens(" \t\r\n\u00a0\u2003\u2028"), IsEmpty());
}

TEST(WordPiece, SplitsAtWhiteSpaceAndPunctuation) {
  const auto w = small();
  EXPECT_THAT(w.tokens("the,the!!"), ElementsAre("the", ",", "the", "!", "!"));
  EXPECT_THAT(w.tokens("the\tthe\nthe\rthe\u00a0the\u2029the\u3000the"),
              ElementsAre("the", "the", "the", "the", "the", "the", "the"));
  EXPECT_THAT(w.tokens("the$the¿the‑the"), ElementsAre("the", "$", "the", "¿", "the", "‑", "the"));
  EXPECT_THAT(w.tokens("[SEP]"), ElementsAre("[", "sep", "]"));               // plain text, not the special token
  EXPECT_THAT(w.tokens("the\u1fefthe"), ElementsAre("the", "[UNK]", "the"));  // decomposes to '`', which is punctuation
}

TEST(WordPiece, CleansControlCharacters) {
  const auto w = small();
  EXPECT_THAT(w.tokens(std::string_view("t\0h\x01\x7f\x0b\x0c\x65", 8)), ElementsAre("the"));
  EXPECT_THAT(w.tokens("t\ufffdh\u200b\u00ad\ufeff\u0085\ue000e\U0010fffd"), ElementsAre("the"));
  EXPECT_THAT(w.tokens("the th\u0378e \U0010ffff"), ElementsAre("the", "[UNK]", "[UNK]"));  // unassigned, noncharacter
  const auto raw = small({.clean_text = false});
  EXPECT_THAT(raw.tokens("the\vthe\u0085the"), ElementsAre("the", "the", "the"));  // white space once it is not dropped
  EXPECT_THAT(raw.tokens("t\u200bhe"), ElementsAre("[UNK]"));
}

TEST(WordPiece, LowerCasesAndStripsAccents) {
  const auto w = small();
  EXPECT_THAT(w.tokens("CAFÉ cafe\u0301s İ"), ElementsAre("cafe", "cafe", "##s", "i"));
  EXPECT_THAT(w.tokens("ẞ"), ElementsAre("ß"));
  EXPECT_THAT(w.tokens("ΟΔΟΣ ὉΔΟΣ"), ElementsAre("οδος", "οδος"));  // final sigma, in context and before accents go
  EXPECT_THAT(w.tokens("ΟΔΟΣ!ΟΔΟΣ.α"),
              ElementsAre("οδος", "!", "οδοσ", "[UNK]", "[UNK]"));  // '.' joins letters, '!' does not

  const auto cased = small({.lowercase = false});
  EXPECT_THAT(cased.tokens("Café the THE"), ElementsAre("Caf", "##é", "the", "[UNK]"));
  EXPECT_THAT(cased.tokens("e\u0301"), ElementsAre("[UNK]"));
  const auto cased_stripped = small({.lowercase = false, .strip_accents = true});
  EXPECT_THAT(cased_stripped.tokens("é\u0301e cafés"), ElementsAre("ee", "cafe", "##s"));
  const auto accents_kept = small({.strip_accents = false});
  EXPECT_THAT(accents_kept.tokens("É THE"), ElementsAre("é", "the"));
}

TEST(WordPiece, IdeographsAreWords) {
  EXPECT_THAT(small().tokens("the中文the"), ElementsAre("the", "中", "文", "the"));
  EXPECT_THAT(small({.handle_chinese_chars = false}).tokens("中文"), ElementsAre("中", "##文"));
  // First and last assigned of each block, then letters and symbols beside the blocks.
  const auto w = WordPiece::from_vocab_txt("[UNK]\n[CLS]\n[SEP]\na\n", "v", {.lowercase = false});
  for (const char* c :
       {"\u3400", "\u4dbf", "\u4e00", "\u9fff", "\uf900", "\ufad9", "\U00020000", "\U0002a6df", "\U0002a700",
        "\U0002b739", "\U0002b740", "\U0002b81d", "\U0002b820", "\U0002cea1", "\U0002f800", "\U0002fa1d"})
    EXPECT_EQ(w.tokens(cat("a", c, "a")).size(), 3u) << c;
  for (const char* c : {"あ", "ア", "한", "ㄱ", "\u33ff", "\u4dc0", "\ua000"})
    EXPECT_EQ(w.tokens(cat("a", c, "a")).size(), 1u) << c;
}

TEST(WordPiece, WordsThatAreTooLong) {
  const auto w = small();
  EXPECT_EQ(w.ids(std::string(100, 'a')).size(), 100u);
  EXPECT_THAT(w.tokens(std::string(101, 'a')), ElementsAre("[UNK]"));
  std::string accented;  // 100 code points once normalized, although 300 bytes before
  for (int i = 0; i < 100; ++i) accented += "a\u0301";
  EXPECT_EQ(w.ids(accented).size(), 100u);
  EXPECT_THAT(small({.max_input_chars_per_word = 2}).tokens("aa aaa éé"), ElementsAre("a", "##a", "[UNK]", "ee"));
}

TEST(WordPiece, EncodeAddsSpecialTokensAndTruncates) {
  const auto w = small();
  const auto full = w.encode("unaffable the", 6);
  EXPECT_THAT(full.ids, ElementsAre(1, 3, 4, 5, 6, 2));
  EXPECT_FALSE(full.truncated);
  const auto cut = w.encode("unaffable the", 5);
  EXPECT_THAT(cut.ids, ElementsAre(1, 3, 4, 5, 2));
  EXPECT_TRUE(cut.truncated);
  EXPECT_THAT(w.encode("the", 2).ids, ElementsAre(1, 2));
  EXPECT_TRUE(w.encode("the", 2).truncated);
  EXPECT_THAT(w.encode("", 2).ids, ElementsAre(1, 2));
  EXPECT_FALSE(w.encode("", 2).truncated);
  try {
    w.encode("the", 1);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUsage);
  }
  // Truncation never changes what stands before the cut.
  const auto all = w.encode("the unaffable, cafes! 中文 xyz aaaa", 1000).ids;
  for (int length = 2; length <= static_cast<int>(all.size()); ++length) {
    auto expected = std::vector<int32_t>(all.begin(), all.begin() + length - 1);
    expected.push_back(2);
    EXPECT_EQ(w.encode("the unaffable, cafes! 中文 xyz aaaa", length).ids, expected);
  }
}

TEST(WordPiece, InvalidTextIsRefusedWithItsOffset) {
  const auto w = small();
  EXPECT_THAT(malformed([&] { w.ids("the \xff"); }), HasSubstr("text: not UTF-8 at byte 4"));
  EXPECT_THAT(malformed([&] { w.encode("the the the \xc3", 3); }), HasSubstr("at byte 12"));  // even behind the cut
  EXPECT_THAT(malformed([&] { w.ids(std::string((size_t{64} << 20) + 1, 'a')); }), HasSubstr("split it"));
}

TEST(Utf8, FindsTheFirstIllFormedSequence) {
  const std::pair<std::string_view, size_t> cases[] = {
      {"\x80", 0},              // a trail byte alone
      {"ab\xc3", 2},            // cut short
      {"\xe4\xb8", 0},          //
      {"\xc0\x80", 0},          // overlong
      {"\xe0\x80\x80", 0},      //
      {"\xed\xa0\x80", 0},      // a surrogate
      {"\xf4\x90\x80\x80", 0},  // above U+10FFFF
      {"\xf8\x88\x80\x80\x80", 0},
      {"12345678\xff", 8},
      {"1234567é89012345\xff", 17},
  };
  for (const auto& [text, offset] : cases) EXPECT_EQ(find_invalid_utf8(text), offset) << text;
  for (std::string_view good : {"", "plain", "é 中 😀 \U0010ffff", "12345678"})
    EXPECT_EQ(find_invalid_utf8(good), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8(std::string_view("\0", 1)), std::string_view::npos);
}

TEST(VocabTxt, Reads) {
  const auto w = WordPiece::from_vocab_txt("[UNK]\r\n[CLS]\r\n[SEP]\r\nlast", "v");
  EXPECT_EQ(w.vocab_size(), 4u);
  EXPECT_EQ(w.id("last"), 3);
  EXPECT_EQ(w.id("none"), std::nullopt);
  EXPECT_EQ(w.token(1), "[CLS]");
  const WordPiece copy = w;
  EXPECT_EQ(copy.ids("last"), w.ids("last"));
}

TEST(VocabTxt, MalformedNamesFileAndLine) {
  const auto message = [](std::string_view text) {
    return malformed([&] { WordPiece::from_vocab_txt(text, "dir/vocab.txt"); });
  };
  EXPECT_THAT(message("[UNK]\n[CLS]\na\n[SEP]\na\n"),
              HasSubstr("dir/vocab.txt: line 5: token 'a' already stands at line 3"));
  EXPECT_THAT(message("[UNK]\n[CLS]\n\n[SEP]\n"), HasSubstr("line 3: a token of 0 bytes"));
  EXPECT_THAT(message("[UNK]\n[CLS]\n[SEP]\nab\xff\n"), HasSubstr("dir/vocab.txt: line 4: not UTF-8 at byte 2"));
  EXPECT_THAT(message(""), HasSubstr("'[UNK]' is not in the vocabulary"));
  EXPECT_THAT(message("[UNK]\n[SEP]\n"), HasSubstr("'[CLS]' is not"));
  EXPECT_THAT(message("[UNK]\n[CLS]\n"), HasSubstr("'[SEP]' is not"));
  EXPECT_THAT(message(std::string(513, 'a')), HasSubstr("line 1: a token of 513 bytes"));
  EXPECT_THAT(message(std::string((size_t{64} << 20) + 1, '\n')), HasSubstr("more than the"));
  EXPECT_THAT(message(std::string((size_t{1} << 22) + 1, '\n')), HasSubstr("tokens, more than the"));
  const std::string again = std::string(59, 'a') + "é" + std::string(59, 'a');
  EXPECT_EQ(find_invalid_utf8(message(again + "\n" + again)), std::string_view::npos);  // messages stay UTF-8 when cut
}

Json tokenizer_json() {
  Json vocabulary = Json::object();
  for (size_t i = 0; i < small_vocabulary().size(); ++i) vocabulary[small_vocabulary()[i]] = i;
  return Json{{"padding", {{"strategy", {{"Fixed", 128}}}}},
              {"truncation", {{"max_length", 3}}},
              {"added_tokens", Json::array({{{"id", 1}, {"content", "[CLS]"}, {"special", true}}})},
              {"normalizer",
               {{"type", "BertNormalizer"},
                {"clean_text", true},
                {"handle_chinese_chars", true},
                {"strip_accents", nullptr},
                {"lowercase", true}}},
              {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
              {"post_processor", {{"type", "BertProcessing"}, {"sep", {"[SEP]", 2}}, {"cls", {"[CLS]", 1}}}},
              {"model",
               {{"type", "WordPiece"},
                {"unk_token", "[UNK]"},
                {"continuing_subword_prefix", "##"},
                {"max_input_chars_per_word", 100},
                {"vocab", vocabulary}}}};
}

WordPiece from_json(const Json& json) { return WordPiece::from_tokenizer_json(json.dump(), "tokenizer.json"); }

TEST(TokenizerJson, EqualsTheVocabulary) {
  const auto a = small(), b = from_json(tokenizer_json());
  EXPECT_EQ(b.vocab_size(), a.vocab_size());
  for (const char* text : {"", "unaffable the!", "CAFÉ 中文 [SEP] ΟΔΟΣ", "a\x01\u200ba"}) {
    EXPECT_EQ(a.ids(text), b.ids(text));
    EXPECT_EQ(a.encode(text, 4).ids, b.encode(text, 4).ids);
  }
  EXPECT_EQ(b.encode(std::string(90, 'a'), 256).ids.size(), 92u);  // its own truncation is ignored
}

TEST(TokenizerJson, ReadsEveryOption) {
  auto json = tokenizer_json();
  json["normalizer"] = {{"type", "BertNormalizer"},
                        {"lowercase", false},
                        {"strip_accents", true},
                        {"clean_text", false},
                        {"handle_chinese_chars", false}};
  json["model"]["max_input_chars_per_word"] = 7;
  json["model"]["unk_token"] = "the";
  json["model"]["continuing_subword_prefix"] = "##a";
  json["post_processor"] =
      Json::parse(R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[","type_id":0}},
    {"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"]","type_id":0}}]})");
  const auto w = from_json(json);
  EXPECT_FALSE(w.options().lowercase);
  EXPECT_EQ(w.options().strip_accents, true);
  EXPECT_FALSE(w.options().clean_text);
  EXPECT_FALSE(w.options().handle_chinese_chars);
  EXPECT_EQ(w.options().max_input_chars_per_word, 7);
  EXPECT_THAT(w.tokens("é THE unff unffff unffffff"),
              ElementsAre("the", "the", "un", "##aff", "un", "##aff", "##aff", "the"));
  EXPECT_THAT(w.encode("a", 8).ids, ElementsAre(11, 16, 12));
  json.erase("post_processor");
  EXPECT_THAT(from_json(json).encode("a", 8).ids, ElementsAre(1, 16, 2));
}

TEST(TokenizerJson, MalformedNamesFileAndKey) {
  const auto message = [](const std::function<void(Json&)>& edit) {
    auto json = tokenizer_json();
    edit(json);
    return malformed([&] { from_json(json); });
  };
  EXPECT_EQ(message([](Json&) {}), "");
  const struct {
    const char *pointer, *value, *expected;  // an empty value removes the member
  } cases[] = {
      {"/model", "", "tokenizer.json: key 'model' is missing"},
      {"/model", "[]", "tokenizer.json: model: expected a JSON object"},
      {"/model/type", "\"BPE\"", "model: type 'BPE' is not supported"},
      {"/model/type", "7", "model: key 'type' must be a string"},
      {"/model/vocab", "[1]", "model: vocab: expected a JSON object"},
      {"/model/vocab", "{}", "'[UNK]' is not in the vocabulary"},
      {"/model/vocab/un", "4", "'##aff' and 'un' share the id 4"},
      {"/model/vocab/un", "31", "the id of 'un' must be an integer of 0..30"},
      {"/model/vocab/un", "-1", "the id of 'un' must be an integer of 0..30"},
      {"/model/vocab/un", "1.5", "the id of 'un' must be an integer of 0..30"},
      {"/model/vocab/un", "\"3\"", "the id of 'un' must be an integer of 0..30"},
      {"/model/vocab/un", "18446744073709551615", "the id of 'un' must be an integer of 0..30"},
      {"/model/unk_token", "\"none\"", "'none' is not in the vocabulary"},
      {"/model/continuing_subword_prefix", "1", "model: key 'continuing_subword_prefix' must be a string"},
      {"/model/max_input_chars_per_word", "0", "model: key 'max_input_chars_per_word' is 0"},
      {"/model/max_input_chars_per_word", "1e2", "key 'max_input_chars_per_word' must be an integer"},
      {"/normalizer", "null", "normalizer: expected a JSON object"},
      {"/normalizer/type", "\"NFC\"", "normalizer: type 'NFC' is not supported"},
      {"/normalizer/lowercase", "1", "normalizer: key 'lowercase' must be true or false"},
      {"/normalizer/strip_accents", "\"no\"", "normalizer: key 'strip_accents' must be true or false"},
      {"/pre_tokenizer/type", "\"Whitespace\"", "pre_tokenizer: type 'Whitespace' is not supported"},
      {"/post_processor/type", "\"ByteLevel\"", "post_processor: 'ByteLevel' is not supported"},
      {"/post_processor/cls", "\"[CLS]\"", "post_processor: key 'cls' must be a token and its id"},
      {"/post_processor/sep/0", "\"</s>\"", "'</s>' is not in the vocabulary"},
      {"/post_processor", R"({"type":"TemplateProcessing","single":[]})", "this template is not supported"},
      {"/post_processor", R"({"type":"TemplateProcessing","single":[1,2,3]})", "single[0]: expected a JSON object"},
      {"/added_tokens", "{}", "key 'added_tokens' must be an array"},
      {"/added_tokens/0/id", "3", "added_tokens[0]: '[CLS]' has id 3 but 1"},
      {"/added_tokens/0/special", "false", "added_tokens[0]: '[CLS]' is not special"},
  };
  for (const auto& c : cases) {
    const std::string found = message([&](Json& json) {
      const Json::json_pointer pointer(c.pointer);
      if (*c.value)
        json[pointer] = Json::parse(c.value);
      else
        json[pointer.parent_pointer()].erase(pointer.back());
    });
    EXPECT_THAT(found, testing::AllOf(testing::StartsWith("tokenizer.json: "), HasSubstr(c.expected))) << c.pointer;
  }
  const auto raw = [](const std::string& text) {
    return malformed([&] { WordPiece::from_tokenizer_json(text, "tokenizer.json"); });
  };
  EXPECT_THAT(raw(""), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(raw("[]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(raw(std::string(1000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(raw("{\"model\":\"\xff\"}"), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(raw(R"({"model":{"type":"WordPiece","vocab":{"a":0,"a":1}}})"), HasSubstr("'a' appears twice"));
}

// A tokenizer.json that is cut or has bytes changed either loads and works or is refused: nothing else.
TEST(TokenizerJson, DamagedFilesNeverDoHarm) {
  const std::string good = tokenizer_json().dump();
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(malformed([&] { WordPiece::from_tokenizer_json(good.substr(0, size), "t"); }), "") << size;
  std::mt19937_64 random(test::seed());
  for (int i = 0; i < 3000; ++i) {
    std::string bad = good;
    for (int changes = 1 + random() % 3; changes > 0; --changes) bad[random() % bad.size()] ^= 1 << (random() % 8);
    malformed([&] { WordPiece::from_tokenizer_json(bad, "t").encode("unaffable CAFÉ 中文, aaa [SEP]", 16); });
  }
}

// Random text: what is well-formed is split into tokens of the vocabulary, what is not is refused.
TEST(WordPiece, RandomText) {
  const auto w = small();
  std::mt19937_64 random(test::seed());
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (int n = random() % 24; n > 0; --n) text += static_cast<char>(random() % 2 ? random() : 0x20 + random() % 0x60);
    const std::string message = malformed([&] {
      for (int32_t id : w.ids(text)) ASSERT_LT(static_cast<size_t>(id), w.vocab_size());
    });
    EXPECT_EQ(message.empty(), find_invalid_utf8(text) == std::string_view::npos);
  }
}

}  // namespace
}  // namespace dyadic

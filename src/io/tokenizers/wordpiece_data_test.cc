// WordPiece on the real vocabulary against ids made by the original implementation.
#include "base/file.h"
#include "base/json.h"
#include "io/datasets/text.h"
#include "io/tokenizers/wordpiece.h"
#include "support.h"

namespace dyadic {
namespace {

struct Golden {
  std::string text;
  std::vector<std::string> tokens;
  std::vector<int32_t> ids;
};

std::vector<Golden> read_golden(const std::string& path) {
  std::vector<Golden> golden;
  for (const auto& line : read_lines(path)) {
    const Json json = parse_json(line, path);
    golden.push_back({json["text"], json["tokens"], json["ids"]});
  }
  return golden;
}

void expect_golden(const WordPiece& tokenizer, const std::vector<Golden>& golden) {
  ASSERT_EQ(golden.size(), 431u);
  for (size_t i = 0; i < golden.size(); ++i) {
    EXPECT_EQ(tokenizer.ids(golden[i].text), golden[i].ids) << "line " << i + 1 << ": " << golden[i].text;
    EXPECT_EQ(tokenizer.tokens(golden[i].text), golden[i].tokens) << "line " << i + 1;
  }
}

TEST(WordPieceData, EqualsTheReferenceOnEveryLine) {
  const auto dir = test::data_path("tokenizers/bert_uncased");
  DYADIC_SKIP_WITHOUT(dir, "tokenizers/bert_uncased is not below $DYADIC_DATA");
  const auto vocab = *dir + "/vocab.txt";
  expect_golden(WordPiece::from_vocab_txt(read_file(vocab), vocab), read_golden(*dir + "/golden.jsonl.zst"));
}

TEST(WordPieceData, BothFilesOfMiniLmGiveEqualIds) {
  const auto dir = test::minilm_dir();
  DYADIC_SKIP_WITHOUT(dir, "all-MiniLM-L6-v2 is not below $DYADIC_MODELS");
  const auto vocab = *dir + "/vocab.txt", json = *dir + "/tokenizer.json";
  const auto from_vocab = WordPiece::from_vocab_txt(read_file(vocab), vocab);
  const auto from_json = WordPiece::from_tokenizer_json(read_file(json), json);
  ASSERT_EQ(from_vocab.vocab_size(), 30522u);
  ASSERT_EQ(from_json.vocab_size(), 30522u);
  for (int32_t i = 0; i < 30522; ++i) ASSERT_EQ(from_vocab.token(i), from_json.token(i));
  const auto golden = test::data_path("tokenizers/bert_uncased/golden.jsonl.zst");
  DYADIC_SKIP_WITHOUT(golden, "tokenizers/bert_uncased is not below $DYADIC_DATA");
  expect_golden(from_vocab, read_golden(*golden));
  expect_golden(from_json, read_golden(*golden));
}

}  // namespace
}  // namespace dyadic

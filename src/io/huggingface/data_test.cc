// The MiniLM sentence encoder as published, against an independent computation in double precision.
#include <algorithm>
#include <numeric>

#include "api/metrics.h"
#include "base/file.h"
#include "io/datasets/text.h"
#include "io/huggingface/importer.h"
#include "io/tokenizers/wordpiece.h"
#include "real/executor.h"
#include "support.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

constexpr const char* kModel = "needs all-MiniLM-L6-v2 below DYADIC_MODELS (scripts/fetch_models.sh)";

TEST(HuggingFaceData, ImportsMiniLm) {
  const auto dir = test::minilm_dir();
  DYADIC_SKIP_WITHOUT(dir, kModel);
  EXPECT_TRUE(looks_like_huggingface(*dir));
  const ImportedModel model = import_huggingface(*dir);
  EXPECT_EQ(model.max_length, 256);
  EXPECT_EQ(model.max_positions, 512);
  EXPECT_TRUE(model.normalize);
  EXPECT_EQ(model.pooling, "mean");
  for (const char* asset : {"tokenizer.json", "vocab.txt", "config.json", "sentence_bert_config.json", "modules.json",
                            "1_Pooling/config.json"})
    EXPECT_TRUE(model.assets.count(asset)) << asset;
  EXPECT_EQ(model.graph.nodes.size(), 7u + 6 * 12 + 1);
  int64_t parameters = 0;
  for (const Value& value : model.graph.values)
    if (value.is_constant()) parameters += value.constant.count();
  EXPECT_EQ(parameters, 22'565'376);  // 22.7 M without the pooler, which a sentence encoder does not use
}

TEST(HuggingFaceData, EmbeddingsEqualTheReference) {
  const auto dir = test::minilm_dir();
  DYADIC_SKIP_WITHOUT(dir, kModel);
  // "A man is playing a guitar on the street." and the empty text.
  const std::vector<std::vector<int32_t>> ids = {{101, 1037, 2158, 2003, 2652, 1037, 2858, 2006, 1996, 2395, 1012, 102},
                                                 {101, 102}};
  const std::vector<std::vector<float>> expected = {
      {0.0772183f, -0.0377375f, 0.0399663f, -0.0356588f, -0.1374449f, -0.0123002f, 0.0986597f, -0.0086943f},
      {-0.1188384f, 0.0482987f, -0.0025481f, -0.0110112f, 0.0519508f, 0.0102917f, 0.1154332f, 0.0007008f}};
  RealExecutor executor(import_huggingface(*dir).graph, 1);
  const Tensor embedding = executor.run(pack_tokens(ids).feeds).at("embedding");
  ASSERT_EQ(embedding.dims(), (Dims{2, 384}));
  for (size_t b = 0; b < ids.size(); ++b)
    for (size_t j = 0; j < expected[b].size(); ++j)
      EXPECT_NEAR(embedding.data<float>()[b * 384 + j], expected[b][j], 1e-6) << b << " " << j;
}

TEST(HuggingFaceData, RanksSentencePairsAsPublished) {
  const auto dir = test::minilm_dir(), file = test::data_path("text/stsb/sts-dev.csv.zst");
  DYADIC_SKIP_WITHOUT(dir, kModel);
  DYADIC_SKIP_WITHOUT(file, "needs text/stsb/sts-dev.csv.zst below DYADIC_DATA");
  const ImportedModel model = import_huggingface(*dir);
  const auto tokenizer = WordPiece::from_tokenizer_json(read_file(*dir + "/tokenizer.json"), "tokenizer.json");
  RealExecutor executor(model.graph, 2);
  const std::vector<StsPair> pairs = read_sts(*file);
  ASSERT_EQ(pairs.size(), 1500u);
  std::vector<double> similarity, score;
  constexpr size_t kPairs = 50;
  for (size_t begin = 0; begin < pairs.size(); begin += kPairs) {
    std::vector<std::vector<int32_t>> ids;
    for (size_t i = begin; i < begin + kPairs; ++i)
      for (const auto* text : {&pairs[i].first, &pairs[i].second})
        ids.push_back(tokenizer.encode(*text, static_cast<int>(model.max_length)).ids);
    const Tensor embedding = executor.run(pack_tokens(ids).feeds).at("embedding");
    const auto row = [&](size_t i) { return embedding.span<float>().subspan(i * 384, 384); };
    for (size_t i = 0; i < kPairs; ++i) {
      similarity.push_back(cosine(row(2 * i), row(2 * i + 1)));
      score.push_back(pairs[begin + i].score);
    }
  }
  EXPECT_NEAR(spearman(similarity, score), 0.8672, 5e-5);
}

}  // namespace
}  // namespace dyadic

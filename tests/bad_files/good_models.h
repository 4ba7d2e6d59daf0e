// A model folder of a few kB that bad files are made from.
#pragma once
#include "bad_file.h"
#include "base/random.h"
#include "tensor/safetensors.h"

namespace dyadic::test {

inline constexpr int64_t kHidden = 8, kIntermediate = 16, kPositions = 16, kTypes = 2;

inline std::vector<std::string> good_vocabulary() {
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "man", "eating", "food", "##s"};
  for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
  return tokens;
}

inline std::string good_tokenizer_json() {
  Json vocabulary = Json::object();
  for (const auto& token : good_vocabulary()) vocabulary[token] = vocabulary.size();
  const auto special = [](const char* token) { return Json{{"SpecialToken", {{"id", token}, {"type_id", 0}}}}; };
  return Json{{"version", "1.0"},
              {"added_tokens", {{{"id", 2}, {"content", "[CLS]"}, {"special", true}}}},
              {"normalizer", {{"type", "BertNormalizer"}, {"lowercase", true}}},
              {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
              {"post_processor",
               {{"type", "TemplateProcessing"},
                {"single", {special("[CLS]"), {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, special("[SEP]")}}}},
              {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", vocabulary}}}}
      .dump();
}

inline void write_good_weights(const fs::path& file) {
  Random random(1);
  std::vector<std::pair<std::string, Tensor>> tensors;
  const auto add = [&](const std::string& name, const Dims& dims, float offset = 0) {
    Tensor tensor(DataType::kF32, dims);
    for (int64_t i = 0; i < tensor.count(); ++i)
      tensor.mutable_data<float>()[i] = offset + (static_cast<float>(random.below(2001)) - 1000) / 2000;
    tensors.emplace_back(name, tensor);
  };
  const auto dense = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {kHidden}, 1);
    add(name + ".bias", {kHidden});
  };
  add("embeddings.word_embeddings.weight", {std::ssize(good_vocabulary()), kHidden});
  add("embeddings.position_embeddings.weight", {kPositions, kHidden});
  add("embeddings.token_type_embeddings.weight", {kTypes, kHidden});
  norm("embeddings.LayerNorm");
  const std::string layer = "encoder.layer.0.";
  for (const char* part : {"query", "key", "value"}) dense(layer + "attention.self." + part, kHidden, kHidden);
  dense(layer + "attention.output.dense", kHidden, kHidden);
  norm(layer + "attention.output.LayerNorm");
  dense(layer + "intermediate.dense", kIntermediate, kHidden);
  dense(layer + "output.dense", kHidden, kIntermediate);
  norm(layer + "output.LayerNorm");
  write_safetensors(file.string(), tensors, {{"format", "pt"}});
}

// Every tensor but the last is in the first shard.
inline void write_good_shards(const fs::path& dir) {
  const auto whole = Safetensors::open((dir / "model.safetensors").string());
  std::vector<std::pair<std::string, Tensor>> shards[2];
  Json map = Json::object();
  const auto names = whole->names();
  for (const auto& name : names) {
    const int shard = name == names.back() ? 1 : 0;
    shards[shard].emplace_back(name, whole->tensor(name));
    map[name] = cat("part-", shard + 1, ".safetensors");
  }
  for (int i : {0, 1}) write_safetensors((dir / cat("part-", i + 1, ".safetensors")).string(), shards[i]);
  spit(dir / "model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  fs::remove(dir / "model.safetensors");
}

// Folders of one model: "encoder", "fast" with the other tokenizer file, "sharded" with its weights in two files.
inline void write_good_models(const fs::path& dir) {
  fs::create_directories(dir / "encoder/1_Pooling");
  spit(dir / "encoder/config.json", Json{{"model_type", "bert"},
                                         {"vocab_size", good_vocabulary().size()},
                                         {"hidden_size", kHidden},
                                         {"num_hidden_layers", 1},
                                         {"num_attention_heads", 2},
                                         {"intermediate_size", kIntermediate},
                                         {"hidden_act", "gelu"},
                                         {"layer_norm_eps", 1e-12},
                                         {"max_position_embeddings", kPositions},
                                         {"type_vocab_size", kTypes}}
                                        .dump());
  Json modules = Json::array();
  for (const char* type : {"Transformer", "Pooling", "Normalize"})
    modules.push_back({{"type", std::string("sentence_transformers.models.") + type},
                       {"path", type == std::string("Pooling") ? "1_Pooling" : ""}});
  spit(dir / "encoder/modules.json", modules.dump());
  spit(dir / "encoder/1_Pooling/config.json",
       Json{{"word_embedding_dimension", kHidden}, {"pooling_mode_mean_tokens", true}}.dump());
  spit(dir / "encoder/sentence_bert_config.json", Json{{"max_seq_length", 12}}.dump());
  spit(dir / "encoder/tokenizer_config.json", Json{{"do_lower_case", true}}.dump());
  std::string vocabulary;
  for (const auto& token : good_vocabulary()) vocabulary += token + "\n";
  spit(dir / "encoder/vocab.txt", vocabulary);
  write_good_weights(dir / "encoder/model.safetensors");
  // The same model with its other tokenizer file, and with its weights in two shards.
  fs::copy(dir / "encoder", dir / "fast", fs::copy_options::recursive);
  spit(dir / "fast/tokenizer.json", good_tokenizer_json());
  fs::copy(dir / "encoder", dir / "sharded", fs::copy_options::recursive);
  write_good_shards(dir / "sharded");
}

}  // namespace dyadic::test

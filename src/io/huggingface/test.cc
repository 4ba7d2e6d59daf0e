#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "io/huggingface/importer.h"
#include "real/executor.h"
#include "support.h"
#include "tensor/safetensors.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

namespace fs = std::filesystem;
using Tensors = std::vector<std::pair<std::string, Tensor>>;

// A copy of the tiny model that a test may damage.
class ModelCopy {
 public:
  ModelCopy() : dir_(fs::path(test::temporary_dir()) / "model") {
    fs::copy(test::source_path("models/tiny-encoder"), dir_, fs::copy_options::recursive);
  }
  std::string dir() const { return dir_.string(); }
  fs::path at(const std::string& name) const { return dir_ / name; }
  std::string read(const std::string& name) const { return read_file(at(name).string()); }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(at(name), std::ios::binary | std::ios::trunc) << bytes;
  }
  void remove(const std::string& name) const { fs::remove(at(name)); }
  template <class F>
  void edit(const std::string& name, F f) const {
    Json json = parse_json(read(name), name);
    f(json);
    write(name, json.dump());
  }
  Tensors weights() const {
    const auto file = Safetensors::open(at("model.safetensors").string());
    Tensors tensors;
    for (const auto& name : file->names()) tensors.emplace_back(name, file->tensor(name));
    return tensors;
  }
  void write_weights(const Tensors& tensors, const std::string& name = "model.safetensors") const {
    write_safetensors(at(name).string(), tensors);
  }

 private:
  fs::path dir_;
};

Tensor& find(Tensors& tensors, const std::string& name) {
  for (auto& [key, tensor] : tensors)
    if (key == name) return tensor;
  throw std::runtime_error("no tensor " + name);
}

Tensor embed(const ImportedModel& model, const std::vector<std::vector<int32_t>>& ids, int threads = 1) {
  return RealExecutor(model.graph, threads).run(pack_tokens(ids).feeds).at("embedding");
}

const std::vector<std::vector<int32_t>> kTexts = {
    {2, 100, 200, 300, 400, 500, 600, 700, 800, 900, 3}, {2, 3}, {2, 129, 355, 3}, std::vector<int32_t>(128, 129)};

void expect_refused(const ModelCopy& model, const std::vector<std::string>& parts_of_message) {
  try {
    import_huggingface(model.dir());
    ADD_FAILURE() << "accepted; expected: " << parts_of_message[0];
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kMalformed) << error.what();
    for (const auto& part : parts_of_message) EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

TEST(HuggingFace, GraphFollowsTheCheckpoint) {
  const ImportedModel model = import_huggingface(test::source_path("models/tiny-encoder"));
  EXPECT_EQ(model.max_length, 64);
  EXPECT_EQ(model.max_positions, 128);
  EXPECT_TRUE(model.normalize);
  EXPECT_EQ(model.pooling, "mean");
  EXPECT_EQ(model.symbols.at("L").maximum, 128);
  EXPECT_EQ(model.symbols.at("L").largest_of, "length");
  EXPECT_EQ(model.assets.at("vocab.txt").type(), DataType::kU8);
  EXPECT_GT(model.assets.at("vocab.txt").bytes(), 5000);
  EXPECT_EQ(model.assets.count("1_Pooling/config.json"), 1u);
  EXPECT_EQ(model.metadata.at("max_length"), "64");
  std::vector<std::string> names;
  for (const Node& node : model.graph.nodes)
    if (node.name.starts_with("encoder/layer.1/")) names.push_back(node.name.substr(16) + " " + node.op);
  EXPECT_THAT(
      names, testing::ElementsAre("attention/self/query Gemm", "attention/self/key Gemm", "attention/self/value Gemm",
                                  "attention/self Attention", "attention/output/dense Gemm", "attention/output/add Add",
                                  "attention/output/LayerNorm LayerNormalization", "intermediate/dense Gemm",
                                  "intermediate/gelu Gelu", "output/dense Gemm", "output/add Add",
                                  "output/LayerNorm LayerNormalization"));
  const Value& output = model.graph.value(model.graph.outputs.at(0));
  EXPECT_EQ(output.name, "embedding");
  EXPECT_EQ(to_string(output.shape), "[B,64]");
}

TEST(HuggingFace, EmbeddingsEqualAnIndependentComputation) {
  const ImportedModel model = import_huggingface(test::source_path("models/tiny-encoder"));
  const Tensor embedding = embed(model, {kTexts[0], kTexts[1]});
  const float expected[2][8] = {
      {-0.0740325f, -0.2797038f, -0.0954572f, 0.1398757f, 0.0003712f, 0.0276978f, -0.1617691f, 0.1094571f},
      {-0.0204091f, -0.1846571f, -0.1590275f, 0.0652507f, -0.1381715f, 0.0318165f, -0.2929608f, -0.0916604f}};
  for (int b = 0; b < 2; ++b)
    for (int j = 0; j < 8; ++j) EXPECT_NEAR(embedding.data<float>()[b * 64 + j], expected[b][j], 1e-6);
}

TEST(HuggingFace, RaggedBatchEqualsTextsOneByOne) {
  const ImportedModel model = import_huggingface(test::source_path("models/tiny-encoder"));
  const Tensor batch = embed(model, kTexts);
  for (size_t b = 0; b < kTexts.size(); ++b) {
    const Tensor alone = embed(model, {kTexts[b]});
    double norm = 0;
    for (int j = 0; j < 64; ++j) {
      EXPECT_NEAR(batch.data<float>()[b * 64 + j], alone.data<float>()[j], 1e-5);
      norm += std::pow(alone.data<float>()[j], 2);
    }
    EXPECT_NEAR(norm, 1, 1e-5);
  }
  for (int threads : {1, 2, 3}) EXPECT_TRUE(embed(model, kTexts, threads) == embed(model, kTexts, threads)) << threads;
  EXPECT_EQ(embed(model, {}).dims(), (Dims{0, 64}));
  const Tensor of_nothing = embed(model, {{}});
  EXPECT_THAT(of_nothing.span<float>(), testing::Each(0.0f));
  EXPECT_EQ(of_nothing.count(), 64);
}

TEST(HuggingFace, BatchPacksTokens) {
  const TokenBatch batch = pack_tokens(std::vector<std::vector<int32_t>>{{5, 6, 7}, {}, {8}});
  EXPECT_EQ(batch.tokens, 4);
  EXPECT_EQ(batch.texts, 3);
  EXPECT_EQ(batch.longest, 3);
  EXPECT_EQ(batch.feeds.at("token").to_int64(), (std::vector<int64_t>{5, 6, 7, 8}));
  EXPECT_EQ(batch.feeds.at("position").to_int64(), (std::vector<int64_t>{0, 1, 2, 0}));
  EXPECT_EQ(batch.feeds.at("type").to_int64(), (std::vector<int64_t>{0, 0, 0, 0}));
  EXPECT_EQ(batch.feeds.at("start").to_int64(), (std::vector<int64_t>{0, 3, 3}));
  EXPECT_EQ(batch.feeds.at("length").to_int64(), (std::vector<int64_t>{3, 0, 1}));
}

TEST(HuggingFace, ReadsTheSameModelFromOtherLayouts) {
  const Tensor expected = embed(import_huggingface(test::source_path("models/tiny-encoder")), kTexts);
  const ModelCopy prefixed;
  Tensors tensors = prefixed.weights();
  for (auto& [name, tensor] : tensors) name = "bert." + name;
  tensors.emplace_back("cls.predictions.bias", Tensor(DataType::kF32, {1000}));
  tensors.emplace_back("bert.pooler.dense.weight", Tensor(DataType::kF32, {64, 64}));
  tensors.emplace_back("bert.embeddings.position_ids", Tensor(DataType::kI64, {1, 128}));
  prefixed.write_weights(tensors);
  EXPECT_TRUE(embed(import_huggingface(prefixed.dir()), kTexts) == expected);

  const ModelCopy sharded;
  tensors = sharded.weights();
  Json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", Json::object()}};
  const size_t half = tensors.size() / 2;
  for (size_t i = 0; i < tensors.size(); ++i)
    index["weight_map"][tensors[i].first] = i < half ? "a.safetensors" : "b.safetensors";
  sharded.write_weights(Tensors(tensors.begin(), tensors.begin() + half), "a.safetensors");
  sharded.write_weights(Tensors(tensors.begin() + half, tensors.end()), "b.safetensors");
  sharded.write("model.safetensors.index.json", index.dump());
  sharded.remove("model.safetensors");
  EXPECT_TRUE(embed(import_huggingface(sharded.dir()), kTexts) == expected);

  const ModelCopy old;  // the transformer in a folder of its own
  fs::create_directory(old.at("0_Transformer"));
  for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "sentence_bert_config.json"})
    fs::rename(old.at(name), old.at(std::string("0_Transformer/") + name));
  old.edit("modules.json", [](Json& json) { json[0]["path"] = "0_Transformer"; });
  const ImportedModel model = import_huggingface(old.dir());
  EXPECT_TRUE(embed(model, kTexts) == expected);
  EXPECT_EQ(model.max_length, 64);
  EXPECT_EQ(model.assets.count("vocab.txt"), 1u);

  const ModelCopy plain;  // no sentence-transformers files: mean pooling, no normalisation, all positions
  for (const char* name : {"modules.json", "sentence_bert_config.json"}) plain.remove(name);
  const ImportedModel bare = import_huggingface(plain.dir());
  EXPECT_FALSE(bare.normalize);
  EXPECT_EQ(bare.max_length, 128);
  const Tensor raw = embed(bare, {kTexts[0]});
  EXPECT_GT(std::fabs(raw.data<float>()[1]), 1.5 * std::fabs(expected.data<float>()[1]));
}

TEST(HuggingFace, ActivationsOfTheConfig) {
  struct Case {
    std::string hidden_act, op, approximate;
  };
  const std::vector<Case> cases = {{"gelu", "Gelu", "none"},
                                   {"gelu_new", "Gelu", "tanh"},
                                   {"gelu_pytorch_tanh", "Gelu", "tanh"},
                                   {"relu", "Relu", ""}};
  for (const Case& c : cases) {
    const ModelCopy model;
    model.edit("config.json", [&](Json& json) { json["hidden_act"] = c.hidden_act; });
    int found = 0;
    const Graph graph = import_huggingface(model.dir()).graph;
    for (const Node& node : graph.nodes) found += node.op == c.op && node.text("approximate", "") == c.approximate;
    EXPECT_EQ(found, 2) << c.hidden_act;
  }
}

TEST(HuggingFace, RefusesConfigurationsByKey) {
  struct Case {
    std::string file;
    std::function<void(Json&)> change;
    std::vector<std::string> parts;
  };
  const auto set = [](const char* key, Json value) { return [=](Json& json) { json[key] = value; }; };
  const std::string config = "config.json", pooling = "1_Pooling/config.json";
  const std::vector<Case> cases = {
      {config, set("model_type", "roberta"), {"config.json", "'model_type' is 'roberta'", "supported: bert"}},
      {config, set("model_type", 7), {"'model_type' must be a string"}},
      {config, [](Json& json) { json.erase("model_type"); }, {"'model_type' is missing"}},
      {config, [](Json& json) { json.erase("hidden_size"); }, {"'hidden_size' is missing"}},
      {config, [](Json& json) { json = Json::array({1}); }, {"config.json", "expected a JSON object"}},
      {config, set("hidden_act", "silu"), {"'hidden_act' is 'silu'", "gelu, gelu_new, gelu_pytorch_tanh, relu"}},
      {config, set("hidden_size", 0), {"'hidden_size' is 0"}},
      {config, set("hidden_size", 64.5), {"'hidden_size' must be an integer"}},
      {config, set("hidden_size", 128), {"word_embedding_dimension", "64"}},
      {config, set("num_attention_heads", 5), {"'hidden_size' is 64", "num_attention_heads"}},
      {config, set("num_hidden_layers", 3), {"encoder.layer.2.attention.self.query.weight' is missing"}},
      {config, set("num_hidden_layers", 1), {"encoder.layer.1.", "has no place"}},
      {config, set("num_hidden_layers", 1 << 30), {"'num_hidden_layers' is 1073741824"}},
      {config, set("vocab_size", 999), {"word_embeddings.weight' has shape [1000,64], config.json makes it [999,64]"}},
      {config, set("intermediate_size", 127), {"intermediate.dense.weight' has shape [128,64]"}},
      {config, set("max_position_embeddings", 512), {"position_embeddings.weight"}},
      {config, set("layer_norm_eps", "small"), {"'layer_norm_eps' must be a finite number"}},
      {config, set("layer_norm_eps", -1), {"'layer_norm_eps' is -1"}},
      {config, set("position_embedding_type", "relative_key"), {"'position_embedding_type'", "supported: absolute"}},
      {config, set("is_decoder", true), {"'is_decoder' is true"}},
      {pooling, set("pooling_mode_cls_token", true), {pooling, "'pooling_mode_cls_token' is true", "mean_tokens"}},
      {pooling, set("pooling_mode_mean_tokens", false), {"'pooling_mode_mean_tokens' must be true"}},
      {pooling, set("pooling_mode", "cls"), {"'pooling_mode' is 'cls'"}},
      {pooling, set("word_embedding_dimension", 65), {"'word_embedding_dimension' is 65"}},
      {"sentence_bert_config.json", set("max_seq_length", 129), {"'max_seq_length' is 129, outside 1..128"}},
      {"sentence_bert_config.json", set("max_seq_length", "64"), {"'max_seq_length' must be an integer"}},
      {"modules.json",
       [](Json& json) { json[2]["type"] = "sentence_transformers.models.Dense"; },
       {"Dense", "module 2"}},
      {"modules.json", [](Json& json) { json.erase(1); }, {"module 1", "supported here: Pooling"}},
      {"modules.json", [](Json& json) { json = Json::object(); }, {"modules.json", "expected a list"}},
      {"modules.json", [](Json& json) { json[1]["path"] = "../../elsewhere"; }, {"outside the model folder"}},
      {"modules.json", [](Json& json) { json[0]["path"] = "/etc"; }, {"outside the model folder"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.parts[0]);
    const ModelCopy model;
    model.edit(c.file, c.change);
    expect_refused(model, c.parts);
  }
}

TEST(HuggingFace, RefusesDamagedFiles) {
  for (const char* name : {"config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"}) {
    SCOPED_TRACE(name);
    const ModelCopy model;
    const std::string whole = model.read(name);
    for (const std::string& bytes : {std::string(), whole.substr(0, whole.size() / 2), std::string(100000, '['),
                                     std::string("{\"a\":\"\xff\"}"), std::string("null")}) {
      model.write(name, bytes);
      expect_refused(model, {name});
    }
  }
  const ModelCopy model;
  const std::string whole = model.read("model.safetensors");
  for (const size_t size : {size_t{0}, size_t{7}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    model.write("model.safetensors", whole.substr(0, size));
    expect_refused(model, {"model.safetensors"});
  }
}

TEST(HuggingFace, RefusesWeightsByTensorAndIndex) {
  const auto refused = [](const std::function<void(Tensors&)>& change, const std::vector<std::string>& parts) {
    SCOPED_TRACE(parts[0]);
    const ModelCopy model;
    Tensors tensors = model.weights();
    change(tensors);
    model.write_weights(tensors);
    expect_refused(model, parts);
  };
  const std::string bias = "encoder.layer.1.output.dense.bias";
  const auto put = [&](float value) {
    return [&bias, value](Tensors& tensors) {
      Tensor copy(DataType::kF32, {64});
      copy.mutable_data<float>()[17] = value;
      find(tensors, bias) = copy;
    };
  };
  const float infinity = std::numeric_limits<float>::infinity();
  refused(put(std::nanf("")), {"model.safetensors", "'" + bias + "': element 17 is NaN"});
  refused(put(-infinity), {"'" + bias + "': element 17 is infinite"});
  refused([&](Tensors& tensors) { find(tensors, bias) = Tensor(DataType::kF32, {65}); },
          {"'" + bias + "' has shape [65], config.json makes it [64]"});
  refused([&](Tensors& tensors) { find(tensors, bias) = Tensor(DataType::kI32, {64}); },
          {"'" + bias + "' is i32; supported: F32, F16, BF16"});
  refused([&](Tensors& tensors) { std::erase_if(tensors, [&](const auto& item) { return item.first == bias; }); },
          {"tensor '" + bias + "' is missing"});
  refused([&](Tensors& tensors) { tensors.emplace_back("encoder.layer.0.adapter", Tensor(DataType::kF32, {1})); },
          {"'encoder.layer.0.adapter' has no place"});
}

TEST(HuggingFace, StaysInsideTheFolder) {
  const std::string outside = test::temporary_dir() + "/outside.safetensors";
  fs::copy_file(test::source_path("models/tiny-encoder/model.safetensors"), outside);
  const ModelCopy linked;
  linked.remove("model.safetensors");
  fs::create_symlink(outside, linked.at("model.safetensors"));
  expect_refused(linked, {"model.safetensors", "outside the model folder"});
  fs::copy_file(outside, linked.at("inside.bin"));
  linked.remove("model.safetensors");
  fs::create_symlink("inside.bin", linked.at("model.safetensors"));
  EXPECT_NO_THROW(import_huggingface(linked.dir()));

  for (const std::string& shard : {std::string("../outside.safetensors"), outside, std::string("..")}) {
    const ModelCopy model;
    model.remove("model.safetensors");
    model.write("model.safetensors.index.json",
                Json{{"weight_map", {{"embeddings.word_embeddings.weight", shard}}}}.dump());
    expect_refused(model, {"outside the model folder"});
  }
  const ModelCopy wrong;
  fs::rename(wrong.at("model.safetensors"), wrong.at("part.safetensors"));
  wrong.write("model.safetensors.index.json", R"({"weight_map":{"nothing":"part.safetensors"}})");
  expect_refused(wrong, {"index.json", "'nothing' names part.safetensors, which has no such tensor"});
  wrong.remove("model.safetensors.index.json");
  expect_refused(wrong, {"model.safetensors: missing", "converted to safetensors"});
}

TEST(HuggingFace, TellsItsFoldersFromOthers) {
  EXPECT_TRUE(looks_like_huggingface(test::source_path("models/tiny-encoder")));
  EXPECT_FALSE(looks_like_huggingface(test::source_path("src/base")));
  EXPECT_FALSE(looks_like_huggingface(test::source_path("LICENSE")));
  EXPECT_FALSE(looks_like_huggingface("/nonexistent"));
  EXPECT_THROW(import_huggingface("/nonexistent"), Error);
}

}  // namespace
}  // namespace dyadic

#include "io/huggingface/importer.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"
#include "real/dialect.h"
#include "tensor/safetensors.h"

namespace dyadic {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxJsonBytes = size_t{64} << 20;
constexpr const char* kAssets[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                   "vocab.txt",      "config.json",           "sentence_bert_config.json",
                                   "modules.json"};

// The files of one folder. Names come from the folder's own files, so nothing outside it may be reached.
class Folder {
 public:
  explicit Folder(const std::string& path) {
    std::error_code error;
    root_ = fs::canonical(path, error);
    if (!error && fs::is_regular_file(root_, error))
      fail(ErrorKind::kMalformed, path,
           ": not a model folder but a file; the float model is needed, as it was exported");
    if (error || !fs::is_directory(root_, error)) fail(ErrorKind::kFailed, path, ": cannot open the model folder");
    if (::access(root_.c_str(), R_OK | X_OK) != 0)
      fail(ErrorKind::kFailed, path, ": cannot read the model folder: ", std::strerror(errno));
  }

  const fs::path& root() const { return root_; }
  bool has(const fs::path& name) const {
    std::error_code error;
    return fs::exists(root_ / name, error);
  }

  // Of a file that is there.
  std::string path(const fs::path& name) const {
    const fs::path wanted = root_ / name;
    std::error_code error;
    if (name.native().find('\0') != std::string::npos)
      fail(ErrorKind::kMalformed, wanted.c_str(), ": the name of this file goes on behind a NUL character");
    const fs::path found = fs::weakly_canonical(wanted, error);
    const auto inside = std::mismatch(root_.begin(), root_.end(), found.begin(), found.end());
    if (error || name.is_absolute() || inside.first != root_.end())
      fail(ErrorKind::kMalformed, root_.string(), ": ", wanted.string(),
           " lies outside the model folder; copy the file into it");
    if (!has(name)) fail(ErrorKind::kMalformed, wanted.string(), ": missing from the model folder");
    return found.string();
  }

  Json json(const fs::path& name) const {
    const std::string file = path(name);
    return parse_json(read_file(file, kMaxJsonBytes), file, {kMaxJsonBytes, 64});
  }

 private:
  fs::path root_;
};

// A whole-word list for messages: "gelu, gelu_new, relu".
template <class Map>
std::string keys(const Map& map) {
  std::string text;
  for (const auto& [key, value] : map) text += cat(text.empty() ? "" : ", ", key);
  return text;
}

struct Config {
  int64_t hidden, layers, heads, intermediate, positions, types, vocabulary;
  double epsilon;
  std::string activation, approximate;  // ONNX operator, and Gelu's attribute
};

struct ActivationRow {
  const char *op, *approximate;
};
const std::map<std::string, ActivationRow> kActivations = {{"gelu", {"Gelu", "none"}},
                                                           {"gelu_new", {"Gelu", "tanh"}},
                                                           {"gelu_pytorch_tanh", {"Gelu", "tanh"}},
                                                           {"relu", {"Relu", ""}}};

Config read_config(const Json& document, const std::string& where) {
  const JsonObject json(document, where);
  const auto supported = [&](const std::string& key, const std::string& value, const std::string& only) {
    if (value != only) fail(ErrorKind::kMalformed, where, ": key '", key, "' is '", value, "'; supported: ", only);
  };
  supported("model_type", json.string("model_type"), "bert");
  supported("position_embedding_type", json.string("position_embedding_type", "absolute"), "absolute");
  for (const char* key : {"is_decoder", "add_cross_attention"})
    if (json.boolean(key, false)) fail(ErrorKind::kMalformed, where, ": key '", key, "' is true; supported: false");
  Config c;
  c.hidden = json.integer("hidden_size", 1, 1 << 16);
  c.layers = json.integer("num_hidden_layers", 1, 1 << 10);
  c.heads = json.integer("num_attention_heads", 1, c.hidden);
  c.intermediate = json.integer("intermediate_size", 1, 1 << 20);
  c.positions = json.integer("max_position_embeddings", 1, 1 << 20);
  c.types = json.integer("type_vocab_size", 1, 1 << 16);
  c.vocabulary = json.integer("vocab_size", 1, 1 << 24);
  if (c.hidden % c.heads != 0)
    fail(ErrorKind::kMalformed, where, ": key 'hidden_size' is ", c.hidden, ", no multiple of the ", c.heads,
         " of 'num_attention_heads'");
  c.epsilon = json.has("layer_norm_eps") ? json.number("layer_norm_eps") : 1e-12;
  if (c.epsilon < 0 || c.epsilon > 1)
    fail(ErrorKind::kMalformed, where, ": key 'layer_norm_eps' is ", c.epsilon, ", outside 0..1");
  const std::string activation = json.string("hidden_act");
  const auto row = kActivations.find(activation);
  if (row == kActivations.end())
    fail(ErrorKind::kMalformed, where, ": key 'hidden_act' is '", activation, "'; supported: ", keys(kActivations));
  c.activation = row->second.op;
  c.approximate = row->second.approximate;
  return c;
}

// What sentence-transformers' modules.json says to do around the transformer.
struct Modules {
  std::string transformer;  // folder of config.json and weights, "" for the top
  std::string pooling = "mean";
  std::string pooling_config;  // path in the folder, "" if there is none
  bool normalize = false;
};

void check_pooling(const Json& document, const std::string& where, int64_t hidden) {
  const JsonObject json(document, where);
  json.integer("word_embedding_dimension", hidden, hidden, hidden);
  for (const auto& [key, value] : document.items())
    if (key.starts_with("pooling_mode_") && key != "pooling_mode_mean_tokens" && json.boolean(key, false))
      fail(ErrorKind::kMalformed, where, ": key '", key, "' is true; supported: pooling_mode_mean_tokens");
  if (const std::string mode = json.string("pooling_mode", "mean"); mode != "mean")
    fail(ErrorKind::kMalformed, where, ": key 'pooling_mode' is '", mode, "'; supported: mean");
  if (!json.boolean("pooling_mode_mean_tokens", json.has("pooling_mode")))
    fail(ErrorKind::kMalformed, where, ": key 'pooling_mode_mean_tokens' must be true, the only supported pooling");
}

Modules read_modules(const Folder& folder) {
  Modules result;
  if (!folder.has("modules.json")) return result;
  const std::string where = folder.path("modules.json");
  const Json document = folder.json("modules.json");
  if (!document.is_array() || document.size() < 2 || document.size() > 3)
    fail(ErrorKind::kMalformed, where, ": expected a list of Transformer, Pooling and perhaps Normalize");
  constexpr const char* kOrder[] = {"Transformer", "Pooling", "Normalize"};
  for (size_t i = 0; i < document.size(); ++i) {
    const JsonObject module(document[i], cat(where, ": module ", i));
    const std::string type = module.string("type"), path = module.string("path", "");
    if (type.substr(type.rfind('.') + 1) != kOrder[i])
      fail(ErrorKind::kMalformed, module.where(), ": key 'type' is '", type, "'; supported here: ", kOrder[i]);
    if (i == 0) result.transformer = path;
    if (i == 1) result.pooling_config = (fs::path(path) / "config.json").string();
    if (i == 2) result.normalize = true;
  }
  return result;
}

// The checkpoint's tensors, wherever they are sharded to.
class Checkpoint {
 public:
  Checkpoint(const Folder& folder, const fs::path& base) {
    const fs::path single = base / "model.safetensors", index = base / "model.safetensors.index.json";
    if (folder.has(single)) {
      add(folder.path(single));
    } else if (folder.has(index)) {
      const Json document = folder.json(index);
      const JsonObject json(document, folder.path(index));
      const JsonObject map = json.object("weight_map");
      std::map<std::string, std::shared_ptr<const Safetensors>> shards;
      for (const auto& item : map.json().items()) {
        const std::string file = map.string(item.key());
        auto& shard = shards[file];
        if (!shard) shard = Safetensors::open(folder.path(base / file));
        if (!shard->has(item.key()))
          fail(ErrorKind::kMalformed, map.where(), ": key '", item.key(), "' names ", file,
               ", which has no such tensor");
        tensors_[item.key()] = shard;
      }
      where_ = json.where();
    } else {
      fail(ErrorKind::kMalformed, (folder.root() / single).string(),
           ": missing, and no model.safetensors.index.json either; other weight formats must be converted to "
           "safetensors");
    }
    if (tensors_.count("bert.embeddings.word_embeddings.weight")) prefix_ = "bert.";
  }

  // The f32 tensor of this name, of these dimensions, every element finite.
  Tensor take(const std::string& name, const Dims& dims) {
    const auto found = tensors_.find(prefix_ + name);
    if (found == tensors_.end()) fail(ErrorKind::kMalformed, where_, ": tensor '", prefix_, name, "' is missing");
    used_.insert(found->first);
    const Tensor tensor = found->second->tensor(found->first);
    const std::string where = cat(found->second->path(), ": tensor '", found->first, "'");
    if (tensor.type() != DataType::kF32)
      fail(ErrorKind::kMalformed, where, " is ", dyadic::name(tensor.type()), "; supported: F32, F16, BF16");
    if (tensor.dims() != dims)
      fail(ErrorKind::kMalformed, where, " has shape ", to_string(tensor.dims()), ", config.json makes it ",
           to_string(dims));
    const std::byte* bytes = tensor.raw();
    for (int64_t i = 0; i < tensor.count(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, bytes + 4 * i, 4);
      if ((bits & 0x7f800000u) == 0x7f800000u)
        fail(ErrorKind::kMalformed, where, ": element ", i, " is ", bits & 0x7fffffu ? "NaN" : "infinite");
    }
    return tensor;
  }

  // An encoder that reads less of the checkpoint than there is would give wrong embeddings without saying so.
  void expect_all_used() const {
    for (const auto& [name, shard] : tensors_) {
      const std::string_view rest = std::string_view(name).substr(name.starts_with(prefix_) ? prefix_.size() : 0);
      const bool ours = rest.starts_with("encoder.") || rest.starts_with("embeddings.");
      if (ours && !used_.count(name) && rest != "embeddings.position_ids")
        fail(ErrorKind::kMalformed, shard->path(), ": tensor '", name, "' has no place in the model of config.json");
    }
  }

 private:
  void add(const std::string& path) {
    const auto file = Safetensors::open(path);
    for (const auto& name : file->names()) tensors_[name] = file;
    where_ = path;
  }

  std::map<std::string, std::shared_ptr<const Safetensors>> tensors_;
  std::set<std::string> used_;
  std::string where_, prefix_;
};

// "encoder/layer.0/output/dense" is "encoder.layer.0.output.dense" in the checkpoint.
std::string checkpoint_name(std::string node) {
  std::ranges::replace(node, '/', '.');
  return node;
}

class EncoderBuilder {
 public:
  EncoderBuilder(const Config& config, Checkpoint& checkpoint) : c_(config), checkpoint_(checkpoint) {
    graph_.name = "main";
  }

  Graph build(bool normalize) {
    const ValueId token = input("token", "T"), position = input("position", "T"), type = input("type", "T");
    start_ = input("start", "B");
    length_ = input("length", "B");
    const ValueId words = embedding("word_embeddings", c_.vocabulary, token);
    const ValueId types = embedding("token_type_embeddings", c_.types, type);
    const ValueId positions = embedding("position_embeddings", c_.positions, position);
    const ValueId typed = node("Add", "embeddings/add_type", {words, types});
    ValueId x = layer_norm("embeddings/LayerNorm", node("Add", "embeddings/add_position", {typed, positions}));
    for (int64_t i = 0; i < c_.layers; ++i) x = layer(cat("encoder/layer.", i), x);
    const std::string output = "embedding";
    x = node("MeanPool", "pooling/mean", {x, start_, length_}, {}, normalize ? "" : output);
    if (normalize) x = node("LpNormalization", "normalize", {x}, {{"axis", int64_t{-1}}, {"p", int64_t{2}}}, output);
    graph_.outputs = {x};
    verify_real(graph_);
    return std::move(graph_);
  }

 private:
  ValueId input(const std::string& name, const char* symbol) {
    Value value;
    value.name = name;
    value.type = DataType::kI32;
    value.shape = {symbol};
    return graph_.add_input(std::move(value));
  }

  ValueId node(const std::string& op, const std::string& name, std::vector<ValueId> inputs, Attributes attributes = {},
               const std::string& output = "") {
    return add_real_node(graph_, op, name, std::move(inputs), std::move(attributes), output);
  }

  ValueId weight(const std::string& name, const Dims& dims) {
    return graph_.add_constant(name, checkpoint_.take(name, dims));
  }

  ValueId embedding(const std::string& table, int64_t rows, ValueId indices) {
    return node("Gather", "embeddings/" + table,
                {weight(cat("embeddings.", table, ".weight"), {rows, c_.hidden}), indices}, {{"axis", int64_t{0}}});
  }

  ValueId linear(const std::string& name, ValueId x, int64_t in, int64_t out) {
    const std::string tensor = checkpoint_name(name);
    return node("Gemm", name, {x, weight(tensor + ".weight", {out, in}), weight(tensor + ".bias", {out})},
                {{"transB", int64_t{1}}});
  }

  ValueId layer_norm(const std::string& name, ValueId x) {
    const std::string tensor = checkpoint_name(name);
    return node("LayerNormalization", name,
                {x, weight(tensor + ".weight", {c_.hidden}), weight(tensor + ".bias", {c_.hidden})},
                {{"axis", int64_t{-1}}, {"epsilon", c_.epsilon}});
  }

  // x plus a linear function of y, normalised.
  ValueId residual(const std::string& name, ValueId x, ValueId y, int64_t in) {
    const ValueId dense = linear(name + "/dense", y, in, c_.hidden);
    return layer_norm(name + "/LayerNorm", node("Add", name + "/add", {dense, x}));
  }

  ValueId layer(const std::string& name, ValueId x) {
    const std::string self = name + "/attention/self";
    std::vector<ValueId> inputs;
    for (const char* part : {"/query", "/key", "/value"})
      inputs.push_back(linear(self + part, x, c_.hidden, c_.hidden));
    inputs.insert(inputs.end(), {start_, length_});
    const ValueId context =
        node("Attention", self, std::move(inputs), {{"heads", c_.heads}, {"head_dim", c_.hidden / c_.heads}});
    x = residual(name + "/attention/output", x, context, c_.hidden);
    ValueId wide = linear(name + "/intermediate/dense", x, c_.hidden, c_.intermediate);
    if (c_.activation == "Gelu")
      wide = node("Gelu", name + "/intermediate/gelu", {wide}, {{"approximate", c_.approximate}});
    else
      wide = node(c_.activation, name + "/intermediate/relu", {wide});
    return residual(name + "/output", x, wide, c_.intermediate);
  }

  const Config& c_;
  Checkpoint& checkpoint_;
  Graph graph_;
  ValueId start_ = -1, length_ = -1;
};

int64_t read_max_length(const Folder& folder, const fs::path& base, int64_t max_positions) {
  const fs::path file = base / "sentence_bert_config.json";
  if (!folder.has(file)) return max_positions;
  const Json document = folder.json(file);
  return JsonObject(document, folder.path(file)).integer("max_seq_length", 1, max_positions, max_positions);
}

Tensor read_asset(const std::string& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (bytes.size() > kMaxJsonBytes)
    fail(ErrorKind::kMalformed, path, ": ", bytes.size(), " bytes, more than the ", kMaxJsonBytes, " allowed here");
  Tensor tensor(DataType::kU8, {static_cast<int64_t>(bytes.size())});
  std::ranges::copy(bytes, tensor.mutable_raw());
  return tensor;
}

}  // namespace

bool looks_like_huggingface(const std::string& dir) {
  std::error_code error;
  return fs::is_directory(dir, error) &&
         (fs::exists(fs::path(dir) / "config.json", error) || fs::exists(fs::path(dir) / "modules.json", error));
}

void require_huggingface(const std::string& dir) {
  const Folder folder(dir);
  if (!looks_like_huggingface(dir))
    fail(ErrorKind::kMalformed, dir, ": not a model folder: it has neither config.json nor modules.json");
}

ImportedModel import_huggingface(const std::string& dir) {
  require_huggingface(dir);
  const Folder folder(dir);
  const Modules modules = read_modules(folder);
  const fs::path base = modules.transformer;
  const Config config = read_config(folder.json(base / "config.json"), folder.path(base / "config.json"));
  if (!modules.pooling_config.empty())
    check_pooling(folder.json(modules.pooling_config), folder.path(modules.pooling_config), config.hidden);

  ImportedModel model;
  model.normalize = modules.normalize;
  model.pooling = modules.pooling;
  model.max_positions = config.positions;
  model.vocabulary = config.vocabulary;
  model.max_length = read_max_length(folder, base, config.positions);
  Checkpoint checkpoint(folder, base);
  model.graph = EncoderBuilder(config, checkpoint).build(modules.normalize);
  checkpoint.expect_all_used();
  model.symbols = {{"T", {1 << 20, ""}}, {"B", {1 << 16, ""}}, {"L", {config.positions, "length"}}};
  for (const char* name : kAssets)
    for (const fs::path& at : {fs::path(name), base / name})
      if (folder.has(at)) model.assets[name] = read_asset(folder.path(at));
  if (!modules.pooling_config.empty())
    model.assets[modules.pooling_config] = read_asset(folder.path(modules.pooling_config));
  model.metadata = {{"format", "huggingface"},
                    {"model_type", "bert"},
                    {"task", "embedding"},
                    {"pooling", model.pooling},
                    {"normalize", model.normalize ? "true" : "false"},
                    {"max_length", std::to_string(model.max_length)},
                    {"max_positions", std::to_string(model.max_positions)}};
  return model;
}

}  // namespace dyadic

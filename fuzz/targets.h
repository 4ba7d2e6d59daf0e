// What is fuzzed: one function a loader, given bytes of any kind. Each returns if the bytes are read or refused as
// documented (exit codes 3 and 4) and ends the process otherwise. tests/fuzz_corpus replays fuzz/corpus in every build.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "../tests/bad_files/good_models.h"
#include "graph/model.h"
#include "graph/ranges.h"
#include "graph/text.h"
#include "graph/verifier.h"
#include "io/huggingface/importer.h"
#include "io/tokenizers/wordpiece.h"
#include "quantize/recipe.h"
#include "runtime/container.h"
#include "tensor/safetensors.h"

namespace dyadic::fuzz {

[[noreturn]] inline void found(const std::string& what) {
  std::fprintf(stderr, "FOUND: %s\n", what.c_str());
  std::abort();
}

template <class F>
void read_or_refused(F f) {
  try {
    f();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kMalformed && error.kind() != ErrorKind::kContract) found(error.what());
  } catch (const std::exception& error) {
    found(error.what());
  }
}

// A file without a name on any disk.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (fd_ < 0 || write(fd_, bytes.data(), bytes.size()) != std::ssize(bytes)) found("no memory for a file");
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

// The n-th part of bytes that NULs divide; empty behind the last.
inline std::string_view part(std::string_view bytes, int n) {
  for (; n > 0; --n) {
    const size_t end = bytes.find('\0');
    if (end == bytes.npos) return {};
    bytes.remove_prefix(end + 1);
  }
  return bytes.substr(0, bytes.find('\0'));
}

inline void check_model(const Model& model, const std::function<Tensor(const std::string&)>& constant) {
  std::string why;
  is_integer_only(model, &why);
  const std::string text = model_to_json(model);
  if (model_to_json(model_from_json(text, "written", constant)) != text) found("a model changes when written and read");
  prove_model(model);
}

// A safetensors file; if it is a .dyad file, its model too.
inline void container(std::string_view bytes) {
  read_or_refused([&] {
    const MemoryFile file(bytes);
    const auto tensors = Safetensors::open(file.path());
    for (const auto& name : tensors->names()) read_or_refused([&] { tensors->tensor(name).hash(); });
    if (tensors->has("graph.json"))
      check_model(*load_model(file.path()), [&](const std::string& name) { return tensors->tensor(name); });
  });
}

// graph.json over the constants of the golden model.
inline void graph(std::string_view bytes) {
  static const auto golden = [] {
    const char* path = std::getenv("DYADIC_FUZZ_MODEL");
    return Safetensors::open(path ? path : "models/golden/tiny.dyad");
  }();
  const auto constant = [](const std::string& name) { return golden->tensor(name); };
  read_or_refused([&] { check_model(model_from_json(bytes, "graph.json", constant), constant); });
}

// The text form of a body. Symbols are at most 64.
inline void body(std::string_view bytes) {
  read_or_refused([&] {
    const Graph body = parse_text(bytes, "body");
    verify_body(body);
    const std::string text = to_text(body);
    if (to_text(parse_text(text, "printed")) != text) found("a body changes when printed and parsed");
    Bindings maxima;
    for (const Value& value : body.values)
      for (const Dim& dim : value.shape)
        for (const auto& symbol : dim.symbols) maxima[symbol] = 64;
    std::vector<KnownInput> inputs;
    for (const ValueId id : body.inputs) {
      const Value& value = body.value(id);
      inputs.push_back({{},
                        value.fact            ? value.fact->range
                        : is_real(value.type) ? Interval{0, 0}
                                              : range_of(value.type),
                        {}});
    }
    prove_ranges(body, inputs, maxima);
  });
}

// config.json, modules.json, 1_Pooling/config.json, sentence_bert_config.json, divided by NULs, beside good weights.
inline void config(std::string_view bytes) {
  static const std::filesystem::path dir = [] {
    std::string made = std::filesystem::temp_directory_path() / "dyadic-fuzz-XXXXXX";
    if (!mkdtemp(made.data())) found("no temporary folder");
    test::write_good_models(made);
    static const struct Remove {
      std::string path;
      ~Remove() { std::filesystem::remove_all(path); }
    } at_exit{made};
    return std::filesystem::path(made) / "encoder";
  }();
  int n = 0;
  for (const char* name : {"config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"}) {
    const std::string_view text = part(bytes, n++);
    if (text.empty())
      std::filesystem::remove(dir / name);
    else
      test::spit(dir / name, text);
  }
  read_or_refused([] { import_huggingface(dir); });
}

// tokenizer.json and a text to tokenize, divided by a NUL; without one a text for a good tokenizer.
inline void tokenizer(std::string_view bytes) {
  static const WordPiece good = WordPiece::from_tokenizer_json(test::good_tokenizer_json(), "good");
  const bool is_pair = bytes.find('\0') != bytes.npos;
  read_or_refused([&] {
    const WordPiece t = is_pair ? WordPiece::from_tokenizer_json(part(bytes, 0), "tokenizer.json") : good;
    const auto encoded = t.encode(is_pair ? part(bytes, 1) : bytes, 16);
    if (encoded.ids.size() < 2 || encoded.ids.size() > 16) found("ids without special tokens, or too many");
    for (const int32_t id : encoded.ids)
      if (id < 0 || id >= static_cast<int32_t>(t.vocab_size())) found("an id outside the vocabulary");
  });
  read_or_refused([&] { WordPiece::from_vocab_txt(bytes, "vocab.txt"); });
}

inline void recipe(std::string_view bytes) {
  static const RecipeVocabulary vocabulary = {
      {{"encode", {{"affine", {{"bits", "granularity", "symmetric"}, nullptr}}, {"log2", {{"bits"}, nullptr}}}},
       {"fit", {{"min-max", {{"headroom"}, nullptr}}}},
       {"approximate", {{"exact-table", {{}, nullptr}}, {"table-softmax", {{"steps", "one"}, nullptr}}}},
       {"restructure", {{"scale-classes", {{"classes"}, nullptr}}}}}};
  read_or_refused([&] {
    const Recipe recipe = parse_recipe(bytes, "recipe.toml", vocabulary);
    Graph graph;
    Node node;
    node.op = "Gemm";
    node.name = "encoder/layer.3/output/dense";
    graph.add_node(node);
    answers_for(recipe, graph, graph.nodes[0]);
  });
}

struct Target {
  const char* name;
  void (*run)(std::string_view bytes);
};
inline constexpr Target kTargets[] = {{"container", container}, {"graph", graph},         {"body", body},
                                      {"config", config},       {"tokenizer", tokenizer}, {"recipe", recipe}};

}  // namespace dyadic::fuzz

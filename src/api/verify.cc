#include "api/verify.h"

#include <algorithm>
#include <cstring>

#include "api/encoder.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/status.h"
#include "graph/ranges.h"
#include "graph/verifier.h"
#include "io/datasets/text.h"
#include "io/huggingface/batch.h"
#include "runtime/container.h"
#include "runtime/session.h"

namespace dyadic {
namespace {

struct BackendRow {
  std::string name;
  SessionOptions options;
  int64_t batch_tokens;  // groups of consecutive texts; 1: every text alone
};

// The codes of one output of one composite over all texts in order: rows of valid tokens (or of texts), row-major.
using Codes = std::vector<std::byte>;
using LayerCodes = std::vector<std::vector<Codes>>;  // [composite][output]

uint64_t layer_hash(const std::vector<Codes>& outputs) {
  Hash64 all;
  for (const Codes& codes : outputs) {
    const uint64_t h = hash64(codes.data(), codes.size());
    all.update(&h, sizeof h);
  }
  return all.value();
}

LayerCodes run_backend(const std::shared_ptr<const Model>& model, const std::vector<TokenIds>& texts,
                       const BackendRow& row) {
  Session session(model, row.options);
  const Graph& main = model->main();
  LayerCodes codes(main.nodes.size());
  for (size_t n = 0; n < main.nodes.size(); ++n) codes[n].resize(main.nodes[n].outputs.size());
  Progress progress("verify " + row.name, static_cast<int64_t>(texts.size()));
  for (const auto& [begin, end] : group_texts(texts, row.batch_tokens)) {
    session.run(pack_tokens(std::span(texts).subspan(begin, end - begin)).feeds,
                [&](const Node& node, size_t output, const TensorView& view) {
                  Codes& all = codes[static_cast<size_t>(&node - main.nodes.data())][output];
                  const size_t bytes = static_cast<size_t>(storage_bytes(view.type, view.count()));
                  all.insert(all.end(), view.data, view.data + bytes);
                });
    progress.add(static_cast<int64_t>(end - begin));
  }
  return codes;
}

int64_t code_at(const Codes& codes, DataType type, int64_t index) {
  return dispatch(type, [&](auto zero) {
    decltype(zero) v;
    std::memcpy(&v, codes.data() + index * static_cast<int64_t>(sizeof v), sizeof v);
    return static_cast<int64_t>(v);
  });
}

// The first differing code of a composite, or nothing.
std::optional<Difference> first_difference(const Graph& main, size_t node, const std::vector<Codes>& expected,
                                           const std::vector<Codes>& found) {
  for (size_t output = 0; output < expected.size(); ++output) {
    const DataType type = main.value(main.nodes[node].outputs[output]).type;
    const int64_t width = bits(type) / 8;
    const auto count = static_cast<int64_t>(std::min(expected[output].size(), found[output].size())) / width;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t a = code_at(expected[output], type, i), b = code_at(found[output], type, i);
      if (a != b) return Difference{main.nodes[node].name, "", i, a, b};
    }
    if (expected[output].size() != found[output].size()) return Difference{main.nodes[node].name, "", count, 0, 0};
  }
  return std::nullopt;
}

std::vector<BackendRow> backend_rows(int max_threads, std::vector<std::string>& skipped) {
  constexpr int64_t kMixed = 200, kAll = 1 << 20;
  std::vector<BackendRow> rows = {{"evaluator", {Backend::kEvaluator, Isa::kPortable, 1}, 512}};
  for (const auto& [backend, label] : {std::pair(Backend::kTile, "tile"), std::pair(Backend::kKernels, "kernels")})
    for (Isa isa : kAllIsas) {
      const std::string name = cat(label, ":", isa_name(isa));
      if (isa > active_isa()) {
        skipped.push_back(cat(name, ": SKIPPED: this CPU (or DYADIC_ISA) has no ", isa_name(isa)));
        continue;
      }
      rows.push_back({name, {backend, isa, 1}, kMixed});
      if (isa != active_isa()) continue;
      if (backend == Backend::kKernels) {
        rows.push_back({name + ":batch=1", {backend, isa, 1}, 1});
        rows.push_back({name + ":batch=all", {backend, isa, 1}, kAll});
      }
      if (max_threads >= 2) rows.push_back({name + ":threads=2", {backend, isa, 2}, kMixed});
    }
  return rows;
}

}  // namespace

Interval input_range(const Model& model, const std::string& input) {
  const Graph& main = model.main();
  const ValueId id = main.find(input);
  if (id < 0) fail(ErrorKind::kContract, "the model has no input '", input, "'");
  return main.value(id).fact ? main.value(id).fact->range : range_of(main.value(id).type);
}

std::vector<int32_t> random_tokens(Random& random, int64_t vocabulary, int64_t length) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i)
    ids.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
  return ids;
}

std::vector<std::vector<int32_t>> verification_texts(const Model& model, uint64_t seed) {
  const int64_t vocabulary = input_range(model, "token").hi + 1;
  const int64_t longest = std::min<int64_t>(128, model.symbols.at("L").maximum);
  constexpr int kLengths[] = {1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 16, 8, 32, 4};
  std::vector<std::vector<int32_t>> texts;
  Random random(seed);
  for (int t = 0; t < 64; ++t) {
    const int64_t length = t == 40 ? longest : std::min<int64_t>(kLengths[t % 16], longest);
    texts.push_back(random_tokens(random, vocabulary, length));
  }
  return texts;
}

VerifyReport verify_model_file(const VerifyRequest& request) {
  const auto model = load_model(request.model);
  VerifyReport report;
  std::string why;
  report.integer_only = is_integer_only(*model, &why);
  if (!report.integer_only) report.islands.push_back(why);
  for (const Ranges& proof : prove_model(*model))
    for (const auto& lemma : proof.lemmas)
      if (!std::count(report.lemmas.begin(), report.lemmas.end(), lemma)) report.lemmas.push_back(lemma);
  std::sort(report.lemmas.begin(), report.lemmas.end());

  std::vector<TokenIds> texts;
  if (request.texts.empty()) {
    texts = verification_texts(*model, request.seed);
  } else {
    const auto encoder = open_encoder(request.model);
    for (const auto& text : read_lines(request.texts)) texts.push_back(encoder->tokenize(text));
  }
  report.texts = static_cast<int64_t>(texts.size());
  for (const auto& text : texts) report.tokens += static_cast<int64_t>(text.size());

  const Graph& main = model->main();
  for (const Node& node : main.nodes) report.layers.push_back({node.name, node.op, {}});
  LayerCodes expected;
  for (const BackendRow& row : backend_rows(request.max_threads, report.skipped)) {
    report.backends.push_back(row.name);
    LayerCodes found = run_backend(model, texts, row);
    for (size_t n = 0; n < found.size(); ++n) report.layers[n].hashes[row.name] = hex64(layer_hash(found[n]));
    if (expected.empty()) {
      expected = std::move(found);
      continue;
    }
    for (size_t n = 0; n < found.size(); ++n)
      if (auto difference = first_difference(main, n, expected[n], found[n])) {
        difference->backend = row.name;
        report.differences.push_back(*difference);
        report.equal = false;
        break;
      }
  }
  return report;
}

}  // namespace dyadic

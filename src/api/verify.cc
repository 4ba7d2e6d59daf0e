#include "api/verify.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "api/encoder.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/status.h"
#include "graph/island.h"
#include "graph/ranges.h"
#include "graph/verifier.h"
#include "runtime/container.h"
#include "runtime/session.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

// ---- texts -------------------------------------------------------------------------------------------------------

// The codes of one output of one composite over all texts in order: rows of valid tokens (or of texts), row-major,
// little-endian.
using Codes = std::vector<std::byte>;
using LayerCodes = std::vector<std::vector<Codes>>;  // [composite][output]

void append(Codes& all, const TensorView& view) {
  const auto bytes = static_cast<size_t>(storage_bytes(view.type, view.count()));
  const size_t begin = all.size(), width = static_cast<size_t>(bits(view.type)) / 8;
  all.insert(all.end(), view.data, view.data + bytes);
  if constexpr (std::endian::native == std::endian::big)
    for (size_t i = begin; i < all.size(); i += width) std::reverse(all.data() + i, all.data() + i + width);
}

std::string layer_hash(const std::vector<Codes>& outputs) {
  Hash64 layer;
  for (const Codes& codes : outputs) {
    const uint64_t output = hash64(codes.data(), codes.size());
    for (int shift = 0; shift < 64; shift += 8) {
      const auto byte = static_cast<unsigned char>(output >> shift);
      layer.update(&byte, 1);
    }
  }
  return hex64(layer.value());
}

LayerCodes run_texts(const std::shared_ptr<const Model>& model, const std::vector<TokenIds>& texts,
                     const VerifyBackend& backend) {
  Session session(model, backend.options);
  const Graph& main = model->main();
  LayerCodes codes(main.nodes.size());
  for (size_t n = 0; n < main.nodes.size(); ++n) codes[n].resize(main.nodes[n].outputs.size());
  std::map<ValueId, Codes> untapped;
  Progress progress("verify " + backend.name, static_cast<int64_t>(texts.size()));
  for (const auto& [begin, end] : group_texts(texts, backend.batch_tokens)) {
    const auto feeds = pack_tokens(std::span(texts).subspan(begin, end - begin)).feeds;
    session.run(feeds, [&](const Node& node, size_t output, const TensorView& view) {
      append(codes[static_cast<size_t>(&node - main.nodes.data())][output], view);
    });
    if (backend.options.backend != Backend::kEvaluator)
      for (const auto& [name, tensor] : session.run(feeds))
        append(untapped[main.find(name)], {tensor.type(), tensor.dims(), const_cast<std::byte*>(tensor.raw())});
    progress.add(static_cast<int64_t>(end - begin));
  }
  // A Session that nobody taps runs in blocks and by its schedule: what then comes out has to be the same, and is what
  // is compared if it is not.
  for (size_t n = 0; n < main.nodes.size(); ++n)
    for (size_t i = 0; i < main.nodes[n].outputs.size(); ++i)
      if (const auto out = untapped.find(main.nodes[n].outputs[i]); out != untapped.end()) codes[n][i] = out->second;
  return codes;
}

int64_t code_at(const Codes& codes, DataType type, int64_t index) {
  const int width = bits(type) / 8;
  uint64_t word = 0;
  for (int i = 0; i < width; ++i) word |= std::to_integer<uint64_t>(codes[index * width + i]) << (8 * i);
  return dispatch(type, [&](auto zero) { return static_cast<int64_t>(static_cast<decltype(zero)>(word)); });
}

// The first differing code of a composite, or nothing.
std::optional<Difference> first_difference(const Graph& main, const Node& node, const std::vector<Codes>& expected,
                                           const std::vector<Codes>& found) {
  for (size_t output = 0; output < expected.size(); ++output) {
    const Codes &a = expected[output], &b = found[output];
    if (a == b) continue;
    const DataType type = main.value(node.outputs[output]).type;
    const auto width = static_cast<size_t>(bits(type)) / 8;
    const auto at = std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first - a.begin();
    const auto index = at / static_cast<int64_t>(width);
    if (static_cast<size_t>(index + 1) * width > std::min(a.size(), b.size()))
      return Difference{node.name, "", "texts", index, 0, 0};
    return Difference{node.name, "", "texts", index, code_at(a, type, index), code_at(b, type, index)};
  }
  return std::nullopt;
}

void compare_on_texts(const std::shared_ptr<const Model>& model, const std::vector<TokenIds>& texts,
                      std::span<const VerifyBackend> backends, VerifyReport& report) {
  const Graph& main = model->main();
  for (const Node& node : main.nodes) report.layers.push_back({node.name, node.op, {}});
  LayerCodes expected;
  for (const VerifyBackend& backend : backends) {
    report.backends.push_back(backend.name);
    LayerCodes found = run_texts(model, texts, backend);
    for (size_t n = 0; n < found.size(); ++n) report.layers[n].hashes[backend.name] = layer_hash(found[n]);
    if (expected.empty()) {
      expected = std::move(found);
      continue;
    }
    for (size_t n = 0; n < found.size(); ++n)
      if (auto difference = first_difference(main, main.nodes[n], expected[n], found[n])) {
        difference->backend = backend.name;
        report.differences.push_back(*difference);
        break;
      }
  }
}

// ---- extreme codes -----------------------------------------------------------------------------------------------

std::vector<CompositeCase> compare_on_extremes(const Model& model, const std::vector<Ranges>& proof,
                                               std::span<const VerifyBackend> backends, uint64_t seed,
                                               VerifyReport& report) {
  const Graph& main = model.main();
  std::vector<CompositeCase> cases;
  std::map<std::string, Difference> first;  // by backend
  Progress progress("verify extreme codes", static_cast<int64_t>(main.nodes.size()));
  for (size_t n = 0; n < main.nodes.size(); ++n) {
    progress.add();
    if (main.nodes[n].body.empty()) continue;
    CompositeCase& c = cases.emplace_back();
    c.composite = isolate(model, main.nodes[n], proof[n]);
    c.feeds = extreme_feeds(c.composite, seed + n);
    report.extreme_feeds += static_cast<int64_t>(c.feeds.size());
    for (const VerifyBackend& backend : backends) {
      const bool is_evaluator = backend.options.backend == Backend::kEvaluator;
      if (!is_evaluator && backend.batch_tokens != kMixedBatch) continue;
      SessionOptions options = backend.options;
      options.proof = c.composite.proof;
      Session session(c.composite.model, options);
      for (size_t i = 0; i < c.feeds.size(); ++i) {
        Feeds found = session.run(c.feeds[i]);
        if (is_evaluator) {
          report.extreme_rows += row_count(c.composite, c.feeds[i]);
          c.expected.push_back(std::move(found));
          continue;
        }
        if (auto difference = first_difference(c.composite, c.expected[i], found)) {
          difference->backend = backend.name;
          first.emplace(backend.name, std::move(*difference));
        }
      }
    }
  }
  for (const VerifyBackend& backend : backends)
    if (const auto it = first.find(backend.name); it != first.end()) report.differences.push_back(it->second);
  return cases;
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
  const int64_t vocabulary = input_range(model, "token").hi + 1, capacity = model.symbols.at("L").maximum;
  std::vector<int64_t> lengths = {1, 2, 3, 4, 8, 16, 32, 64, 128, capacity};
  constexpr int64_t kPrimes[] = {5,  7,  11, 13, 17, 19, 23, 29, 31, 37,  41,  43,  47,  53,
                                 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113};
  lengths.insert(lengths.end(), std::begin(kPrimes), std::end(kPrimes));
  while (lengths.size() < 64) lengths.push_back(kPrimes[lengths.size() % 14]);
  Random random(seed);
  for (size_t i = lengths.size() - 1; i > 0; --i) std::swap(lengths[i], lengths[random.below(i + 1)]);
  std::vector<std::vector<int32_t>> texts;
  for (const int64_t length : lengths) texts.push_back(random_tokens(random, vocabulary, std::min(length, capacity)));
  return texts;
}

VerifyReport verify_model_file(const VerifyRequest& request) {
  const auto model = load_model(request.model);
  VerifyReport report;
  report.integer_only = is_integer_only(*model);
  report.islands = float_islands(*model);
  const auto proof = std::make_shared<const std::vector<Ranges>>(prove_model(*model));
  for (const Ranges& ranges : *proof)
    for (const auto& lemma : ranges.lemmas)
      if (!std::count(report.lemmas.begin(), report.lemmas.end(), lemma)) report.lemmas.push_back(lemma);
  std::sort(report.lemmas.begin(), report.lemmas.end());

  std::vector<TokenIds> texts;
  if (request.texts.empty()) {
    texts = verification_texts(*model, request.seed);
    report.texts.count = std::ssize(texts);
  } else {
    TokenizedTexts lines = tokenize_lines(request.texts, *open_encoder(request.model));
    texts = std::move(lines.ids);
    report.texts = lines.counts;
  }
  for (const auto& text : texts) {
    report.tokens += static_cast<int64_t>(text.size());
    report.longest = std::max(report.longest, static_cast<int64_t>(text.size()));
  }

  const auto backends = verify_backends(model, proof, request.max_threads, report.skipped);
  compare_on_texts(model, texts, backends, report);
  auto cases = compare_on_extremes(*model, *proof, backends, request.seed, report);
  report.equal = report.differences.empty();
  // All backends run an island by one executor, and the last bits of a float parameter may show in no code.
  std::erase_if(cases, [](const CompositeCase& c) { return is_island(c.composite.body().graph); });
  if (request.inject > 0 && report.equal) report.inject = inject_faults(cases, backends, request.inject, request.seed);
  return report;
}

}  // namespace dyadic

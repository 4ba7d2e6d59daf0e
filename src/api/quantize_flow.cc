#include "api/quantize_flow.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "api/encoder.h"
#include "api/evaluate.h"
#include "api/recipe_dir.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/located.h"
#include "base/status.h"
#include "graph/island.h"
#include "graph/verifier.h"
#include "io/datasets/text.h"
#include "io/huggingface/importer.h"
#include "methods/methods.h"
#include "runtime/container.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {
namespace fs = std::filesystem;

// At most this many of the texts that were not sampled are used to measure agreement.
constexpr size_t kHeldBack = 256;

}  // namespace

int64_t weight_bytes(const std::string& dir) {
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(dir))  // links that lead nowhere hold nothing
    if (entry.path().extension() == ".safetensors" && entry.exists()) bytes += static_cast<int64_t>(entry.file_size());
  return bytes;
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(recipe_dir(), error))
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::pair<std::string, PartInfo>> list_parts() {
  auto parts = registry().list();
  parts.emplace_back(
      "approximate",
      PartInfo{kFloatPart, "no integers: the node stays a float island between coded values", "this project", {}});
  return parts;
}

std::string recipe_path(const std::string& name_or_path) {
  std::error_code error;
  const std::string shipped = (fs::path(recipe_dir()) / (name_or_path + ".toml")).string();
  return !fs::is_regular_file(name_or_path, error) && fs::is_regular_file(shipped, error) ? shipped : name_or_path;
}

Recipe load_recipe(const std::string& name_or_path) {
  std::error_code error;
  const std::string path = recipe_path(name_or_path);
  if (!fs::exists(path, error)) {
    std::string names;
    for (const auto& name : recipe_names()) names += (names.empty() ? "" : ", ") + name;
    if (names.empty()) names = cat("the recipes in ", recipe_dir(), ", where there are none (DYADIC_RECIPES names it)");
    fail(ErrorKind::kUsage, "no recipe '", name_or_path, "': neither a file nor one of ", names);
  }
  return parse_recipe(read_file(path, size_t{1} << 20), path, registry().vocabulary());
}

CalibrationTexts draw_calibration(const std::string& path, const std::vector<int>& columns, int64_t wanted,
                                  uint64_t seed) {
  std::vector<std::string> texts = read_texts(path, columns);
  std::erase_if(texts, [](const std::string& text) { return text.empty(); });
  if (texts.empty()) fail(ErrorKind::kMalformed, path, ": no text to calibrate on");
  const auto most = static_cast<size_t>(wanted);
  CalibrationTexts result;
  result.used = sample_texts(std::move(texts), most + kHeldBack, seed);
  const size_t drawn = result.used.size();
  const size_t used = drawn >= most + std::min<size_t>(kHeldBack, most / 8) ? std::min(most, drawn)
                                                                            : std::max<size_t>(1, drawn - drawn / 8);
  result.held_back.assign(result.used.begin() + static_cast<std::ptrdiff_t>(used), result.used.end());
  result.used.resize(used);
  return result;
}

std::string calibration_note(std::span<const TokenIds> ids, uint64_t seed) {
  Hash64 digest;
  size_t tokens = 0;
  for (const TokenIds& text : ids) {
    tokens += text.size();
    digest.update(text.data(), text.size() * sizeof(int32_t));
  }
  return cat(ids.size(), " texts, ", tokens, " tokens, seed ", seed, ", hash ", hex64(digest.value()));
}

std::vector<Feeds> token_batches(std::span<const TokenIds> ids) {
  std::vector<Feeds> batches;
  for (const auto& [begin, end] : group_texts(ids, 1024))
    batches.push_back(pack_tokens(ids.subspan(begin, end - begin)).feeds);
  return batches;
}

QuantizeReport quantize_model(const QuantizeRequest& request) {
  require_writable(request.output);  // before minutes of work for it
  const Recipe recipe = load_recipe(request.recipe);
  const ImportedModel imported = import_huggingface(request.model);
  QuantizeReport report;
  report.recipe = recipe.name;

  const CalibrationTexts chosen = draw_calibration(
      request.calibration, request.columns, request.sample ? request.sample : recipe.calibration_sample, request.seed);
  const std::vector<std::string>&drawn = chosen.used, &held = chosen.held_back;

  const WordPiece tokenizer = load_tokenizer(imported.assets, request.model, imported.vocabulary);
  const int64_t max_length = request.max_length ? request.max_length : imported.max_length;
  if (max_length < 2 || max_length > imported.max_positions)
    fail(ErrorKind::kUsage, "--max-length must be 2..", imported.max_positions, " for this model, not ", max_length);
  std::vector<TokenIds> ids;
  // Texts that are held back too: what is wrong with one must show before anything is written.
  located(request.calibration, [&] {
    for (const auto& text : held) tokenizer.encode(text, static_cast<int>(max_length));
    for (const auto& text : drawn) {
      WordPiece::Encoded tokens = tokenizer.encode(text, static_cast<int>(max_length));
      report.calibration.cut += tokens.truncated;
      ids.push_back(std::move(tokens.ids));
    }
  });
  const std::vector<Feeds> batches = token_batches(ids);
  for (const auto& text : ids) report.calibration_tokens += static_cast<int64_t>(text.size());
  report.calibration.count = std::ssize(ids);
  report.calibration.max_length = max_length;

  Quantized quantized = located("recipe " + request.recipe, [&] {
    return quantize(imported.graph, imported.symbols, recipe, registry(), batches, {request.threads});
  });
  report.coverage = std::move(quantized.coverage);
  report.warnings = std::move(quantized.warnings);
  report.restructured = std::move(quantized.restructured);
  std::string why;
  if (!is_integer_only(quantized.model, &why)) {
    report.islands = float_islands(quantized.model);
    if (request.require_integer || recipe.require_integer)
      fail(ErrorKind::kContract, "the model is not integer-only: ", why);
  }
  Model& model = quantized.model;
  model.assets = imported.assets;
  model.assets.merge(calibration_assets(quantized.calibration));
  model.metadata = imported.metadata;
  model.metadata["recipe"] = recipe.name;
  model.metadata["recipe.toml"] = recipe.text;
  model.metadata["calibration"] = calibration_note(ids, request.seed);
  model.metadata["max_length"] = std::to_string(max_length);
  save_model(request.output, model);
  report.bytes_before = weight_bytes(request.model);
  report.bytes_after = static_cast<int64_t>(fs::file_size(request.output));

  if (!held.empty()) {
    EncoderOptions options;
    options.session.threads = request.threads;
    const Embeddings integer = open_encoder(request.output, options)->encode(held, "held back, integer");
    options.max_length = max_length;
    const Embeddings real = open_encoder(request.model, options)->encode(held, "held back, float");
    report.held_back = agreement(integer, real);
  }
  return report;
}

}  // namespace dyadic

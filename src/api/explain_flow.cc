#include "api/explain_flow.h"

#include <algorithm>

#include "api/encoder.h"
#include "api/evaluate.h"
#include "base/status.h"
#include "io/datasets/text.h"
#include "io/huggingface/importer.h"
#include "methods/methods.h"
#include "runtime/container.h"

namespace dyadic {
namespace {

std::vector<std::string> chosen_texts(const ExplainRequest& request) {
  std::vector<std::string> texts = read_texts(request.data, request.columns);
  const auto count = static_cast<int64_t>(texts.size());
  const int64_t last = request.last ? std::min(request.last, count) : count;
  if (request.first > last)
    fail(ErrorKind::kUsage, request.data, ": holds ", count, " texts; --rows ", request.first, "-", request.last,
         " chooses none");
  texts = {texts.begin() + (request.first - 1), texts.begin() + last};
  return request.sample ? sample_texts(std::move(texts), static_cast<size_t>(request.sample), request.seed) : texts;
}

}  // namespace

ExplainReport explain_model(const ExplainRequest& request) {
  const auto model = load_model(request.model);
  const Calibration calibration = read_calibration(model->assets, request.model);
  const auto recipe_text = model->metadata.find("recipe.toml");
  if (recipe_text == model->metadata.end())
    fail(ErrorKind::kContract, request.model, ": the file does not hold its recipe; quantize the model again");
  const Recipe recipe = parse_recipe(recipe_text->second, request.model + ": recipe.toml", registry().vocabulary());
  const ImportedModel imported = import_huggingface(request.reference);
  const Relowered again = [&] {
    try {
      return lower_again(imported.graph, imported.symbols, recipe, registry(), calibration);
    } catch (const Error& error) {
      fail(error.kind(), request.reference, ": ", error.what());
    }
  }();

  EncoderOptions options;
  options.session.threads = request.threads;
  const auto encoder = open_encoder(request.model, options);
  options.max_length = encoder->max_length();
  const auto reference = open_encoder(request.reference, options);
  const std::vector<std::string> texts = chosen_texts(request);
  std::vector<TokenIds> ids;
  for (const auto& text : texts) ids.push_back(encoder->tokenize(text));

  ExplainReport report;
  report.texts = static_cast<int64_t>(texts.size());
  for (const auto& text : ids) report.tokens += static_cast<int64_t>(text.size());
  report.agreement = agreement(encoder->encode(texts, "integer"), reference->encode(texts, "float"));
  report.layers = explain_layers(model, again, token_batches(ids), request.threads);
  std::stable_sort(report.layers.begin(), report.layers.end(),
                   [](const LayerLoss& a, const LayerLoss& b) { return a.total > b.total; });
  return report;
}

}  // namespace dyadic

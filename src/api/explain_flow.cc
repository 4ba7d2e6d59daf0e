#include "api/explain_flow.h"

#include <algorithm>

#include "api/encoder.h"
#include "api/evaluate.h"
#include "api/inspect.h"
#include "base/progress.h"
#include "base/status.h"
#include "io/datasets/text.h"
#include "io/huggingface/importer.h"
#include "methods/methods.h"
#include "quantize/repair.h"
#include "runtime/container.h"

namespace dyadic {
namespace {

std::vector<std::string> chosen_texts(const ExplainRequest& request) {
  std::vector<std::string> texts = read_texts(request.data, request.columns);
  std::erase_if(texts, [](const std::string& text) { return text.empty(); });
  const auto count = static_cast<int64_t>(texts.size());
  const int64_t last = request.last ? std::min(request.last, count) : count;
  if (texts.empty()) fail(ErrorKind::kMalformed, request.data, ": no texts");
  if (request.first > last)
    fail(ErrorKind::kUsage, request.data, ": holds ", count, " texts; --rows ", request.first, "-",
         request.last ? std::to_string(request.last) : "", " chooses none");
  texts = {texts.begin() + (request.first - 1), texts.begin() + last};
  return request.sample ? sample_texts(std::move(texts), static_cast<size_t>(request.sample), request.seed) : texts;
}

Recipe with_rules(const Recipe& recipe, const std::string& rules) {
  return parse_recipe(recipe.text + "\n" + rules, "recipe " + recipe.name + " with a repair", registry().vocabulary());
}

double mean_total(const std::vector<LayerLoss>& losses, const std::vector<std::string>& layers) {
  double sum = 0;
  for (const LayerLoss& loss : losses)
    if (std::count(layers.begin(), layers.end(), loss.name)) sum += loss.total;
  return sum / static_cast<double>(std::max<size_t>(1, layers.size()));
}

Embeddings embed(const std::shared_ptr<const Model>& model, const std::vector<Feeds>& batches, int threads) {
  Session session(model, {Backend::kKernels, active_isa(), threads});
  const Value& output = model->main().value(model->main().outputs.at(0));
  const Encoding& e = output.encoding.value();
  Embeddings all;
  for (const Feeds& feeds : batches) {
    const Tensor codes = session.run(feeds).at(output.name);
    all.dim = codes.dims().back();
    for (int64_t i = 0; i < codes.count(); ++i)
      all.values.push_back(static_cast<float>(e.scale[0] * static_cast<double>(codes.at(i) - e.zero_point[0])));
  }
  return all;
}

// Tries repairs: everything that does not change between them.
struct Trial {
  const ImportedModel& imported;
  const Recipe& recipe;
  const Model& stored;
  const std::vector<Feeds>&calibration, &data;
  const Embeddings& expected;
  int threads;

  std::shared_ptr<const Model> model;  // of the last recipe
  Calibration found;

  Agreement quantize_and_measure(const Recipe& tried) {
    Quantized q = quantize(imported.graph, imported.symbols, tried, registry(), calibration, {threads});
    found = std::move(q.calibration);
    q.model.metadata = stored.metadata;
    q.model.metadata["recipe.toml"] = tried.text;
    q.model.assets = calibration_assets(found);
    q.model.assets.insert(stored.assets.begin(), stored.assets.end());
    model = std::make_shared<const Model>(std::move(q.model));
    return agreement(embed(model, data, threads), expected);
  }
};

void try_repairs(const ExplainRequest& request, const std::vector<Repair>& repairs, const Calibration& calibration,
                 Trial& trial, ExplainReport& report) {
  report.baseline = report.agreement;
  int64_t bytes = model_bytes(trial.stored);
  const auto operations = count_operations(trial.stored, 128);
  if (!report.same_calibration) {
    report.baseline = trial.quantize_and_measure(trial.recipe);
    bytes = model_bytes(*trial.model);
  }
  int64_t tried = 0;
  Progress progress("repairs", request.repairs);
  for (const Repair& repair : repairs) {
    if (tried == request.repairs) break;
    const Recipe recipe = with_rules(trial.recipe, repair.rule);
    Suggestion suggestion{repair.what, repair.rule};
    const auto& imported = trial.imported;
    if (const auto why = rehearse(imported.graph, imported.symbols, recipe, registry(), calibration)) {
      suggestion.refused = *why;
      report.suggestions.push_back(std::move(suggestion));
      continue;
    }
    ++tried;
    try {
      suggestion.agreement = trial.quantize_and_measure(recipe);
      suggestion.gain = suggestion.agreement.mean - report.baseline.mean;
      suggestion.bytes = model_bytes(*trial.model) - bytes;
      suggestion.operations = count_operations(*trial.model, 128);
      for (const auto& [kind, count] : operations) suggestion.operations[kind] -= count;
      std::erase_if(suggestion.operations, [](const auto& entry) { return entry.second == 0; });
      const Relowered again = lower_again(imported.graph, imported.symbols, recipe, registry(), trial.found);
      suggestion.local_before = mean_total(report.layers, repair.layers);
      suggestion.local_after = mean_total(explain_layers(trial.model, again, trial.data, trial.threads), repair.layers);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kContract) throw;
      suggestion.refused = error.what();
    }
    report.suggestions.push_back(std::move(suggestion));
    progress.add();
  }
  std::stable_sort(report.suggestions.begin(), report.suggestions.end(), [](const Suggestion& a, const Suggestion& b) {
    return a.refused.empty() != b.refused.empty() ? a.refused.empty() : a.gain > b.gain;
  });
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
  const auto [ids, counts] = encoder->tokenize_all(texts);

  ExplainReport report;
  report.texts = counts;
  for (const auto& text : ids) report.tokens += static_cast<int64_t>(text.size());
  const std::vector<Feeds> batches = token_batches(ids);
  const Embeddings expected = reference->encode(texts, "float");
  report.agreement = agreement(embed(model, batches, request.threads), expected);
  report.layers = explain_layers(model, again, batches, request.threads);
  std::stable_sort(report.layers.begin(), report.layers.end(),
                   [](const LayerLoss& a, const LayerLoss& b) { return a.total > b.total; });
  if (request.calibration.empty() || request.repairs == 0) return report;

  const int64_t wanted = request.calibration_sample ? request.calibration_sample : recipe.calibration_sample;
  const std::vector<TokenIds> used =
      encoder->tokenize_all(draw_calibration(request.calibration, request.columns, wanted, request.seed).used).ids;
  const auto note = model->metadata.find("calibration");
  report.same_calibration = note != model->metadata.end() && note->second == calibration_note(used, request.seed);
  const std::vector<Feeds> calibration_batches = token_batches(used);
  Trial trial{imported, recipe, *model, calibration_batches, batches, expected, request.threads, nullptr, {}};
  try_repairs(request, propose_repairs(report.layers, again, recipe, registry()), calibration, trial, report);
  return report;
}

}  // namespace dyadic

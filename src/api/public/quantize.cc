#include "dyadic/quantize.h"

#include "api/quantize_flow.h"
#include "runtime/public/implementation.h"

namespace dyadic::v1 {

QuantizeReport quantize(const std::string& model_folder, const std::string& calibration_texts,
                        const std::string& output, const QuantizeOptions& options) {
  return translate_errors([&] {
    QuantizeRequest request;
    request.model = model_folder;
    request.recipe = options.recipe;
    request.calibration = calibration_texts;
    request.columns = options.columns;
    request.sample = options.sample;
    request.seed = options.seed;
    request.threads = options.threads;
    request.require_integer = options.require_integer;
    request.max_length = options.max_length;
    request.output = output;
    dyadic::QuantizeReport r = quantize_model(request);
    return QuantizeReport{.recipe = std::move(r.recipe),
                          .warnings = std::move(r.warnings),
                          .islands = std::move(r.islands),
                          .calibration_texts = r.calibration.count,
                          .calibration_tokens = r.calibration_tokens,
                          .bytes_before = r.bytes_before,
                          .bytes_after = r.bytes_after,
                          .held_back_texts = r.held_back.count,
                          .mean_cosine = r.held_back.mean,
                          .min_cosine = r.held_back.min};
  });
}

std::vector<std::string> recipe_names() {
  return translate_errors([] { return dyadic::recipe_names(); });
}

}  // namespace dyadic::v1

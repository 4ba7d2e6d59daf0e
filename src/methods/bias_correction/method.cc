#include "quantize/registry.h"

namespace dyadic {

void register_bias_correction(Registry& registry) {
  registry.add(BiasPart{{"bias-correction",
                         "the mean error of each channel over the calibration texts, taken off its bias layer by layer",
                         "Nagel et al. 2019, arXiv:1906.04721",
                         {}},
                        [](const Part&, double real_mean, double integer_mean) { return real_mean - integer_mean; }});
}

}  // namespace dyadic

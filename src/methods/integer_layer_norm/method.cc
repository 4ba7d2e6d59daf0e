#include <cmath>

#include "quantize/registry.h"

namespace dyadic {

void register_integer_layer_norm(Registry& registry) {
  registry.add(NormPart{{"integer-layer-norm",
                         "one integer square root and one reciprocal a row; beta with 8 extra fraction bits",
                         "I-BERT, arXiv:2101.01321, in an exact form of this project",
                         {}},
                        [](const Part&) { return NormCore(); },
                        [](const Part&, int64_t n) { return std::sqrt(static_cast<double>(n)) / (1 << 20); }});
}

}  // namespace dyadic

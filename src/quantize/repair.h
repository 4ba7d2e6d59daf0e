// Rules that might repair what explain found: candidates to be tried, not promises.
#pragma once
#include <string>
#include <vector>

#include "quantize/explain.h"

namespace dyadic {

struct Repair {
  std::string what;                 // "zero point for the result of encoder/layer.0/intermediate/dense and 3 more"
  std::string rule;                 // [[rule]] lines to put behind the recipe
  std::vector<std::string> layers;  // composites whose loss it is meant to lower
};

// In the order in which they are worth a try. Layers whose names differ in numbers only are one kind; each pair of a
// kind and a cause is repaired at the layers that lose at least a quarter of what the worst of the kind loses, pairs
// with the largest loss first:
//   requantization, clipping   the result's codes: a zero point, another fit, 16 bits
//   approximation              more scale classes; codes inside the composite: the same
//   weight                     another fit of the weights
// and, behind the first pair, corrected biases for all products, where there is a part for them.
std::vector<Repair> propose_repairs(const std::vector<LayerLoss>& losses, const Relowered& reference,
                                    const Recipe& recipe, const Registry& registry);

}  // namespace dyadic

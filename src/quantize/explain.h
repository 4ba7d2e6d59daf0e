// Why an integer model differs from the float network it was made of: each composite's loss, split into its causes.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "graph/model.h"
#include "quantize/quantize.h"

namespace dyadic {

// With F the meaning of a composite (the float function of the real nodes that it replaced), x^ the decoded codes it
// got, w^ its decoded weights, x and w those of the (restructured) float network, A the value of its body before the
// last rounding and y^ its decoded result, all real numbers:
//
//   weight         = F(x^,w^) - F(x^,w)     codes of weights, tables of embeddings and biases
//   approximation  = A - F(x^,w^)           the body's formula, inner roundings, multipliers
//   clipping       = clip(A) - A            the ends of the result's codes
//   requantization = y^ - clip(A)           the last rounding
//   total          = y^ - F(x^,w)           their sum: what this composite adds
//   propagated     = F(x^,w) - F(x,w)       what earlier ones have added
//
// Where a composite has several results, each is divided by the root mean square of its F(x^,w), and energies are means
// over the results.
struct LayerLoss {
  std::string name, composite;
  double total = 0;  // energy of total, in that of F(x^,w)
  // <part, total> / <total, total>: 1 in sum. One may be negative, where parts cancel.
  double weight = 0, approximation = 0, clipping = 0, requantization = 0;
  double propagated = 0;       // energy, in that of F(x^,w)
  double sqnr_db = 0;          // -10 log10(total)
  double cosine = 1;           // between y^ and F(x^,w)
  double cosine_to_float = 1;  // between y^ and F(x,w)
  double residual = 0;         // |sum of the parts - total| / |total|: float arithmetic's own error
};

// One row a composite, in the order of execution. `reference` is what the model was made of (lower_again), `batches`
// feeds of its graph. kContract if the model's composites are not those of the reference; kFailed if a kernel's codes
// are not its body's.
std::vector<LayerLoss> explain_layers(const std::shared_ptr<const Model>& model, const Relowered& reference,
                                      const std::vector<Feeds>& batches, int threads);

}  // namespace dyadic

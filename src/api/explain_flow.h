// `dyadic explain`: where an integer model loses accuracy against its float reference, and why.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "api/encoder.h"
#include "api/quantize_flow.h"
#include "quantize/explain.h"

namespace dyadic {

struct ExplainRequest {
  std::string model;         // a .dyad file
  std::string reference;     // the model folder that it was made of
  std::string data;          // texts to explain on: .txt or .tsv, plain or .zst
  std::vector<int> columns;  // of a .tsv, 1-based
  int64_t first = 1;         // texts first .. last of the file, 1-based
  int64_t last = 0;          // 0: to the end
  int64_t sample = 64;       // of those, as many are drawn; 0: all, in order
  uint64_t seed = 0;
  int threads = 1;
  std::string calibration;         // texts to try repairs on, as `dyadic quantize` draws them; none: no repairs
  int64_t calibration_sample = 0;  // 0: the recipe's number
  int64_t repairs = 8;             // that are tried, at most 8
};

// A repair that was tried: the recipe with `rule` behind it, quantized on the calibration texts and measured on the
// data.
struct Suggestion {
  std::string what, rule;
  double gain = 0;  // of the mean cosine to the reference
  Agreement agreement;
  double local_before = 0, local_after = 0;   // mean total of the layers that it was meant for
  int64_t bytes = 0;                          // of the file, more
  std::map<std::string, int64_t> operations;  // of a sequence of 128 tokens, more: count_operations()
  std::string refused;                        // why the recipe could not be quantized
};

struct ExplainReport {
  TextCounts texts;
  int64_t tokens = 0;
  std::vector<LayerLoss> layers;        // largest total first
  Agreement agreement;                  // of the whole model with its reference on the same texts
  Agreement baseline;                   // of what the repairs are compared with: the recipe without them on --calib
  bool same_calibration = true;         // baseline is the model itself
  std::vector<Suggestion> suggestions;  // largest gain first
};

// kContract if the file does not hold what calibration found, or if the reference is not the model that it was made of.
ExplainReport explain_model(const ExplainRequest& request);

}  // namespace dyadic

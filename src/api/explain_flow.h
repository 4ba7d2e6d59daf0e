// `dyadic explain`: where an integer model loses accuracy against its float reference, and why.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

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
};

struct ExplainReport {
  int64_t texts = 0, tokens = 0;
  std::vector<LayerLoss> layers;  // largest total first
  Agreement agreement;            // of the whole model with its reference on the same texts
};

// kContract if the file does not hold what calibration found, or if the reference is not the model that it was made of.
ExplainReport explain_model(const ExplainRequest& request);

}  // namespace dyadic

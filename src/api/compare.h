// `dyadic compare`: one model by several recipes, the same calibration, data and seed for all, as one table.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/evaluate.h"
#include "api/quantize_flow.h"

namespace dyadic {

struct CompareRequest {
  std::string model;  // a float model folder: what is quantized and what embeddings are compared with
  std::vector<std::string> recipes;
  std::string task = "sts", data;  // as EvaluateRequest
  std::string calibration;
  std::vector<int> columns;  // of calibration texts, and of data for task "cosine", where they are .tsv
  int64_t sample = 0;        // calibration texts; 0: each recipe's own number
  uint64_t seed = 0;
  int threads = 1;
  std::string work;     // a folder that keeps each recipe's model and row; empty: nothing is kept
  bool resume = false;  // take rows of the same model, recipe, calibration, data and seed from `work`
};

struct CompareRow {
  std::string recipe, digest;
  std::string error;  // why there is no model: a contract that the recipe does not meet; the rest is then empty
  std::vector<std::string> islands;
  int64_t bytes = 0;  // of the file
  Agreement cosine;   // to the float embeddings
  // Task "sts": of cosine similarities and scores. Task "cosine": of all pairs' similarities in the two models.
  std::optional<double> spearman;
  double texts_per_second = 0;
  bool resumed = false;
};

struct CompareReport {
  std::string task;
  TextCounts texts;                      // unique ones
  int64_t float_bytes = 0;               // of the model folder's weights
  std::optional<double> float_spearman;  // task "sts"
  std::vector<CompareRow> rows;
};

// In the order of request.recipes. Every recipe is read before the first is tried: kUsage or kMalformed if one cannot
// be. Each finished row is kept at once, so that an interrupted call (kInterrupted) goes on where it stopped.
CompareReport compare_recipes(const CompareRequest& request);

}  // namespace dyadic

// `dyadic quantize`: a model folder, a recipe and calibration texts in; a .dyad file and a report out.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "api/encoder.h"
#include "quantize/quantize.h"

namespace dyadic {

struct QuantizeRequest {
  std::string model;               // a model folder
  std::string recipe = "default";  // the name of a recipe that ships with Dyadic, or a file
  std::string calibration;         // .txt or .tsv, plain or .zst
  std::vector<int> columns;        // of a .tsv, 1-based
  int64_t sample = 0;              // texts; 0: the recipe's number
  uint64_t seed = 0;
  int threads = 1;
  bool require_integer = false;
  int64_t max_length = 0;  // truncation written into the file; 0: the model's own
  std::string output;
};

struct Agreement {
  int64_t count = 0;
  double mean = 0, p01 = 0, min = 0;  // cosine between integer and float embeddings
};

struct QuantizeReport {
  std::string recipe;
  std::vector<CoverageRow> coverage;
  std::vector<std::string> warnings, restructured, islands;
  TextCounts calibration;
  int64_t calibration_tokens = 0;
  int64_t bytes_before = 0, bytes_after = 0;  // of the model folder's weights, of the .dyad file
  Agreement held_back;                        // on calibration texts that were not calibrated on
};

QuantizeReport quantize_model(const QuantizeRequest& request);

// Drawn by `seed`: `used` to calibrate on (`wanted`, or fewer), and up to 256 others that measure agreement; with too
// few texts the last eighth of them. kMalformed if there is none.
struct CalibrationTexts {
  std::vector<std::string> used, held_back;
};
CalibrationTexts draw_calibration(const std::string& path, const std::vector<int>& columns, int64_t wanted,
                                  uint64_t seed);
// What a file says of the texts that it was calibrated on: numbers of texts and tokens, seed, hash of the tokens.
std::string calibration_note(std::span<const std::vector<int32_t>> ids, uint64_t seed);
// Tokenized texts in order, as feeds of at most about a thousand tokens.
std::vector<Feeds> token_batches(std::span<const std::vector<int32_t>> ids);
// Bytes of a model folder's weights (*.safetensors).
int64_t weight_bytes(const std::string& dir);

// The text of a recipe by name or path; kUsage listing the names that ship if there is none.
Recipe load_recipe(const std::string& name_or_path);
// The file that it reads.
std::string recipe_path(const std::string& name_or_path);
std::vector<std::string> recipe_names();
// Every part a recipe may use, with the question it answers.
std::vector<std::pair<std::string, PartInfo>> list_parts();

}  // namespace dyadic

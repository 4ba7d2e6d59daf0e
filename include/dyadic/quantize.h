// Turns a float model into an integer one: what `dyadic quantize` does. In libdyadic.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <dyadic/error.h>

namespace dyadic::v1 {

struct QuantizeOptions {
  std::string recipe = "default";  // one of recipe_names(), or the path of a .toml file
  std::vector<int> columns;        // of a .tsv of calibration texts, counted from 1
  int64_t sample = 0;              // texts to calibrate on; 0: the recipe's number
  uint64_t seed = 0;               // of the draw
  int threads = 1;                 // 1..1024
  int64_t max_length = 0;          // tokens a text is cut to, written into the file; 0: the model's own
  bool require_integer = false;    // kContract unless the result computes with integers only
};

struct QuantizeReport {
  std::string recipe;                 // its name
  std::vector<std::string> warnings;  // e.g. rules that match nothing
  std::vector<std::string> islands;   // what still computes in float; empty: integer-only
  int64_t calibration_texts = 0, calibration_tokens = 0;
  int64_t bytes_before = 0, bytes_after = 0;  // of the folder's weights, of the .dyad file
  // Cosine between integer and float embeddings of texts that were not calibrated on.
  int64_t held_back_texts = 0;
  double mean_cosine = 0, min_cosine = 0;  // 0 without such texts
};

// Reads a model folder and calibration texts (.txt, one a line, or .tsv; plain or .zst), writes `output` (a .dyad
// file), which is replaced as a whole or not at all. The same arguments give the same bytes.
QuantizeReport quantize(const std::string& model_folder, const std::string& calibration_texts,
                        const std::string& output, const QuantizeOptions& options = {});

// Names of the recipes in $DYADIC_RECIPES, else share/dyadic/recipes beside the program's folder, else where Dyadic was
// built or installed (CMake: ${dyadic_RECIPES_DIR}).
std::vector<std::string> recipe_names();

}  // namespace dyadic::v1

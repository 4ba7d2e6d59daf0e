// `dyadic export c`: a .dyad file as a folder of C99.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "api/encoder.h"
#include "export/c/export_c.h"

namespace dyadic {

struct ExportRequest {
  std::string model;   // a .dyad file
  std::string output;  // the folder to make
  std::string prefix = "model";
  int64_t max_length = 0;  // tokens a text, special tokens included; 0: what the model was made for
  CWeights weights = CWeights::kAuto;
  std::string texts;  // a text file whose lines become test vectors; empty: random tokens by `seed`
  uint64_t seed = 0;
  bool force = false;  // replace whatever the folder holds
};

struct ExportReport {
  std::map<std::string, int64_t> files;  // bytes by name
  int64_t max_length = 0, arena_bytes = 0, weight_bytes = 0;
  int64_t layers = 0, bodies = 0, source_lines = 0;
  TextCounts texts;  // of the test vectors; none is cut where they are random
};

// The folder appears complete or not at all. kUsage if it holds anything that an export did not write (unless `force`);
// kContract, naming the layer, for a model that C cannot express.
ExportReport export_c_folder(const ExportRequest& request);

// Writes files into a new folder beside `path`, which then takes its place. Whatever `path` was is removed.
void replace_folder(const std::string& path, const std::map<std::string, std::string>& files);

}  // namespace dyadic

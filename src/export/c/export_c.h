// A model as a C99 program: no float, no allocation, no library beyond <stdint.h> and <string.h>, static memory.
//
// One text at a time. The main graph's inputs are i32 [T], one number a token, and i32 [B], one a text: `position` (0,
// 1,
// ..), `type` (0), `start` (0) and `length` are made by the program; the one that remains, e.g. `token`, is what
// callers pass.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/model.h"

namespace dyadic {

enum class CWeights {
  kAuto,    // arrays up to 4 MB, binary above
  kArrays,  // C arrays: portable to any byte order, slow to compile when large
  kBinary,  // one little-endian file that the caller loads or links
};

// Texts with what the model must give, compiled into the exported test program.
struct CTestVectors {
  std::vector<std::vector<int32_t>> texts;  // at least one
  std::vector<int64_t> expected;            // codes of the output, text after text
  std::vector<uint64_t> layer_hashes;       // one a composite, over all texts, as `dyadic verify` hashes
};

struct CExportOptions {
  std::string prefix = "model";  // of every external symbol and file; lower-case letters, digits, _
  int64_t max_length = 0;        // tokens a text; the static memory is planned for it
  CWeights weights = CWeights::kAuto;
};

struct CExport {
  std::map<std::string, std::string> files;  // by name: text or bytes
  int64_t arena_bytes = 0, weight_bytes = 0;
  int64_t bodies = 0, layers = 0, source_lines = 0;  // lines of the model's own source without weights
};

// kContract naming the layer or input for what C cannot express: real numbers, scan, inputs that are no text. kUsage
// for a prefix that is no name or a max_length outside the proof.
CExport export_c(const Model& model, const CExportOptions& options, const CTestVectors& vectors);
// Throws what export_c would, without test vectors.
void check_exportable(const Model& model, const CExportOptions& options);

}  // namespace dyadic

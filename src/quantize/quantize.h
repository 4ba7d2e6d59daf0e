// Post-training quantization: a real graph, a recipe and calibration data in; a model of integer composites out.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "graph/model.h"
#include "quantize/calibration.h"
#include "quantize/lowering.h"
#include "quantize/recipe.h"
#include "quantize/registry.h"

namespace dyadic {

struct QuantizeOptions {
  int threads = 1;
};

// What became of each node of the imported graph.
struct CoverageRow {
  std::string node, op;
  std::string composite;  // the name of the composite that replaced it; empty: no integer lowering
  bool island = false;    // that composite computes in float, as the recipe says
};

struct Quantized {
  Model model;
  Calibration calibration;
  std::vector<CoverageRow> coverage;
  std::vector<std::string> warnings;      // rules that matched nothing, restructuring that did not apply
  std::vector<std::string> restructured;  // "scale-migration at encoder/layer.0/output/LayerNorm"
};

// The real graph after the recipe's restructuring; its float function is unchanged up to float rounding.
// `ranges` are those of restructuring's input (channel_ranges).
Graph restructure(Graph real, const Recipe& recipe, const Registry& registry,
                  const std::map<std::string, ChannelRange>& ranges, std::vector<std::string>* applied,
                  std::vector<std::string>* warnings);

using Feeds = std::map<std::string, Tensor>;

// Smallest and largest value of every channel of every computed f32 Value, by the Value's name.
std::map<std::string, ChannelRange> channel_ranges(const Graph& real, const std::vector<Feeds>& calibration,
                                                   int threads);

// Import -> statistics -> restructure -> statistics -> partition -> assign -> lower -> verify and prove. `calibration`
// holds at least one batch of feeds of the real graph. kContract, naming the node and what the recipe lacks, if
// something has no integer lowering; the returned model is verified and its ranges are proved.
Quantized quantize(const Graph& real, const Symbols& symbols, const Recipe& recipe, const Registry& registry,
                   const std::vector<Feeds>& calibration, const QuantizeOptions& options = {});

// The same without texts: from what they once decided, with the provenance of every parameter. Nothing is proved. What
// a part computes from calibration codes (a corrected bias) is left out of the model's parameters. kContract if the
// calibration belongs to another graph or recipe.
struct Relowered {
  Graph real;  // after restructuring
  Partition parts;
  Model model;
  Provenance provenance;
};
Relowered lower_again(const Graph& source, const Symbols& symbols, const Recipe& recipe, const Registry& registry,
                      const Calibration& calibration);

// Why a recipe that differs a little from the calibrated one would be refused, or nothing: a rehearsal of lowering with
// encodings near the calibrated ones, at a fraction of quantize()'s cost.
std::optional<std::string> rehearse(const Graph& source, const Symbols& symbols, const Recipe& recipe,
                                    const Registry& registry, const Calibration& calibration);

}  // namespace dyadic

// What the calibration texts decided, kept in the .dyad file: with the source graph and the recipe it makes the same
// model again, so that losses can be explained later without the texts.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "quantize/registry.h"
#include "tensor/tensor.h"

namespace dyadic {

struct Calibration {
  // The encoding of one wish, without what the recipe's answer says.
  struct Edge {
    std::string value;  // of the real graph
    std::vector<double> scale;
    std::vector<int64_t> zero_point;
    bool operator==(const Edge&) const = default;
  };
  std::string source;                          // graph_digest() of the graph that was quantized
  std::map<std::string, ChannelRange> ranges;  // that restructuring read, by Value
  std::vector<Edge> edges;                     // of the distinct wishes, in the order of partition
};

// 16 hexadecimal digits of a hash over all nodes and constants.
std::string graph_digest(const Graph& graph);

// As files that travel in a .dyad: calibration.json, and calibration.f32 with the ranges (f32, little-endian: for each
// Value its lows, then its highs).
std::map<std::string, Tensor> calibration_assets(const Calibration& calibration);
// kContract if the files are missing, kMalformed naming `where` and the key if they are damaged.
Calibration read_calibration(const std::map<std::string, Tensor>& assets, const std::string& where);

}  // namespace dyadic

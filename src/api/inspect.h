// `dyadic inspect`: what is in a model, and what it costs.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/model.h"

namespace dyadic {

struct EdgeInfo {
  std::string name, type, shape;
  int bits = 0;
  double scale = 0;  // of a per-tensor encoding
  std::string producer;
};

struct CompositeInfo {
  std::string name, composite, body;
  int64_t macs = 0;      // for one sequence of `length` tokens
  std::string operands;  // "8x8"
  int64_t parameter_bytes = 0;
  std::vector<double> bound;  // per output, in steps of its encoding
};

// A parameter of two axes or more of 8-bit codes: a weight, a table.
struct ConstantInfo {
  std::string name, type, shape;
  int64_t bytes = 0;
  int distinct = 0;      // how many different codes occur
  Interval range{0, 0};  // the smallest and the largest of them
};

struct Inspection {
  std::string kind;  // "float", "integer", or "mixed": integer with float islands
  int64_t length = 128, parameters = 0;
  int64_t file_bytes = 0, table_bytes = 0, total_macs = 0;
  std::map<std::string, double> macs;  // operand widths "8x8" -> share
  std::vector<std::string> islands, lemmas;
  std::vector<EdgeInfo> edges;
  std::vector<CompositeInfo> composites;
  std::vector<ConstantInfo> constants;
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::string> bodies;  // key -> text form
};

// Of a .dyad file or a model folder; MACs for one sequence of `length` tokens.
Inspection inspect_model(const std::string& path, int64_t length = 128);

// Multiply-accumulates of one composite under these bindings, by operand widths.
std::map<std::string, int64_t> count_macs(const Body& body, const Bindings& bindings);

// Operations of a whole model for one sequence of `length` tokens: "mac 8x8" by operand widths, "multiply" (mul,
// mul_shift, div), "lookup", and "other" for every further element that is computed (additions, shifts, comparisons).
std::map<std::string, int64_t> count_operations(const Model& model, int64_t length);
// Bytes of the model's file, without what aligns its tensors.
int64_t model_bytes(const Model& model);

}  // namespace dyadic

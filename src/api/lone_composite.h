// One composite of a model as a model of its own, and inputs that go to the ends of what is proved of it.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/model.h"
#include "graph/ranges.h"

namespace dyadic {

using Feeds = std::map<std::string, Tensor>;

// Its main graph has the one node; data inputs keep their names of the whole model.
struct LoneComposite {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const std::vector<Ranges>> proof;  // of that node

  const Node& node() const { return model->main().nodes[0]; }
  const Body& body() const { return model->body(node()); }
  const Ranges& ranges() const { return proof->at(0); }
};

// `ranges` is the node's proof within `model`.
LoneComposite isolate(const Model& model, const Node& node, const Ranges& ranges);

// The same composite with another constant at one of its inputs, proved for the same data. kContract if it cannot be.
LoneComposite with_parameter(const LoneComposite& composite, size_t input, Tensor parameter);

// What a data input is to its body.
enum class InputRole : uint8_t { kCodes, kIndex, kStart, kLength };
struct DataInput {
  size_t input = 0;  // of the node
  InputRole role = InputRole::kCodes;
  Interval range{0, 0};            // proved
  std::vector<Interval> channels;  // one an index of the last axis, or empty
};
std::vector<DataInput> data_inputs(const LoneComposite& composite);

// How random codes are spread inside their interval.
enum class CodeSpread : uint8_t { kUniform, kEnds, kSparse, kSmall, kSpikes, kMixed };
inline constexpr CodeSpread kCodeSpreads[] = {CodeSpread::kUniform, CodeSpread::kEnds,   CodeSpread::kSparse,
                                              CodeSpread::kSmall,   CodeSpread::kSpikes, CodeSpread::kMixed};

// A table row that an index input is to select everywhere, so that one row is met with many rows of other tables.
struct PinnedIndex {
  size_t input = SIZE_MAX;
  int64_t index = 0;
};

// `rows` random rows of proved codes; sequences of 0 to 31 rows with gaps between them, not in order; indices anywhere.
Feeds random_feeds(const LoneComposite& composite, int64_t rows, CodeSpread spread, uint64_t seed,
                   PinnedIndex pinned = {});

// Every code at its minimum, at its maximum, at both in turns; each CodeSpread; indices over their whole tables.
std::vector<Feeds> extreme_feeds(const LoneComposite& composite, uint64_t seed);

// The number of rows that a composite computes on these feeds: of its first output.
int64_t row_count(const LoneComposite& composite, const Feeds& feeds);

}  // namespace dyadic

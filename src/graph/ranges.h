// The range pass: proves from the actual constants that no operation of a body can overflow, or refuses the body.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "graph/graph.h"
#include "graph/model.h"

namespace dyadic {

// What is known of one input of a body: a constant (its actual values) or an interval, and one an index of its last
// axis if they differ.
struct KnownInput {
  Tensor constant;
  Interval range{0, 0};
  std::vector<Interval> channels;
};

struct Ranges {
  std::vector<Interval> values;  // by ValueId: the hull of every element
  // By ValueId, for Values whose last axis is static and whose channels differ: one interval an index of the last axis.
  std::map<ValueId, std::vector<Interval>> channels;
  std::vector<std::string> lemmas;  // of the facts that narrowed something, sorted, unique
};

// `maxima` bounds every symbol, which is at least 1. What compares a Value with a symbolic size (an index, a start) is
// proved for all sizes, everything else at the maxima. kContract naming the node, its operands' ranges and the type
// that does not hold them.
Ranges prove_ranges(const Graph& body, std::span<const KnownInput> inputs, const Bindings& maxima);

// The same of one composite of a model's main graph, with the model's symbols; `inputs` in the node's order. kContract
// naming the composite too.
Ranges prove_composite(const Model& model, const Node& composite, std::span<const KnownInput> inputs);

// Proves every composite of a model's main graph in order, each body's inputs taking its producer's output ranges;
// returns the proof of each node. This is the model's overflow proof.
std::vector<Ranges> prove_model(const Model& model);
// Tells of each proof, in the order of nodes, as soon as it is made.
void prove_model(const Model& model, FunctionRef<void(Ranges)> proved);

// The narrowest of i8, u8, i16, u16, i32, i64 that holds an interval.
DataType narrowest(Interval range);

}  // namespace dyadic

// Core passes: graph in, graph out, the same integers.
#pragma once
#include "graph/graph.h"
#include "graph/ranges.h"

namespace dyadic {

// Evaluates nodes all of whose operands are constants.
Graph fold_constants(Graph body);
// Replaces every maximal sub-graph of one non-constant i8 or u8 operand (at most 256 inputs) by one lookup in a table
// made by the evaluator, where the chain has at least two nodes. The result has the same integers on every input.
Graph tabulate(Graph body);

}  // namespace dyadic

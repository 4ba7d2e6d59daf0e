// Bodies that also show their outputs before the last rounding.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace dyadic {

// Fraction bits of an unrounded output.
inline constexpr int kUnroundedBits = 20;

// The body with one i64 output more for each of its outputs, behind them and in their order: the output before its
// last rounding and unclipped, in units of 2^-kUnroundedBits of its code. Any body will do: from the output, casts,
// clamps that hold all `codes` of that output, sums and movement are followed back to the nearest mul_shift, shr or
// div, which is taken exactly. Where a table stands there, `tables` holds its entries before they were rounded, by the
// name of the body's input; without them, as with any other operation, the output is what the body computes and no
// rounding is seen.
Graph with_unrounded_outputs(const Graph& body, const std::vector<Interval>& codes,
                             const std::map<std::string, std::vector<double>>& tables);

}  // namespace dyadic

// Along which symbol a body can run block by block.
#pragma once
#include <string>
#include <vector>

#include "graph/graph.h"

namespace dyadic::tile {

// The axis whose blocks are contiguous in memory: the first that is not 1, if `symbol` is a factor of it once and of no
// other axis; else -1.
int major_axis(const Shape& shape, const std::string& symbol);
bool is_free(const Shape& shape, const std::string& symbol);  // no axis depends on it

// A node is local along a symbol if each block of its results, along their major axes, depends only on the same block
// of those operands that have the symbol.
bool is_local(const Graph& graph, const Node& node, const std::string& symbol);

// The symbol along which most nodes are local; empty if none is.
std::string block_symbol(const Graph& graph);

}  // namespace dyadic::tile

// Structural checks of a graph: every check that can be made without running it.
#pragma once
#include "graph/graph.h"
#include "graph/model.h"

namespace dyadic {

// A body: only core operations with their attributes, one definition before each use, results as infer_core_op says,
// facts inside their types, unique names, no real types outside quantize / dequantize. The body of a float island
// (graph/island.h) holds operators of the real dialect between its edges. kContract naming graph, node and value.
void verify_body(const Graph& body);
// A model: every body verified, its key its hash; every composite's inputs and outputs match its body's types and
// shapes under one binding of static dimensions; parameters constant; symbols declared; nothing undefined. kMalformed
// or kContract with names.
void verify_model(const Model& model);
// True if no node of any body or graph touches real numbers except quantize / dequantize at the edges; `why` names
// every float island, else the first such node.
bool is_integer_only(const Model& model, std::string* why = nullptr);

}  // namespace dyadic

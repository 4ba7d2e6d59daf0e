// Prints a body as C99: only <stdint.h> and <string.h>, no float, one function a body, element-wise chains fused into
// one loop per row. The core of `export c` and of generated kernels.
#pragma once
#include <string>

#include "graph/graph.h"
#include "graph/ranges.h"

namespace dyadic {

struct CFunction {
  std::string name;     // the C symbol
  std::string prelude;  // helper definitions (dyadic_shr, ..), the same for every function: print once a file
  std::string code;     // the function's definition
  // Its parameters: pointers to the inputs then to the outputs in graph order, then one int64_t a symbol (sorted by
  // name), then `void* scratch` of at least scratch_bytes(bindings) bytes.
};

// `ranges` (from prove_ranges on the same graph) lets the printer narrow temporaries.
CFunction print_c(const Graph& body, const Ranges& ranges, const std::string& symbol);

}  // namespace dyadic

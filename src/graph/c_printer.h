// Prints a body as C99: only <stdint.h> and <string.h>, no float, one function a body, element-wise chains fused into
// one loop per row. The core of `export c` and of generated kernels.
#pragma once
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/ranges.h"

namespace dyadic {

struct CFunction {
  std::string name;     // the C symbol
  std::string prelude;  // helper definitions (dyadic_shr, ..), the same for every function: print once a file
  std::string code;     // the function's definition
  // Its parameters: pointers to the inputs then to the outputs in graph order, then one int64_t a symbol, then
  // `void* scratch`, 64-byte aligned, of at least scratch_bytes(bindings) bytes. Pointers are restrict.
  std::vector<std::string> symbols;          // sorted
  std::vector<std::pair<Dim, int>> scratch;  // what lies in scratch: count and bytes of an element
  int64_t scratch_bytes(const Bindings& bindings) const;
};

// `ranges` (from prove_ranges on the same graph) lets the printer narrow temporaries. The code does not check indices
// or facts. kContract naming the node for operations that touch real numbers and for scan.
CFunction print_c(const Graph& body, const Ranges& ranges, const std::string& symbol);

// An identifier of C close to `wish` that is no keyword, no name of <stdint.h> or <string.h>, none that printed
// functions use themselves, and not in `taken`, where it is entered.
std::string c_identifier(const std::string& wish, std::set<std::string>& taken);

}  // namespace dyadic

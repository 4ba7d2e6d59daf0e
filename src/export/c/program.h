// What an exported program consists of, before it is written: functions, names, static memory, weights.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "export/c/export_c.h"
#include "graph/c_printer.h"

namespace dyadic::export_c_detail {

// What a symbol is while one text is computed.
enum class Extent : uint8_t { kOne, kLength };

// An input of the main graph.
struct CInput {
  enum class Source : uint8_t { kCaller, kPosition, kZero, kLength };
  Source source = Source::kCaller;
  ValueId value = -1;
  Interval range{0, 0};  // what the model promises to take
};

struct CLayer {
  const Node* node = nullptr;
  std::string name;     // of the C function
  size_t function = 0;  // into CProgram::functions
  int scratch = 0;      // a slot
};

struct CWeight {
  std::string name;  // of the C array
  Tensor tensor;
  int64_t offset = 0;  // into the binary file
};

struct CFunctionUse {
  CFunction function;
  std::string body;  // its key
  const Graph* graph = nullptr;
  int64_t layers = 0;
};

// A number of bytes that depends on the text's length: the sum of whole cache lines for each count of elements of a
// size. Either one value's or the scratch of a function.
struct CBytes {
  std::vector<std::pair<Dim, int>> parts;
  int function = -1;  // into CProgram::functions
};

// A place in the arena that buffers with disjoint lifetimes share. It begins behind every buffer that lives beside one
// of its own and lies below.
struct CSlot {
  std::vector<std::pair<int, CBytes>> behind;
};

struct CProgram {
  std::map<std::string, Extent> symbols;
  std::vector<CInput> inputs;
  std::vector<CFunctionUse> functions;
  std::vector<CLayer> layers;
  std::vector<CWeight> weights;
  std::map<ValueId, size_t> weight_of;
  std::vector<CSlot> slots;  // in the order of their offsets; the last one is the arena's end
  std::map<ValueId, int> slot_of;
  int64_t arena_bytes = 0, weight_bytes = 0;

  // How often the text's length is a factor of a dimension: it is dim.factor * length ^ power.
  int64_t power(const Dim& dim) const;
  // "384 * length"
  std::string extent(const Dim& dim, const std::string& length) const;
};

// `taken`: identifiers that the program's functions and arrays must not have.
CProgram plan_program(const Model& model, const CExportOptions& options, std::set<std::string> taken);

}  // namespace dyadic::export_c_detail

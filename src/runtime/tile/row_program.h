// One row stage as linear bytecode over registers that stay in the L1 cache.
#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "graph/ranges.h"
#include "graph/stages.h"
#include "runtime/tile/tile_ops.h"

namespace dyadic::tile {

// Where the Values of a body lie while a stage runs, by ValueId; storage types are fixed when the program is compiled.
struct Frame {
  Bindings bindings;
  std::vector<Dims> dims;
  std::vector<std::byte*> data;
};

// An operand or result of an instruction.
struct Operand {
  enum class Kind : uint8_t { kNone, kRegister, kMemory } kind = Kind::kNone;
  int index = 0;
  bool scalar = false;  // one number a row, in an instruction over whole rows
};

// A Value outside the stage's registers: an operand, a converted constant, or a result.
struct Memory {
  ValueId value = -1;
  DataType type = DataType::kI32;
  Tensor constant;        // defined(): converted when the program was compiled; else the frame's data
  bool row = false;       // one number a row
  bool table = false;     // [.., columns or 1, K]: read as a whole by lookup and bucketize
  bool squeezed = false;  // [lead..] without a last axis
};

struct Register {
  DataType lane = DataType::kI32;
  bool row = false;  // one lane a row instead of a row's width
};

struct Instruction {
  LoopKey key{};
  Loop loop = nullptr;
  bool row = false;  // works on one number a row
  Operand dst[2], src[4];
  // As in Op, but for tables that differ by column 1 in place of their length, which may be symbolic.
  std::array<int64_t, 3> constants{};
  int node = -1;
  bool check_index = false;  // kLookup whose index is not proven to lie in the table
  // kLookupBytes: columns [begin, next begin) read the table at this offset; empty: all read that at 0.
  struct Segment {
    int64_t begin, offset;
  };
  std::vector<Segment> segments;
};

class RowProgram {
 public:
  // `storage` is the type of each Value in memory; `stored` says which results must be written there.
  RowProgram(const Graph& graph, const Ranges& ranges, const Stage& stage, std::span<const DataType> storage,
             const std::vector<bool>& stored, Isa isa);

  int64_t rows(const Bindings& bindings) const;
  // Bytes of registers that run() needs, not decreasing in any symbol.
  size_t register_bytes(const Bindings& bindings) const;
  // Computes rows [begin, end); `registers` is 64-byte aligned.
  void run(const Frame& frame, int64_t begin, int64_t end, std::byte* registers) const;

  std::string describe(const Graph& graph) const;

 private:
  friend class RowCompiler;
  struct Bound;
  Bound bind(const Frame& frame, std::byte* registers) const;
  void run_block(Bound& bound, std::span<const int64_t> offsets, int64_t rows) const;
  void run_segments(const Instruction& instruction, const Call& call, int64_t column) const;
  void check_index(const Call& call, int64_t length, size_t instruction) const;

  std::string name_;
  std::vector<std::string> node_names_;  // by instruction, for errors
  Shape lead_;
  Dim width_ = 1;
  bool has_reduction_ = false;
  std::vector<Instruction> instructions_;
  std::vector<Register> registers_;
  std::vector<Memory> memories_;
};

}  // namespace dyadic::tile

// One dot of a body: operands brought to [batch, rows, K] in a storage type that a dot kernel takes.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "graph/ranges.h"
#include "kernels/dot/panels.h"
#include "runtime/tile/row_program.h"

namespace dyadic::tile {

class DotStage {
 public:
  // Constant operands are laid out here, once; a constant second operand without batch becomes panels of the fastest
  // product that `isa` has.
  DotStage(const Graph& graph, const Ranges& ranges, const Node& node, std::span<const DataType> storage, Isa isa);

  // Bytes of scratch for operands that run() has to lay out; not decreasing in any symbol.
  size_t scratch_bytes(const Graph& graph, const Bindings& bindings) const;
  void run(const Frame& frame, std::byte* scratch) const;
  std::string describe() const;

 private:
  struct Side {
    ValueId value;
    DataType type;                           // in memory
    std::vector<int> batch, free, contract;  // axes
    DataType packed_type;                    // that the kernel reads
    bool in_place = true;                    // memory is [batch, free, contract] of packed_type already
    Tensor packed;                           // of a constant
  };
  const std::byte* lay_out(const Side& side, const Frame& frame, std::byte*& scratch) const;

  Side sides_[2];
  std::optional<Panels> panels_;  // of the second operand
  ValueId result_;
  DataType result_type_;
};

}  // namespace dyadic::tile

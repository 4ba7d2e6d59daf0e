// How a body is cut into stages: what a tile program executes and the C printer prints, one after the other.
//
// Element-wise operations and reductions along the last axis are gathered into row stages, in which a row is computed
// from beginning to end before (or in parallel with) the next; dots and movements are stages of their own; a reshape is
// another view of the same memory.
#pragma once
#include <functional>
#include <vector>

#include "graph/core_ops.h"
#include "graph/graph.h"

namespace dyadic {

struct Stage {
  enum class Form : uint8_t { kRows, kDot, kMove };
  Form form = Form::kRows;
  int level = 0;
  std::vector<int> nodes;  // indices into graph.nodes in topological order; one of kDot and kMove
  // kRows: results are [lead.., width], or [lead.., 1] or [lead..] with one element a row.
  Shape lead;
  Dim width = 1;
};

// The core operation of a body's node; kContract naming the node if there is none.
CoreOp core_op(const Node& node);
// Each element of the result depends on one element of each operand (of the table of lookup and bucketize: on one row).
bool is_elementwise(CoreOp op);
// dot(a, b) -> [lead..] of two [lead.., n] along the last axis: one number a row.
bool is_row_dot(const Graph& graph, const Node& node);
// reduce over the last axis alone.
bool is_row_reduce(const Graph& graph, const Node& node);
// A node with constant operands only (or iota) and static results.
bool is_static(const Graph& graph, const Node& node);

// The stages of a body in an order of execution; nodes without consumers that are no outputs are left out, and so are
// nodes whose results are constants (Value::constant set by folding). A reshape belongs to a row stage only between
// [lead..] and [lead.., 1]; elsewhere it belongs to no stage. Stages are ordered by `level` of their nodes (0 if not
// given), which must not decrease from a node to its consumers; a row stage holds nodes of one level.
std::vector<Stage> form_stages(const Graph& graph, const std::function<int(int node)>& level = {});

// What a staged body needs in memory.
struct Residence {
  std::vector<int> stage;     // by node, -1 if in none
  std::vector<ValueId> root;  // by ValueId: the Value whose memory it shares, through reshapes outside row stages
  std::vector<bool>
      in_memory;  // by ValueId of a root: what a stage must write because another one, or a caller, reads it
};
Residence find_residence(const Graph& graph, const std::vector<Stage>& stages);

// mul_shift whose product and rounding addend fit 32 bits, as do its operands, so that 32-bit arithmetic is exact.
bool fits_mul_shift_32(const Node& node, const std::vector<Interval>& ranges);

}  // namespace dyadic

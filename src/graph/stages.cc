#include "graph/stages.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/fixed_point.h"
#include "base/status.h"

namespace dyadic {
namespace {

struct RowSpace {
  Shape lead;
  Dim width;
};

RowSpace split_last(const Shape& shape) {
  if (shape.empty()) return {{}, 1};
  return {Shape(shape.begin(), shape.end() - 1), shape.back()};
}

int64_t normalized_axis(int64_t axis, const Shape& shape) {
  return axis < 0 ? axis + static_cast<int64_t>(shape.size()) : axis;
}

// The rows a node works on, if it is one of a row stage.
std::optional<RowSpace> row_space(const Graph& graph, const Node& node) {
  if (is_row_dot(graph, node) || is_row_reduce(graph, node)) return split_last(graph.value(node.inputs[0]).shape);
  if (is_elementwise(core_op(node))) return split_last(graph.value(node.outputs[0]).shape);
  return std::nullopt;
}

// Operands that a node reads as whole tables: they must lie in memory before its stage begins.
bool is_table_operand(CoreOp op, size_t operand) {
  return (op == CoreOp::k_lookup && operand == 0) || (op == CoreOp::k_bucketize && operand == 1);
}

class Former {
 public:
  Former(const Graph& graph, const std::function<int(int)>& level) : graph_(graph) {
    const int count = static_cast<int>(graph.nodes.size());
    available_.assign(graph.values.size(), false);
    for (const ValueId id : graph.inputs) available_[id] = true;
    for (size_t v = 0; v < graph.values.size(); ++v)
      if (graph.values[v].is_constant()) available_[v] = true;
    std::vector<bool> needed(graph.values.size(), false);
    for (const ValueId id : graph.outputs) needed[id] = true;
    done_.assign(count, true);
    level_.resize(count);
    for (int n = count; n-- > 0;) {
      const Node& node = graph.nodes[n];
      const auto wanted = [&](ValueId v) { return needed[v] && !graph.value(v).is_constant(); };
      if (std::none_of(node.outputs.begin(), node.outputs.end(), wanted)) continue;
      done_[n] = false;
      level_[n] = level ? level(n) : 0;
      for (const ValueId v : node.inputs) needed[v] = true;
    }
  }

  std::vector<Stage> form() {
    std::set<int> levels;
    for (size_t n = 0; n < done_.size(); ++n)
      if (!done_[n]) levels.insert(level_[n]);
    for (const int level : levels)
      while (step(level)) {
      }
    DYADIC_CHECK(std::count(done_.begin(), done_.end(), false) == 0, "nodes of ", graph_.name, " in no stage");
    return std::move(stages_);
  }

 private:
  bool ready(int n) const {
    const auto& in = graph_.nodes[n].inputs;
    return !done_[n] && std::all_of(in.begin(), in.end(), [&](ValueId v) { return available_[v]; });
  }

  void finish(int n) {
    done_[n] = true;
    for (const ValueId v : graph_.nodes[n].outputs) available_[v] = true;
  }

  size_t rank(int n) const { return row_space(graph_, graph_.nodes[n])->lead.size(); }

  // Movement and dots first, and row stages of small rank (of one row before those of many), so that row stages find as
  // many operands as possible in memory and grow large.
  bool step(int level) {
    int first_row = -1;
    for (int n = 0; n < static_cast<int>(done_.size()); ++n) {
      if (level_[n] != level || !ready(n)) continue;
      const Node& node = graph_.nodes[n];
      if (core_op(node) == CoreOp::k_reshape) {
        finish(n);
        return true;
      }
      if (!row_space(graph_, node)) {
        const auto form = core_op(node) == CoreOp::k_dot ? Stage::Form::kDot : Stage::Form::kMove;
        stages_.push_back({form, level, {n}, {}, 1});
        finish(n);
        return true;
      }
      if (first_row < 0 || rank(n) < rank(first_row)) first_row = n;
    }
    if (first_row < 0) return false;
    grow(first_row, level);
    return true;
  }

  // The maximal row stage around a ready node: everything of the same rows that needs nothing outside that is missing.
  void grow(int seed, int level) {
    Stage stage;
    stage.level = level;
    stage.lead = row_space(graph_, graph_.nodes[seed])->lead;
    std::set<ValueId> inside;
    for (bool grown = true; grown;) {
      grown = false;
      for (int n = seed; n < static_cast<int>(done_.size()); ++n) {
        if (done_[n] || level_[n] != level || !joins(n, stage, inside)) continue;
        const Node& node = graph_.nodes[n];
        const auto space = row_space(graph_, node);
        if (space && stage.width.is_one()) stage.width = space->width;
        inside.insert(node.outputs.begin(), node.outputs.end());
        stage.nodes.push_back(n);
        done_[n] = grown = true;
      }
    }
    for (const ValueId v : inside) available_[v] = true;
    std::sort(stage.nodes.begin(), stage.nodes.end());
    stages_.push_back(std::move(stage));
  }

  bool joins(int n, const Stage& stage, const std::set<ValueId>& inside) const {
    const Node& node = graph_.nodes[n];
    const CoreOp op = core_op(node);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      if (!available_[v] && (!inside.count(v) || is_table_operand(op, i))) return false;
    }
    if (op == CoreOp::k_reshape) {
      Shape column = stage.lead;
      column.push_back(1);
      const Shape& from = graph_.value(node.inputs[0]).shape;
      const Shape& to = graph_.value(node.outputs[0]).shape;
      return inside.count(node.inputs[0]) &&
             ((from == stage.lead && to == column) || (from == column && to == stage.lead));
    }
    const auto space = row_space(graph_, node);
    if (!space || space->lead != stage.lead) return false;
    // [lead..] inside the stage is one number a row, not a row of its own.
    for (const ValueId v : node.inputs)
      if (!stage.lead.empty() && inside.count(v) && graph_.value(v).shape.size() == stage.lead.size()) return false;
    return space->width.is_one() || stage.width.is_one() || space->width == stage.width;
  }

  const Graph& graph_;
  std::vector<bool> available_;  // by ValueId: in memory before the stage being formed
  std::vector<bool> done_;       // by node
  std::vector<int> level_;
  std::vector<Stage> stages_;
};

}  // namespace

CoreOp core_op(const Node& node) {
  const auto op = find_core_op(node.op);
  if (!op) fail(ErrorKind::kContract, "node ", node.name, ": ", node.op, " is not a core operation");
  return *op;
}

bool is_elementwise(CoreOp op) {
  switch (op) {
    case CoreOp::k_add:
    case CoreOp::k_sub:
    case CoreOp::k_mul:
    case CoreOp::k_abs:
    case CoreOp::k_min:
    case CoreOp::k_max:
    case CoreOp::k_clamp:
    case CoreOp::k_shl:
    case CoreOp::k_shr:
    case CoreOp::k_mul_shift:
    case CoreOp::k_div:
    case CoreOp::k_rem:
    case CoreOp::k_isqrt:
    case CoreOp::k_normalize:
    case CoreOp::k_and:
    case CoreOp::k_or:
    case CoreOp::k_xor:
    case CoreOp::k_eq:
    case CoreOp::k_lt:
    case CoreOp::k_le:
    case CoreOp::k_select:
    case CoreOp::k_cast:
    case CoreOp::k_lookup:
    case CoreOp::k_bucketize:
    case CoreOp::k_random_bits:
      return true;
    case CoreOp::k_reduce:
    case CoreOp::k_dot:
    case CoreOp::k_patches:
    case CoreOp::k_top_k:
    case CoreOp::k_gather:
    case CoreOp::k_scatter_add:
    case CoreOp::k_slice:
    case CoreOp::k_update_slice:
    case CoreOp::k_concat:
    case CoreOp::k_reshape:
    case CoreOp::k_transpose:
    case CoreOp::k_iota:
    case CoreOp::k_pack:
    case CoreOp::k_unpack:
    case CoreOp::k_scan:
    case CoreOp::k_quantize:
    case CoreOp::k_dequantize:
      return false;
  }
  return false;
}

bool is_row_dot(const Graph& graph, const Node& node) {
  if (core_op(node) != CoreOp::k_dot) return false;
  const Shape& a = graph.value(node.inputs[0]).shape;
  const Shape& b = graph.value(node.inputs[1]).shape;
  if (a.empty() || a != b) return false;
  const auto last = static_cast<int64_t>(a.size()) - 1;
  const auto axes = [&](const char* key) {
    std::vector<int64_t> list = node.integers_or_empty(key);
    for (auto& axis : list) axis = normalized_axis(axis, a);
    return list;
  };
  std::vector<int64_t> leading(last);
  for (int64_t i = 0; i < last; ++i) leading[i] = i;
  return node.text("combine", "mul") == "mul" && axes("contract_a") == std::vector{last} &&
         axes("contract_b") == std::vector{last} && axes("batch_a") == leading && axes("batch_b") == leading;
}

bool is_row_reduce(const Graph& graph, const Node& node) {
  if (core_op(node) != CoreOp::k_reduce) return false;
  const Shape& shape = graph.value(node.inputs[0]).shape;
  const auto& axes = node.integers("axes");
  return !shape.empty() && axes.size() == 1 &&
         normalized_axis(axes[0], shape) == static_cast<int64_t>(shape.size()) - 1;
}

bool is_static(const Graph& graph, const Node& node) {
  const auto constant = [&](ValueId v) { return graph.value(v).is_constant(); };
  const auto fixed = [&](ValueId v) {
    const Shape& shape = graph.value(v).shape;
    return std::all_of(shape.begin(), shape.end(), [](const Dim& d) { return d.is_constant(); });
  };
  return std::all_of(node.inputs.begin(), node.inputs.end(), constant) &&
         std::all_of(node.outputs.begin(), node.outputs.end(), fixed);
}

Residence find_residence(const Graph& graph, const std::vector<Stage>& stages) {
  Residence r{std::vector<int>(graph.nodes.size(), -1), std::vector<ValueId>(graph.values.size()),
              std::vector<bool>(graph.values.size(), false)};
  for (size_t s = 0; s < stages.size(); ++s)
    for (const int n : stages[s].nodes) r.stage[n] = static_cast<int>(s);
  for (size_t v = 0; v < r.root.size(); ++v) r.root[v] = static_cast<ValueId>(v);
  std::vector<int> produced(graph.values.size(), -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (core_op(node) == CoreOp::k_reshape && r.stage[n] < 0 && !graph.value(node.outputs[0]).is_constant())
      r.root[node.outputs[0]] = r.root[node.inputs[0]];
    for (const ValueId v : node.outputs) produced[v] = r.stage[n];
  }
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (r.stage[n] < 0) continue;
    for (const ValueId v : graph.nodes[n].inputs)
      if (produced[r.root[v]] != r.stage[n]) r.in_memory[r.root[v]] = true;
    if (stages[r.stage[n]].form != Stage::Form::kRows)
      for (const ValueId v : graph.nodes[n].outputs) r.in_memory[v] = true;
  }
  for (const ValueId v : graph.outputs) r.in_memory[r.root[v]] = true;
  return r;
}

bool fits_mul_shift_32(const Node& node, const std::vector<Interval>& ranges) {
  const auto magnitude = [](Interval r) { return std::max(-int128{r.lo}, int128{r.hi}); };
  const Interval x = ranges[node.inputs[0]], m = ranges[node.inputs[1]], y = ranges[node.outputs[0]];
  const int64_t shift = ranges[node.inputs[2]].hi;
  const Interval i32 = range_of(DataType::kI32);
  if (!i32.contains(x) || !i32.contains(m) || shift >= 32) return false;
  // The product from its operands, or back from the result: |x*m| < (|y| + 1) 2^s.
  const int128 product = std::min(magnitude(x) * magnitude(m), (magnitude(y) + 1) << shift);
  const bool half_up = node.text("rounding", "half_up") == "half_up";
  const int128 half = half_up && shift > 0 ? int128{1} << (shift - 1) : 0;
  return product + half < (int128{1} << 31);
}

std::vector<Stage> form_stages(const Graph& graph, const std::function<int(int node)>& level) {
  return Former(graph, level).form();
}

}  // namespace dyadic

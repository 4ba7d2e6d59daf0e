#include "runtime/tile/tile_program.h"

#include <algorithm>
#include <map>
#include <variant>

#include "base/buffer.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/stages.h"
#include "runtime/tile/dot_stage.h"
#include "runtime/tile/locality.h"
#include "runtime/tile/movement.h"
#include "runtime/tile/row_program.h"

namespace dyadic {

using tile::DotStage;
using tile::Frame;
using tile::RowProgram;

namespace {

constexpr int64_t kBlockBudget = 256 << 10;         // bytes of one block's values: a part of an L2 cache
constexpr int64_t kLargestFold = int64_t{1} << 22;  // elements of a constant computed at compile time
constexpr int64_t kAlignment = 64;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct Movement {
  int node;
};

struct Step {
  Stage stage;
  std::variant<RowProgram, DotStage, Movement> work;
};

// Steps [first, last): in one piece, or block by block along the program's symbol.
struct Segment {
  bool blocked;
  int first, last;
};

// Where a Value lies. Reshapes share the place of what they view.
struct Place {
  enum class Home : uint8_t { kNowhere, kConstant, kInput, kOutput, kShared, kLocal } home = Home::kNowhere;
  int index = -1;  // of the input or output, or the slot
};

// How scratch memory is divided: shared slots, what unblocked dots lay out, then a part for each worker.
struct Layout {
  int64_t dot_begin, workers_begin, worker_bytes;
  int64_t block;  // of the symbol, at a time
  int64_t bytes(int threads) const { return workers_begin + worker_bytes * threads; }
};

}  // namespace

struct TileProgram::State {
  Graph graph;
  Ranges ranges;
  std::string symbol;
  std::vector<ValueId> inputs;    // those that run() takes
  std::vector<ValueId> root;      // by ValueId: what a reshape views
  std::vector<int> major;         // by ValueId: axis along which it has blocks, or -1
  std::vector<DataType> storage;  // by ValueId
  std::vector<Place> places;      // by ValueId of a root
  std::vector<Step> steps;
  std::vector<Segment> segments;
  std::vector<std::vector<ValueId>> shared_slots, local_slots;  // Values that take turns in one piece of memory
  std::vector<std::string> input_names, output_names;           // for errors

  void bind_parameters(std::span<const Tensor> parameters);
  void fold();
  std::vector<int> levels() const;
  void place(const std::vector<Stage>& stages, Isa isa);

  std::string where(int node) const {
    return cat("body ", graph.name, ", node ", node, " (", graph.nodes[node].op, ")");
  }
  int64_t value_bytes(ValueId v, const Bindings& bindings) const {
    return aligned(storage_bytes(storage[v], element_count(graph.value(v).shape).value(bindings)));
  }
  using Slots = std::vector<std::vector<ValueId>>;
  int64_t slot_bytes(const std::vector<ValueId>& slot, const Bindings& bindings) const;
  int64_t slots_bytes(const Slots& slots, const Bindings& bindings) const;
  int64_t dot_bytes(bool blocked, const Bindings& bindings) const;
  int64_t local_bytes(const Bindings& bindings) const {
    return slots_bytes(local_slots, bindings) + dot_bytes(true, bindings);
  }
  Layout layout(const Bindings& bindings) const;

  Bindings unified(std::span<const TensorView> inputs, std::span<const TensorView> outputs, Bindings bindings) const;
  void run_segment(const Segment& segment, const Frame& whole, const Layout& layout, ThreadPool& pool,
                   std::byte* scratch) const;
  void run_blocks(const Segment& segment, Frame frame, int64_t begin, int64_t end, int64_t block,
                  std::byte* scratch) const;
  void run_step(const Step& step, const Frame& frame, std::byte* scratch) const;
};

// ---------------------------------------------------------------- compilation

void TileProgram::State::bind_parameters(std::span<const Tensor> parameters) {
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const ValueId v = graph.inputs[i];
    Value& value = graph.value(v);
    if (i < parameters.size() && parameters[i].defined()) {
      const Tensor& t = parameters[i];
      Bindings none;
      unify(value.shape, t.dims(), none, cat("body ", graph.name, ", parameter ", value.name));
      if (t.type() != value.type)
        fail(ErrorKind::kContract, "body ", graph.name, ", parameter ", value.name, " is ", name(value.type), ", not ",
             name(t.type()));
      value.constant = t;
    }
    if (!value.is_constant()) inputs.push_back(v);
  }
}

// Computes what depends on constants alone.
void TileProgram::State::fold() {
  for (const Node& node : graph.nodes) {
    if (!is_static(graph, node)) continue;
    Graph single;
    single.name = graph.name;
    Node copy = node;
    std::vector<Tensor> operands;
    for (ValueId& v : copy.inputs) {
      Value value = graph.value(v);
      operands.push_back(value.constant);
      value.constant = {};
      value.fact.reset();
      v = single.add_input(std::move(value));
    }
    int64_t count = 0;
    for (ValueId& v : copy.outputs) {
      count += element_count(graph.value(v).shape).factor;
      v = single.add_value(graph.value(v));
    }
    if (count > kLargestFold) continue;
    single.outputs = copy.outputs;
    single.add_node(std::move(copy));
    const auto results = evaluate(single, operands);
    for (size_t i = 0; i < results.size(); ++i) {
      const ValueId v = node.outputs[i];
      graph.value(v).constant = results[i];
      if (results[i].count() == 0) continue;
      const auto values = results[i].to_int64();
      const auto [lo, hi] = std::minmax_element(values.begin(), values.end());
      ranges.values[v] = {*lo, *hi};
    }
  }
}

// Blocked segments have odd levels, the others even ones; a reshape belongs to whatever it follows.
std::vector<int> TileProgram::State::levels() const {
  std::vector<int> level(graph.nodes.size(), 0), of_value(graph.values.size(), 0);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    for (const ValueId v : node.inputs) level[n] = std::max(level[n], of_value[v]);
    if (core_op(node) != CoreOp::k_reshape) {
      const bool local = !symbol.empty() && tile::is_local(graph, node, symbol);
      if ((level[n] % 2 == 1) != local) ++level[n];
    }
    for (const ValueId v : node.outputs) of_value[v] = level[n];
  }
  return level;
}

namespace {

// Assigns Values to slots so that those alive at the same time never share one.
class SlotAllocator {
 public:
  int allocate(ValueId v, int first, int last) {
    for (size_t slot = 0; slot < ends_.size(); ++slot)
      if (ends_[slot] < first) {
        ends_[slot] = last;
        slots[slot].push_back(v);
        return static_cast<int>(slot);
      }
    ends_.push_back(last);
    slots.push_back({v});
    return static_cast<int>(slots.size()) - 1;
  }
  std::vector<std::vector<ValueId>> slots;

 private:
  std::vector<int> ends_;
};

}  // namespace

void TileProgram::State::place(const std::vector<Stage>& stages, Isa isa) {
  const size_t count = graph.values.size();
  const Residence residence = find_residence(graph, stages);
  root = residence.root;
  for (size_t s = 0; s < stages.size(); ++s) {
    if (segments.empty() || stages[s].level != stages[segments.back().first].level)
      segments.push_back({stages[s].level % 2 == 1, static_cast<int>(s), static_cast<int>(s)});
    segments.back().last = static_cast<int>(s) + 1;
  }

  major.resize(count);
  places.resize(count);
  for (size_t v = 0; v < count; ++v) {
    major[v] = symbol.empty() ? -1 : tile::major_axis(graph.values[v].shape, symbol);
    if (graph.values[v].is_constant()) places[v].home = Place::Home::kConstant;
  }
  for (size_t i = 0; i < inputs.size(); ++i) places[inputs[i]] = {Place::Home::kInput, static_cast<int>(i)};
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const ValueId v = root[graph.outputs[i]];
    if (places[v].home == Place::Home::kNowhere) places[v] = {Place::Home::kOutput, static_cast<int>(i)};
  }

  // Storage types, in order of execution.
  storage.resize(count);
  for (size_t v = 0; v < count; ++v)
    storage[v] = graph.values[v].is_constant() ? graph.values[v].constant.type() : graph.values[v].type;
  for (const Stage& stage : stages)
    for (const int n : stage.nodes)
      for (size_t k = 0; k < graph.nodes[n].outputs.size(); ++k) {
        const Node& node = graph.nodes[n];
        const ValueId v = node.outputs[k];
        if (places[v].home == Place::Home::kOutput || is_packed(storage[v])) continue;
        const CoreOp op = core_op(node);
        if (op == CoreOp::k_dot && stage.form == Stage::Form::kDot)
          storage[v] = range_of(DataType::kI32).contains(ranges.values[v]) ? DataType::kI32 : DataType::kI64;
        else if (op == CoreOp::k_gather || op == CoreOp::k_slice || op == CoreOp::k_transpose ||
                 (op == CoreOp::k_reduce && stage.form == Stage::Form::kMove && node.text("kind") != "sum"))
          storage[v] = storage[root[node.inputs[0]]];
        else
          storage[v] = narrowest(ranges.values[v]);
      }
  for (size_t v = 0; v < count; ++v) storage[v] = storage[root[v]];

  std::vector<int> last_use(count, -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (const ValueId v : graph.nodes[n].inputs) last_use[root[v]] = std::max(last_use[root[v]], residence.stage[n]);
    for (const ValueId v : graph.nodes[n].outputs) last_use[v] = std::max(last_use[v], residence.stage[n]);
  }
  SlotAllocator shared, local;
  for (size_t s = 0; s < stages.size(); ++s) {
    const auto segment_of = [&](int stage) {
      return std::find_if(segments.begin(), segments.end(), [&](const Segment& g) { return stage < g.last; });
    };
    for (const int n : stages[s].nodes)
      for (const ValueId v : graph.nodes[n].outputs) {
        if (!residence.in_memory[v] || places[v].home != Place::Home::kNowhere) continue;
        const auto first = segment_of(static_cast<int>(s)), last = segment_of(last_use[v]);
        if (first->blocked && first == last) {
          places[v] = {Place::Home::kLocal, local.allocate(v, static_cast<int>(s), last_use[v])};
        } else {
          // A block may still read or write what another has finished with: a whole blocked segment is one moment.
          const int begin = first->blocked ? first->first : static_cast<int>(s);
          const int end = last->blocked ? last->last - 1 : last_use[v];
          places[v] = {Place::Home::kShared, shared.allocate(v, begin, end)};
        }
      }
  }
  shared_slots = std::move(shared.slots);
  local_slots = std::move(local.slots);

  for (const Stage& stage : stages) {
    const int n = stage.nodes[0];
    switch (stage.form) {
      case Stage::Form::kRows:
        steps.push_back({stage, RowProgram(graph, ranges, stage, storage, residence.in_memory, isa)});
        break;
      case Stage::Form::kDot:
        steps.push_back({stage, DotStage(graph, ranges, graph.nodes[n], storage, isa)});
        break;
      case Stage::Form::kMove:
        steps.push_back({stage, Movement{n}});
        break;
    }
  }
}

// ---------------------------------------------------------------- memory

int64_t TileProgram::State::slot_bytes(const std::vector<ValueId>& slot, const Bindings& bindings) const {
  int64_t bytes = 0;
  for (const ValueId v : slot) bytes = std::max(bytes, value_bytes(v, bindings));
  return bytes;
}

int64_t TileProgram::State::slots_bytes(const Slots& slots, const Bindings& bindings) const {
  int64_t bytes = 0;
  for (const auto& slot : slots) bytes += slot_bytes(slot, bindings);
  return bytes;
}

// Of the operands that the dots of blocked (or other) segments lay out.
int64_t TileProgram::State::dot_bytes(bool blocked, const Bindings& bindings) const {
  int64_t bytes = 0;
  for (const Segment& segment : segments)
    for (int s = segment.first; s < segment.last; ++s)
      if (const auto* dot = std::get_if<DotStage>(&steps[s].work); dot && segment.blocked == blocked)
        bytes = std::max(bytes, aligned(dot->scratch_bytes(graph, bindings)));
  return bytes;
}

Layout TileProgram::State::layout(const Bindings& bindings) const {
  Layout l{};
  l.dot_begin = slots_bytes(shared_slots, bindings);
  l.workers_begin = l.dot_begin + dot_bytes(false, bindings);
  for (const Step& step : steps)
    if (const auto* rows = std::get_if<RowProgram>(&step.work))
      l.worker_bytes = std::max<int64_t>(l.worker_bytes, aligned(rows->register_bytes(bindings)));
  l.block = 1;
  if (symbol.empty()) return l;
  // The largest block that fits the budget. A budget for each worker even if less is used: so more of a symbol never
  // needs less memory.
  Bindings blocked = bindings;
  const int64_t count = std::max<int64_t>(bindings.at(symbol), 1);
  blocked[symbol] = 1;
  const int64_t one = local_bytes(blocked);
  l.worker_bytes += std::max(kBlockBudget, one);
  l.block = one == 0 ? count : std::clamp<int64_t>(kBlockBudget / one, 1, count);
  while (l.block < count) {  // what does not grow with the block, and rounding, leave room for more
    const int64_t larger = std::min(2 * l.block, count);
    blocked[symbol] = larger;
    if (local_bytes(blocked) > kBlockBudget) break;
    l.block = larger;
  }
  return l;
}

size_t TileProgram::scratch_bytes(const Bindings& bindings, int threads) const {
  return static_cast<size_t>(state_->layout(bindings).bytes(threads));
}

// ---------------------------------------------------------------- execution

Bindings TileProgram::State::unified(std::span<const TensorView> in, std::span<const TensorView> out,
                                     Bindings bindings) const {
  const auto check = [&](const TensorView& view, ValueId v, const std::string& what) {
    const Value& value = graph.value(v);
    if (view.type != value.type) fail(ErrorKind::kContract, what, " is ", name(value.type), ", not ", name(view.type));
    unify(value.shape, view.dims, bindings, what);
  };
  if (in.size() != inputs.size() || out.size() != graph.outputs.size())
    fail(ErrorKind::kContract, "body ", graph.name, " takes ", inputs.size(), " inputs and ", graph.outputs.size(),
         " outputs, not ", in.size(), " and ", out.size());
  for (size_t i = 0; i < in.size(); ++i) check(in[i], inputs[i], input_names[i]);
  for (size_t i = 0; i < out.size(); ++i) check(out[i], graph.outputs[i], output_names[i]);
  return bindings;
}

void TileProgram::State::run_step(const Step& step, const Frame& frame, std::byte* scratch) const {
  if (const auto* dot = std::get_if<DotStage>(&step.work)) return dot->run(frame, scratch);
  const Node& node = graph.nodes[std::get<Movement>(step.work).node];
  std::vector<TensorView> in, out;
  for (const ValueId v : node.inputs) in.push_back({storage[v], frame.dims[v], frame.data[v]});
  for (const ValueId v : node.outputs) out.push_back({storage[v], frame.dims[v], frame.data[v]});
  tile::run_movement(node, in, out, where(std::get<Movement>(step.work).node));
}

void TileProgram::State::run_blocks(const Segment& segment, Frame frame, int64_t begin, int64_t end, int64_t block,
                                    std::byte* scratch) const {
  const int64_t count = frame.bindings.at(symbol);
  // From the place of a whole Value to that of its block, in bytes a unit of the symbol.
  std::vector<int64_t> unit(graph.values.size(), 0);
  std::vector<std::byte*> whole = frame.data;
  for (size_t v = 0; v < unit.size(); ++v)
    if (major[v] >= 0) unit[v] = element_count(frame.dims[v]) / count * (bits(storage[v]) / 8);
  Bindings largest = frame.bindings;
  largest[symbol] = block;
  std::vector<std::byte*> slots;
  for (const auto& slot : local_slots) {
    slots.push_back(scratch);
    scratch += slot_bytes(slot, largest);
  }
  std::byte* dot_scratch = scratch;
  std::byte* registers = dot_scratch + dot_bytes(true, largest);
  for (; begin < end; begin += block) {
    const int64_t size = std::min(block, end - begin);
    if (frame.bindings.at(symbol) != size) {
      frame.bindings[symbol] = size;
      for (size_t v = 0; v < unit.size(); ++v)
        if (major[v] >= 0) frame.dims[v] = dyadic::bind(graph.values[v].shape, frame.bindings);
    }
    for (size_t v = 0; v < unit.size(); ++v) {
      const Place& place = places[root[v]];
      if (place.home == Place::Home::kLocal)
        frame.data[v] = slots[place.index];
      else if (whole[v])
        frame.data[v] = whole[v] + begin * unit[v];
    }
    for (int s = segment.first; s < segment.last; ++s) {
      if (const auto* rows = std::get_if<RowProgram>(&steps[s].work))
        rows->run(frame, 0, rows->rows(frame.bindings), registers);
      else
        run_step(steps[s], frame, dot_scratch);
    }
  }
}

void TileProgram::State::run_segment(const Segment& segment, const Frame& whole, const Layout& layout, ThreadPool& pool,
                                     std::byte* scratch) const {
  const auto part = [&](int worker) { return scratch + layout.workers_begin + worker * layout.worker_bytes; };
  if (segment.blocked) {
    pool.parallel_for(whole.bindings.at(symbol), 1, [&](int64_t begin, int64_t end, int worker) {
      if (begin < end) run_blocks(segment, whole, begin, end, layout.block, part(worker));
    });
    return;
  }
  for (int s = segment.first; s < segment.last; ++s) {
    const auto* rows = std::get_if<RowProgram>(&steps[s].work);
    if (!rows) {
      run_step(steps[s], whole, scratch + layout.dot_begin);
      continue;
    }
    pool.parallel_for(rows->rows(whole.bindings), 1,
                      [&](int64_t begin, int64_t end, int worker) { rows->run(whole, begin, end, part(worker)); });
  }
}

void TileProgram::run(std::span<const TensorView> inputs, std::span<const TensorView> outputs, const Bindings& bindings,
                      ThreadPool& pool, std::span<std::byte> scratch) const {
  const State& s = *state_;
  Frame frame;
  frame.bindings = s.unified(inputs, outputs, bindings);
  const Layout layout = s.layout(frame.bindings);
  if (const int64_t needed = layout.bytes(pool.threads()); static_cast<int64_t>(scratch.size()) < needed)
    fail(ErrorKind::kContract, "body ", s.graph.name, ": ", scratch.size(), " bytes of scratch, ", needed, " needed");
  std::byte* free = scratch.data();
  std::vector<std::byte*> slots;
  for (const auto& slot : s.shared_slots) {
    slots.push_back(free);
    free += s.slot_bytes(slot, frame.bindings);
  }
  const size_t count = s.graph.values.size();
  frame.dims.resize(count);
  frame.data.resize(count);
  for (size_t v = 0; v < count; ++v) {
    const Value& value = s.graph.values[v];
    const Place& place = s.places[s.root[v]];
    if (place.home == Place::Home::kNowhere) continue;
    frame.dims[v] = dyadic::bind(value.shape, frame.bindings);
    switch (place.home) {
      case Place::Home::kConstant:
        frame.data[v] = const_cast<std::byte*>(s.graph.value(s.root[v]).constant.raw());
        break;
      case Place::Home::kInput:
        frame.data[v] = inputs[place.index].data;
        break;
      case Place::Home::kOutput:
        frame.data[v] = outputs[place.index].data;
        break;
      case Place::Home::kShared:
        frame.data[v] = slots[place.index];
        break;
      case Place::Home::kLocal:
      case Place::Home::kNowhere:
        break;
    }
  }
  for (const Segment& segment : s.segments) s.run_segment(segment, frame, layout, pool, scratch.data());

  // Outputs that are inputs, constants or each other.
  for (size_t i = 0; i < s.graph.outputs.size(); ++i) {
    const ValueId v = s.graph.outputs[i];
    const Place& place = s.places[s.root[v]];
    if (place.home == Place::Home::kOutput && place.index == static_cast<int>(i)) continue;
    const TensorView from{s.storage[v], outputs[i].dims, frame.data[v]};
    if (frame.data[v] == outputs[i].data) continue;
    const Dims strides = tile::strides_of(from.dims);
    tile::copy_strided(from.dims, outputs[i], strides, from, strides);
  }
}

std::vector<Tensor> TileProgram::run(std::span<const Tensor> inputs, const Bindings& bindings, ThreadPool& pool) const {
  const Graph& graph = state_->graph;
  std::vector<TensorView> in, out;
  Bindings all = bindings;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (i < state_->inputs.size()) {
      const Value& value = graph.value(state_->inputs[i]);
      unify(value.shape, inputs[i].dims(), all, cat("body ", graph.name, ", input ", value.name));
    }
    in.push_back({inputs[i].type(), inputs[i].dims(), const_cast<std::byte*>(inputs[i].raw())});
  }
  std::vector<Tensor> results;
  for (const ValueId v : graph.outputs) {
    results.emplace_back(graph.value(v).type, dyadic::bind(graph.value(v).shape, all));
    out.push_back({results.back().type(), results.back().dims(), results.back().mutable_raw()});
  }
  AlignedBuffer scratch(scratch_bytes(all, pool.threads()));
  run(in, out, bindings, pool, {scratch.data(), scratch.size()});
  return results;
}

std::string TileProgram::describe() const {
  const State& s = *state_;
  std::string text = cat("tile program of ", s.graph.name, '\n');
  for (const Segment& segment : s.segments) {
    text += segment.blocked ? cat("block by block along ", s.symbol, ":\n") : "in one piece:\n";
    for (int i = segment.first; i < segment.last; ++i) {
      const auto& work = s.steps[i].work;
      if (const auto* rows = std::get_if<RowProgram>(&work))
        text += rows->describe(s.graph);
      else if (const auto* dot = std::get_if<DotStage>(&work))
        text += dot->describe();
      else
        text += cat(s.graph.nodes[std::get<Movement>(work).node].op, '\n');
    }
  }
  return text;
}

TileProgram::TileProgram(const Graph& body, const Ranges& ranges, std::span<const Tensor> parameters, Isa isa) {
  auto state = std::make_unique<State>();
  state->graph = body;
  state->ranges = ranges;
  state->bind_parameters(parameters);
  state->fold();
  for (size_t n = 0; n < body.nodes.size(); ++n) {
    const CoreOp op = core_op(body.nodes[n]);
    if (op == CoreOp::k_quantize || op == CoreOp::k_dequantize || op == CoreOp::k_scan)
      fail(ErrorKind::kContract, state->where(static_cast<int>(n)),
           ": tile programs run integer operations without loops");
  }
  for (const ValueId v : state->inputs)
    state->input_names.push_back(cat("body ", body.name, ", input ", body.value(v).name));
  for (const ValueId v : body.outputs)
    state->output_names.push_back(cat("body ", body.name, ", output ", body.value(v).name));
  state->symbol = tile::block_symbol(state->graph);
  const std::vector<int> levels = state->levels();
  state->place(form_stages(state->graph, [&](int node) { return levels[node]; }), isa);
  state_ = std::move(state);
}

TileProgram::TileProgram(TileProgram&&) noexcept = default;
TileProgram& TileProgram::operator=(TileProgram&&) noexcept = default;
TileProgram::~TileProgram() = default;

}  // namespace dyadic

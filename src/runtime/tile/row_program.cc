#include "runtime/tile/row_program.h"

#include <algorithm>
#include <sstream>

#include "base/status.h"

namespace dyadic::tile {
namespace {

constexpr int64_t kRegisterBudget = 24 << 10;  // of a 32 KB L1 cache; the rest is for operands in memory
constexpr int64_t kMaxLanes = 2048, kMinLanes = 256, kLaneGrain = 64;
constexpr int64_t kMinReducedRows = 4, kMaxRows = 256;  // rows whose scalars are computed together
constexpr int64_t kAlignment = 64;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
int64_t size_of(DataType type) { return bits(type) / 8; }

// Which source is a table; in both operations so is the constant that says how columns differ.
int table_slot(Op op) { return op == Op::kLookup ? 0 : op == Op::kBucketize ? 1 : -1; }

}  // namespace

// A program placed on actual dimensions. Rows are enumerated by `outer` dimensions and an innermost one along which
// every operand advances by a constant step.
struct RowProgram::Bound {
  Dims outer;
  int64_t inner = 1, width = 1, chunk = 1, block_rows = 1;
  struct Place {
    std::byte* data;
    Dims outer_step;
    int64_t row_step, element_bytes;
  };
  std::vector<Place> places;  // by memory
  struct Patch {
    int call;
    bool dst;
    int slot, memory;
    bool column;  // advances with the chunk
  };
  std::vector<Patch> patches;
  enum class Walk : uint8_t { kByRow, kFlat, kOneByOne };  // rows of a width, all lanes at once, one number a row
  struct Step {                                            // by instruction
    Call call;
    Walk walk;
    std::array<int64_t, 3> constants;
    int64_t column_bytes, table_length;  // kLookup, kBucketize
  };
  std::vector<Step> steps;
};

namespace {

struct Size {
  int64_t lanes;  // of a full register
  int64_t rows;
};

// How many lanes registers have and how many rows a block.
Size size_of_block(int64_t width, bool single, bool has_reduction, int64_t bytes_per_lane) {
  int64_t lanes = bytes_per_lane ? kRegisterBudget / bytes_per_lane : kMaxLanes;
  lanes = std::clamp(lanes / kLaneGrain * kLaneGrain, kMinLanes, kMaxLanes);
  if (single) return {0, kMaxRows};
  int64_t rows = std::clamp<int64_t>(lanes / std::max<int64_t>(width, 1), 1, kMaxRows);
  if (has_reduction) rows = std::max(rows, kMinReducedRows);
  if (rows * width <= lanes || has_reduction) lanes = std::max(lanes, rows * width);
  return {lanes, rows};
}

}  // namespace

int64_t RowProgram::rows(const Bindings& bindings) const { return element_count(lead_).value(bindings); }

size_t RowProgram::register_bytes(const Bindings& bindings) const {
  int64_t bytes_per_lane = 0, full = 0, scalars = 0;
  for (const Register& r : registers_) (r.row ? scalars : bytes_per_lane) += r.row ? 1 : size_of(r.lane);
  for (const Register& r : registers_) full += !r.row;
  const int64_t width = width_.value(bindings);
  // Large enough for this width and every smaller one.
  const int64_t lanes = std::max(kMaxLanes, has_reduction_ ? kMinReducedRows * width : 0);
  return bytes_per_lane * lanes + (full + scalars) * 2 * kAlignment + scalars * kMaxRows * 8;
}

RowProgram::Bound RowProgram::bind(const Frame& frame, std::byte* registers) const {
  Bound b;
  const Dims lead = dyadic::bind(lead_, frame.bindings);
  b.width = width_.value(frame.bindings);
  const bool single = width_.is_one();
  const auto rank = static_cast<int>(lead.size());

  // Strides of every memory along every leading dimension.
  std::vector<Dims> strides;
  for (const Memory& m : memories_) {
    Dims dims = m.constant.defined() ? m.constant.dims() : frame.dims[m.value];
    std::byte* data = m.constant.defined() ? const_cast<std::byte*>(m.constant.raw()) : frame.data[m.value];
    int64_t unit = 1;
    if (m.table) {
      unit = dims.back();
      dims.pop_back();
    }
    if (!m.squeezed && !dims.empty()) {
      unit *= dims.back();
      dims.pop_back();
    }
    Dims stride(rank, 0);
    for (int i = static_cast<int>(dims.size()) - 1, axis = rank - 1; i >= 0 && axis >= 0; --i, --axis) {
      if (dims[i] != 1) stride[axis] = unit;
      unit *= dims[i];
    }
    strides.push_back(std::move(stride));
    b.places.push_back({data, {}, 0, size_of(m.type)});
  }
  // Merge neighbouring dimensions that every memory walks without a gap.
  Dims merged;
  std::vector<Dims> merged_strides(memories_.size());
  for (int axis = 0; axis < rank; ++axis) {
    if (lead[axis] == 1) continue;
    bool merge = !merged.empty();
    for (size_t m = 0; m < memories_.size() && merge; ++m)
      merge = merged_strides[m].back() == strides[m][axis] * lead[axis];
    if (merge)
      merged.back() *= lead[axis];
    else
      merged.push_back(lead[axis]);
    for (size_t m = 0; m < memories_.size(); ++m) {
      if (!merge) merged_strides[m].push_back(0);
      merged_strides[m].back() = strides[m][axis];
    }
  }
  if (!merged.empty()) {
    b.inner = merged.back();
    merged.pop_back();
    for (size_t m = 0; m < memories_.size(); ++m) {
      b.places[m].row_step = merged_strides[m].back();
      merged_strides[m].pop_back();
      b.places[m].outer_step = merged_strides[m];
    }
  }
  b.outer = merged;

  int64_t bytes_per_lane = 0;
  for (const Register& r : registers_) bytes_per_lane += r.row ? 0 : size_of(r.lane);
  const Size size = size_of_block(b.width, single, has_reduction_, bytes_per_lane);
  b.block_rows = std::min(size.rows, std::max<int64_t>(b.inner, 1));
  b.chunk = single || b.block_rows * b.width <= size.lanes ? b.width : size.lanes;

  std::vector<std::byte*> base;
  for (const Register& r : registers_) {
    base.push_back(registers);
    registers += aligned((r.row ? kMaxRows : size.lanes) * size_of(r.lane));
  }
  b.steps.resize(instructions_.size());
  for (size_t i = 0; i < instructions_.size(); ++i) {
    const Instruction& instruction = instructions_[i];
    Bound::Step& step = b.steps[i];
    step.constants = instruction.constants;
    bool flat = b.chunk == b.width && !is_reduction(instruction.key.op) && instruction.segments.empty();
    bool one_by_one = false;
    const auto place = [&](const Operand& o, bool dst, int slot, void** pointer, int64_t* row_step) {
      if (o.kind == Operand::Kind::kNone) return;
      if (o.kind == Operand::Kind::kRegister) {
        const bool row = registers_[o.index].row;
        *pointer = base[o.index];
        *row_step = row ? 1 : b.chunk;
        flat &= !row;
        return;
      }
      const Memory& m = memories_[o.index];
      *row_step = b.places[o.index].row_step;
      b.patches.push_back({static_cast<int>(i), dst, slot, o.index, !m.row && !m.table && !single});
      flat &= *row_step == (o.scalar || m.table ? 0 : b.width);
      one_by_one |= m.table ? *row_step != 0 : !o.scalar && *row_step != 1;
    };
    for (int k = 0; k < 2; ++k) place(instruction.dst[k], true, k, &step.call.dst[k], &step.call.dst_step[k]);
    for (int k = 0; k < 4; ++k)
      place(instruction.src[k], false, k, const_cast<void**>(&step.call.src[k]), &step.call.src_step[k]);
    if (const int slot = table_slot(instruction.key.op); slot >= 0) {
      const Memory& table = memories_[instruction.src[slot].index];
      step.table_length = (table.constant.defined() ? table.constant.dims() : frame.dims[table.value]).back();
      int64_t& column = step.constants[slot];
      column *= step.table_length;
      step.column_bytes = column * size_of(table.type);
      flat &= column == 0;
    }
    step.walk = instruction.row ? (one_by_one ? Bound::Walk::kOneByOne : Bound::Walk::kFlat)
                                : (flat ? Bound::Walk::kFlat : Bound::Walk::kByRow);
    if ((instruction.key.op == Op::kRowMax || instruction.key.op == Op::kRowMin) && b.width == 0)
      fail(ErrorKind::kContract, "body ", name_, ", ", node_names_[i], ": the largest or smallest of nothing");
  }
  for (Bound::Step& step : b.steps) step.call.constants = step.constants.data();
  return b;
}

void RowProgram::run(const Frame& frame, int64_t begin, int64_t end, std::byte* registers) const {
  if (begin >= end) return;
  Bound b = bind(frame, registers);
  std::vector<int64_t> offsets(memories_.size());
  while (begin < end) {
    int64_t outer = begin / b.inner;
    const int64_t row = begin % b.inner;
    const int64_t rows = std::min({b.block_rows, b.inner - row, end - begin});
    for (size_t m = 0; m < offsets.size(); ++m) offsets[m] = row * b.places[m].row_step;
    for (size_t axis = b.outer.size(); axis-- > 0; outer /= b.outer[axis])
      for (size_t m = 0; m < offsets.size(); ++m) offsets[m] += outer % b.outer[axis] * b.places[m].outer_step[axis];
    run_block(b, offsets, rows);
    begin += rows;
  }
}

// Rows whose elements lie at `offsets` of each memory, chunk by chunk.
void RowProgram::run_block(Bound& b, std::span<const int64_t> offsets, int64_t rows) const {
  int64_t column = 0;
  do {
    const int64_t n = std::min(b.chunk, b.width - column);
    for (const Bound::Patch& p : b.patches) {
      const Bound::Place& place = b.places[p.memory];
      Call& call = b.steps[p.call].call;
      std::byte* at = place.data + (offsets[p.memory] + (p.column ? column : 0)) * place.element_bytes;
      if (p.dst)
        call.dst[p.slot] = at;
      else
        call.src[p.slot] = at;
    }
    for (size_t i = 0; i < b.steps.size(); ++i) {
      const Instruction& instruction = instructions_[i];
      Bound::Step& step = b.steps[i];
      Call& call = step.call;
      const bool together = step.walk == Bound::Walk::kFlat;
      const int64_t lanes = instruction.row ? 1 : n;
      call.rows = together ? 1 : rows;
      call.n = together ? rows * lanes : lanes;
      if (step.column_bytes && column) {
        const void*& table = call.src[table_slot(instruction.key.op)];
        table = static_cast<const std::byte*>(table) + column * step.column_bytes;
      }
      if (instruction.check_index) check_index(call, step.table_length, i);
      if (instruction.segments.empty())
        instruction.loop(call);
      else
        run_segments(instruction, call, column);
    }
    column += n;
  } while (column < b.width);
}

// A lookup whose table depends on the column, a run of columns at a time.
void RowProgram::run_segments(const Instruction& instruction, const Call& call, int64_t column) const {
  const auto& segments = instruction.segments;
  for (size_t s = 0; s < segments.size(); ++s) {
    const int64_t begin = std::max(segments[s].begin, column) - column;
    const int64_t end = s + 1 < segments.size() ? std::min(segments[s + 1].begin - column, call.n) : call.n;
    if (begin >= end) continue;
    Call part = call;
    part.n = end - begin;
    part.dst[0] = static_cast<std::byte*>(call.dst[0]) + begin * size_of(instruction.key.to);
    part.src[0] = static_cast<const std::byte*>(call.src[0]) + segments[s].offset;
    part.src[1] = static_cast<const int32_t*>(call.src[1]) + begin;
    instruction.loop(part);
  }
}

void RowProgram::check_index(const Call& call, int64_t length, size_t instruction) const {
  for (int64_t r = 0; r < call.rows; ++r) {
    const int32_t* index = static_cast<const int32_t*>(call.src[1]) + r * call.src_step[1];
    const auto outside = std::find_if(index, index + call.n, [&](int32_t i) { return i < 0 || i >= length; });
    if (outside != index + call.n)
      fail(ErrorKind::kContract, "body ", name_, ", ", node_names_[instruction], ": index ", *outside,
           " of a table of ", length);
  }
}

std::string RowProgram::describe(const Graph& graph) const {
  static constexpr const char* kNames[] = {"none",        "convert",
                                           "add",         "sub",
                                           "rsub",        "mul",
                                           "shl",         "and",
                                           "or",          "xor",
                                           "select",      "negate_if",
                                           "abs",         "min",
                                           "max",         "clamp",
                                           "shr_floor",   "shr",
                                           "shr_away",    "mul_shift_floor",
                                           "mul_shift",   "mul_shift32_floor",
                                           "mul_shift32", "div",
                                           "rem",         "isqrt",
                                           "normalize",   "eq",
                                           "lt",          "le",
                                           "lookup",      "lookup_bytes",
                                           "bucketize",   "random_bits",
                                           "sum",         "row_max",
                                           "row_min",     "dot"};
  const auto name_of = [](Op op) { return kNames[static_cast<int>(op)]; };
  std::ostringstream text;
  const auto put = [&](const Operand& o) {
    if (o.kind == Operand::Kind::kRegister) {
      const Register& r = registers_[o.index];
      text << ' ' << (r.row ? 's' : 'v') << o.index << (r.lane == DataType::kI64 ? "l" : "");
    } else if (o.kind == Operand::Kind::kMemory) {
      const Memory& m = memories_[o.index];
      if (m.value < 0)
        text << ' ' << m.constant.at(0);
      else
        text << ' ' << graph.value(m.value).name << ':' << name(m.type);
    }
  };
  text << "rows " << to_string(lead_) << " x " << to_string(width_) << '\n';
  for (const Instruction& i : instructions_) {
    text << "   ";
    for (const Operand& o : i.dst) put(o);
    text << " = " << name_of(i.key.op);
    if (i.key.then != Op::kNone) text << '+' << name_of(i.key.then);
    for (const Operand& o : i.src) put(o);
    text << '\n';
  }
  return text.str();
}

}  // namespace dyadic::tile

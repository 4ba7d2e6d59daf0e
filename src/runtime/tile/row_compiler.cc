// From the nodes of a row stage to bytecode: lane types from proven ranges, casts without code, constants converted
// once, results written by the instruction that computes them where storage and lanes agree.
#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "runtime/tile/row_fusion.h"
#include "runtime/tile/row_program.h"

namespace dyadic::tile {
namespace {

constexpr DataType k32 = DataType::kI32;
constexpr DataType k64 = DataType::kI64;

DataType lane_of(Interval range) { return range_of(k32).contains(range) ? k32 : k64; }
DataType wider(DataType a, DataType b) { return a == k64 || b == k64 ? k64 : k32; }

}  // namespace

class RowCompiler {
 public:
  RowCompiler(RowProgram& program, const Graph& graph, const Ranges& ranges, const Stage& stage,
              std::span<const DataType> storage, Isa isa)
      : program_(program), graph_(graph), ranges_(ranges), stage_(stage), storage_(storage), isa_(isa) {
    claimed_.resize(graph.values.size());
    for (const Node& node : graph.nodes)
      for (const ValueId out : node.outputs)
        claimed_[out] = graph.value(out).fact ||
                        std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return claimed_[v]; });
  }

  void compile(const std::vector<bool>& stored) {
    for (node_ = 0; node_ < static_cast<int>(stage_.nodes.size()); ++node_) generate(node());
    for (node_ = 0; node_ < static_cast<int>(stage_.nodes.size()); ++node_)
      for (const ValueId v : node().outputs)
        if (stored[v]) store(v);
    remove_unused();
    fuse(program_.instructions_, registers_.size(), isa_);
    assign_registers();
    for (const Instruction& i : program_.instructions_) program_.has_reduction_ |= is_reduction(i.key.op);
  }

 private:
  // What is known of a Value computed in this stage: the register of each lane type it has been put in.
  struct Computed {
    bool row = false;
    std::map<DataType, Operand> lanes;
  };

  const Node& node() const { return graph_.nodes[stage_.nodes[node_]]; }
  Interval range(ValueId v) const { return ranges_.values[v]; }
  DataType lane(ValueId v) const { return lane_of(range(v)); }

  // One number a row. In a stage of width 1 everything is.
  bool is_row(ValueId v) const {
    const Shape& shape = graph_.value(v).shape;
    return stage_.width.is_one() || shape.empty() || shape.back().is_one() || is_squeezed(v);
  }
  bool is_squeezed(ValueId v) const { return squeezed_.count(v) != 0; }

  ValueId root(ValueId v) const {
    for (auto it = alias_.find(v); it != alias_.end(); it = alias_.find(v)) v = it->second;
    return v;
  }

  // ---------------------------------------------------------------- operands

  Operand new_register(DataType lane, bool row) {
    registers_.push_back({lane, row});
    return {Operand::Kind::kRegister, static_cast<int>(registers_.size()) - 1, false};
  }

  Operand add_memory(Memory memory) {
    program_.memories_.push_back(std::move(memory));
    const Memory& m = program_.memories_.back();
    return {Operand::Kind::kMemory, static_cast<int>(program_.memories_.size()) - 1, m.row};
  }

  Operand literal(int64_t value, DataType lane) {
    Operand& cached = literals_.try_emplace({value, lane}).first->second;
    if (cached.kind == Operand::Kind::kNone) {
      Tensor t(lane, {});
      t.set(0, value);
      cached = add_memory({-1, lane, t, true});
    }
    return cached;
  }

  static Tensor converted(const Tensor& from, DataType type) {
    if (from.type() == type) return from;
    Tensor to(type, from.dims());
    dispatch(from.type(), [&](auto f) {
      dispatch(type, [&](auto t) {
        using From = decltype(f);
        using To = decltype(t);
        std::transform(from.data<From>(), from.data<From>() + from.count(), to.mutable_data<To>(),
                       [](From x) { return static_cast<To>(x); });
      });
    });
    return to;
  }

  // v in lanes of the given type. For an instruction on one number a row (`row`), v must be one too, and the operand is
  // a register or one number for all rows; else it may be anything.
  Operand get(ValueId v, DataType lane, bool row) {
    v = root(v);
    const auto computed = computed_.find(v);
    Operand operand = computed != computed_.end() ? get_computed(computed->second, lane) : get_outside(v, lane, row);
    if (operand.kind == Operand::Kind::kRegister) operand.scalar = registers_[operand.index].row && !row;
    return operand;
  }

  Operand get_computed(Computed& value, DataType lane) {
    Operand& operand = value.lanes[lane];
    if (operand.kind == Operand::Kind::kNone) {
      const DataType other = lane == k32 ? k64 : k32;
      operand = emit({Op::kConvert, other, lane}, value.row, value.row, {value.lanes.at(other)});
    }
    return operand;
  }

  Operand get_outside(ValueId v, DataType lane, bool row) {
    const Value& value = graph_.value(v);
    const bool uniform = value.is_constant() && value.constant.count() == 1;
    const DataType type = value.is_constant() ? lane : storage_[v];
    Operand& direct = outside_.try_emplace({v, type}).first->second;
    if (direct.kind == Operand::Kind::kNone)
      direct = add_memory({v, type, value.is_constant() ? converted(value.constant, lane) : Tensor(), is_row(v)});
    if (type == lane && (!row || uniform)) return direct;
    Operand& loaded = loaded_.try_emplace({v, lane}).first->second;
    if (loaded.kind == Operand::Kind::kNone) {
      Operand source = direct;
      source.scalar = false;
      loaded = emit({Op::kConvert, type, lane}, is_row(v), is_row(v), {source});
    }
    return loaded;
  }

  Operand get_table(ValueId v) {
    Operand& table = tables_[v];
    const Value& value = graph_.value(v);
    if (table.kind == Operand::Kind::kNone) table = add_memory({v, storage_[v], value.constant, false, true});
    table.scalar = false;
    return table;
  }

  // ---------------------------------------------------------------- instructions

  static unsigned mask_of(std::span<const Operand> src) {
    unsigned mask = 0;
    for (size_t i = 0; i < src.size(); ++i) mask |= unsigned{src[i].scalar} << i;
    return mask;
  }

  // Appends an instruction whose result is a new register of lane key.to; spreads scalar sources over the row where no
  // loop takes them as scalars. `row`: works on one number a row; `row_result`: gives one.
  Operand emit(LoopKey key, bool row, bool row_result, std::vector<Operand> src,
               std::array<int64_t, 3> constants = {}) {
    if (mask_of(src) == 1 && src.size() == 2 && swapped(key.op)) {
      key.op = *swapped(key.op);
      std::swap(src[0], src[1]);
    }
    unsigned mask = mask_of(src), supported = mask;
    for (;; supported = (supported - 1) & mask) {
      key.scalars = supported;
      if (find_loop(isa_, key)) break;
    }
    for (size_t i = 0; i < src.size(); ++i) {
      if (!((mask & ~supported) >> i & 1)) continue;
      src[i] = spread(src[i], key.op == Op::kSelect && i == 0 ? k32 : key.from, row);
    }
    Instruction instruction;
    instruction.key = key;
    instruction.loop = find_loop(isa_, key);
    instruction.row = row;
    instruction.node = stage_.nodes[node_];
    std::copy(src.begin(), src.end(), instruction.src);
    instruction.constants = constants;
    instruction.dst[0] = new_register(result_lane(key), row_result);
    program_.instructions_.push_back(instruction);
    return instruction.dst[0];
  }

  // The operation with its operands exchanged.
  static std::optional<Op> swapped(Op op) {
    switch (op) {
      case Op::kAdd:
      case Op::kMul:
      case Op::kMin:
      case Op::kMax:
      case Op::kAnd:
      case Op::kOr:
      case Op::kXor:
      case Op::kEq:
        return op;
      case Op::kSub:
        return Op::kRsub;
      default:
        return std::nullopt;
    }
  }

  // A scalar source, repeated in a register.
  Operand spread(Operand source, DataType lane, bool row) {
    return source.scalar ? emit({Op::kConvert, lane, lane}, row, row, {source}) : source;
  }

  // Comparisons, conversions and most others write lanes of key.to; bucketize counts in i32, random_bits needs i64.
  static DataType result_lane(const LoopKey& key) {
    if (key.op == Op::kBucketize) return k32;
    return key.op == Op::kRandomBits ? k64 : key.to;
  }

  void define(ValueId v, Operand result) {
    Computed& value = computed_[v];
    value.row = registers_[result.index].row;
    value.lanes[registers_[result.index].lane] = result;
  }

  // An element-wise operation on operands of lane `from`, with a result of lane `to`.
  void elementwise(Op op, DataType from, DataType to, const std::vector<ValueId>& inputs) {
    const ValueId out = node().outputs[0];
    const bool row = is_row(out);
    std::vector<Operand> src;
    for (const ValueId v : inputs) src.push_back(get(v, from, row));
    define(out, emit({op, from, to}, row, row, std::move(src)));
  }

  // Computed modulo 2^32 where the result is proven to fit.
  void modular(Op op) {
    const DataType to = lane(node().outputs[0]);
    elementwise(op, to, to, node().inputs);
  }

  // Computed in lanes that hold the operands and the result.
  void exact(Op op, DataType at_least = k32) {
    DataType type = wider(at_least, lane(node().outputs[0]));
    for (const ValueId v : node().inputs) type = wider(type, lane(v));
    elementwise(op, type, type, node().inputs);
  }

  void alias(ValueId v, ValueId of) { alias_[v] = of; }

  // Whether lookup or bucketize reads a table of its own in every column.
  bool differs_by_column(ValueId table) const {
    const Shape& shape = graph_.value(table).shape;
    return shape.size() >= 2 && !shape[shape.size() - 2].is_one();
  }

  void generate(const Node& node);
  void generate_mul_shift(const Node& node);
  void generate_lookup(const Node& node);
  void generate_reduce(const Node& node);
  // a = 0 - b, computed in this stage.
  bool is_negative_of(ValueId a, ValueId b) const {
    const int n = producer_of(a);
    if (n < 0 || graph_.nodes[n].op != "sub" || graph_.nodes[n].inputs[1] != b) return false;
    const Tensor& zero = graph_.value(graph_.nodes[n].inputs[0]).constant;
    return zero.defined() && zero.count() == 1 && zero.at(0) == 0;
  }
  struct ColumnIndex {
    ValueId x;
    std::vector<Instruction::Segment> segments;
  };
  std::optional<ColumnIndex> column_index(ValueId index) const;
  // The node of this stage that computes v, or -1.
  int producer_of(ValueId v) const {
    for (const int n : stage_.nodes)
      if (std::count(graph_.nodes[n].outputs.begin(), graph_.nodes[n].outputs.end(), v)) return n;
    return -1;
  }
  void generate_clamp(const Node& node, Interval bounds);

  // ---------------------------------------------------------------- results

  void store(ValueId v) {
    const DataType type = storage_[v];
    Memory memory{v, type, {}, is_row(v), false, is_squeezed(v)};
    const ValueId source = root(v);
    const auto computed = computed_.find(source);
    const bool row = is_row(v);
    if (computed != computed_.end()) {
      const auto same = computed->second.lanes.find(type);
      if (same != computed->second.lanes.end() && same->second.kind == Operand::Kind::kRegister &&
          registers_[same->second.index].row == row) {
        Operand target = add_memory(memory);
        target.scalar = false;
        redirect(same->second.index, target);
        for (auto& [lane, operand] : computed->second.lanes)
          if (lane == type) operand = target;
        return;
      }
    }
    const DataType from = computed != computed_.end() ? computed->second.lanes.begin()->first : lane(source);
    const Operand operand = get(source, from, row);
    Operand target = add_memory(memory);
    target.scalar = false;
    Instruction instruction;
    instruction.key = {Op::kConvert, from, type, mask_of({&operand, 1})};
    instruction.loop = find_loop(isa_, instruction.key);
    instruction.row = row;
    instruction.node = stage_.nodes[node_];
    instruction.src[0] = operand;
    instruction.dst[0] = target;
    program_.instructions_.push_back(instruction);
  }

  // The register is replaced by memory wherever it is written and read.
  void redirect(int reg, Operand memory) {
    const auto replace = [&](Operand& o) {
      if (o.kind != Operand::Kind::kRegister || o.index != reg) return;
      const bool scalar = o.scalar;
      o = memory;
      o.scalar = scalar;
    };
    for (Instruction& i : program_.instructions_) {
      for (Operand& o : i.dst) replace(o);
      for (Operand& o : i.src) replace(o);
    }
    for (auto& [v, value] : computed_)
      for (auto& [lane, operand] : value.lanes) replace(operand);
  }

  void remove_unused() {
    std::vector<bool> used(registers_.size(), false);
    std::vector<Instruction> kept;
    auto& all = program_.instructions_;
    for (auto i = all.rbegin(); i != all.rend(); ++i) {
      const auto needed = [&](const Operand& o) {
        return o.kind == Operand::Kind::kMemory || (o.kind == Operand::Kind::kRegister && used[o.index]);
      };
      if (!needed(i->dst[0]) && !needed(i->dst[1])) continue;
      for (const Operand& o : i->src)
        if (o.kind == Operand::Kind::kRegister) used[o.index] = true;
      kept.push_back(*i);
    }
    std::reverse(kept.begin(), kept.end());
    all = std::move(kept);
  }

  // Linear scan: a register is free again after its last reader.
  void assign_registers() {
    std::vector<int> last(registers_.size(), -1), physical(registers_.size(), -1);
    auto& all = program_.instructions_;
    const auto each = [](Instruction& i, auto f) {
      for (Operand& o : i.dst)
        if (o.kind == Operand::Kind::kRegister) f(o);
      for (Operand& o : i.src)
        if (o.kind == Operand::Kind::kRegister) f(o);
    };
    for (size_t n = 0; n < all.size(); ++n) each(all[n], [&](Operand& o) { last[o.index] = static_cast<int>(n); });
    std::map<std::pair<DataType, bool>, std::vector<int>> free;
    for (size_t n = 0; n < all.size(); ++n) {
      std::vector<int> ending;
      each(all[n], [&](Operand& o) {
        const int reg = o.index;
        const Register& wanted = registers_[reg];
        auto& pool = free[{wanted.lane, wanted.row}];
        if (physical[reg] < 0) {
          if (pool.empty()) {
            pool.push_back(static_cast<int>(program_.registers_.size()));
            program_.registers_.push_back(wanted);
          }
          physical[reg] = pool.back();
          pool.pop_back();
        }
        if (last[reg] == static_cast<int>(n) && !std::count(ending.begin(), ending.end(), reg)) ending.push_back(reg);
        o.index = physical[reg];
      });
      for (const int reg : ending) free[{registers_[reg].lane, registers_[reg].row}].push_back(physical[reg]);
    }
  }

  RowProgram& program_;
  const Graph& graph_;
  const Ranges& ranges_;
  const Stage& stage_;
  std::span<const DataType> storage_;
  // By Value: whether its range rests on a fact. A fact of a file is a claim, so it proves no access to memory.
  std::vector<bool> claimed_;
  const Isa isa_;
  int node_ = 0;
  std::vector<Register> registers_;  // before assignment, each written once
  std::map<ValueId, Computed> computed_;
  std::map<ValueId, ValueId> alias_;
  std::map<ValueId, bool> squeezed_;
  std::map<std::pair<ValueId, DataType>, Operand> outside_, loaded_;
  std::map<std::pair<int64_t, DataType>, Operand> literals_;
  std::map<ValueId, Operand> tables_;
};

void RowCompiler::generate(const Node& node) {
  const ValueId out = node.outputs[0];
  const std::string rounding = node.text("rounding", "half_up");
  switch (core_op(node)) {
    case CoreOp::k_add:
      return modular(Op::kAdd);
    case CoreOp::k_sub:
      return modular(Op::kSub);
    case CoreOp::k_mul:
      if (lane(out) == k64 && lane(node.inputs[0]) == k32 && lane(node.inputs[1]) == k32)
        return elementwise(Op::kMul, k32, k64, node.inputs);
      return modular(Op::kMul);
    case CoreOp::k_abs:
      return exact(Op::kAbs);
    case CoreOp::k_min:
      return exact(Op::kMin);
    case CoreOp::k_max:
      return exact(Op::kMax);
    case CoreOp::k_clamp: {
      const Tensor &lo = graph_.value(node.inputs[1]).constant, &hi = graph_.value(node.inputs[2]).constant;
      if (lo.defined() && hi.defined() && lo.count() == 1 && hi.count() == 1 && lo.at(0) <= hi.at(0))
        return generate_clamp(node, {lo.at(0), hi.at(0)});
      DataType type = lane(out);
      for (const ValueId v : node.inputs) type = wider(type, lane(v));
      const bool row = is_row(out);
      const std::vector<Operand> src = {get(node.inputs[0], type, row), get(node.inputs[1], type, row)};
      const Operand low = emit({Op::kMax, type, type}, row, row, src);
      return define(out, emit({Op::kMin, type, type}, row, row, {low, get(node.inputs[2], type, row)}));
    }
    case CoreOp::k_shl: {
      // A count of 32 and more needs 64-bit lanes even where x = 0 keeps the result small.
      if (range(node.inputs[1]).hi >= 32) return exact(Op::kShl, k64);
      return modular(Op::kShl);
    }
    case CoreOp::k_shr:
      return exact(rounding == "floor"     ? Op::kShrFloor
                   : rounding == "half_up" ? Op::kShrHalfUp
                                           : Op::kShrHalfAway,
                   range(node.inputs[1]).hi >= 32 ? k64 : k32);
    case CoreOp::k_mul_shift:
      return generate_mul_shift(node);
    case CoreOp::k_div:
      return exact(Op::kDiv);
    case CoreOp::k_rem:
      return exact(Op::kRem);
    case CoreOp::k_isqrt:
      return exact(Op::kIsqrt);
    case CoreOp::k_normalize: {
      const DataType type = wider(lane(node.inputs[0]), lane(out));
      const bool row = is_row(out);
      const Operand y = emit({Op::kNormalize, type, type}, row, row, {get(node.inputs[0], type, row)},
                             {node.integer("top"), node.integer("even", 0)});
      const Operand k = new_register(k32, row);
      program_.instructions_.back().dst[1] = k;
      define(out, y);
      define(node.outputs[1], k);
      return;
    }
    case CoreOp::k_and:
      return modular(Op::kAnd);
    case CoreOp::k_or:
      return modular(Op::kOr);
    case CoreOp::k_xor:
      return modular(Op::kXor);
    case CoreOp::k_eq:
    case CoreOp::k_lt:
    case CoreOp::k_le: {
      const Op op = node.op == "eq" ? Op::kEq : node.op == "lt" ? Op::kLt : Op::kLe;
      return elementwise(op, wider(lane(node.inputs[0]), lane(node.inputs[1])), k32, node.inputs);
    }
    case CoreOp::k_select: {
      const DataType type = lane(out);
      const bool row = is_row(out);
      const Operand condition = get(node.inputs[0], k32, row);
      if (type == k32 && is_negative_of(node.inputs[1], node.inputs[2]))
        return define(out, emit({Op::kNegateIf, k32, k32}, row, row,
                                {spread(condition, k32, row), get(node.inputs[2], k32, row)}));
      return define(out, emit({Op::kSelect, type, type}, row, row,
                              {condition, get(node.inputs[1], type, row), get(node.inputs[2], type, row)}));
    }
    case CoreOp::k_cast: {
      const Interval to = range_of(graph_.value(out).type);
      if (node.text("mode", "exact") == "exact" || to.contains(range(node.inputs[0])))
        return alias(out, node.inputs[0]);
      return generate_clamp(node, to);
    }
    case CoreOp::k_lookup:
      return generate_lookup(node);
    case CoreOp::k_bucketize: {
      const ValueId x = node.inputs[0], thresholds = node.inputs[1];
      const DataType type = wider(lane(x), lane(thresholds));
      const bool row = is_row(out);
      return define(out, emit({Op::kBucketize, storage_[thresholds], type}, row, row,
                              {spread(get(x, type, row), type, row), get_table(thresholds)},
                              {graph_.value(thresholds).shape.back().factor, differs_by_column(thresholds)}));
    }
    case CoreOp::k_random_bits: {
      const bool row = is_row(out);
      return define(out, emit({Op::kRandomBits, k64, k64}, row, row,
                              {get(node.inputs[0], k64, row), get(node.inputs[1], k64, row)},
                              {node.integer("seed_low"), node.integer("seed_high"), node.integer("stream")}));
    }
    case CoreOp::k_reduce:
    case CoreOp::k_dot:
      return generate_reduce(node);
    case CoreOp::k_reshape:
      if (graph_.value(out).shape == stage_.lead && !stage_.lead.empty()) squeezed_[out] = true;
      return alias(out, node.inputs[0]);
    case CoreOp::k_patches:
    case CoreOp::k_top_k:
    case CoreOp::k_gather:
    case CoreOp::k_scatter_add:
    case CoreOp::k_slice:
    case CoreOp::k_update_slice:
    case CoreOp::k_concat:
    case CoreOp::k_transpose:
    case CoreOp::k_iota:
    case CoreOp::k_pack:
    case CoreOp::k_unpack:
    case CoreOp::k_scan:
    case CoreOp::k_quantize:
    case CoreOp::k_dequantize:
      break;
  }
  DYADIC_CHECK(false, node.op, " in a row stage");
}

void RowCompiler::generate_clamp(const Node& node, Interval bounds) {
  const ValueId out = node.outputs[0];
  const DataType from = lane(node.inputs[0]), to = from == k32 ? k32 : lane(out);
  if (from == k32) {  // ends beyond 32 bits cut nothing off
    const Interval all = range_of(k32);
    if (bounds.lo > all.hi || bounds.hi < all.lo)
      return define(out, emit({Op::kConvert, k64, k64, 1}, is_row(out), is_row(out),
                              {literal(bounds.lo > all.hi ? bounds.lo : bounds.hi, k64)}));
    bounds = {std::max(bounds.lo, all.lo), std::min(bounds.hi, all.hi)};
  }
  const bool row = is_row(out);
  define(out, emit({Op::kClamp, from, to}, row, row, {spread(get(node.inputs[0], from, row), from, row)},
                   {bounds.lo, bounds.hi}));
}

void RowCompiler::generate_mul_shift(const Node& node) {
  const ValueId out = node.outputs[0];
  const bool half_up = node.text("rounding", "half_up") == "half_up";
  ValueId x = node.inputs[0], m = node.inputs[1];
  const ValueId s = node.inputs[2];
  if (is_row(x) && !is_row(m)) std::swap(x, m);
  if (fits_mul_shift_32(node, ranges_.values))
    return elementwise(half_up ? Op::kMulShift32HalfUp : Op::kMulShift32Floor, k32, k32, {x, m, s});
  const bool narrow = lane(x) == k32 && lane(m) == k32;
  const DataType from = narrow ? k32 : k64;
  const Op op = half_up ? Op::kMulShiftHalfUp : Op::kMulShiftFloor;
  elementwise(op, from, from == k64 ? k64 : lane(out), {x, m, s});
}

// If index = x + offset with an offset for each column: x, and the offsets as runs of equal ones.
std::optional<RowCompiler::ColumnIndex> RowCompiler::column_index(ValueId index) const {
  const int producer = producer_of(index);
  if (producer < 0 || graph_.nodes[producer].op != "add") return std::nullopt;
  for (const int k : {0, 1}) {
    const Value& offset = graph_.value(graph_.nodes[producer].inputs[k]);
    const ValueId x = graph_.nodes[producer].inputs[1 - k];
    if (!offset.is_constant() || offset.constant.rank() == 0 || is_row(x) ||
        offset.constant.count() != offset.constant.dims().back())
      continue;
    ColumnIndex result{x, {}};
    for (int64_t c = 0; c < offset.constant.count(); ++c)
      if (const int64_t at = offset.constant.at(c); c == 0 || at != result.segments.back().offset)
        result.segments.push_back({c, at});
    return result;
  }
  return std::nullopt;
}

void RowCompiler::generate_lookup(const Node& node) {
  const ValueId out = node.outputs[0], table = node.inputs[0];
  const bool row = is_row(out);
  const Value& value = graph_.value(table);
  const Dim& length = value.shape.back();
  const bool proven = !claimed_[node.inputs[1]] && length.is_constant() &&
                      Interval{0, length.factor - 1}.contains(range(node.inputs[1]));
  const bool bytes = range_of(DataType::kI8).contains(range(table)) || range_of(DataType::kU8).contains(range(table));
  const Interval byte = range_of(DataType::kU8);
  if (value.is_constant() && value.constant.rank() == 1 && proven && bytes && lane(out) == k32) {
    const DataType type = range_of(DataType::kI8).contains(range(table)) ? DataType::kI8 : DataType::kU8;
    // A table of at most 256 entries, or one such for each run of columns.
    ColumnIndex index{node.inputs[1], {}};
    const auto by_column = column_index(node.inputs[1]);
    if (length.factor > 256 && by_column) index = *by_column;
    if (byte.contains(range(index.x)) && (length.factor <= 256 || !index.segments.empty())) {
      Tensor padded(type, {length.factor + 256});
      for (int64_t i = 0; i < length.factor; ++i) padded.set(i, value.constant.at(i));
      const Operand operand = add_memory({table, type, padded, false, true});
      define(out, emit({Op::kLookupBytes, type, k32}, row, row, {operand, spread(get(index.x, k32, row), k32, row)}));
      program_.instructions_.back().segments = index.segments;
      return;
    }
  }
  const Operand index = spread(get(node.inputs[1], k32, row), k32, row);
  define(out, emit({Op::kLookup, storage_[table], lane(out)}, row, row, {get_table(table), index},
                   {differs_by_column(table)}));
  program_.instructions_.back().check_index = !proven;
}

void RowCompiler::generate_reduce(const Node& node) {
  const ValueId out = node.outputs[0], x = node.inputs[0];
  if (graph_.value(out).shape.size() == stage_.lead.size() && !stage_.lead.empty()) squeezed_[out] = true;
  const bool dot = node.op == "dot";
  if (is_row(x)) {  // one element a row
    if (!dot) return alias(out, x);
    const DataType to = lane(out);
    return define(out, emit({Op::kMul, to, to}, true, true, {get(x, to, true), get(node.inputs[1], to, true)}));
  }
  const std::string kind = dot ? "dot" : node.text("kind");
  const DataType to = lane(out);
  DataType from = lane(x);
  if (dot) from = wider(from, lane(node.inputs[1]));
  if (kind == "sum" || kind == "dot") {
    if (to == k32) from = k32;  // modulo 2^32
    std::vector<Operand> src = {spread(get(x, from, false), from, false)};
    if (dot) src.push_back(spread(get(node.inputs[1], from, false), from, false));
    return define(out, emit({dot ? Op::kDot : Op::kSum, from, to}, false, true, std::move(src)));
  }
  define(out, emit({kind == "max" ? Op::kRowMax : Op::kRowMin, from, from}, false, true, {get(x, from, false)}));
}

RowProgram::RowProgram(const Graph& graph, const Ranges& ranges, const Stage& stage, std::span<const DataType> storage,
                       const std::vector<bool>& stored, Isa isa)
    : name_(graph.name), lead_(stage.lead), width_(stage.width) {
  RowCompiler(*this, graph, ranges, stage, storage, isa).compile(stored);
  for (const Instruction& i : instructions_) node_names_.push_back(cat(graph.nodes[i.node].op, " ", i.node));
}

}  // namespace dyadic::tile

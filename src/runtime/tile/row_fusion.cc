#include "runtime/tile/row_fusion.h"

#include <algorithm>
#include <optional>

namespace dyadic::tile {
namespace {

constexpr DataType k32 = DataType::kI32;

class Fusion {
 public:
  Fusion(std::vector<Instruction>& instructions, size_t registers, Isa isa) : all_(instructions), isa_(isa) {
    defined_.assign(registers, -1);
    readers_.assign(registers, 0);
    for (size_t i = 0; i < all_.size(); ++i) {
      for (const Operand& o : all_[i].dst)
        if (is_register(o)) defined_[o.index] = static_cast<int>(i);
      for (const Operand& o : all_[i].src)
        if (is_register(o)) ++readers_[o.index];
    }
    gone_.assign(all_.size(), false);
  }

  void run() {
    sum_stored_bytes();
    for (const auto step : {&Fusion::try_convert, &Fusion::try_select, &Fusion::try_negate_if, &Fusion::try_clamp,
                            &Fusion::try_convert, &Fusion::try_mul_shift_add, &Fusion::try_pair})
      for (size_t j = 0; j < all_.size(); ++j)
        if (!gone_[j] && !all_[j].row) (this->*step)(j);
    size_t kept = 0;
    for (size_t i = 0; i < all_.size(); ++i)
      if (!gone_[i]) all_[kept++] = all_[i];
    all_.resize(kept);
  }

 private:
  static bool is_register(const Operand& o) { return o.kind == Operand::Kind::kRegister; }

  // The instruction that computes source k of all_[j] for it alone, on whole rows in 32-bit lanes; -1 if there is none.
  int producer(size_t j, int k) const {
    const Operand& o = all_[j].src[k];
    if (!is_register(o) || o.scalar || readers_[o.index] != 1) return -1;
    const int i = defined_[o.index];
    const Instruction& p = all_[i];
    const bool plain =
        !p.row && !is_reduction(p.key.op) && p.key.from == k32 && p.key.to == k32 && !is_register(p.dst[1]);
    return plain || (p.key.op == Op::kLookupBytes && p.key.to == k32) ? i : -1;
  }

  // Replaces all_[j], and its producer i, by one loop with i's sources and `others`.
  bool replace(int i, size_t j, LoopKey key, std::vector<Operand> others, int from_source) {
    key.scalars = all_[i].key.scalars;
    for (size_t k = 0; k < others.size(); ++k) key.scalars |= unsigned{others[k].scalar} << (from_source + k);
    const Loop loop = find_loop(isa_, key);
    if (!loop) return false;
    Instruction fused = all_[j];
    fused.key = key;
    fused.loop = loop;
    std::copy(std::begin(all_[i].src), std::end(all_[i].src), fused.src);
    std::copy(others.begin(), others.end(), fused.src + from_source);
    if (key.then != Op::kClamp || all_[i].key.then != Op::kNone) fused.constants = all_[i].constants;
    if (fused.segments.empty()) fused.segments = all_[i].segments;
    all_[j] = fused;
    gone_[i] = true;
    return true;
  }

  // x -> storage: clamps and table lookups can write it themselves.
  bool try_convert(size_t j) {
    const Instruction& convert = all_[j];
    if (convert.key.op != Op::kConvert || convert.key.from != k32 || convert.key.scalars) return false;
    const int i = producer(j, 0);
    if (i < 0) return false;
    LoopKey key = all_[i].key;
    if (key.op != Op::kClamp && key.then != Op::kClamp && key.op != Op::kLookupBytes) return false;
    key.to = convert.key.to;
    return replace(i, j, key, {}, 1);
  }

  bool try_clamp(size_t j) {
    if (all_[j].key.op != Op::kClamp || all_[j].key.from != k32) return false;
    const int i = producer(j, 0);
    if (i < 0 || all_[i].key.then != Op::kNone) return false;
    LoopKey key = all_[i].key;
    key.then = Op::kClamp;
    key.to = all_[j].key.to;
    return replace(i, j, key, {}, 1);
  }

  bool try_select(size_t j) {
    if (all_[j].key.op != Op::kSelect || all_[j].key.from != k32) return false;
    const int i = producer(j, 0);
    if (i < 0 || all_[i].key.then != Op::kNone) return false;
    LoopKey key = all_[i].key;
    key.then = Op::kSelect;
    return replace(i, j, key, {all_[j].src[1], all_[j].src[2]}, 2);
  }

  bool try_mul_shift_add(size_t j) {
    if (all_[j].key.op != Op::kAdd || all_[j].key.then != Op::kNone || all_[j].key.from != k32) return false;
    for (const int k : {0, 1}) {
      const int i = producer(j, k);
      if (i < 0 || all_[i].key.op != Op::kMulShiftHalfUp || all_[i].key.then != Op::kNone) continue;
      LoopKey key = all_[i].key;
      key.then = Op::kAdd;
      if (replace(i, j, key, {all_[j].src[1 - k]}, 3)) return true;
    }
    return false;
  }

  bool try_pair(size_t j) {
    const LoopKey second = all_[j].key;
    if (second.then != Op::kNone || second.from != k32 || second.to != k32) return false;
    for (const int k : {0, 1}) {
      const auto then = as_first_operand(second.op, k);
      if (!then) continue;
      const int i = producer(j, k);
      if (i < 0 || all_[i].key.then != Op::kNone || is_register(all_[i].src[2])) continue;
      LoopKey key = all_[i].key;
      key.then = *then;
      if (replace(i, j, key, {all_[j].src[1 - k]}, 2)) return true;
    }
    return false;
  }

  bool try_negate_if(size_t j) {
    if (all_[j].key.op != Op::kNegateIf) return false;
    const int i = producer(j, 0);
    if (i < 0 || all_[i].key.then != Op::kNone) return false;
    LoopKey key = all_[i].key;
    key.then = Op::kNegateIf;
    return replace(i, j, key, {all_[j].src[1]}, 2);
  }

  // The operation that gives op(.., t at position k, ..) with t as its first operand.
  static std::optional<Op> as_first_operand(Op op, int k) {
    switch (op) {
      case Op::kAdd:
      case Op::kMul:
      case Op::kMin:
      case Op::kMax:
        return op;
      case Op::kSub:
        return k == 0 ? Op::kSub : Op::kRsub;
      case Op::kRsub:
        return k == 0 ? Op::kRsub : Op::kSub;
      case Op::kShrHalfUp:
        return k == 0 ? std::optional(op) : std::nullopt;
      default:
        return std::nullopt;
    }
  }

  // Bytes that are looked up, stored and summed are summed where they are stored: then the lookup can write them.
  void sum_stored_bytes() {
    for (size_t i = 0; i < all_.size(); ++i) {
      Instruction& lookup = all_[i];
      if (lookup.key.op != Op::kLookupBytes || lookup.key.from != DataType::kU8 || !is_register(lookup.dst[0]))
        continue;
      const int bytes = lookup.dst[0].index;
      const auto reads = [&](const Instruction& x) { return is_register(x.src[0]) && x.src[0].index == bytes; };
      const auto stores = [&](const Instruction& x) {
        return reads(x) && x.key.op == Op::kConvert && x.key.to == DataType::kU8 &&
               x.dst[0].kind == Operand::Kind::kMemory;
      };
      const auto store = std::find_if(all_.begin(), all_.end(), stores);
      const auto sums = std::count_if(all_.begin(), all_.end(), [&](const Instruction& x) {
        return reads(x) && x.key.op == Op::kSum && x.key.to == k32;
      });
      if (store == all_.end() || sums != 1 || readers_[bytes] != 2) continue;
      const Operand memory = store->dst[0];
      for (Instruction& x : all_)
        if (reads(x) && x.key.op == Op::kSum) {
          x.src[0] = memory;
          x.key.from = DataType::kU8;
          x.loop = find_loop(isa_, x.key);
        }
      lookup.key.to = DataType::kU8;
      lookup.loop = find_loop(isa_, lookup.key);
      lookup.dst[0] = memory;
      gone_[store - all_.begin()] = true;
      defined_[bytes] = -1;
      readers_[bytes] = 0;
    }
  }

  std::vector<Instruction>& all_;
  const Isa isa_;
  std::vector<int> defined_, readers_;  // by register
  std::vector<bool> gone_;              // by instruction
};

}  // namespace

void fuse(std::vector<Instruction>& instructions, size_t registers, Isa isa) {
  Fusion(instructions, registers, isa).run();
}

}  // namespace dyadic::tile

#include "kernels/dot/pairs.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "kernels/dot/panels.h"

namespace dyadic {
namespace {

constexpr int64_t kGroupBytes = 4 * kPairColumns, kBlockBytes = kPairBlock / 4 * kGroupBytes;

int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

// For codes in a range that includes 0, because a product with zeros measures what u adds. Both signs are used where
// that costs next to nothing; -128 cannot be negated.
PairBound pair_bound(const PanelSource& b) {
  const int64_t lo = std::clamp<int64_t>(b.a_range.lo, -128, 0), hi = std::clamp<int64_t>(b.a_range.hi, 0, 127);
  const int64_t plain = hi + 128, negated = 127 - lo, most = std::max(plain, negated), least = std::min(plain, negated);
  const auto sum = [](int64_t U) { return static_cast<uint8_t>(std::min<int64_t>(254, 32767 / U)); };
  for (const int64_t row : b.columns)
    if (row >= 0 && b.K > 0 && std::memchr(b.b + row * b.ldb, 0x80, b.K)) return {sum(plain), false, false};
  const bool both = 10 * least > 9 * most;
  return {sum(both ? most : least), negated < plain, both};
}

// The weights of one panel as arrange_pair_blocks wants them: whole blocks, the last one from K - 16 on.
class PanelColumns {
 public:
  explicit PanelColumns(const PanelSource& b)
      : b_(b), padded_(b.K < kPairBlock ? kPairBlock * kPairColumns : 0), zeros_(std::max<int64_t>(b.K, kPairBlock)) {}

  void move_to(int64_t panel) {
    for (int c = 0; c < kPairColumns; ++c) {
      const int64_t row = b_.columns[panel * kPairColumns + c];
      const bool is_given = row >= 0 && b_.K > 0;
      const std::byte* from = is_given ? b_.b + row * b_.ldb : zeros_.data();
      if (is_given && !padded_.empty())
        from = static_cast<std::byte*>(std::memcpy(&padded_[c * kPairBlock], from, b_.K));
      columns_[c] = reinterpret_cast<const int8_t*>(from);
    }
  }
  const int8_t* const* columns() const { return columns_; }
  int64_t blocks() const { return round_up(b_.K, kPairBlock) / kPairBlock; }
  int64_t k(int64_t block) const { return std::max<int64_t>(0, std::min(block * kPairBlock, b_.K - kPairBlock)); }
  int skip(int64_t block) const { return static_cast<int>(block * kPairBlock - k(block)); }

 private:
  const PanelSource& b_;
  const int8_t* columns_[kPairColumns];
  std::vector<std::byte> padded_, zeros_;
};

struct PanelSize {
  int64_t steps, blocks, unsafe, extra_groups;
  // Whole cache lines: arranging stores 32 bytes at a time.
  int64_t groups() const { return round_up(std::max(8 * steps, 4 * blocks + extra_groups), 16); }
  int64_t order_bytes() const { return round_up(sizeof(PairOrder) + steps * (sizeof(PairStep) + 8) + unsafe * 5, 64); }
  int64_t weight_bytes() const {
    return static_cast<int64_t>(sizeof(PairHeader)) + blocks * kBlockBytes + extra_groups * kGroupBytes;
  }
};

PanelSize size_of(std::span<const PairBlock> blocks) {
  int64_t unsafe = 0;
  for (const PairBlock& block : blocks) unsafe += block.unsafe;
  const int64_t count = blocks.size();
  return {(count + 1) / 2, count, unsafe, (unsafe + 1) / 2};
}

// Writes one panel, `bytes` being its order and then its weights.
void write_panel(const PanelColumns& source, std::span<const PairBlock> blocks, PairBound bound, std::byte* bytes) {
  const PanelSize size = size_of(blocks);
  PairOrder& order = *reinterpret_cast<PairOrder*>(bytes);
  order = {static_cast<int32_t>(size.steps), static_cast<int32_t>(size.blocks), static_cast<int32_t>(size.unsafe), 0};
  PairStep* steps = const_cast<PairStep*>(order.step());
  int32_t *k = const_cast<int32_t*>(order.k()), *extra_k = const_cast<int32_t*>(order.extra_k());
  uint8_t* extra_flip = const_cast<uint8_t*>(order.extra_flip());
  PairHeader& header = *reinterpret_cast<PairHeader*>(bytes + size.order_bytes());
  std::byte* weights = reinterpret_cast<std::byte*>(&header + 1);

  std::vector<PairExcess> excess(size.unsafe);
  int64_t at = 0, extra = 0;
  for (int form = 0; form < kPairForms; ++form)
    for (int64_t i = 0; i < size.blocks; ++i) {
      const PairBlock& block = blocks[i];
      if (block.form != form) continue;
      ++header.blocks[form];
      k[at] = static_cast<int32_t>(source.k(i));
      PairStep& step = steps[at / 2];
      const int64_t half = at % 2 * kPairBlock;
      for (int p = 0; p < kPairBlock; ++p) {
        step.source[half + p] = block.source[p];
        step.flip[half + p] = block.negated[p] ? 0x7f : 0x80;
      }
      pack_pair_block(source.columns(), source.k(i), source.skip(i), bound, block, weights + at * kBlockBytes,
                      excess.data() + extra);
      for (int u = 0; u < block.unsafe; ++u, ++extra) {
        const int64_t place = excess[extra].place;
        extra_k[extra] = k[at] + block.source[place];
        extra_flip[extra] = step.flip[half + place];
      }
      ++at;
    }
  header.extra_groups = static_cast<int32_t>(size.extra_groups);
  for (int64_t g = 0; g < size.extra_groups; ++g) {
    const PairExcess* second = 2 * g + 1 < extra ? &excess[2 * g + 1] : nullptr;
    const PairExcess* const group[] = {&excess[2 * g], nullptr, second, nullptr};
    pack_pair_group(group, weights + size.blocks * kBlockBytes + g * kGroupBytes);
  }
}

// What all panels take together. An unsafe pair takes half a group of extra k's.
struct PairTotals {
  int64_t blocks = 0, of_form[kPairForms] = {}, unsafe = 0;
};

PairTotals totals_of(const PairOrders& orders) {
  PairTotals totals;
  for (const PairBlock& block : orders.blocks)
    ++totals.blocks, ++totals.of_form[block.form], totals.unsafe += block.unsafe;
  return totals;
}

}  // namespace

std::string PairOrders::note() const {
  const PairTotals totals = totals_of(*this);
  const auto percent = [&](int64_t blocks_by_4) { return (25 * blocks_by_4 + totals.blocks / 2) / totals.blocks; };
  if (totals.blocks == 0) return "";
  const int64_t mixed = totals.of_form[kSums4And2];
  return cat(", 16-bit sums of 8 in ", percent(4 * totals.of_form[kSums8]), " % of k, of 4 in ",
             percent(4 * totals.of_form[kSums4] + 2 * mixed), " %, of 2 in ",
             percent(4 * totals.of_form[kSums2] + 2 * mixed), " %, ", percent((totals.unsafe + 1) / 2), " % extra k");
}

// Cycles of a Zen 4 core for a row of 16 k's and 32 columns, what arranging costs included, against 21 of widened ones.
bool pairs_pay(const PairOrders& orders) {
  constexpr int64_t kCycles[kPairForms] = {11, 13, 15, 17}, kExtraGroup = 5, kWidened = 21;
  const PairTotals totals = totals_of(orders);
  int64_t cycles = (totals.unsafe + 1) / 2 * kExtraGroup;
  for (int form = 0; form < kPairForms; ++form) cycles += totals.of_form[form] * kCycles[form];
  return cycles < totals.blocks * kWidened;
}

PairOrders find_pair_orders(const PanelSource& b) {
  PanelColumns source(b);
  const int64_t count = b.columns.size() / kPairColumns, blocks = source.blocks();
  PairOrders orders{pair_bound(b), std::vector<PairBlock>(count * blocks)};
  for (int64_t p = 0; p < count; ++p) {
    source.move_to(p);
    for (int64_t i = 0; i < blocks; i += kPairBlocksAtOnce) {
      int64_t k[kPairBlocksAtOnce];
      int skip[kPairBlocksAtOnce], some = 0;
      for (; some < kPairBlocksAtOnce && i + some < blocks; ++some)
        k[some] = source.k(i + some), skip[some] = source.skip(i + some);
      arrange_pair_blocks(source.columns(), k, skip, some, orders.bound, &orders.blocks[p * blocks + i]);
    }
  }
  return orders;
}

Panels pack_pairs(const PanelDot& dot, const PanelSource& b, const PairOrders& orders) {
  PanelColumns source(b);
  const int64_t count = b.columns.size() / kPairColumns, blocks = source.blocks();
  const auto of_panel = [&](int64_t p) {
    return std::span<const PairBlock>(orders.blocks).subspan(p * blocks, blocks);
  };
  Panels result{.dot = &dot, .K = b.K};
  int64_t bytes = 0, groups = 0;
  for (int64_t p = 0; p < count; ++p) {
    const PanelSize size = size_of(of_panel(p));
    result.panels.push_back({bytes + size.order_bytes(), size.groups(), bytes});
    bytes += round_up(size.order_bytes() + size.weight_bytes(), 64);
    groups = std::max(groups, size.groups());
  }

  result.bytes = AlignedBuffer::long_lived(bytes);
  result.start.assign(b.columns.size(), 0);
  const std::vector<std::byte> zeros(std::max<int64_t>(b.K, kPairBlock));
  AlignedBuffer arranged(groups * 4);
  for (int64_t p = 0; p < count; ++p) {
    source.move_to(p);
    const Panel& panel = result.panels[p];
    write_panel(source, of_panel(p), orders.bound, result.bytes.data() + panel.order);
    int32_t* start = result.start.data() + p * kPairColumns;
    const int32_t none[kPairColumns] = {};
    dot.arrange(zeros.data(), 0, 1, b.K, result.bytes.data() + panel.order, panel.groups, arranged.data());
    dot.dot[1](arranged.data(), 0, panel.groups, result.bytes.data() + panel.at, none, start, 0, {});
    for (int c = 0; c < kPairColumns; ++c) start[c] = static_cast<int32_t>(-static_cast<uint32_t>(start[c]));
  }
  result.note = orders.note();
  return result;
}

}  // namespace dyadic

// Exact s8 x s8 products on CPUs whose byte products saturate.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds the products of neighbours in 16 bits, where they saturate.
// It takes twice as many products as vpmaddwd with operands widened to 16 bits, and is exact if no sum can leave 16
// bits. A weight w stands beside u = x + 128, or, negated, beside u = 127 - x: both are one XOR of the code ("flip"),
// and both are in 0..U for the range of x that is proved. A sum of several u * w then lies in
//     -U * (sum of the negative w) .. U * (sum of the positive w),
// which fits 16 bits if both sums are at most floor(32767 / U). The k's of a block of 16 may be multiplied in any order
// that a byte shuffle of x makes, so each panel of columns gets, block by block, the order and the flips that keep as
// many sums as possible safe for all its columns. Where four or eight products are safe together they are added in 16
// bits and widened once. A pair that is not safe in some column keeps there what is, and the excess of its second
// weight becomes the weight of an extra k. What u adds to x is taken off where sums start.
#pragma once
#include <string>
#include <vector>

#include "kernels/dot/panels.h"

namespace dyadic {

inline constexpr int kPairColumns = 32;  // of a panel
inline constexpr int kPairBlock = 16;    // k's that change places among each other

// What a block adds in 16 bits before it widens; blocks of a panel are sorted by it.
enum PairForm { kSums8, kSums4, kSums4And2, kSums2, kPairForms };

// Before the weights of a panel. Then, 32 * 4 bytes a group: the groups of the blocks, those of the extra k's.
struct PairHeader {
  int32_t blocks[kPairForms];
  int32_t extra_groups;
  int32_t unused[11];
};
static_assert(sizeof(PairHeader) == 64);

// Two blocks of an arranged row: place p takes x[k[p / 16] + source[p]] ^ flip[p].
struct PairStep {
  uint8_t source[2 * kPairBlock], flip[2 * kPairBlock];
};

// How rows of x are arranged for a panel. It is followed by PairStep[steps], int32 k[2 * steps], int32 extra_k[extras]
// and u8 extra_flip[extras]. Extra k's stand behind the blocks, each beside a place whose weights are zeros: two of
// them might not be safe together.
struct PairOrder {
  int32_t steps, blocks, extras, unused;
  const PairStep* step() const { return reinterpret_cast<const PairStep*>(this + 1); }
  const int32_t* k() const { return reinterpret_cast<const int32_t*>(step() + steps); }
  const int32_t* extra_k() const { return k() + 2 * steps; }
  const uint8_t* extra_flip() const { return reinterpret_cast<const uint8_t*>(extra_k() + extras); }
};

// The order that was found for a block: place p holds k source[p], negated beside 127 - x. Of the pairs
// in their order the last `unsafe` may leave 16 bits.
struct PairBlock {
  uint8_t source[kPairBlock];
  bool negated[kPairBlock];
  uint8_t form;    // PairForm
  uint8_t unsafe;  // 0..8
};

// What no sum of weights of one sign may exceed (254 at most), and whether weights are negated: by default, and where
// it helps.
struct PairBound {
  uint8_t sum;
  bool negated, both;
};

// What is left of the second weight of an unsafe pair, by column in the order that pack_pair_group expects.
struct PairExcess {
  int8_t weights[kPairColumns];
  int32_t place;  // of the block
};

// The steps of packing that are written for AVX2. `columns` are kPairColumns rows of weights by place in the panel, of
// which 16 from k on are read; the first `skip` of these count as zeros.
// Finds the orders of `count` blocks, at most kPairBlocksAtOnce, whose searches overlap: each is a chain of choices. k
// and skip are one a block.
inline constexpr int kPairBlocksAtOnce = 4;
void arrange_pair_blocks(const int8_t* const* columns, const int64_t* k, const int* skip, int count, PairBound bound,
                         PairBlock* blocks);
// Writes the four groups of a block and the excess of its unsafe pairs.
void pack_pair_block(const int8_t* const* columns, int64_t k, int skip, PairBound bound, const PairBlock& block,
                     std::byte* groups, PairExcess* excess);
// A group whose places hold the weights of extra[0..3], or zeros where that is null.
void pack_pair_group(const PairExcess* const* extra, std::byte* group);

// The orders of all blocks of a matrix: [panel][block].
struct PairOrders {
  PairBound bound;
  std::vector<PairBlock> blocks;
  std::string note() const;  // how many k's are summed how
};
PairOrders find_pair_orders(const PanelSource& b);

// Whether panels of these orders are faster than widened operands. Each form has a fixed cost, so the choice is the
// same everywhere.
bool pairs_pay(const PairOrders& orders);
Panels pack_pairs(const PanelDot& dot, const PanelSource& b, const PairOrders& orders);
extern const PanelDot kPairsAvx2;

}  // namespace dyadic

// The search for the orders of pairs.h, and panels packed in them.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "kernels/dot/pairs.h"

namespace dyadic {
namespace {

constexpr int kGroupBytes = 4 * kPairColumns;

__m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
void store128(void* p, __m128i x) { _mm_storeu_si128(static_cast<__m128i*>(p), x); }
__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

// rows[i] of the 32 columns for k + i. Columns 8j .. 8j + 3 stand in bytes 4j .. 4j + 3 of the low half, columns
// 8j + 4 .. 8j + 7 there in the high half: what unpacking within halves makes into groups (interleave).
void transpose(const int8_t* const* columns, int64_t k, int skip, __m256i rows[kPairBlock]) {
  __m256i from[kPairBlock];
  for (int i = 0; i < kPairBlock; ++i) {
    const int column = i / 4 * 8 + i % 4;
    from[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(columns[column] + k)),
                                      load128(columns[column + 4] + k), 1);
  }
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < kPairBlock / 2; ++i) {
      rows[2 * i] = _mm256_unpacklo_epi8(from[i], from[i + kPairBlock / 2]);
      rows[2 * i + 1] = _mm256_unpackhi_epi8(from[i], from[i + kPairBlock / 2]);
    }
    for (int i = 0; i < kPairBlock; ++i) from[i] = rows[i];
  }
  for (int i = 0; i < skip; ++i) rows[i] = _mm256_setzero_si256();
}

void interleave(const __m256i rows[4], std::byte* group) {
  const __m256i low01 = _mm256_unpacklo_epi8(rows[0], rows[1]), high01 = _mm256_unpackhi_epi8(rows[0], rows[1]);
  const __m256i low23 = _mm256_unpacklo_epi8(rows[2], rows[3]), high23 = _mm256_unpackhi_epi8(rows[2], rows[3]);
  store(group, _mm256_unpacklo_epi16(low01, low23));
  store(group + 32, _mm256_unpackhi_epi16(low01, low23));
  store(group + 64, _mm256_unpacklo_epi16(high01, high23));
  store(group + 96, _mm256_unpackhi_epi16(high01, high23));
}

__m256i negate(__m256i x) { return _mm256_sub_epi8(_mm256_setzero_si256(), x); }

// 1, 2, 4 or 8 k's that one sum takes together: one a byte, with bit 7 where its weights count negated.
using Members = uint64_t;
constexpr Members kNegated = 0x8080808080808080u;

// `size` k's of each.
Members joined(Members a, Members b, int size) {
  const uint64_t own = (uint64_t{1} << (8 * size)) - 1;
  return (a & own) | (b << (8 * size));
}

// Two columns a vector, one in each half, so that what is sought for each k or pair is a byte of its own in all of
// them.
constexpr int kColumnPairs = kPairColumns / 2;

// The weights of 16 k's: their sizes, and all ones where they are negative.
struct Singles {
  __m256i size[kColumnPairs], negative[kColumnPairs];
};

// Sums of up to eight nodes: of positive weights in bytes 0..7, of negative ones in bytes 8..15. They saturate at 255,
// which no bound allows.
struct NodeSums {
  __m256i sums[kColumnPairs];
};

__m128i larger_half(__m256i x) { return _mm_max_epu8(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1)); }
__m256i twice(__m128i x) { return _mm256_broadcastsi128_si256(x); }

Singles load_singles(const int8_t* const* columns, int64_t k, int skip) {
  const __m128i index = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m256i own = twice(_mm_cmpgt_epi8(index, _mm_set1_epi8(static_cast<char>(skip - 1))));
  Singles s;
  for (int c = 0; c < kColumnPairs; ++c) {
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(columns[2 * c] + k)),
                                                 load128(columns[2 * c + 1] + k), 1);
    const __m256i weights = _mm256_and_si256(both, own);
    s.size[c] = _mm256_abs_epi8(weights);
    s.negative[c] = _mm256_cmpgt_epi8(_mm256_setzero_si256(), weights);
  }
  return s;
}

// Whether the sums of k 0..7 and of k 8..15 are safe as they are.
bool are_safe(const Singles& s, PairBound bound) {
  const __m256i zero = _mm256_setzero_si256(), most = _mm256_set1_epi16(bound.sum);
  for (int c = 0; c < kColumnPairs; ++c) {
    const __m256i positive = _mm256_sad_epu8(_mm256_andnot_si256(s.negative[c], s.size[c]), zero);
    const __m256i negative = _mm256_sad_epu8(_mm256_and_si256(s.negative[c], s.size[c]), zero);
    const __m256i over = _mm256_cmpgt_epi16(_mm256_max_epi16(positive, negative), most);
    if (!_mm256_testz_si256(over, over)) return false;
  }
  return true;
}

// The largest size of each k.
__m128i weights_of(const Singles& s) {
  __m256i largest = s.size[0];
  for (int c = 1; c < kColumnPairs; ++c) largest = _mm256_max_epu8(largest, s.size[c]);
  return larger_half(largest);
}

// from[rank]: the index of a weight, of n with `count` in use. The heaviest comes first, of equal ones the first.
template <int n>
void sort(__m128i weights, int count, uint8_t from[16]) {
  // Keys hold a weight above the index from the last on; those of no node are below all others.
  const __m256i index = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m256i weight = _mm256_slli_epi16(_mm256_cvtepu8_epi16(weights), 4);
  const __m256i is_node = _mm256_cmpgt_epi16(_mm256_set1_epi16(static_cast<short>(count)), index);
  const __m256i key = _mm256_sub_epi16(
      _mm256_blendv_epi8(_mm256_set1_epi16(-1), _mm256_add_epi16(weight, _mm256_set1_epi16(15)), is_node), index);
  alignas(32) int16_t keys[16], rank[16];
  store(keys, key);
  asm volatile("" : : : "memory");  // or each would be taken out of the register, and the ranks too
  __m256i before = _mm256_setzero_si256();
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) before = _mm256_sub_epi16(before, _mm256_cmpgt_epi16(_mm256_set1_epi16(keys[i]), key));
  store(rank, before);
  asm volatile("" : : : "memory");
  for (int i = 0; i < n; ++i) from[rank[i]] = static_cast<uint8_t>(i);
}

// Two nodes that are joined, the second one flipped or not.
struct Join {
  uint8_t first, second;
  bool flip;
};

// Nodes joined two by two.
struct Joined {
  Join joins[kPairBlock / 2];  // the safe ones, by rank
  Members safe[kPairBlock / 2], alone[kPairBlock];
  alignas(16) uint8_t weight[16] = {};  // of the safe ones
  int count = 0, lonely = 0;            // how many are safe, and alone
  __m128i weights() const { return load128(weight); }
};

constexpr uint8_t kNothing = 0x80;  // the index with which a byte shuffle gives 0

// The sums of pairs of single k's.
NodeSums sums_of(const Singles& s, const Join* joins, int count) {
  // Of positive weights and of negative ones: where those of the pairs' sums come from.
  alignas(16) uint8_t first[2][16], second[2][16];
  std::memset(first, kNothing, sizeof first);
  std::memset(second, kNothing, sizeof second);
  for (int i = 0; i < count; ++i) {
    first[0][i] = first[1][8 + i] = joins[i].first;
    second[joins[i].flip][i] = second[!joins[i].flip][8 + i] = joins[i].second;
  }
  const __m256i of_first[] = {twice(load128(first[0])), twice(load128(first[1]))};
  const __m256i of_second[] = {twice(load128(second[0])), twice(load128(second[1]))};
  NodeSums result;
  for (int c = 0; c < kColumnPairs; ++c) {
    const __m256i positive = _mm256_andnot_si256(s.negative[c], s.size[c]);
    const __m256i negative = _mm256_and_si256(s.negative[c], s.size[c]);
    const auto take = [&](const __m256i* from) {
      return _mm256_or_si256(_mm256_shuffle_epi8(positive, from[0]), _mm256_shuffle_epi8(negative, from[1]));
    };
    result.sums[c] = _mm256_adds_epu8(take(of_first), take(of_second));
  }
  return result;
}

// The same of joined nodes.
NodeSums sums_of(const NodeSums& s, const Join* joins, int count) {
  alignas(16) uint8_t first[16], second[16];
  std::memset(first, kNothing, sizeof first);
  std::memset(second, kNothing, sizeof second);
  for (int i = 0; i < count; ++i) {
    first[i] = joins[i].first, first[8 + i] = joins[i].first + 8;
    second[i + 8 * joins[i].flip] = joins[i].second, second[i + 8 * !joins[i].flip] = joins[i].second + 8;
  }
  const __m256i of_first = twice(load128(first)), of_second = twice(load128(second));
  NodeSums result;
  for (int c = 0; c < kColumnPairs; ++c)
    result.sums[c] =
        _mm256_adds_epu8(_mm256_shuffle_epi8(s.sums[c], of_first), _mm256_shuffle_epi8(s.sums[c], of_second));
  return result;
}

// n is 8 or 16: up to n nodes, the heaviest first, and the largest sum of every two of them, straight and with the
// second one flipped. All sums are made at once, because a choice among them that waits for the one before takes
// longer.
template <int n>
class Candidates {
 public:
  // The single k's. Sorts them too.
  void take(Singles* singles, bool both) requires(n == 16) {
    count_ = n;
    const __m128i weights = weights_of(*singles);
    alignas(16) uint8_t from[16];
    sort<n>(weights, n, from);
    const __m128i order = load128(from);
    for (int c = 0; c < kColumnPairs; ++c) {
      singles->size[c] = _mm256_shuffle_epi8(singles->size[c], twice(order));
      singles->negative[c] = _mm256_shuffle_epi8(singles->negative[c], twice(order));
    }
    for (int i = 0; i < n; ++i) members_[i] = from[i];
    find_sums(*singles, _mm_shuffle_epi8(weights, order), both);
  }
  // The nodes that were joined out of those of `from`. `sums` are theirs.
  template <class Sums>
  void take(const Joined& joined, const Sums& from, NodeSums* sums, bool both) requires(n == 8) {
    count_ = joined.count;
    alignas(16) uint8_t order[16];
    sort<n>(joined.weights(), count_, order);
    Join joins[n];
    for (int i = 0; i < count_; ++i) members_[i] = joined.safe[order[i]], joins[i] = joined.joins[order[i]];
    *sums = sums_of(from, joins, count_);
    find_sums(*sums, both);
  }

  Members members(int i) const { return members_[i]; }
  int count() const { return count_; }

  // The partner of node i among those of `left` behind it, with the lowest sum: the sum above the partner, plus 128 if
  // the partner is to be flipped.
  uint32_t best(int i, uint32_t left) const {
    const __m128i index = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m128i flip = _mm_set1_epi8(-128), bit = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    const __m128i bits = _mm_shuffle_epi8(_mm_cvtsi32_si128(static_cast<int>(left)),
                                          _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
    const __m128i taken = _mm_cmpeq_epi8(_mm_and_si128(bits, bit), _mm_setzero_si128());
    const auto lowest = [&](const uint8_t* sums, __m128i partner) {
      const __m128i sum = _mm_or_si128(load128(sums), taken);
      return _mm_min_epu16(_mm_unpacklo_epi8(partner, sum), _mm_unpackhi_epi8(partner, sum));
    };
    const __m128i key = _mm_min_epu16(lowest(straight_[i], index), lowest(flipped_[i], _mm_or_si128(index, flip)));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(key))) & 0xffff;
  }

  // Bits of the nodes behind i that make a safe sum with it.
  uint32_t safe_straight(int i, PairBound bound) const { return safe(straight_[i], i, bound); }
  uint32_t safe_flipped(int i, PairBound bound) const { return safe(flipped_[i], i, bound); }
  uint8_t straight(int i, int j) const { return straight_[i][j]; }
  uint8_t flipped(int i, int j) const { return flipped_[i][j]; }

 private:
  // Sizes add up straight in the columns where two weights have one sign, flipped in the others. Where they do not, the
  // larger size counts, which is no more than the larger of both weights; and the largest sum is no less than that.
  void find_sums(const Singles& s, __m128i weights, bool both) {
    __m256i rows[16];  // by distance d: of k and k + d modulo 16 in byte k, straight in the lower half
    rows[0] = _mm256_setzero_si256();
    find_sums_from<1>(s, rows);
    find_sums_from<3>(s, rows);
    find_sums_from<5>(s, rows);
    find_sums_from<7>(s, rows);
    transpose(rows);  // rows[k]: by distance
    const __m128i index = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    alignas(16) uint8_t weight[16];
    store128(weight, weights);
    for (int k = 0; k < 16; ++k) {
      const __m128i from = _mm_and_si128(_mm_sub_epi8(index, _mm_set1_epi8(static_cast<char>(k))), _mm_set1_epi8(15));
      const __m128i least = _mm_max_epu8(weights, _mm_set1_epi8(static_cast<char>(weight[k])));
      const __m256i sums = _mm256_max_epu8(_mm256_shuffle_epi8(rows[k], twice(from)), twice(least));
      store128(straight_[k], _mm256_castsi256_si128(sums));
      store128(flipped_[k], both ? _mm256_extracti128_si256(sums, 1) : _mm_set1_epi8(-1));
    }
  }

  // Two distances at once, which share what they read.
  template <int kFirst>
  static void find_sums_from(const Singles& s, __m256i rows[16]) {
    __m256i straight[2] = {}, flipped[2] = {};
    for (int c = 0; c < kColumnPairs; ++c) {
      add_distance<kFirst>(s.size[c], s.negative[c], straight[0], flipped[0]);
      add_distance<kFirst + 1>(s.size[c], s.negative[c], straight[1], flipped[1]);
    }
    put_distance<kFirst>(straight[0], flipped[0], rows);
    put_distance<kFirst + 1>(straight[1], flipped[1], rows);
  }
  template <int kDistance>
  static void add_distance(__m256i size, __m256i negative, __m256i& straight, __m256i& flipped) {
    const __m256i sum = _mm256_adds_epu8(size, _mm256_alignr_epi8(size, size, kDistance));
    const __m256i differ = _mm256_xor_si256(negative, _mm256_alignr_epi8(negative, negative, kDistance));
    straight = _mm256_max_epu8(straight, _mm256_andnot_si256(differ, sum));
    flipped = _mm256_max_epu8(flipped, _mm256_and_si256(differ, sum));
  }
  template <int kDistance>
  static void put_distance(__m256i straight, __m256i flipped, __m256i rows[16]) {
    const __m256i row = _mm256_max_epu8(_mm256_permute2x128_si256(straight, flipped, 0x20),
                                        _mm256_permute2x128_si256(straight, flipped, 0x31));
    rows[kDistance] = row;
    rows[16 - kDistance] = _mm256_alignr_epi8(row, row, 16 - kDistance);
  }

  static void transpose(__m256i rows[16]) {
    __m256i to[16];
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < 8; ++i) {
        to[2 * i] = _mm256_unpacklo_epi8(rows[i], rows[i + 8]);
        to[2 * i + 1] = _mm256_unpackhi_epi8(rows[i], rows[i + 8]);
      }
      for (int i = 0; i < 16; ++i) rows[i] = to[i];
    }
  }

  void find_sums(const NodeSums& s, bool both) {
    alignas(16) static constexpr uint8_t kPartner[2][4][16] = {
        {{1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 12, 13, 14, 15, 8},
         {2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9},
         {3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10},
         {4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11}},
        {{9, 10, 11, 12, 13, 14, 15, 8, 1, 2, 3, 4, 5, 6, 7, 0},
         {10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1},
         {11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2},
         {12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3}}};
    alignas(16) uint8_t sums[2][5][16];  // straight, flipped; by distance
    for (int flip = 0; flip <= both; ++flip) {
      __m256i partner[4], largest[4] = {};
      for (int d = 0; d < 4; ++d) partner[d] = twice(load128(kPartner[flip][d]));
      for (const __m256i x : s.sums)
#pragma GCC unroll 4
        for (int d = 0; d < 4; ++d)
          largest[d] = _mm256_max_epu8(largest[d], _mm256_adds_epu8(x, _mm256_shuffle_epi8(x, partner[d])));
      for (int d = 0; d < 4; ++d) {
        const __m128i half = larger_half(largest[d]);
        store128(sums[flip][d + 1], _mm_max_epu8(half, _mm_srli_si128(half, 8)));
      }
    }
    std::memset(straight_, -1, sizeof straight_);
    std::memset(flipped_, -1, sizeof flipped_);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
#pragma GCC unroll 8
      for (int j = i + 1; j < 8; ++j) {
        const int d = j - i <= 4 ? j - i : 8 - (j - i), first = j - i <= 4 ? i : j;
        straight_[i][j] = sums[0][d][first];
        if (both) flipped_[i][j] = sums[1][d][first];
      }
  }

  uint32_t safe(const uint8_t* sums, int i, PairBound bound) const {
    const __m128i sum = load128(sums), most = _mm_set1_epi8(static_cast<char>(bound.sum));
    const uint32_t low = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(sum, most), sum)));
    return low & ((1u << count_) - (2u << i));
  }

  int count_;
  Members members_[n];
  alignas(16) uint8_t straight_[n][16], flipped_[n][16];
};

// Joins candidates of `size` k's, the heaviest first with the partner that leaves the lowest sums. What no partner
// suits stays alone.
template <int n>
void join(const Candidates<n>& from, int size, PairBound bound, Joined* to) {
  uint32_t left = (1u << from.count()) - 1;
  while (left != 0) {
    const int i = __builtin_ctz(left);
    left &= left - 1;
    const uint32_t best = from.best(i, left);
    if (best >> 8 > bound.sum) {
      to->alone[to->lonely++] = from.members(i);
      continue;
    }
    const int j = best & 15;
    const bool flip = best & 128;
    left &= ~(1u << j);
    to->weight[to->count] = static_cast<uint8_t>(best >> 8);
    to->joins[to->count] = {static_cast<uint8_t>(i), static_cast<uint8_t>(j), flip};
    to->safe[to->count++] = joined(from.members(i), flip ? from.members(j) ^ kNegated : from.members(j), size);
  }
}

// Joins the k's of a block so that few stay alone: the one with the fewest safe partners first, to the one of them that
// has the fewest.
void join_most(const Candidates<kPairBlock>& from, PairBound bound, Joined* to) {
  uint32_t straight[kPairBlock] = {}, partners[kPairBlock] = {};
  for (int i = 0; i < kPairBlock; ++i) {
    straight[i] = from.safe_straight(i, bound);
    partners[i] |= straight[i] | from.safe_flipped(i, bound);
    for (uint32_t behind = partners[i] >> i << i; behind != 0; behind &= behind - 1)
      partners[__builtin_ctz(behind)] |= 1u << i;
  }
  uint32_t left = (1 << kPairBlock) - 1;
  const auto take_rarest = [&](uint32_t among) {
    uint32_t best = UINT32_MAX;  // the count above the index, so that one comparison finds both
    for (; among != 0; among &= among - 1) {
      const uint32_t i = __builtin_ctz(among);
      const uint32_t key = static_cast<uint32_t>(__builtin_popcount(partners[i] & left)) << 4 | i;
      best = key < best ? key : best;
    }
    left &= ~(1u << (best & 15));
    return static_cast<int>(best & 15);
  };
  to->count = to->lonely = 0;
  while (left != 0) {
    const int i = take_rarest(left);
    if ((partners[i] & left) == 0) {
      to->alone[to->lonely++] = from.members(i);
      continue;
    }
    const int j = take_rarest(partners[i] & left), first = std::min(i, j), last = std::max(i, j);
    const bool flip = !(straight[first] >> last & 1);
    to->weight[to->count] = flip ? from.flipped(first, last) : from.straight(first, last);
    to->joins[to->count] = {static_cast<uint8_t>(i), static_cast<uint8_t>(j), flip};
    to->safe[to->count++] = joined(from.members(i), flip ? from.members(j) ^ kNegated : from.members(j), 1);
  }
}

// The k's of a block, pair after pair, in the order that place_of gives places to.
struct Order {
  uint8_t members[kPairBlock];
  int count = 0;
  void add(const Members* nodes, int n, int size) {
    for (int i = 0; i < n; ++i, count += size) std::memcpy(members + count, &nodes[i], size);
  }
};

// A block whose order is sought.
struct Search {
  PairBlock* block;
  Singles singles;
  NodeSums pair_sums, four_sums;
  Candidates<16> single;
  Candidates<8> pair, four;
  Joined pairs, fours, eights;
};

// The place of the i-th pair of an order. A 16-bit lane sums places 0 and 1 or 2 and 3 of consecutive groups.
int place_of(PairForm form, int i) {
  return form == kSums8 ? i % 4 * 4 + i / 4 * 2 : i / 4 * 8 + i % 2 * 4 + i / 2 % 2 * 2;
}

void put_order(const Order& order, PairForm form, int unsafe, bool negated, PairBlock* block) {
  for (int i = 0; i < kPairBlock; ++i) {
    const int place = place_of(form, i / 2) + i % 2;
    block->source[place] = order.members[i] & 127;
    block->negated[place] = negated != (order.members[i] >> 7 != 0);
  }
  block->form = form;
  block->unsafe = static_cast<uint8_t>(unsafe);
}

void put_found(const Search& s, PairBound bound) {
  Order order;
  if (s.fours.count == 4) {
    const bool eight = s.eights.count == 2;
    order.add(eight ? s.eights.safe : s.fours.safe, eight ? 2 : 4, eight ? 8 : 4);
    return put_order(order, eight ? kSums8 : kSums4, 0, bound.negated, s.block);
  }
  // A third sum of four is taken as two pairs.
  order.add(s.fours.safe, s.fours.count, 4);
  order.add(s.fours.alone, s.fours.lonely, 2);
  order.add(s.pairs.alone, s.pairs.lonely, 1);
  put_order(order, s.fours.count >= 2 ? kSums4And2 : kSums2, kPairBlock / 2 - s.pairs.count, bound.negated, s.block);
}

}  // namespace

void arrange_pair_blocks(const int8_t* const* columns, const int64_t* k, const int* skip, int count, PairBound bound,
                         PairBlock* blocks) {
  Search searches[kPairBlocksAtOnce];
  int searched = 0;
  for (int c = 0; c < kPairColumns; ++c)  // more columns than processors follow by themselves
    _mm_prefetch(reinterpret_cast<const char*>(columns[c] + k[0] + 128), _MM_HINT_T0);
  for (int i = 0; i < count; ++i) {
    Search& s = searches[searched];
    s.singles = load_singles(columns, k[i], skip[i]);
    if (are_safe(s.singles, bound)) {  // small weights need no search
      constexpr Members kHalves[] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
      Order order;
      order.add(kHalves, 2, 8);
      put_order(order, kSums8, 0, bound.negated, blocks + i);
      continue;
    }
    s.block = blocks + i;
    ++searched;
  }
  const std::span<Search> all(searches, static_cast<size_t>(searched));
  for (Search& s : all) s.single.take(&s.singles, bound.both);
  for (Search& s : all) join(s.single, 1, bound, &s.pairs);
  for (Search& s : all)
    if (s.pairs.lonely > 0) join_most(s.single, bound, &s.pairs);
  for (Search& s : all) s.pair.take(s.pairs, s.singles, &s.pair_sums, bound.both);
  for (Search& s : all) join(s.pair, 2, bound, &s.fours);
  for (Search& s : all)
    if (s.fours.count == 4) s.four.take(s.fours, s.pair_sums, &s.four_sums, bound.both);
  for (Search& s : all)
    if (s.fours.count == 4) join(s.four, 4, bound, &s.eights);
  for (const Search& s : all) put_found(s, bound);
}

void pack_pair_block(const int8_t* const* columns, int64_t k, int skip, PairBound bound, const PairBlock& block,
                     std::byte* groups, PairExcess* excess) {
  __m256i rows[kPairBlock], placed[kPairBlock];
  transpose(columns, k, skip, rows);
  for (int place = 0; place < kPairBlock; ++place) {
    const __m256i w = rows[block.source[place]];
    placed[place] = block.negated[place] ? negate(w) : w;
  }
  const __m256i most = _mm256_set1_epi8(static_cast<char>(bound.sum));
  for (int i = kPairBlock / 2 - block.unsafe; i < kPairBlock / 2; ++i, ++excess) {
    const int place = place_of(static_cast<PairForm>(block.form), i);
    const auto positive = [](__m256i x) { return _mm256_max_epi8(x, _mm256_setzero_si256()); };
    const auto negative = [](__m256i x) { return negate(_mm256_min_epi8(x, _mm256_setzero_si256())); };
    const __m256i a = placed[place], b = placed[place + 1];
    const __m256i over = _mm256_sub_epi8(_mm256_subs_epu8(positive(b), _mm256_subs_epu8(most, positive(a))),
                                         _mm256_subs_epu8(negative(b), _mm256_subs_epu8(most, negative(a))));
    placed[place + 1] = _mm256_sub_epi8(placed[place + 1], over);
    store(excess->weights, over);
    excess->place = place + 1;
  }
  for (int g = 0; g < kPairBlock / 4; ++g) interleave(placed + 4 * g, groups + g * kGroupBytes);
}

void pack_pair_group(const PairExcess* const* extra, std::byte* group) {
  __m256i rows[4];
  for (int i = 0; i < 4; ++i) rows[i] = extra[i] ? load(extra[i]->weights) : _mm256_setzero_si256();
  interleave(rows, group);
}

}  // namespace dyadic

// Attention by blocks of query rows, written once for all vector instruction sets: pack keys and values of a head, then
// for each block make its scores in scratch, turn them into e, multiply by the values and finish.
//
// An instruction set has a dot product of `kGroup` neighbours: each 32-bit lane of a vector adds the products of its
// group of narrow factors. Keys are packed as [keys / kLanes][depth / kGroup][kLanes][kGroup], values as
// [keys / kGroup][columns][kGroup], both padded with zeros; the other factor is a group broadcast to all lanes.
#pragma once
#include <utility>

#include "kernels/attention/attention.h"
#include "kernels/high_product.h"

namespace dyadic::attention {

constexpr int kRows = 6;                  // query rows of a block
constexpr int32_t kPadding = -(1 << 30);  // the score of a key that is not there: never the largest

alignas(64) constexpr int8_t kZeros[kMaxVectorHeadDim] = {};  // a row that is not there

// Set: Vector, Lanes, Factor (type of a packed code), E (type of a stored e), kLanes, kGroup, kTile (vectors of a tile)
// and the functions used below.
template <class Set>
struct Blocked {
  using Vector = typename Set::Vector;
  using Factor = typename Set::Factor;
  using E = typename Set::E;
  static constexpr int kLanes = Set::kLanes, kGroup = Set::kGroup, kTile = Set::kTile;

  static constexpr int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

  // Where the parts of scratch lie, in bytes.
  struct Layout {
    int64_t row;  // of scores and e, in elements
    int64_t bytes = 0, keys, values, first, queries, scores, e, acc;

    Layout(int64_t depth, int64_t length) : row(round_up(length, 64)) {
      const int64_t padded = round_up(length, kLanes), columns = round_up(depth, 16);
      keys = take(padded * depth * sizeof(Factor));
      values = take(padded * columns * sizeof(Factor));
      first = take(padded * 4);
      queries = take(Set::kCopiesQueries ? kRows * depth * sizeof(Factor) : 0);
      scores = take(kRows * row * 4);
      e = take(kRows * row * sizeof(E));
      acc = take(kRows * columns * 4);
    }
    int64_t take(int64_t size) {
      const int64_t at = bytes;
      bytes += round_up(size, 64);
      return at;
    }
  };

  static size_t scratch_bytes(int64_t head_dim, int64_t max_length) {
    return static_cast<size_t>(Layout(head_dim, max_length).bytes);
  }

  // out = first + a b for kR rows of a and kN vectors of b, `steps` groups deep. Steps of b lie b_step apart, vectors
  // b_vector. Without the unrolling and Set::keep gcc 12 has the accumulators in memory.
  template <int kR, int kN, bool kQuery>
  static void multiply(const void* a, int64_t a_row, const Factor* b, int64_t b_step, int64_t b_vector, int64_t steps,
                       const int32_t* first, int32_t* out, int64_t out_row) {
    Vector acc[kR][kN];
#pragma GCC unroll 6
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < kN; ++j) acc[r][j] = kQuery ? Set::load(first + kLanes * j) : Set::zero();
    const char* x = static_cast<const char*>(a);
    for (int64_t i = 0; i < steps; ++i, x += 4, b += b_step) {
      Vector y[kN];
#pragma GCC unroll 4
      for (int j = 0; j < kN; ++j) y[j] = Set::load(b + b_vector * j);
#pragma GCC unroll 6
      for (int r = 0; r < kR; ++r) {
        Vector group = Set::broadcast_group(x + r * a_row);
        if (kQuery) group = Set::query(group);
#pragma GCC unroll 4
        for (int j = 0; j < kN; ++j) {
          acc[r][j] = Set::dot(acc[r][j], group, y[j]);
          Set::keep(acc[r][j]);
        }
      }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < kN; ++j) Set::store(out + r * out_row + kLanes * j, acc[r][j]);
  }

  using Multiply = decltype(&multiply<1, 1, true>);
  struct Tiles {
    Multiply of[kRows * kTile];
    Multiply operator()(int64_t rows, int64_t vectors) const { return of[(rows - 1) * kTile + vectors - 1]; }
  };
  template <bool kQuery, int... kI>
  static constexpr Tiles tiles(std::integer_sequence<int, kI...>) {
    return {{multiply<kI / kTile + 1, kI % kTile + 1, kQuery>...}};
  }

  // Sums of e * v -> rows of the context.
  static void finish(const VectorParameters& p, const int32_t* acc, int64_t acc_row, const int32_t* sigma, int64_t rows,
                     int8_t* context, int64_t stride) {
    using Lanes = typename Set::Lanes;
    const Lanes one = Lanes::broadcast(1), m = Lanes::broadcast(p.out.m);
    const HighProduct<Lanes> product = HighProduct<Lanes>::of(p.out_shift);
    for (int64_t r = 0; r < rows; ++r, acc += acc_row, context += stride) {
      // t = mul_shift(acc, 2^32 / sigma, 16): both operands are shifted left, by 17 together, as far as each has room.
      const uint32_t divisor = static_cast<uint32_t>(sigma[r]);
      const int room = 29 - __builtin_clz(divisor);  // of the reciprocal
      const int left = room < 0 ? 0 : room > 17 ? 17 : room;
      const Lanes reciprocal = Lanes::broadcast(static_cast<int32_t>((uint64_t{1} << 32) / divisor << left));
      const Lanes acc_left = Lanes::broadcast(17 - left);
      const auto code = [&](int64_t c) {
        return product((mul_high(Lanes::load(acc + c) << acc_left, reciprocal) + one) >> one, m);
      };
      int64_t c = 0;
      for (; c + 16 <= p.head_dim; c += 16) code(c).store_clamped(context + c);
      if (c == p.head_dim) continue;
      int8_t codes[16];
      code(c).store_clamped(codes);
      for (int64_t i = 0; i < p.head_dim - c; ++i) context[c + i] = codes[i];
    }
  }

  static void run(const VectorParameters& p, const Head& head) {
    constexpr auto kIndices = std::make_integer_sequence<int, kRows * kTile>{};
    static constexpr Tiles kScores = tiles<true>(kIndices), kWeighted = tiles<false>(kIndices);
    const int64_t length = head.length, depth = p.head_dim, columns = round_up(depth, 16);
    const Layout layout(depth, length);
    const auto part = [&](int64_t at) { return head.scratch + at; };
    Factor* keys = reinterpret_cast<Factor*>(part(layout.keys));
    Factor* values = reinterpret_cast<Factor*>(part(layout.values));
    int32_t* first = reinterpret_cast<int32_t*>(part(layout.first));
    int32_t* scores = reinterpret_cast<int32_t*>(part(layout.scores));
    int32_t* acc = reinterpret_cast<int32_t*>(part(layout.acc));
    E* e = reinterpret_cast<E*>(part(layout.e));
    for (int64_t c = 0; c < length; c += kLanes)
      Set::pack_keys(head.k + c * head.stride, head.stride, length - c, depth, keys + c * depth, first + c);
    for (int64_t c = 0; c < length; c += kGroup)
      Set::pack_values(head.v + c * head.stride, head.stride, length - c, depth, values + c * columns);

    const auto exponentials = p.product32 ? Set::template exponentials<true> : Set::template exponentials<false>;
    const int64_t blocks = (length + kRows - 1) / kRows;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t begin = block * length / blocks, rows = (block + 1) * length / blocks - begin;
      const void* q = head.q + begin * head.stride;
      int64_t q_row = head.stride;
      if constexpr (Set::kCopiesQueries) {
        Factor* copy = reinterpret_cast<Factor*>(part(layout.queries));
        q_row = depth * sizeof(Factor);
        for (int64_t r = 0; r < rows; ++r) Set::copy_query(head.q + (begin + r) * head.stride, depth, copy + r * depth);
        q = copy;
      }
      for (int64_t c = 0; c < length; c += kLanes * kTile) {
        const int64_t left = (length - c + kLanes - 1) / kLanes;
        kScores(rows, left < kTile ? left : kTile)(q, q_row, keys + c * depth, kLanes * kGroup, kLanes * depth,
                                                   depth / kGroup, first + c, scores + c, layout.row);
      }
      int32_t sigma[kRows];
      for (int64_t r = 0; r < rows; ++r)
        sigma[r] = exponentials(p, scores + r * layout.row, length, e + r * layout.row);
      for (int64_t c = 0; c < columns; c += kLanes * kTile) {
        const int64_t left = (columns - c) / kLanes;
        kWeighted(rows, left < kTile ? left : kTile)(e, layout.row * sizeof(E), values + c * kGroup, columns * kGroup,
                                                     kLanes * kGroup, (length + kGroup - 1) / kGroup, nullptr, acc + c,
                                                     columns);
      }
      finish(p, acc, columns, sigma, rows, head.context + begin * head.stride, head.stride);
    }
  }
};

}  // namespace dyadic::attention

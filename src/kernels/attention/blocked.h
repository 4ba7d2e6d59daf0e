// Attention with queries in lanes, written once for all vector instruction sets: for each block of queries make the
// scores of all keys in scratch, a row a key, turn them into e, multiply by the values and finish. Maxima and sums over
// keys then are sums of vectors; no lane meets another.
//
// An instruction set has a dot product of `kGroup` neighbours: each 32-bit lane of a vector adds the products of its
// group of narrow factors. Queries are packed as [depth / kGroup][kLanes][kGroup], values as
// [keys / kGroup][columns][kGroup]; the other factor, a key or e of a query, is a group broadcast to all lanes.
#pragma once
#include <utility>

#include "kernels/attention/attention.h"
#include "kernels/high_product.h"

namespace dyadic::attention {

alignas(64) constexpr int8_t kZeros[kMaxVectorHeadDim] = {};  // a row that is not there

// Set: Vector, Lanes, Factor (type of a packed code), kLanes, kGroup, kRows x kTile (of a tile of vectors) and the
// functions used below.
template <class Set>
struct Blocked {
  using Vector = typename Set::Vector;
  using Factor = typename Set::Factor;
  static constexpr int kLanes = Set::kLanes, kGroup = Set::kGroup, kRows = Set::kRows, kTile = Set::kTile;
  static constexpr int64_t kQueries = kLanes * Set::kVectors;  // of a block
  static constexpr int64_t kKeys = 4;                          // that become e together

  static constexpr int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

  // Where the parts of scratch lie, in bytes.
  struct Layout {
    int64_t bytes = 0, keys, values, queries, scores, e, acc;

    Layout(int64_t depth, int64_t length) {
      const int64_t padded = round_up(length, kKeys), columns = round_up(depth, 16);
      keys = take(length * depth * sizeof(Factor));
      values = take(padded * columns * sizeof(Factor));
      queries = take(kQueries * depth * sizeof(Factor));
      scores = take(padded * kQueries * 4);
      e = take(padded / kGroup * kQueries * 4);
      acc = take(kQueries * columns * 4);
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

  // out = a b for kR rows of a and kN vectors of b, `steps` groups deep. Rows of a lie a_row bytes apart, its groups
  // a_step; groups of b lie b_step apart, vectors b_vector. `top`, if there is one, becomes the maximum of itself and
  // all rows. Without the unrolling and Set::keep gcc 12 has the accumulators in memory.
  template <int kR, int kN>
  static void multiply(const void* a, int64_t a_row, int64_t a_step, const Factor* b, int64_t b_step, int64_t b_vector,
                       int64_t steps, int32_t* out, int64_t out_row, Vector* top) {
    Vector acc[kR][kN];
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < kN; ++j) acc[r][j] = Set::zero();
    const char* x = static_cast<const char*>(a);
    for (int64_t i = 0; i < steps; ++i, x += a_step, b += b_step) {
      Vector y[kN];
#pragma GCC unroll 4
      for (int j = 0; j < kN; ++j) y[j] = Set::load(b + b_vector * j);
#pragma GCC unroll 8
      for (int r = 0; r < kR; ++r) {
        const Vector group = Set::broadcast_group(x + r * a_row);
#pragma GCC unroll 4
        for (int j = 0; j < kN; ++j) {
          acc[r][j] = Set::dot(acc[r][j], group, y[j]);
          Set::keep(acc[r][j]);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < kN; ++j) Set::store(out + r * out_row + kLanes * j, acc[r][j]);
    if (!top) return;
#pragma GCC unroll 4
    for (int j = 0; j < kN; ++j)
#pragma GCC unroll 8
      for (int r = 0; r < kR; ++r) top[j] = Set::max(top[j], acc[r][j]);
  }

  using Multiply = decltype(&multiply<1, 1>);
  struct Tiles {
    Multiply of[kRows * kTile];
    Multiply operator()(int64_t rows, int64_t vectors) const { return of[(rows - 1) * kTile + vectors - 1]; }
  };
  template <int... kI>
  static constexpr Tiles tiles(std::integer_sequence<int, kI...>) {
    return {{multiply<kI / kTile + 1, kI % kTile + 1>...}};
  }

  // Calls tile(begin, rows) for the fewest tiles of at most kRows rows, as equal as can be.
  template <class Tile>
  static void for_tiles(int64_t rows, const Tile& tile) {
    const int64_t tiles = (rows + kRows - 1) / kRows;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = i * rows / tiles;
      tile(begin, (i + 1) * rows / tiles - begin);
    }
  }

  // Sums of e * v -> rows of the context.
  static void finish(const VectorParameters& p, const int32_t* acc, int64_t acc_row, const int32_t* sigma, int64_t rows,
                     int8_t* context, int64_t stride) {
    using Lanes = typename Set::Lanes;
    const Lanes m = Lanes::broadcast(p.out.m), add = Lanes::broadcast(p.out_shift.add);
    const Lanes right = Lanes::broadcast(p.out_shift.right);
    for (int64_t r = 0; r < rows; ++r, acc += acc_row, context += stride) {
      const auto reciprocal = static_cast<int32_t>((uint64_t{1} << 32) / static_cast<uint32_t>(sigma[r]));
      const Lanes factor = Lanes::broadcast(reciprocal);
      const auto code = [&](int64_t c) {
        const auto t = products(Lanes::load(acc + c), factor).rounded_by_16();
        return (t.times(m).high() + add) >> right;
      };
      int64_t c = 0;
      for (; c + 32 <= p.head_dim; c += 32) store_clamped(code(c), code(c + 16), context + c);
      for (; c + 16 <= p.head_dim; c += 16) code(c).store_clamped(context + c);
      if (c == p.head_dim) continue;
      int8_t codes[16];
      code(c).store_clamped(codes);
      for (int64_t i = 0; i < p.head_dim - c; ++i) context[c + i] = codes[i];
    }
  }

  static auto exponentials_for(const VectorParameters& p) {
    const bool quick_table = p.half_table || p.has_factors;
    if (p.product32 && quick_table) return Set::template exponentials<true, true>;
    if (p.product32) return Set::template exponentials<true, false>;
    if (quick_table) return Set::template exponentials<false, true>;
    return Set::template exponentials<false, false>;
  }

  static void row_pass(const VectorParameters& p, const int32_t* scores, int64_t keys, int32_t* e, int32_t* sigma) {
    Vector top = Set::lowest(), other = top;
    int64_t c = 0;
    for (; c + 2 <= keys; c += 2) {
      top = Set::max(top, Set::load(scores + c * kLanes));
      other = Set::max(other, Set::load(scores + (c + 1) * kLanes));
    }
    if (c < keys) top = Set::max(top, Set::load(scores + c * kLanes));
    exponentials_for(p)(p, scores, keys, kLanes, Set::max(top, other), e, sigma);
  }

  static void run(const VectorParameters& p, const Head& head) {
    static constexpr Tiles kTiles = tiles(std::make_integer_sequence<int, kRows * kTile>{});
    const int64_t length = head.length, depth = p.head_dim, columns = round_up(depth, 16);
    const Layout layout(depth, length);
    const auto part = [&](int64_t at) { return head.scratch + at; };
    Factor* keys = reinterpret_cast<Factor*>(part(layout.keys));
    Factor* values = reinterpret_cast<Factor*>(part(layout.values));
    Factor* queries = reinterpret_cast<Factor*>(part(layout.queries));
    int32_t* scores = reinterpret_cast<int32_t*>(part(layout.scores));
    int32_t* e = reinterpret_cast<int32_t*>(part(layout.e));
    int32_t* acc = reinterpret_cast<int32_t*>(part(layout.acc));
    for (int64_t c = 0; c < length; ++c) Set::copy_key(head.k + c * head.stride, depth, keys + c * depth);
    for (int64_t c = 0; c < length; c += kGroup)
      Set::pack_values(head.v + c * head.stride, head.stride, length - c, depth, values + c * columns);

    const auto exponentials = exponentials_for(p);
    for (int64_t begin = 0; begin < length; begin += kQueries) {
      const int64_t rows = length - begin < kQueries ? length - begin : kQueries;
      const int64_t vectors = (rows + kLanes - 1) / kLanes, lanes = vectors * kLanes;
      Vector top[Set::kVectors];
      for (int64_t j = 0; j < vectors; ++j) {
        top[j] = Set::lowest();
        const int64_t at = begin + j * kLanes;
        Set::pack_queries(head.q + at * head.stride, head.stride, length - at, depth, queries + j * kLanes * depth);
      }
      for_tiles(length, [&](int64_t c, int64_t count) {
        kTiles(count, vectors)(keys + c * depth, depth * sizeof(Factor), 4, queries, kLanes * kGroup, kLanes * depth,
                               depth / kGroup, scores + c * lanes, lanes, top);
      });
      alignas(64) int32_t sigma[kQueries];
      for (int64_t j = 0; j < vectors; ++j)
        exponentials(p, scores + j * kLanes, length, lanes, top[j], e + j * kLanes, sigma + j * kLanes);
      for_tiles(rows, [&](int64_t r, int64_t count) {
        for (int64_t c = 0; c < columns; c += kLanes * kTile) {
          const int64_t left = (columns - c) / kLanes;
          kTiles(count, left < kTile ? left : kTile)(e + r, 4, lanes * 4, values + c * kGroup, columns * kGroup,
                                                     kLanes * kGroup, (length + kGroup - 1) / kGroup,
                                                     acc + r * columns + c, columns, nullptr);
        }
      });
      finish(p, acc, columns, sigma, rows, head.context + begin * head.stride, head.stride);
    }
  }
};

}  // namespace dyadic::attention

// Attention with both products in tile registers, the rest as avx512vnni.cc has it. Queries stay in lanes:
//
//   scores [key][query] = k [key][depth] times packed queries [depth / 4][query][4]    tdpbssd, keys where they lie
//   context [column][query] = v [column][key] times e [key / 4][query][4]              tdpbsud, v transposed before
//
// so scores and e have the layouts of blocked.h, and a row's reciprocal meets its sums in one lane.
//
// A tile load waits until vector stores to its bytes have left the store buffer, and a product's sums come 50 cycles
// later. So nothing is read by one unit that the other has just written: while e of a block of queries is made, 16 keys
// at a time, the scores of the next block take the place of those that have become e, and the sums of the block before
// are on their way.
#include "kernels/attention/set_avx512.h"
#include "kernels/tile_config.h"

namespace dyadic::attention {

int64_t amx_step(int64_t head_dim) {
  const int64_t steps = (head_dim + 63) / 64;
  return head_dim % (4 * steps) == 0 ? head_dim / steps : 0;
}

namespace {

struct Unit;
using Set = Avx512Set<Unit>;
using Vectors = Blocked<Set>;
using Lanes = avx512::Lanes;

constexpr int64_t kTile = 16, kKeyGroup = 64;  // rows of a tile; keys that one step of the second product takes
// Shorter sequences go by vectors, which do not wait so long for what has just been packed.
constexpr int64_t kFewKeys = 64;
static_assert(kFewKeys >= kTile);

// Tile registers 0 to 3 hold sums, 4 keys, 5 queries, 6 values, 7 e.
struct TileConfigs {
  TileConfig of[kTile + 1];  // by the step of a head, in words
  constexpr TileConfigs() {
    for (int words = 1; words <= kTile; ++words) {
      of[words].row_bytes[4] = static_cast<uint16_t>(4 * words);
      of[words].rows[5] = static_cast<uint8_t>(words);
    }
  }
};
constexpr TileConfigs kConfigs;

// Where the parts of scratch lie, in bytes.
struct Layout {
  int64_t bytes = 0, columns, padded, values, quads, queries, scores, e, acc;

  Layout(int64_t depth, int64_t length)
      : columns(Vectors::round_up(depth, kTile)), padded(Vectors::round_up(length, kKeyGroup)) {
    values = take(columns * padded);
    quads = take(columns * kKeyGroup);
    queries = take(Vectors::round_up(length, kTile) * depth);
    scores = take(Vectors::round_up(length, kTile) * kTile * 4);
    e = take(padded * kTile);
    acc = take(columns * kTile * 4);
  }
  int64_t take(int64_t size) {
    const int64_t at = bytes;
    bytes += Vectors::round_up(size, 64);
    return at;
  }
};

size_t scratch_bytes(int64_t head_dim, int64_t max_length) {
  const size_t few = Vectors::scratch_bytes(head_dim, max_length < kFewKeys ? max_length : kFewKeys);
  const size_t bytes = static_cast<size_t>(Layout(head_dim, max_length).bytes);
  return few > bytes ? few : bytes;
}

// to[row][column] = from[column][row], words of 32 bits; rows of `from` are from_row bytes apart, those of `to` to_row.
void transpose(const std::byte* from, int64_t from_row, std::byte* to, int64_t to_row) {
  __m512i x[16], y[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) x[i] = _mm512_loadu_si512(from + i * from_row);
    // Within 128-bit lanes, four rows at a time: lane l of y[g + c] has column 4 l + c of rows g .. g + 3.
#pragma GCC unroll 4
  for (int g = 0; g < 16; g += 4) {
    Set::transpose_words(x + g, y + g);
  }
  // Then the lanes themselves.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i a = _mm512_shuffle_i32x4(y[c], y[4 + c], 0x44), b = _mm512_shuffle_i32x4(y[8 + c], y[12 + c], 0x44);
    const __m512i d = _mm512_shuffle_i32x4(y[c], y[4 + c], 0xee), f = _mm512_shuffle_i32x4(y[8 + c], y[12 + c], 0xee);
    _mm512_storeu_si512(to + c * to_row, _mm512_shuffle_i32x4(a, b, 0x88));
    _mm512_storeu_si512(to + (4 + c) * to_row, _mm512_shuffle_i32x4(a, b, 0xdd));
    _mm512_storeu_si512(to + (8 + c) * to_row, _mm512_shuffle_i32x4(d, f, 0x88));
    _mm512_storeu_si512(to + (12 + c) * to_row, _mm512_shuffle_i32x4(d, f, 0xdd));
  }
}

// What was written before is in memory: gcc's tile loads do not say that they read it.
void written() { asm volatile("" : : : "memory"); }

// Of kFewKeys keys or more.
template <bool kProduct32, bool kHalfTable>
class HeadRun {
 public:
  HeadRun(const VectorParameters& p, const Head& head)
      : p_(p), head_(head), layout_(p.head_dim, head.length), step_(amx_step(p.head_dim)) {}

  void run() {
    pack_queries();
    pack_values();
    written();
    const int64_t blocks = (head_.length + kTile - 1) / kTile;
    pass<false, true>(-1);
    for (int64_t block = 0; block < blocks; ++block) {
      if (block > 0) multiply_values();
      const Lanes reciprocals = reciprocals_;
      if (block + 1 < blocks)
        pass<true, true>(block);
      else
        pass<true, false>(block);
      if (block > 0) finish(block - 1, reciprocals);
    }
    written();
    multiply_values();
    finish(blocks - 1, reciprocals_);
  }

 private:
  template <class T>
  T* part(int64_t at) const {
    return reinterpret_cast<T*>(head_.scratch + at);
  }

  // [block][depth / 4][query][4], zeros behind the last query.
  void pack_queries() {
    for (int64_t begin = 0; begin < head_.length; begin += kTile)
      Set::pack_queries(head_.q + begin * head_.stride, head_.stride, head_.length - begin, p_.head_dim,
                        part<int8_t>(layout_.queries) + begin * p_.head_dim);
  }

  // [column][key], zeros behind the last key.
  void pack_values() {
    const int64_t row = layout_.columns * 4;  // four keys of all columns
    int8_t* quads = part<int8_t>(layout_.quads);
    for (int64_t key = 0; key < layout_.padded; key += kKeyGroup) {
      for (int64_t c = 0; c < kKeyGroup; c += 4)
        Set::pack_values(head_.v + (key + c) * head_.stride, head_.stride, head_.length - key - c, p_.head_dim,
                         quads + c / 4 * row);
      for (int64_t c = 0; c < layout_.columns; c += kTile)
        transpose(reinterpret_cast<const std::byte*>(quads) + 4 * c, row,
                  head_.scratch + layout_.values + c * layout_.padded + key, layout_.padded);
    }
  }

  // floor(2^32 / sum)
  static Lanes reciprocals(__m512i sums) {
    alignas(64) int32_t sigma[kTile], y[kTile];
    Set::store(sigma, sums);
    for (int i = 0; i < kTile; ++i) y[i] = static_cast<int32_t>((uint64_t{1} << 32) / static_cast<uint32_t>(sigma[i]));
    return Lanes::load(y);
  }

  // The last tile of keys ends with them, so it may hold some of the one before.
  int64_t first_key(int64_t tile) const {
    const int64_t last = head_.length - kTile;
    return tile * kTile < last ? tile * kTile : last;
  }

  // kScores: the scores of the next block of queries with all keys, their maxima to top_. kExponentials: e of this
  // block and its sums, from scores that the next block's then replace.
  template <bool kExponentials, bool kScores>
  void pass(int64_t block) {
    const int64_t tiles = (head_.length + kTile - 1) / kTile;
    const int8_t* queries = part<int8_t>(layout_.queries) + (block + 1) * kTile * p_.head_dim;
    int32_t* scores = part<int32_t>(layout_.scores);
    std::byte* e = head_.scratch + layout_.e;
    const typename Set::template Exponentials<kProduct32, kHalfTable> exponentials(p_, top_);
    __m512i sum = Set::zero(), top = Set::lowest(), other = top;
    const auto see = [&](int64_t tile) {
      const int32_t* from = scores + first_key(tile) * kTile;
      for (int64_t c = 0; c < kTile; c += 2) {
        top = Set::max(top, Set::load(from + c * kTile));
        other = Set::max(other, Set::load(from + (c + 1) * kTile));
      }
    };
    for (int64_t tile = 0; tile < tiles; ++tile) {
      if constexpr (kScores) {
        const int8_t* keys = head_.k + first_key(tile) * head_.stride;
        int32_t* before = scores + (tile > 0 ? first_key(tile - 1) : 0) * kTile;
        if (tile % 2 == 0) {
          _tile_zero(0);
          for (int64_t c = 0; c < p_.head_dim; c += step_) {
            _tile_loadd(4, keys + c, head_.stride);
            _tile_loadd(5, queries + kTile * c, 64);
            _tile_dpbssd(0, 4, 5);
          }
          if (tile > 0) _tile_stored(1, before, 64);
        } else {
          _tile_zero(1);
          for (int64_t c = 0; c < p_.head_dim; c += step_) {
            _tile_loadd(4, keys + c, head_.stride);
            _tile_loadd(5, queries + kTile * c, 64);
            _tile_dpbssd(1, 4, 5);
          }
          _tile_stored(0, before, 64);
        }
      }
      if constexpr (kExponentials)
        for (int64_t c = tile * kTile; c < tile * kTile + kTile && c < head_.length; c += 4) {
          const __m512i x = exponentials.group(scores + c * kTile, kTile, head_.length - c);
          Set::store(e + c * kTile, x);
          sum = exponentials.sum(sum, x);
        }
      if (kScores && tile > 1) see(tile - 2);
    }
    if constexpr (kExponentials) reciprocals_ = reciprocals(sum);
    if constexpr (kScores) {
      if (tiles % 2 == 1)
        _tile_stored(0, scores + first_key(tiles - 1) * kTile, 64);
      else
        _tile_stored(1, scores + first_key(tiles - 1) * kTile, 64);
      see(tiles - 2);
      see(tiles - 1);
      top_ = Set::max(top, other);
    }
    written();
  }

  // Sums of e * v, [column][query].
  void multiply_values() {
    const int8_t* values = part<int8_t>(layout_.values);
    const int32_t* e = part<int32_t>(layout_.e);
    int32_t* acc = part<int32_t>(layout_.acc);
    const int64_t ld = layout_.padded;
    for (int64_t c = 0; c < layout_.columns; c += 2 * kTile) {
      const bool two = c + kTile < layout_.columns;
      const int8_t *low = values + c * ld, *high = low + (two ? kTile * ld : 0);
      _tile_zero(0);
      _tile_zero(1);
      for (int64_t key = 0; key < ld; key += kKeyGroup) {
        _tile_loadd(7, e + key * kTile / 4, 64);
        _tile_loadd(6, low + key, ld);
        _tile_dpbsud(0, 6, 7);
        if (!two) continue;
        _tile_loadd(6, high + key, ld);
        _tile_dpbsud(1, 6, 7);
      }
      _tile_stored(0, acc + c * kTile, 64);
      if (two) _tile_stored(1, acc + (c + kTile) * kTile, 64);
    }
  }

  // Sums of e * v -> rows of the context.
  void finish(int64_t block, Lanes factor) {
    const Lanes m = Lanes::broadcast(p_.out.m);
    const Lanes add = Lanes::broadcast(p_.out_shift.add), right = Lanes::broadcast(p_.out_shift.right);
    const int32_t* acc = part<int32_t>(layout_.acc);
    const auto code = [&](int64_t c) {
      const auto t = products(Lanes::load(acc + c * kTile), factor).rounded_by_16();
      return ((t.times(m).high() + add) >> right).v;
    };
    const int64_t begin = block * kTile, rows = head_.length - begin < kTile ? head_.length - begin : kTile;
    int8_t* context = head_.context + begin * head_.stride;
    for (int64_t c = 0; c < p_.head_dim; c += kTile) {
      __m512i x[4];  // 128-bit lane l of x[g]: columns c + 4 g .. 4 g + 3 of queries 4 l .. 4 l + 3
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        const int64_t at = c + 4 * g;
        const __m512i codes = _mm512_packs_epi16(_mm512_packs_epi32(code(at), code(at + 1)),
                                                 _mm512_packs_epi32(code(at + 2), code(at + 3)));
        x[g] = _mm512_shuffle_epi8(_mm512_max_epi8(codes, _mm512_set1_epi8(-127)), Set::four_by_four());
      }
      Set::transpose_words(x, x);
      alignas(64) int8_t y[4][64];  // 128-bit lane l of y[j]: sixteen columns of query 4 l + j
      for (int j = 0; j < 4; ++j) Set::store(y[j], x[j]);
      const int64_t width = p_.head_dim - c < kTile ? p_.head_dim - c : kTile;
      for (int64_t r = 0; r < rows; ++r) {
        const int8_t* from = y[r % 4] + r / 4 * 16;
        int8_t* to = context + r * head_.stride + c;
        if (width == kTile)
          __builtin_memcpy(to, from, 16);
        else
          for (int64_t i = 0; i < width; ++i) to[i] = from[i];
      }
    }
  }

  const VectorParameters& p_;
  const Head& head_;
  const Layout layout_;
  const int64_t step_;
  __m512i top_ = Set::lowest();              // of the scores at hand
  Lanes reciprocals_ = Lanes::broadcast(0);  // of the sums of the e at hand
};

void run(const VectorParameters& p, const Head& head) {
  if (head.length < kFewKeys) return Vectors::run(p, head);
  if (p.product32 && p.half_table) return HeadRun<true, true>(p, head).run();
  if (p.product32) return HeadRun<true, false>(p, head).run();
  if (p.half_table) return HeadRun<false, true>(p, head).run();
  return HeadRun<false, false>(p, head).run();
}

void begin(const VectorParameters& p) { _tile_loadconfig(&kConfigs.of[amx_step(p.head_dim) / 4]); }
void end() { _tile_release(); }

}  // namespace

const VectorRows kAmxRows = {scratch_bytes, run, 1, false, Set::kLanes, Vectors::row_pass, begin, end};

}  // namespace dyadic::attention

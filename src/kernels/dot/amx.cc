// AMX-INT8: 32 rows x 32 columns in four tile registers of 16 x 16 sums, 64 k's a step: two tiles of a and two of b are
// loaded, each is used twice.
//
// The unit multiplies in 16 cycles what two vector units multiply in 128, so whatever stands between two blocks of
// products decides the speed. A block's four stores therefore wait for the first step of the next block, each beside a
// product, and the caller's work on them (`take`) is done between that block's other steps, by the vector units
// meanwhile.
#include <immintrin.h>

#include "kernels/dot/panel_dot.h"
#include "kernels/tile_config.h"

namespace dyadic {

extern const PanelDot kDotsAmx[2];

namespace {

constexpr int64_t kTile = 16, kColumns = 2 * kTile, kGroup = 64;
constexpr int64_t kTileBytes = 1024, kStepBytes = 2 * kTileBytes;  // of b
constexpr int64_t kTakeRows = 8;                                   // of one call
constexpr int64_t kFetch = 128;  // bytes that one prefetch brings: the processor completes pairs of lines

// Tile registers 0 to 3 hold sums [row][column], 4 and 5 rows of a, 6 and 7 columns of b.
struct TileConfigs {
  TileConfig of[kTile + 1];  // by the number of rows of a
  constexpr TileConfigs() {
    for (int rows = 1; rows <= kTile; ++rows)
      for (int tile = 0; tile < 6; ++tile) of[rows].rows[tile] = static_cast<uint8_t>(rows);
  }
};
constexpr TileConfigs kConfigs;

// tile 0..3 += tile 4..5 times tile 6..7. Numbers of tiles must be literals.
#define DYADIC_TILE_DOT(sums, a, b) \
  do {                              \
    if constexpr (kUnsigned)        \
      _tile_dpbusd(sums, a, b);     \
    else                            \
      _tile_dpbssd(sums, a, b);     \
  } while (0)

// Rows [row, row + rows) of a panel, up to 32. From 16 rows on the last blocks of a panel end where the rows end, so
// some rows may be computed twice; those from `fresh` on are new.
struct Block {
  int64_t panel = 0, row = 0, rows = 0, fresh = 0;
  int32_t* sums = nullptr;  // where they go; null: there is no such block
  int64_t ld = 0;           // rows of sums lie so many bytes apart

  bool two_tiles() const { return rows > kTile; }
  int32_t* second_tile() const { return sums + (rows - kTile) * (ld / 4); }
};

template <bool kUnsigned>
class Stream {
 public:
  explicit Stream(const DotStream& s) : s_(s) {}

  void run() {
    if (s_.groups == 0) return nothing_to_sum();
    _tile_loadconfig(&kConfigs.of[s_.rows < kTile ? s_.rows : kTile]);
    for (int64_t panel = 0; panel < s_.count; ++panel) {
      fetch_panel(panel + 1);
      for (int64_t row = 0; row < s_.rows;) {
        const Block block = block_at(panel, row);
        if (block.two_tiles())
          product<2>(block);
        else
          product<1>(block);
        row = block.row + block.rows;
        before_ = block, taken_ = block.fresh;
      }
    }
    store(before_);
    _tile_release();
    take(before_.rows);
  }

 private:
  void nothing_to_sum() {
    for (int64_t panel = 0; panel < s_.count; ++panel)
      for (int64_t row = 0; row < s_.rows; ++row) {
        int32_t* to = s_.take ? sums_ : s_.sums + row * s_.ld + panel * kColumns;
        for (int64_t c = 0; c < kColumns; ++c) to[c] = 0;
        if (s_.take) s_.take(s_.self, to, row, 1, panel);
      }
  }

  Block block_at(int64_t panel, int64_t row) {
    const int64_t left = s_.rows - row;
    int64_t rows = left < 2 * kTile ? left : 2 * kTile;
    if (rows < kTile && row > 0) rows = kTile;
    if (rows > kTile && row > 0) rows = 2 * kTile;
    const int64_t begin = left < rows ? s_.rows - rows : row;
    if (s_.take) return {panel, begin, rows, row - begin, sums_, kColumns * 4};
    return {panel, begin, rows, row - begin, s_.sums + begin * s_.ld + panel * kColumns, s_.ld * 4};
  }

  // Into the second-level cache, while the panel before is used. One block of rows reads panels as fast as the
  // processor's own prefetcher brings them, and more requests hold it up.
  void fetch_panel(int64_t panel) {
    const int64_t bytes = s_.groups * kStepBytes, blocks = (s_.rows + 2 * kTile - 1) / (2 * kTile);
    const int64_t steps = blocks * (s_.groups > 1 ? s_.groups - 1 : 1);
    wanted_ = s_.panels + panel * bytes;
    fetch_ = panel < s_.count && s_.rows > 2 * kTile ? (bytes / steps + kFetch - 1) / kFetch * kFetch : 0;
  }
  void fetch() {
    for (const std::byte* end = wanted_ + fetch_; wanted_ < end; wanted_ += kFetch) _mm_prefetch(wanted_, _MM_HINT_T1);
  }

  // The lines where a block's sums will go, some in each step: stores to a large matrix wait for them otherwise.
  void fetch_sums(const Block& b, int64_t step) {
    const int64_t begin = b.rows * (step - 1) / (s_.groups - 1), end = b.rows * step / (s_.groups - 1);
    for (int64_t r = begin; r < end; ++r) {
      const char* line = reinterpret_cast<const char*>(b.sums) + r * b.ld;
      __builtin_prefetch(line, 1);
      __builtin_prefetch(line + 64, 1);
    }
  }

  static void store(const Block& b) {
    if (!b.sums) return;
    _tile_stored(0, b.sums, b.ld);
    _tile_stored(1, b.sums + kTile, b.ld);
    if (!b.two_tiles()) return;
    _tile_stored(2, b.second_tile(), b.ld);
    _tile_stored(3, b.second_tile() + kTile, b.ld);
  }

  // Rows of the block before, up to `end`.
  void take(int64_t end) {
    if (!s_.take || end <= taken_) return;
    s_.take(s_.self, sums_ + taken_ * kColumns, before_.row + taken_, end - taken_, before_.panel);
    taken_ = end;
  }

  // The sums of a block into tile registers; those of the block before leave them.
  template <int kTiles>
  void product(const Block& block) {
    const int64_t lda = s_.lda;
    const std::byte* a = s_.a + block.row * lda;
    const std::byte* low = kTiles == 2 ? a + (block.rows - kTile) * lda : a;
    const std::byte* b = s_.panels + block.panel * s_.groups * kStepBytes;
    if (kTiles == 1 || !before_.two_tiles()) {
      store(before_);
      first_step<kTiles, false>(a, low, lda, b, before_);
    } else {
      first_step<kTiles, true>(a, low, lda, b, before_);
    }
    // Each step is worth rows / groups rows of the block before.
    const int64_t rows = before_.rows - taken_, price = kTakeRows * s_.groups;
    int64_t worth = 0, wanted = taken_;
    for (int64_t k = 1; k < s_.groups; ++k) {
      for (worth += rows; worth >= price; worth -= price) wanted += kTakeRows;
      if (wanted > taken_) take(wanted);
      if (!s_.take) fetch_sums(block, k);
      fetch();
      a += kGroup, low += kGroup, b += kStepBytes;
      _tile_loadd(4, a, lda);
      _tile_loadd(6, b, 64);
      DYADIC_TILE_DOT(0, 4, 6);
      _tile_loadd(7, b + kTileBytes, 64);
      DYADIC_TILE_DOT(1, 4, 7);
      if constexpr (kTiles == 2) {
        _tile_loadd(5, low, lda);
        DYADIC_TILE_DOT(2, 5, 6);
        DYADIC_TILE_DOT(3, 5, 7);
      }
    }
    take(before_.rows);
  }

  template <int kTiles, bool kStore>
  static void first_step(const std::byte* a, const std::byte* low, int64_t lda, const std::byte* b,
                         const Block& before) {
    _tile_loadd(4, a, lda);
    _tile_loadd(6, b, 64);
    if constexpr (kStore) _tile_stored(0, before.sums, before.ld);
    _tile_zero(0);
    DYADIC_TILE_DOT(0, 4, 6);
    _tile_loadd(7, b + kTileBytes, 64);
    if constexpr (kStore) _tile_stored(1, before.sums + kTile, before.ld);
    _tile_zero(1);
    DYADIC_TILE_DOT(1, 4, 7);
    if constexpr (kTiles == 2) {
      _tile_loadd(5, low, lda);
      if constexpr (kStore) _tile_stored(2, before.second_tile(), before.ld);
      _tile_zero(2);
      DYADIC_TILE_DOT(2, 5, 6);
      if constexpr (kStore) _tile_stored(3, before.second_tile() + kTile, before.ld);
      _tile_zero(3);
      DYADIC_TILE_DOT(3, 5, 7);
    }
  }

  const DotStream& s_;
  Block before_;                       // whose sums are in registers still, or with the caller
  int64_t taken_ = 0;                  // of its rows
  const std::byte* wanted_ = nullptr;  // of the next panel
  int64_t fetch_ = 0;                  // bytes of it, a step
  alignas(64) int32_t sums_[2 * kTile * kColumns];
};

template <bool kUnsigned>
void stream(const DotStream& s) {
  if (s.rows > 0 && s.count > 0) Stream<kUnsigned>(s).run();
}

void pack_rows(const std::byte* a, int64_t lda, int64_t rows, int64_t K, std::byte* packed) {
  const int64_t padded = (K + kGroup - 1) / kGroup * kGroup;
  for (int64_t r = 0; r < rows; ++r, a += lda, packed += padded) {
    __builtin_memcpy(packed, a, static_cast<size_t>(K));
    __builtin_memset(packed + K, 0, static_cast<size_t>(padded - K));
  }
}

#undef DYADIC_TILE_DOT

template <bool kUnsigned>
constexpr PanelDot amx_dot(const char* name) {
  return {.name = name,
          .isa = Isa::kAmx,
          .feature = DotFeature::kNone,
          .a = kUnsigned ? DataType::kU8 : DataType::kI8,
          .b = DataType::kI8,
          .rows = 2 * kTile,
          .columns = kColumns,
          .group = kGroup,
          .a_offset = 0,
          .reads_a = true,
          .pack = pack_tiles,
          .pack_rows = pack_rows,
          .arrange = nullptr,
          .dot = {},
          .codes = {},
          .stream = stream<kUnsigned>};
}

}  // namespace

const PanelDot kDotsAmx[2] = {amx_dot<false>("s8s8_amx"), amx_dot<true>("u8s8_amx")};

}  // namespace dyadic

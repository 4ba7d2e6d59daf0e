// What an instruction set contributes to products: a few rows of a times one packed panel of columns of b. Plain
// pointers only: the files that define these functions are compiled for an instruction set that the rest of the program
// may not use, so they must not instantiate code that others share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu.h"
#include "tensor/data_type.h"

namespace dyadic {

struct Panels;
struct PanelSource;

inline constexpr int kMaxDotRows = 6;  // of a tile in vector registers
inline constexpr int kMaxDotColumns = 64;

// What a CPU may have beyond its Isa. The levels of Isa stay few, because every other kernel is written once a level.
enum class DotFeature { kNone, kAvx512, kAvx512Vnni, kAvxVnni, kNeon, kNeonDotprod };

// How sums become codes: min(max((sum * m[c] + round) >> shift, lo), hi), each step within 32 bits.
struct SumCodes {
  const int32_t* m;  // one a column of a panel
  int32_t round, shift, lo, hi;
};

// What a product fetches beside its own operands: `step` bytes a step from `at` on, as many as a step reads of its
// panel or at most two lines. None where that is 0.
struct DotNext {
  const std::byte* at = nullptr;
  int64_t step = 0;
};

// A product whose sums leave it a block at a time, while it computes the next one. They start from zero.
struct DotStream {
  const std::byte* a;  // rows lda bytes apart
  int64_t lda, rows;
  int64_t groups;           // of a row of a and of each panel
  const std::byte* panels;  // one behind the other
  int64_t count;

  // Where sums go: rows r and columns c of panel p to sums[r * ld + p * columns + c], or, if take is there, in blocks:
  // `block` [rows][columns] holds the sums of rows row .. row + rows - 1 of that panel until take returns. Each row of
  // each panel comes once.
  int32_t* sums;
  int64_t ld;
  void (*take)(void* self, const int32_t* block, int64_t row, int64_t rows, int64_t panel);
  void* self;
};

// a [M,K] times b [N,K]: s8 x s8, u8 x s8, s16 x s8 or s16 x s16 -> s32, every sum modulo 2^32 and so exact whenever it
// fits 32 bits.
struct PanelDot {
  const char* name;                        // "s8s8_avx512vnni"
  Isa isa;                                 // that the CPU must have
  DotFeature feature = DotFeature::kNone;  // and this
  DataType a, b;
  int rows;          // of a tile; one call of dot takes no more
  int columns;       // of a panel
  int group;         // consecutive k of one step
  int32_t a_offset;  // what the product adds to each a: sums must start at -a_offset * sum_k b
  bool reads_a;      // dot takes rows of a themselves when K is a multiple of `group`

  // All panels of b (panels.h); nothing else knows what a panel's bytes mean.
  Panels (*pack)(const PanelDot& dot, const PanelSource& b);

  // packed[r, k] = a[r * lda + k] for k < K, then zeros up to a multiple of `group`; lda in elements.
  void (*pack_rows)(const std::byte* a, int64_t lda, int64_t rows, int64_t K, std::byte* packed);

  // Not null where each panel has an order of k of its own: arranged[r, 0 .. 4 * groups) of the rows of a, whose bytes
  // lie lda apart, as `order` says. Such a product needs no pack_rows.
  void (*arrange)(const std::byte* a, int64_t lda, int64_t rows, int64_t K, const std::byte* order, int64_t groups,
                  std::byte* arranged);

  // dot[rows]: tile[r * ldt + c] = start[c] + sum_k (a[r,k] + a_offset) * b[c,k] for the columns of one panel. Rows of
  // a are lda bytes apart.
  void (*dot[kMaxDotRows + 1])(const std::byte* a, int64_t lda, int64_t groups, const std::byte* panel,
                               const int32_t* start, int32_t* tile, int64_t ldt, const DotNext& next);

  // codes[wide][rows]: the same sums as 8-bit or 16-bit codes, without a way through memory; null where there is no
  // such form. Rows of codes are ld bytes apart. The columns of a panel stand in the registers of sums as saturating
  // packs of whole registers bring their codes into order (epilogue_column of kernels/linear).
  void (*codes[2][kMaxDotRows + 1])(const std::byte* a, int64_t lda, int64_t groups, const std::byte* panel,
                                    const int32_t* start, const SumCodes& how, std::byte* codes, int64_t ld,
                                    const DotNext& next);

  // Not null where tiles are no vector registers: takes any number of rows and panels. Then dot and codes are null, and
  // a_offset is 0.
  void (*stream)(const DotStream& stream);

  // Of one step: of a row, and of a panel's column.
  constexpr int64_t group_bytes() const { return stream ? group : 4; }
};

// What PanelDots of plain layouts put into `pack`: elements [k / group][column][k % group] of each panel, k padded with
// zeros. s8 as bytes, s8 as s16, s16. Tiles are bytes [k / 64][column / 16][k / 4 % 16][column % 16][k % 4].
Panels pack_bytes(const PanelDot& dot, const PanelSource& b);
Panels pack_widened(const PanelDot& dot, const PanelSource& b);
Panels pack_words(const PanelDot& dot, const PanelSource& b);
Panels pack_tiles(const PanelDot& dot, const PanelSource& b);

}  // namespace dyadic

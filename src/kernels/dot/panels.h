// Products with an operand that is packed into panels once: which PanelDot, packing, and the loop over rows and panels.
#pragma once
#include <string>
#include <vector>

#include "base/buffer.h"
#include "kernels/dot/panel_dot.h"

namespace dyadic {

// Every PanelDot of this program, the fastest first within a pair of types and portable last.
std::span<const PanelDot* const> panel_dots();
bool cpu_runs(const PanelDot& dot);
// The first of these types that this CPU runs with instruction set `isa`: one with a feature beyond that only where
// `isa` is all that the CPU has and DYADIC_ISA does not say otherwise. kContract for types that no PanelDot has.
const PanelDot& panel_dot(Isa isa, DataType a, DataType b);
// The first of these types for a CPU of `isa` that has these features.
const PanelDot& panel_dot(Isa isa, bool (*has)(DotFeature), DataType a, DataType b);

// b [N,K] in memory: rows ldb elements apart. Column c of panel p is row columns[p * dot.columns + c], or zeros where
// that is negative; `columns` is a whole number of panels.
struct PanelSource {
  const std::byte* b;
  int64_t ldb, K;
  std::span<const int64_t> columns;
  Interval a_range{INT64_MIN, INT64_MAX};  // proved for a, where that is narrower than its type
};

struct Panel {
  int64_t at;         // byte of Panels::bytes
  int64_t groups;     // steps of the product
  int64_t order = 0;  // byte of Panels::bytes where the PanelDot arranges rows
};

struct Panels {
  const PanelDot* dot = nullptr;
  int64_t K = 0;
  std::vector<Panel> panels;
  std::vector<int32_t> start;  // [panel][column], -a_offset * sum_k b modulo 2^32
  AlignedBuffer bytes;
  std::string note;  // what packing found, for people: empty or ", .."

  size_t scratch_bytes() const;  // for multiply()
};

Panels pack_panels(const PanelDot& dot, const PanelSource& b);
// Rows 0..N-1 in order, the last panel filled with zeros.
Panels pack_panels(const PanelDot& dot, const void* b, int64_t ldb, int64_t N, int64_t K);

// Packed for the product of these types that is fastest for what b holds; on AVX2 that depends on the weights
// (pairs.h).
Panels pack_fastest(Isa isa, DataType a, DataType b_type, const PanelSource& b);

// Rows of a as dot.dot reads them: a itself, or copies in `packed`, row_bytes() each (0: a itself is read).
struct DotRows {
  const std::byte* data;
  int64_t ld;  // bytes
  DotRows from(int64_t row) const { return {data + row * ld, ld}; }
};
int64_t row_bytes(const PanelDot& dot, int64_t K);
DotRows dot_rows(const PanelDot& dot, const void* a, int64_t lda, int64_t rows, int64_t K, std::byte* packed);

// The fewest tiles of at most `most` rows, of nearly equal height: 7 rows are 4 + 3, never 6 + 1.
struct DotTiles {
  int64_t count, low, higher;  // the first `higher` tiles have low + 1 rows
  DotTiles(int64_t rows, int64_t most);
  int64_t height(int64_t tile) const { return low + (tile < higher); }
};

// What each of the `tiles` that pass through a panel, before others pass through the next one, fetches. The first one
// reads the panel, so it fetches the next one too; but where b comes from beyond the second-level cache and this CPU
// waits long for it, all tiles share that. Nothing, if there is no other panel.
class DotFetches {
 public:
  DotFetches(const Panels& b, int64_t tiles, bool b_is_far);
  DotNext of(size_t panel, size_t next, int64_t tile) const {
    if (next == panel || (tile > 0 && !shared_)) return {};
    const int64_t done = shared_ ? tile * b_.panels[panel].groups * step_ : 0;
    return {b_.bytes.data() + b_.panels[next].at + done, step_};
  }

 private:
  const Panels& b_;
  bool shared_;
  int64_t step_;  // bytes a step
};

// tile[r * ldt + c] = start[c] + sum_k (a[r,k] + a_offset) * b[c,k], 1 <= rows <= dot->rows, for the columns of one
// panel, by a dot without `stream`. Inline because what stands between two tiles of K = 128 is 2 to 4 % of their time.
inline void multiply(const Panels& b, size_t panel, DotRows a, int64_t rows, const int32_t* start, int32_t* tile,
                     int64_t ldt, const DotNext& next, std::byte* scratch) {
  const Panel& p = b.panels[panel];
  const std::byte* bytes = b.bytes.data();
  if (b.dot->arrange) {
    b.dot->arrange(a.data, a.ld, rows, b.K, bytes + p.order, p.groups, scratch);
    a = {scratch, p.groups * 4};
  }
  b.dot->dot[rows](a.data, a.ld, p.groups, bytes + p.at, start, tile, ldt, next);
}

// The same sums as codes of 8 or 16 bits, by a dot that has such a form.
inline void multiply_to_codes(const Panels& b, size_t panel, DotRows a, int64_t rows, const int32_t* start,
                              const SumCodes& how, bool wide, std::byte* codes, int64_t ld, const DotNext& next) {
  const Panel& p = b.panels[panel];
  b.dot->codes[wide][rows](a.data, a.ld, p.groups, b.bytes.data() + p.at, start, how, codes, ld, next);
}

// By a dot with `stream`, the sums of any number of rows and of `count` panels from `first` on, to sums[r * ld + c] or
// in blocks to `take` (DotStream).
void stream(const Panels& b, size_t first, int64_t count, DotRows a, int64_t rows, int32_t* sums, int64_t ld);
void stream(const Panels& b, size_t first, int64_t count, DotRows a, int64_t rows, decltype(DotStream::take) take,
            void* self);

// Rows of a that pass through all panels together, so that a and c stay in the caches.
inline constexpr int64_t kChunkRows = 256;

// c[i * ldc + n] = sum_k a[i,k] * b[n,k] for i < M, n < N, where b was packed in order. A batch is one call an entry.
// Scratch is for chunks of at most kChunkRows rows.
size_t product_scratch_bytes(const Panels& b, int64_t M);
void product(const Panels& b, int64_t M, int64_t N, const void* a, int64_t lda, int32_t* c, int64_t ldc,
             std::byte* scratch);

}  // namespace dyadic

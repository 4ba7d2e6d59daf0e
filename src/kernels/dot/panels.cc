#include "kernels/dot/panels.h"

#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "base/prefetch.h"
#include "base/status.h"
#include "kernels/dot/pairs.h"
#include "tensor/scan.h"

namespace dyadic {

extern const PanelDot kDotsPortable[4];
#if defined(__x86_64__)
extern const PanelDot kDotsAvx2[4], kDotsAvxVnni[4], kDotsAvx512[4], kDotsAvx512VnniAlone[4], kDotsAvx512Vnni[4],
    kDotsAmx[2];
#elif defined(__aarch64__)
extern const PanelDot kDotsNeon[4], kDotsNeonDotprod[2];
#endif

namespace {

constexpr int64_t kLine = 64;  // bytes

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool cpu_has(DotFeature feature) {
  switch (feature) {
    case DotFeature::kNone:
      return true;
#if defined(__x86_64__)
    case DotFeature::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    case DotFeature::kAvx512Vnni:
      return cpu_has(DotFeature::kAvx512) && __builtin_cpu_supports("avx512vnni");
    case DotFeature::kAvxVnni: {
      unsigned a = 0, b = 0, c = 0, d = 0;
      return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
    }
#elif defined(__aarch64__)
    case DotFeature::kNeon:
      return true;
    case DotFeature::kNeonDotprod:
      return getauxval(AT_HWCAP) >> 20 & 1;  // HWCAP_ASIMDDP
#endif
    default:
      return false;
  }
}

template <class T>
const std::byte* as_bytes(const T* elements) {
  return reinterpret_cast<const std::byte*>(elements);
}

using Words = uint32_t __attribute__((vector_size(16)));

// to[g * stride] = {from[0][g], .., from[3][g]} for four words of four rows each: their transposition.
void transpose_words(const std::byte* const (&from)[4], std::byte* to, int64_t stride) {
  Words row[4], column[4];
  for (int i = 0; i < 4; ++i) std::memcpy(&row[i], from[i], sizeof(Words));
  const Words a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const Words b = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const Words c = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const Words d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  column[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  column[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  column[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  column[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
  for (int g = 0; g < 4; ++g) std::memcpy(to + g * stride, &column[g], sizeof(Words));
}

// Panels of [K / group][column][group] elements. A few groups of all columns at a time, so that reads and writes stay
// within the first-level cache; four columns at once where nothing is widened and none is padding.
//
// With kTiles the columns of a panel are cut into tiles, and each block of k's passes through all of them.
template <class B, class Element, bool kTiles = false>
Panels pack(const PanelDot& dot, const PanelSource& b) {
  constexpr int64_t kGroup = 4 / sizeof(Element), kBlock = 64, kTileColumns = 16;
  const int64_t groups = ceil_div(b.K, dot.group), columns = dot.columns, count = b.columns.size() / columns;
  const int64_t panel_bytes = groups * columns * dot.group_bytes(), stride = kTiles ? kTileColumns : columns;
  Panels result{.dot = &dot, .K = b.K};
  result.bytes = AlignedBuffer::long_lived(count * panel_bytes);
  result.start.assign(b.columns.size(), 0);
  for (int64_t p = 0; p < count; ++p) {
    result.panels.push_back({p * panel_bytes, groups});
    Element* panel = reinterpret_cast<Element*>(result.bytes.data() + result.panels.back().at);
    // The group of column c that begins with k, the first of a block.
    const auto group_at = [&](int64_t c, int64_t k) {
      if constexpr (kTiles)
        return panel + k * columns + c / kTileColumns * kBlock * kTileColumns + c % kTileColumns * kGroup;
      return panel + k * columns + c * kGroup;
    };
    const auto row_of = [&](int64_t c) { return b.columns[p * columns + c]; };
    const auto source = [&](int64_t c) { return reinterpret_cast<const B*>(b.b) + row_of(c) * b.ldb; };
    for (int64_t begin = 0; begin < b.K; begin += kBlock) {
      const int64_t end = std::min(b.K, begin + kBlock);
      for (int64_t c = 0; c < columns; ++c) {
        if (row_of(c) < 0) continue;
        const B* from = source(c);
        int64_t k = begin;
        Element* to = group_at(c, k);
        if constexpr (std::is_same_v<B, Element>) {
          constexpr int64_t kFour = 4 * kGroup;
          if (end - begin == kBlock && c + 4 <= columns && row_of(c + 1) >= 0 && row_of(c + 2) >= 0 &&
              row_of(c + 3) >= 0) {
            const B* const rows[] = {from, source(c + 1), source(c + 2), source(c + 3)};
            for (; k < end; k += kFour, to += stride * kFour)
              transpose_words(
                  {as_bytes(rows[0] + k), as_bytes(rows[1] + k), as_bytes(rows[2] + k), as_bytes(rows[3] + k)},
                  reinterpret_cast<std::byte*>(to), stride * 4);
            c += 3;
            continue;
          }
        }
        for (; k + kGroup <= end; k += kGroup, to += stride * kGroup) {
          Element group[kGroup];
          if constexpr (std::is_same_v<B, Element>)
            std::memcpy(group, from + k, 4);
          else
            for (int64_t i = 0; i < kGroup; ++i) group[i] = from[k + i];
          std::memcpy(to, group, 4);
        }
        for (; k < end; ++k) to[k % kGroup] = from[k];
      }
    }
    if constexpr (std::is_same_v<Element, int8_t>) {  // words need no offset: their products are of signed operands
      if (dot.a_offset == 0) continue;
      for (int64_t c = p * columns; c < (p + 1) * columns; ++c)
        if (const int64_t row = b.columns[c]; row >= 0) {
          const auto sum = static_cast<uint32_t>(sum_of(reinterpret_cast<const int8_t*>(b.b) + row * b.ldb, b.K));
          result.start[c] = static_cast<int32_t>(-static_cast<uint32_t>(dot.a_offset) * sum);
        }
    }
  }
  return result;
}

}  // namespace

Panels pack_bytes(const PanelDot& dot, const PanelSource& b) { return pack<int8_t, int8_t>(dot, b); }
Panels pack_widened(const PanelDot& dot, const PanelSource& b) { return pack<int8_t, int16_t>(dot, b); }
Panels pack_words(const PanelDot& dot, const PanelSource& b) { return pack<int16_t, int16_t>(dot, b); }
Panels pack_tiles(const PanelDot& dot, const PanelSource& b) { return pack<int8_t, int8_t, true>(dot, b); }

std::span<const PanelDot* const> panel_dots() {
  static const std::vector<const PanelDot*> all = [] {
    std::vector<const PanelDot*> dots;
    const auto add = [&](std::span<const PanelDot> set) {
      for (const PanelDot& dot : set) dots.push_back(&dot);
    };
#if defined(__x86_64__)
    add(kDotsAmx);
    add(kDotsAvx512Vnni);
    add(kDotsAvx512VnniAlone);
    add(kDotsAvx512);
    add(kDotsAvxVnni);
    add(kDotsAvx2);
    add({&kPairsAvx2, 1});
#elif defined(__aarch64__)
    add(kDotsNeonDotprod);
    add(kDotsNeon);
#endif
    add(kDotsPortable);
    return dots;
  }();
  return all;
}

bool cpu_runs(const PanelDot& dot) { return dot.isa <= detected_isa() && cpu_has(dot.feature); }

const PanelDot& panel_dot(Isa isa, DataType a, DataType b) {
  const char* cap = std::getenv("DYADIC_ISA");
  const bool all_of_it = isa == detected_isa() && !(cap && *cap);
  const auto nothing = [](DotFeature feature) { return feature == DotFeature::kNone; };
  return panel_dot(std::min(isa, detected_isa()), all_of_it ? cpu_has : nothing, a, b);
}

const PanelDot& panel_dot(Isa isa, bool (*has)(DotFeature), DataType a, DataType b) {
  for (const PanelDot* dot : panel_dots())
    if (dot->a == a && dot->b == b && dot->isa <= isa && has(dot->feature)) return *dot;
  fail(ErrorKind::kContract, "no product of ", name(a), " with ", name(b));
}

size_t Panels::scratch_bytes() const {
  if (!dot->arrange) return 0;
  int64_t groups = 0;
  for (const Panel& panel : panels) groups = std::max(groups, panel.groups);
  return static_cast<size_t>(dot->rows * groups * 4);
}

Panels pack_panels(const PanelDot& dot, const PanelSource& b) {
  DYADIC_CHECK(b.columns.size() % dot.columns == 0);
  return dot.pack(dot, b);
}

Panels pack_panels(const PanelDot& dot, const void* b, int64_t ldb, int64_t N, int64_t K) {
  std::vector<int64_t> columns(static_cast<size_t>(ceil_div(N, dot.columns) * dot.columns), -1);
  std::iota(columns.begin(), columns.begin() + N, 0);
  return pack_panels(dot, {static_cast<const std::byte*>(b), ldb, K, columns});
}

Panels pack_fastest(Isa isa, DataType a, DataType b_type, const PanelSource& b) {
  const PanelDot& usual = panel_dot(isa, a, b_type);
#if defined(__x86_64__)
  if (usual.isa == Isa::kAvx2 && usual.feature == DotFeature::kNone && a == kPairsAvx2.a && b_type == kPairsAvx2.b) {
    const PairOrders orders = find_pair_orders(b);
    if (pairs_pay(orders)) return pack_pairs(kPairsAvx2, b, orders);
    Panels widened = pack_panels(usual, b);
    widened.note = cat(", not the slower ", kPairsAvx2.name, orders.note());
    return widened;
  }
#endif
  return pack_panels(usual, b);
}

int64_t row_bytes(const PanelDot& dot, int64_t K) {
  return dot.arrange || (dot.reads_a && K % dot.group == 0) ? 0 : ceil_div(K, dot.group) * dot.group_bytes();
}

DotRows dot_rows(const PanelDot& dot, const void* a, int64_t lda, int64_t rows, int64_t K, std::byte* packed) {
  const std::byte* data = static_cast<const std::byte*>(a);
  const int64_t bytes = row_bytes(dot, K);
  if (bytes == 0) return {data, storage_bytes(dot.a, lda)};
  dot.pack_rows(data, lda, rows, K, packed);
  return {packed, bytes};
}

namespace {

// Which fetches pay differs between Zen 4 and an Emerald Rapids Xeon (README.md); CPUs of other makers are taken for
// the latter.
bool cpu_is_amd() {
#if defined(__x86_64__)
  static const bool is_amd = __builtin_cpu_is("amd");
  return is_amd;
#else
  return false;
#endif
}

// Whether each step of a tile may fetch once, which brings a pair of lines, for something that several tiles want: no
// gain where a step reads no more than a line.
bool shares_fetches(const PanelDot& dot) { return dot.columns * dot.group_bytes() > kLine && !cpu_is_amd(); }

}  // namespace

DotTiles::DotTiles(int64_t rows, int64_t most)
    : count(ceil_div(rows, most)), low(rows / std::max<int64_t>(count, 1)), higher(rows - low * count) {}

DotFetches::DotFetches(const Panels& b, int64_t tiles, bool b_is_far) : b_(b) {
  const int64_t step_bytes = b.dot->columns * b.dot->group_bytes();
  // A pair of lines a step is too little where one tile has to fetch it all.
  shared_ = b_is_far && tiles * 2 * kLine >= step_bytes && shares_fetches(*b.dot);
  step_ = shared_ ? ceil_div(step_bytes, tiles) : step_bytes;
}

void stream(const Panels& b, size_t first, int64_t count, DotRows a, int64_t rows, int32_t* sums, int64_t ld) {
  const Panel& p = b.panels[first];
  b.dot->stream({a.data, a.ld, rows, p.groups, b.bytes.data() + p.at, count, sums, ld, nullptr, nullptr});
}

void stream(const Panels& b, size_t first, int64_t count, DotRows a, int64_t rows, decltype(DotStream::take) take,
            void* self) {
  const Panel& p = b.panels[first];
  b.dot->stream({a.data, a.ld, rows, p.groups, b.bytes.data() + p.at, count, nullptr, 0, take, self});
}

size_t product_scratch_bytes(const Panels& b, int64_t M) {
  return static_cast<size_t>(ceil_div(std::min(M, kChunkRows) * row_bytes(*b.dot, b.K), 64) * 64) + b.scratch_bytes();
}

namespace {

constexpr int64_t kLargeResultRows = 60;  // whole tiles of 4, 5 and 6 rows

int64_t second_level_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  static const int64_t found = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (found > 0) return found;
#endif
  return int64_t{1} << 20;
}

// Whole panels go to c themselves, the columns of the last one through the block of a stream.
void stream_chunk(const Panels& b, int64_t M, int64_t N, DotRows a, int32_t* c, int64_t ldc) {
  const int64_t columns = b.dot->columns, whole = N / columns, rest = N % columns;
  if (whole > 0) stream(b, 0, whole, a, M, c, ldc);
  struct Rest {
    int32_t* c;
    int64_t ldc, columns, width;
  } to{c + whole * columns, ldc, columns, rest};
  const auto take = [](void* self, const int32_t* block, int64_t row, int64_t rows, int64_t) {
    const Rest& to = *static_cast<const Rest*>(self);
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(to.c + (row + r) * to.ldc, block + r * to.columns, static_cast<size_t>(to.width) * sizeof(int32_t));
  };
  if (rest > 0) stream(b, whole, 1, a, M, take, &to);
}

}  // namespace

void product(const Panels& b, int64_t M, int64_t N, const void* a, int64_t lda, int32_t* c, int64_t ldc,
             std::byte* scratch) {
  const PanelDot& dot = *b.dot;
  // If c does not fit the second-level cache and b takes little of it, fewer rows pass through all panels together:
  // lines are stored sooner after their neighbours. Otherwise stores wait for each line, so its lines are fetched; on
  // Zen 4 they always wait.
  const int64_t cache = second_level_bytes();
  const bool c_is_large = M * N * static_cast<int64_t>(sizeof(int32_t)) > cache * 3 / 4;
  const int64_t b_bytes = static_cast<int64_t>(b.bytes.size());
  const bool b_stays = b_bytes <= cache / 4, b_is_far = b_bytes >= cache / 2;
  const bool fetch_c = c_is_large && (!b_stays || cpu_is_amd());
  const bool fetch_a = storage_bytes(dot.a, M * lda) >= cache / 2 && lda == b.K && row_bytes(dot, b.K) == 0 &&
                       !dot.arrange && shares_fetches(dot);
  const int64_t panels = ceil_div(N, dot.columns);
  const int64_t chunks = ceil_div(M, c_is_large && b_stays && !dot.stream ? kLargeResultRows : kChunkRows);
  alignas(64) int32_t partial[kMaxDotRows * kMaxDotColumns];
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = M * chunk / chunks, M_chunk = M * (chunk + 1) / chunks - begin;
    const std::byte* a_chunk = static_cast<const std::byte*>(a) + storage_bytes(dot.a, begin * lda);
    const DotRows rows = dot_rows(dot, a_chunk, lda, M_chunk, b.K, scratch);
    if (dot.stream) {
      stream_chunk(b, M_chunk, N, rows, c + begin * ldc, ldc);
      continue;
    }
    std::byte* arranged = scratch + product_scratch_bytes(b, M_chunk) - b.scratch_bytes();
    const DotTiles tiles(M_chunk, dot.rows);
    const DotFetches fetches(b, tiles.count, b_is_far);
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t column = p * dot.columns, width = std::min<int64_t>(dot.columns, N - column);
      const bool whole = width == dot.columns;
      for (int64_t t = 0, from = 0, count; t < tiles.count; ++t, from += count) {
        count = tiles.height(t);
        int32_t* to = c + (begin + from) * ldc + column;
        for (int64_t r = 0; fetch_c && r < count; ++r)
          for (int64_t n = 0; n < width; n += 16) prefetch_to_write(to + r * ldc + n);
        DotNext next = fetches.of(p, std::min(p + 1, panels - 1), t);
        // The rows of the next tile, which lie together; later panels find them in the second-level cache.
        if (fetch_a && p == 0 && next.step == 0) next = {rows.from(from + count).data, 4 * count};
        multiply(b, p, rows.from(from), count, b.start.data() + column, whole ? to : partial, whole ? ldc : dot.columns,
                 next, arranged);
        for (int64_t r = 0; !whole && r < count; ++r) std::memcpy(to + r * ldc, partial + r * dot.columns, width * 4);
      }
    }
  }
}

}  // namespace dyadic

// The tile of a product, written once for all vector instruction sets. Only for files that are compiled for one; a Core
// lies in an anonymous namespace of such a file, so nothing here is shared.
//
// Core: Vector, Element (of panels, s8 or s16), Row (of rows, as large), kLanes (of 32 bits), kVectors (across a
// panel), kRows, load and store (of sums), load_panel, broadcast (four bytes of a row to all lanes), accumulate (adds
// to each lane the products of its group), keep, prefetch, prefetch_next (to any cache), kPrefetchRows, kLastSteps,
// kWantedSums (how many sums a step should have or be given: an instruction's cycles x pipes; 1 where one set does as
// well) and add if that exceeds kVectors.
//
// keep is an empty asm that holds a value in a register. Without it gcc 12 spills sums inside the loop, which costs a
// factor of two, and reads the panel again for every row of a tile, which costs a quarter of the speed of 2 and 3 rows.
#pragma once
#include <cstring>
#include <type_traits>

#include "kernels/dot/panel_dot.h"

namespace dyadic {

// How far before its use a panel is fetched that is read again: it may not fit the first-level cache.
inline constexpr int kDotAhead = 2048;  // bytes

// What a step fetches: this panel's bytes kDotAhead further on; the next panel's, as many; or the first and, by one
// fetch, some of the next panel's. Tiles of fewer than kPrefetchRows leave out all but that.
enum class DotFetch { kThis, kNext, kShare };

template <class Core, int kRows, DotFetch kFetch>
[[gnu::always_inline]] inline void dot_prefetch(const std::byte* panel, const std::byte*& wanted, int64_t share,
                                                int64_t s) {
  constexpr int64_t kStepBytes = 4 * Core::kLanes * Core::kVectors;
  if constexpr (kRows >= Core::kPrefetchRows) {
    const std::byte* lines = (kFetch == DotFetch::kShare ? panel + kDotAhead : wanted) + s * kStepBytes;
#pragma GCC unroll 4
    for (int line = 0; line < kStepBytes; line += 64)
      kFetch == DotFetch::kNext ? Core::prefetch_next(lines + line) : Core::prefetch(lines + line);
  }
  if (kFetch == DotFetch::kShare) Core::prefetch_next(wanted), wanted += share;
}

// In how many sums each lane adds: neighbouring steps take different ones, so that there are kWantedSums at a time,
// where a step has fewer and registers allow.
template <class Core, int kRows>
constexpr int dot_sets() {
  int sets = 1;
  while (sets * kRows * Core::kVectors < Core::kWantedSums && 2 * sets * kRows <= Core::kRows) sets *= 2;
  return sets;
}

// The sums of kRows rows, from `start` on.
template <class Core, int kRows, DotFetch kFetch>
[[gnu::always_inline]] inline void dot_sums(typename Core::Vector (&acc)[kRows][Core::kVectors], const std::byte* a,
                                            int64_t lda, int64_t groups, const std::byte* panel, const int32_t* start,
                                            const std::byte* wanted, int64_t share) {
  constexpr int kLanes = Core::kLanes, kVectors = Core::kVectors, kVectorBytes = 4 * kLanes;
  // Where few products share a step the loop itself would take its time.
  constexpr int kSteps = kRows * kVectors <= 8 ? 4 : 1, kStepBytes = kVectors * kVectorBytes;
  constexpr int kSets = dot_sets<Core, kRows>();
  static_assert(kSteps % kSets == 0);
  typename Core::Vector sums[kSets][kRows][kVectors] = {};
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sums[0][r][j] = Core::load(start + j * kLanes);
  const auto step = [&](int64_t s) __attribute__((always_inline)) {
    decltype(Core::load_panel(panel)) w[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      w[j] = Core::load_panel(panel + (s * kVectors + j) * kVectorBytes);
      if (kRows > 1) Core::keep(w[j]);
    }
    dot_prefetch<Core, kRows, kFetch>(panel, wanted, share, s);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const auto x = Core::broadcast(a + r * lda + 4 * s);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        Core::accumulate(sums[s % kSets][r][j], x, w[j]);
        Core::keep(sums[s % kSets][r][j]);
      }
    }
  };
  if constexpr (kSteps > 1) {
    for (; groups % kSteps != 0; --groups, a += 4, panel += kStepBytes) step(0);
  }
#pragma GCC unroll 1
  for (; groups > 0; groups -= kSteps, a += 4 * kSteps, panel += kSteps * kStepBytes) {
#pragma GCC unroll 4
    for (int s = 0; s < kSteps; ++s) step(s);
    if (kFetch != DotFetch::kShare) wanted += kSteps * kStepBytes;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      acc[r][j] = sums[0][r][j];
      if constexpr (kSets > 1) {
#pragma GCC unroll 4
        for (int set = 1; set < kSets; ++set) acc[r][j] = Core::add(acc[r][j], sums[set][r][j]);
      }
    }
}

template <class Core, int kRows, DotFetch kFetch>
[[gnu::noinline]] void dot_tile(const std::byte* a, int64_t lda, int64_t groups, const std::byte* panel,
                                const int32_t* start, int32_t* tile, int64_t ldt, const std::byte* wanted,
                                int64_t share) {
  typename Core::Vector acc[kRows][Core::kVectors];
  dot_sums<Core, kRows, kFetch>(acc, a, lda, groups, panel, start, wanted, share);
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < Core::kVectors; ++j) Core::store(tile + r * ldt + j * Core::kLanes, acc[r][j]);
}

// The same, with the last kLastSteps row by row, so that a row is stored while the products of the next one are
// computed: 16 or 20 stores one after the other keep the multiplying pipes of Zen 4 waiting for 20 to 50 cycles a tile.
template <class Core, int kRows, DotFetch kFetch>
[[gnu::noinline]] void dot_tile_by_rows(const std::byte* a, int64_t lda, int64_t groups, const std::byte* panel,
                                        const int32_t* start, int32_t* tile, int64_t ldt, const std::byte* wanted,
                                        int64_t share) {
  constexpr int kVectors = Core::kVectors, kVectorBytes = 4 * Core::kLanes, kStepBytes = kVectors * kVectorBytes;
  groups -= Core::kLastSteps;
  if (groups <= 0)
    return dot_tile<Core, kRows, kFetch>(a, lda, groups + Core::kLastSteps, panel, start, tile, ldt, wanted, share);
  typename Core::Vector acc[kRows][kVectors];
  dot_sums<Core, kRows, kFetch>(acc, a, lda, groups, panel, start, wanted, share);
  a += 4 * groups, panel += kStepBytes * groups;
  wanted += (kFetch == DotFetch::kShare ? share : kStepBytes) * groups;
  asm("" : "+r"(a), "+r"(panel), "+r"(wanted));
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
    if (r < Core::kLastSteps) dot_prefetch<Core, kRows, kFetch>(panel, wanted, share, r);
#pragma GCC unroll 4
    for (int s = 0; s < Core::kLastSteps; ++s) {
      const auto x = Core::broadcast(a + 4 * s);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        Core::accumulate(acc[r][j], x, Core::load_panel(panel + s * kStepBytes + j * kVectorBytes));
        Core::keep(acc[r][j]);
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) Core::store(tile + j * Core::kLanes, acc[r][j]);
    a += lda, tile += ldt;
    // Each row's addresses follow from those before, and the panel is read again: registers are full of sums.
    asm volatile("" : "+r"(a), "+r"(tile) : : "memory");
  }
}

template <class Core, int kRows, DotFetch kFetch, bool kWide>
[[gnu::noinline]] void dot_tile_codes(const std::byte* a, int64_t lda, int64_t groups, const std::byte* panel,
                                      const int32_t* start, const SumCodes& how, std::byte* codes, int64_t ld,
                                      const std::byte* wanted, int64_t share) {
  typename Core::Vector acc[kRows][Core::kVectors];
  dot_sums<Core, kRows, kFetch>(acc, a, lda, groups, panel, start, wanted, share);
  const typename Core::template Codes<kWide> to(how);
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) to.store(codes + r * ld, acc[r]);
}

// Whether rows of A take the other sign: where a product multiplies bytes of the other kind it sees a + 128 or a - 128.
// They are turned once for all panels. Beside every broadcast that takes a fifth of the ports on which Intel's cores
// multiply, though nothing of Zen 4's.
template <class Core, class A>
inline constexpr bool kTurnsRows =
    sizeof(typename Core::Row) == 1 && std::is_signed_v<typename Core::Row> != std::is_signed_v<A>;

template <class Core, class A>
void pack_dot_rows(const std::byte* a, int64_t lda, int64_t rows, int64_t K, std::byte* packed) {
  using Element = typename Core::Element;
  constexpr int64_t kGroup = 4 / sizeof(Element);
  constexpr int kTurn = kTurnsRows<Core, A> ? 128 : 0;
  const int64_t padded = (K + kGroup - 1) / kGroup * kGroup;
  for (int64_t r = 0; r < rows; ++r) {
    const A* from = reinterpret_cast<const A*>(a) + r * lda;
    Element* to = reinterpret_cast<Element*>(packed) + r * padded;
    for (int64_t k = 0; k < K; ++k) to[k] = static_cast<Element>(from[k] ^ kTurn);
    for (int64_t k = K; k < padded; ++k) to[k] = 0;
  }
}

// Calls run<kFetch>(). Tiles of one or two rows pass through their panel alone, so they have nothing to share.
template <class Core, int kRows>
[[gnu::always_inline]] inline void dot_fetching(const std::byte* panel, const DotNext& next, const auto& run) {
  constexpr int64_t kStepBytes = 4 * Core::kLanes * Core::kVectors;
  if constexpr (kStepBytes > 64 && kRows >= 3)
    if (next.step > 0 && next.step < kStepBytes) return run.template operator()<DotFetch::kShare>(next.at, next.step);
  if (kRows < Core::kPrefetchRows || next.step == 0)
    return run.template operator()<DotFetch::kThis>(panel + kDotAhead, 0);
  if constexpr (kRows >= Core::kPrefetchRows) run.template operator()<DotFetch::kNext>(next.at, 0);
}

// The loops of each way to fetch are functions of their own: a branch inside makes gcc 12 spill sums.
template <class Core, int kRows>
constexpr auto tile_of() -> std::remove_extent_t<decltype(PanelDot::dot)> {
  if constexpr (kRows > Core::kRows)
    return nullptr;
  else
    return [](const std::byte* a, int64_t lda, int64_t groups, const std::byte* panel, const int32_t* start,
              int32_t* tile, int64_t ldt, const DotNext& next) {
      const auto run = [&]<DotFetch kFetch>(const std::byte* wanted, int64_t share) __attribute__((always_inline)) {
        if constexpr (Core::kLastSteps > 0 && kRows > 2)
          dot_tile_by_rows<Core, kRows, kFetch>(a, lda, groups, panel, start, tile, ldt, wanted, share);
        else
          dot_tile<Core, kRows, kFetch>(a, lda, groups, panel, start, tile, ldt, wanted, share);
      };
      dot_fetching<Core, kRows>(panel, next, run);
    };
}

template <class Core, int kRows, bool kWide>
constexpr auto codes_of() -> std::remove_all_extents_t<decltype(PanelDot::codes)> {
  if constexpr (kRows <= Core::kRows && requires { typename Core::template Codes<kWide>; })
    return [](const std::byte* a, int64_t lda, int64_t groups, const std::byte* panel, const int32_t* start,
              const SumCodes& how, std::byte* codes, int64_t ld, const DotNext& next) {
      const auto run = [&]<DotFetch kFetch>(const std::byte* wanted, int64_t share) __attribute__((always_inline)) {
        dot_tile_codes<Core, kRows, kFetch, kWide>(a, lda, groups, panel, start, how, codes, ld, wanted, share);
      };
      dot_fetching<Core, kRows>(panel, next, run);
    };
  else
    return nullptr;
}

template <class Core, class A>
constexpr PanelDot panel_dot_of(const char* name, Isa isa, DotFeature feature, DataType b) {
  constexpr bool kBytes = sizeof(typename Core::Element) == 1;
  return {.name = name,
          .isa = isa,
          .feature = feature,
          .a = sizeof(A) == 2        ? DataType::kI16
               : std::is_signed_v<A> ? DataType::kI8
                                     : DataType::kU8,
          .b = b,
          .rows = Core::kRows,
          .columns = Core::kLanes * Core::kVectors,
          .group = kBytes ? 4 : 2,
          .a_offset = !kTurnsRows<Core, A>  ? 0
                      : std::is_signed_v<A> ? 128
                                            : -128,
          .reads_a = sizeof(A) == sizeof(typename Core::Row) && !kTurnsRows<Core, A>,
          .pack = kBytes               ? pack_bytes
                  : b == DataType::kI8 ? pack_widened
                                       : pack_words,
          .pack_rows = pack_dot_rows<Core, A>,
          .arrange = nullptr,
          .dot = {nullptr, tile_of<Core, 1>(), tile_of<Core, 2>(), tile_of<Core, 3>(), tile_of<Core, 4>(),
                  tile_of<Core, 5>(), tile_of<Core, 6>()},
          .codes = {{nullptr, codes_of<Core, 1, false>(), codes_of<Core, 2, false>(), codes_of<Core, 3, false>(),
                     codes_of<Core, 4, false>(), codes_of<Core, 5, false>(), codes_of<Core, 6, false>()},
                    {nullptr, codes_of<Core, 1, true>(), codes_of<Core, 2, true>(), codes_of<Core, 3, true>(),
                     codes_of<Core, 4, true>(), codes_of<Core, 5, true>(), codes_of<Core, 6, true>()}}};
}

}  // namespace dyadic

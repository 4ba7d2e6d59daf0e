// Plain loops over 4 columns of 16-bit values [4][K]: compilers turn such sums into pmaddwd or smlal.
#include <cstring>

#include "kernels/dot/dot.h"
#include "kernels/dot/panels.h"

namespace dyadic {

extern const PanelDot kDotsPortable[4];

namespace {

constexpr int kColumns = 4;

template <class B>
Panels pack(const PanelDot& dot, const PanelSource& b) {
  Panels result{.dot = &dot, .K = b.K};
  const int64_t groups = (b.K + 1) / 2;
  result.bytes = AlignedBuffer(b.columns.size() * groups * 4);
  result.start.assign(b.columns.size(), 0);
  for (size_t c = 0; c < b.columns.size(); ++c) {
    const int64_t at = static_cast<int64_t>(c) * groups * 4;
    if (c % kColumns == 0) result.panels.push_back({at, groups});
    if (b.columns[c] < 0) continue;
    const B* from = reinterpret_cast<const B*>(b.b) + b.columns[c] * b.ldb;
    int16_t* to = reinterpret_cast<int16_t*>(result.bytes.data() + at);
    for (int64_t k = 0; k < b.K; ++k) to[k] = from[k];
  }
  return result;
}

template <class A>
void pack_rows(const std::byte* a, int64_t lda, int64_t rows, int64_t K, std::byte* packed) {
  const int64_t padded = (K + 1) / 2 * 2;
  for (int64_t r = 0; r < rows; ++r) {
    const A* from = reinterpret_cast<const A*>(a) + r * lda;
    int16_t* to = reinterpret_cast<int16_t*>(packed) + r * padded;
    for (int64_t k = 0; k < K; ++k) to[k] = from[k];
    if (K < padded) to[K] = 0;
  }
}

template <int kRows>
void multiply_tile(const std::byte* a, int64_t lda, int64_t groups, const std::byte* panel, const int32_t* start,
                   int32_t* tile, int64_t ldt, const DotNext&) {
  for (int r = 0; r < kRows; ++r, a += lda, tile += ldt) {
    dot_s16s16_s32(1, kColumns, 2 * groups, reinterpret_cast<const int16_t*>(a), 0,
                   reinterpret_cast<const int16_t*>(panel), 2 * groups, tile, 0);
    for (int c = 0; c < kColumns; ++c)
      tile[c] = static_cast<int32_t>(static_cast<uint32_t>(tile[c]) + static_cast<uint32_t>(start[c]));
  }
}

template <class A, class B>
constexpr PanelDot portable(const char* name, DataType a, DataType b) {
  return {.name = name,
          .isa = Isa::kPortable,
          .a = a,
          .b = b,
          .rows = 6,
          .columns = kColumns,
          .group = 2,
          .a_offset = 0,
          .reads_a = sizeof(A) == 2,
          .pack = pack<B>,
          .pack_rows = pack_rows<A>,
          .arrange = nullptr,
          .dot = {nullptr, multiply_tile<1>, multiply_tile<2>, multiply_tile<3>, multiply_tile<4>, multiply_tile<5>,
                  multiply_tile<6>}};
}

}  // namespace

const PanelDot kDotsPortable[4] = {portable<int8_t, int8_t>("s8s8_portable", DataType::kI8, DataType::kI8),
                                   portable<uint8_t, int8_t>("u8s8_portable", DataType::kU8, DataType::kI8),
                                   portable<int16_t, int8_t>("s16s8_portable", DataType::kI16, DataType::kI8),
                                   portable<int16_t, int16_t>("s16s16_portable", DataType::kI16, DataType::kI16)};

}  // namespace dyadic

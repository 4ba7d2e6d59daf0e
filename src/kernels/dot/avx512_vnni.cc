// 6 rows x 64 columns in 24 registers: one broadcast of four bytes of a row feeds four vpdpbusd or vpdpwssd.
#include "kernels/dot/tile.h"
#include "kernels/dot/zmm.h"

namespace dyadic {

extern const PanelDot kDotsAvx512Vnni[4], kDotsAvx512VnniAlone[4];

namespace {

struct Unit;

// The sums of a row, four registers, to its 64 codes.
template <bool kWide>
struct ZmmCodes {
  __m512i m[4], round, lo, hi;
  __m128i shift;

  explicit ZmmCodes(const SumCodes& how)
      : m{_mm512_loadu_si512(how.m), _mm512_loadu_si512(how.m + 16), _mm512_loadu_si512(how.m + 32),
          _mm512_loadu_si512(how.m + 48)},
        round(_mm512_set1_epi32(how.round)),
        lo(kWide ? _mm512_set1_epi16(static_cast<short>(how.lo)) : _mm512_set1_epi8(static_cast<char>(how.lo))),
        hi(kWide ? _mm512_set1_epi16(static_cast<short>(how.hi)) : _mm512_set1_epi8(static_cast<char>(how.hi))),
        shift(_mm_cvtsi32_si128(how.shift)) {}

  __m512i code(__m512i sum, int j) const {
    return _mm512_sra_epi32(_mm512_add_epi32(_mm512_mullo_epi32(sum, m[j]), round), shift);
  }
  void store(std::byte* codes, const __m512i (&sums)[4]) const {
    const __m512i first = _mm512_packs_epi32(code(sums[0], 0), code(sums[1], 1));
    const __m512i second = _mm512_packs_epi32(code(sums[2], 2), code(sums[3], 3));
    if constexpr (kWide) {
      _mm512_storeu_si512(codes, _mm512_min_epi16(_mm512_max_epi16(first, lo), hi));
      _mm512_storeu_si512(codes + 64, _mm512_min_epi16(_mm512_max_epi16(second, lo), hi));
    } else {
      _mm512_storeu_si512(codes, _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(first, second), lo), hi));
    }
  }
};

struct VnniBytes : Zmm<Unit> {
  using Element = int8_t;
  using Row = uint8_t;
  template <bool kWide>
  using Codes = ZmmCodes<kWide>;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm512_dpbusd_epi32(acc, x, w); }
};

struct VnniWords : Zmm<Unit> {
  using Element = int16_t;
  using Row = int16_t;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm512_dpwssd_epi32(acc, x, w); }
};

}  // namespace

const PanelDot kDotsAvx512Vnni[4] = {
    panel_dot_of<VnniBytes, int8_t>("s8s8_avx512vnni", Isa::kAvx512Vnni, DotFeature::kNone, DataType::kI8),
    panel_dot_of<VnniBytes, uint8_t>("u8s8_avx512vnni", Isa::kAvx512Vnni, DotFeature::kNone, DataType::kI8),
    panel_dot_of<VnniWords, int16_t>("s16s8_avx512vnni", Isa::kAvx512Vnni, DotFeature::kNone, DataType::kI8),
    panel_dot_of<VnniWords, int16_t>("s16s16_avx512vnni", Isa::kAvx512Vnni, DotFeature::kNone, DataType::kI16)};

// The same for processors without the byte permutations that other kernels want (Cascade Lake). This file is compiled
// without them.
const PanelDot kDotsAvx512VnniAlone[4] = {
    panel_dot_of<VnniBytes, int8_t>("s8s8_avx512_vnni", Isa::kAvx2, DotFeature::kAvx512Vnni, DataType::kI8),
    panel_dot_of<VnniBytes, uint8_t>("u8s8_avx512_vnni", Isa::kAvx2, DotFeature::kAvx512Vnni, DataType::kI8),
    panel_dot_of<VnniWords, int16_t>("s16s8_avx512_vnni", Isa::kAvx2, DotFeature::kAvx512Vnni, DataType::kI8),
    panel_dot_of<VnniWords, int16_t>("s16s16_avx512_vnni", Isa::kAvx2, DotFeature::kAvx512Vnni, DataType::kI16)};

}  // namespace dyadic

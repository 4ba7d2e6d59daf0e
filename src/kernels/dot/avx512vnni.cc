// 6 rows x 64 columns in 24 registers: one broadcast of four bytes of a row feeds four vpdpbusd or vpdpwssd.
#include <immintrin.h>

#include "kernels/dot/tile.h"

namespace dyadic {

extern const PanelDot kDotsAvx512Vnni[4];

namespace {

struct Zmm {
  using Vector = __m512i;
  static constexpr int kLanes = 16, kVectors = 4, kRows = 6, kPrefetchRows = 4;
  static Vector load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, Vector x) { _mm512_storeu_si512(p, x); }
  static void keep(Vector& x) { asm("" : "+v"(x)); }
  static void prefetch(const std::byte* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }
  static Vector broadcast(const std::byte* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return _mm512_set1_epi32(x);
  }
};

struct VnniU8 : Zmm {
  using Element = int8_t;
  static constexpr int32_t kOffset = 0;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm512_dpbusd_epi32(acc, x, w); }
};

// vpdpbusd wants its first operand unsigned, so it sees a + 128.
struct VnniS8 : VnniU8 {
  static constexpr int32_t kOffset = 128;
  static Vector broadcast(const std::byte* p) { return _mm512_xor_si512(Zmm::broadcast(p), _mm512_set1_epi8(-128)); }
};

struct VnniS16 : Zmm {
  using Element = int16_t;
  static constexpr int32_t kOffset = 0;
  static void accumulate(Vector& acc, Vector x, Vector w) { acc = _mm512_dpwssd_epi32(acc, x, w); }
};

}  // namespace

constexpr Isa kIsa = Isa::kAvx512Vnni;
const PanelDot kDotsAvx512Vnni[4] = {
    panel_dot_of<VnniS8, int8_t>("s8s8_avx512vnni", kIsa, DataType::kI8, DataType::kI8),
    panel_dot_of<VnniU8, uint8_t>("u8s8_avx512vnni", kIsa, DataType::kU8, DataType::kI8),
    panel_dot_of<VnniS16, int16_t>("s16s8_avx512vnni", kIsa, DataType::kI16, DataType::kI8),
    panel_dot_of<VnniS16, int16_t>("s16s16_avx512vnni", kIsa, DataType::kI16, DataType::kI16)};

}  // namespace dyadic

// The lane loops for AVX-512 with VNNI and VBMI.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // gcc 12's own headers leave unused masked operands undefined
#endif
#include <immintrin.h>

#include <type_traits>

#include "base/fixed_point.h"
#include "runtime/tile/random_word.h"
#include "runtime/tile/tile_ops.h"

namespace dyadic::tile::avx512vnni {
#include "runtime/tile/tile_ops.inc"
}  // namespace dyadic::tile::avx512vnni

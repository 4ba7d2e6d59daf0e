// The lane loops for AVX2.
#include <immintrin.h>

#include <type_traits>

#include "base/fixed_point.h"
#include "runtime/tile/random_word.h"
#include "runtime/tile/tile_ops.h"

namespace dyadic::tile::avx2 {
#include "runtime/tile/tile_ops.inc"
}  // namespace dyadic::tile::avx2

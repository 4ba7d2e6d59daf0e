// The lane loops for any machine.
#include <type_traits>

#include "base/fixed_point.h"
#include "runtime/tile/random_word.h"
#include "runtime/tile/tile_ops.h"

namespace dyadic::tile::portable {
#include "runtime/tile/tile_ops.inc"
}  // namespace dyadic::tile::portable

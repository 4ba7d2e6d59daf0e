#include "runtime/tile/tile_ops.h"

namespace dyadic::tile {

Loop find_loop(Isa isa, const LoopKey& key) {
  switch (isa) {
    case Isa::kPortable:
      return portable::find_loop(key);
    case Isa::kAvx2:
      return avx2::find_loop(key);
    case Isa::kAvx512Vnni:
    case Isa::kAmx:  // which adds products of matrices only
      return avx512vnni::find_loop(key);
  }
  return nullptr;
}

}  // namespace dyadic::tile

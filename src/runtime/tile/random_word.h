// random_bits of one element, as the core operation defines it.
#pragma once
#include <cstdint>

#include "base/random.h"

namespace dyadic::tile {

// constants: seed low, seed high, stream.
inline int64_t random_word(const int64_t* constants, int64_t step, int64_t index) {
  const PhiloxKey key = {static_cast<uint32_t>(constants[0]), static_cast<uint32_t>(constants[1])};
  const PhiloxCounter counter = {static_cast<uint32_t>(index / 4), 0, static_cast<uint32_t>(step),
                                 static_cast<uint32_t>(constants[2])};
  return philox4x32(counter, key)[index % 4];
}

}  // namespace dyadic::tile

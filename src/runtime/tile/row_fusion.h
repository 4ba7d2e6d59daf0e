// Two instructions of a row program in one loop.
#pragma once
#include <vector>

#include "runtime/tile/row_program.h"

namespace dyadic::tile {

// A loop over lanes in the L1 cache is bound by its loads and stores, so a result that has one reader is better handed
// over in a vector register. `instructions` write each of `registers` registers once.
void fuse(std::vector<Instruction>& instructions, size_t registers, Isa isa);

}  // namespace dyadic::tile

// Attention by vpdpbusd, whose first factor has no sign: keys enter as k + 128, which adds the same to all scores of a
// query and leaves their distances, and e is unsigned by itself.
#include "kernels/attention/set_avx512.h"

namespace dyadic::attention {
namespace {

struct Unit;
using Set = Avx512Set<Unit>;

}  // namespace

const VectorRows kAvx512VnniRows = {Blocked<Set>::scratch_bytes, Blocked<Set>::run, 1, false, Set::kLanes,
                                    Blocked<Set>::row_pass};

}  // namespace dyadic::attention

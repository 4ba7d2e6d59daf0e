#include "kernels/lanes_avx512.h"
#include "kernels/norm/q15_loops.h"

namespace dyadic::norm {

const RowLoops kAvx512VnniLoops = kLoops<avx512::Words, avx512::WordSums, avx512::RowSums>;

}  // namespace dyadic::norm

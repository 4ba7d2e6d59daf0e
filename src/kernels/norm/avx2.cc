#include "kernels/lanes_avx2.h"
#include "kernels/norm/q15_loops.h"

namespace dyadic::norm {

const RowLoops kAvx2Loops = kLoops<avx2::Words, avx2::WordSums, avx2::RowSums>;

}  // namespace dyadic::norm

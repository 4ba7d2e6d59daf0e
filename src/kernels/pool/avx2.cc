#include "kernels/lanes_avx2.h"
#include "kernels/pool/row_loops.h"

namespace dyadic::pool {

const RowLoops kAvx2Loops = kLoops<avx2::Words>;

}  // namespace dyadic::pool

#include "kernels/lanes_avx512.h"
#include "kernels/pool/row_loops.h"

namespace dyadic::pool {

const RowLoops kAvx512VnniLoops = kLoops<avx512::Words>;

}  // namespace dyadic::pool

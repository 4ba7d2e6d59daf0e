// Float islands on the float executor.
#pragma once
#include <memory>
#include <span>

#include "graph/island.h"

namespace dyadic {

// The IslandFactory of everyone who links src/real.
std::unique_ptr<IslandExecutor> make_real_island(const Graph& body, std::span<const Tensor> parameters,
                                                 ThreadPool& pool);

// What the edges of an island compute: exactly dequantize_float and quantize_float of graph/edges.h, mostly in double
// arithmetic. code_of fails with kContract, naming `what`, for what is not a number.
float real_of(int64_t code, double scale, int64_t zero_point);
int64_t code_of(float x, double scale, int64_t zero_point, Interval codes, const char* what);

}  // namespace dyadic

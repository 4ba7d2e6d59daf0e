// The operations that are neither element-wise nor dots, on tensors in memory. Storage may be narrower than a Value's
// type, and differ between operands and results: elements are converted on the way.
#pragma once
#include <span>

#include "graph/graph.h"
#include "tensor/tensor.h"

namespace dyadic::tile {

// Row-major strides in elements.
Dims strides_of(const Dims& dims);

// Copies element [i0, i1, ..] of `dims` between places with their own strides (in elements).
void copy_strided(const Dims& dims, const TensorView& to, const Dims& to_strides, const TensorView& from,
                  const Dims& from_strides);

// Runs one node: gather, scatter_add, slice, update_slice, concat, reshape, transpose, iota, pack, unpack, patches,
// top_k or reduce (of a maximum or minimum, the result's storage must hold the operand's). `where` names the body in
// errors. kContract if an index or a start leaves its operand, or for the largest of nothing.
void run_movement(const Node& node, std::span<const TensorView> in, std::span<const TensorView> out,
                  const std::string& where);

}  // namespace dyadic::tile

// The edges of an integer region: real numbers to codes and back. Floats are taken apart and put together as integers,
// so both results are exact and no float instruction decides a bit.
#pragma once
#include <cstdint>
#include <optional>

#include "tensor/data_type.h"

namespace dyadic {

// Whether a number can be a scale: positive, normal, finite.
bool is_scale(double scale);

// clamp(floor(x / scale + 1/2) + zero_point, codes) of the float with the bits x; infinities give an end of `codes`,
// what is not a number nothing. `scale` satisfies is_scale.
std::optional<int64_t> quantize_float(uint32_t x, double scale, int64_t zero_point, Interval codes);

// The bits of the float nearest to scale * (code - zero_point), ties to even, infinite beyond the largest float.
uint32_t dequantize_float(int64_t code, double scale, int64_t zero_point);

}  // namespace dyadic

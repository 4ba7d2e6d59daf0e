// What real number a code stands for. Plain data: the arithmetic of an encoding family lives in bodies and in the fit.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/data_type.h"

namespace dyadic {

// Which axes have parameters of their own: none = one per tensor; {0} of a [out, in] weight = per output channel.
struct Granularity {
  std::vector<int> axes;
  int64_t group = 0;  // elements that share parameters along the last listed axis; 0 = one each
  bool operator==(const Granularity&) const = default;
};

// real = scale * (code - zero_point). `scale` and `zero_point` have one entry per tensor or per index of the
// granularity's axes. Scales are kept for people and for edges (quantize, dequantize); no integer body reads them.
struct Encoding {
  std::string family = "affine";
  int bits = 8;
  DataType storage = DataType::kI8;
  Granularity granularity;
  std::vector<double> scale;
  std::vector<int64_t> zero_point = {0};
  Interval codes{-127, 127};  // the codes that occur
  bool operator==(const Encoding&) const = default;
};

}  // namespace dyadic

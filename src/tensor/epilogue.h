// What follows an accumulator, as a visible list. The operands of a stage are parameters of the composite, named here.
#pragma once
#include <string>
#include <vector>

#include "tensor/data_type.h"

namespace dyadic {

enum class StageKind : uint8_t {
  kBias,        // acc + bias[c]                                        parameters: bias i32 [N]
  kRequantize,  // clamp(mul_shift(acc, m, s) + zero_point, lo, hi)     m i32 [N] or [1], s u8 [N] or [1]
  kTable,       // tables[g, code + 128], channels ends[g-1] <= c < ends[g]   tables i8 [G,256], ends i32 [G]
  kAdd,         // + a second operand of the same type (residual)
  kClamp,       // clamp(x, lo, hi)
};

struct EpilogueStage {
  StageKind kind;
  DataType type = DataType::kI8;  // of the stage's result
  Interval clamp{-127, 127};      // kRequantize, kClamp
  int64_t zero_point = 0;         // kRequantize
  bool operator==(const EpilogueStage&) const = default;
};

std::string to_string(const std::vector<EpilogueStage>& stages);     // "bias requantize(i8,-127,127) table"
std::vector<EpilogueStage> parse_epilogue(const std::string& text);  // kMalformed if it is not of that form

}  // namespace dyadic

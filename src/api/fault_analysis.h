// What formulas say of a changed constant of a shared body: that nothing can show it, or what does.
#pragma once
#include <string>
#include <vector>

#include "api/lone_composite.h"

namespace dyadic {

struct FaultAnalysis {
  std::string equivalent;    // why no input can show the change; empty if that is not proved
  std::vector<Feeds> aimed;  // inputs that are made to show it; perhaps none
};

// `faulty` is `clean` with one element of the parameter at node input `input` changed.
//
// A channel of a linear layer is a function of one accumulator, a column of a norm's output one of its normalised
// value, a term of a norm's sum one of a code. Where the function is tried on the whole proved interval and does not
// change, the change is equivalent; where the accumulators are known that show it, rows of codes are solved for them.
FaultAnalysis analyse_fault(const LoneComposite& clean, const LoneComposite& faulty, size_t input, int64_t element,
                            uint64_t seed);

}  // namespace dyadic

// mul_shift over Lanes (kernels/lanes_*.h) from the high half of a widening multiplication.
#pragma once
#include "base/fixed_point.h"

namespace dyadic {

// What a HighShift needs, broadcast once.
template <class Lanes>
struct HighProduct {
  Lanes x_left, add, right;
  static HighProduct of(const HighShift& shift) {
    return {Lanes::broadcast(shift.x_left), Lanes::broadcast(shift.add), Lanes::broadcast(shift.right)};
  }
  Lanes operator()(Lanes x, Lanes m) const { return (mul_high(x << x_left, m) + add) >> right; }
};

}  // namespace dyadic

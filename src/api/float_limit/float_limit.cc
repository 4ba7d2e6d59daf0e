#include "api/float_limit/float_limit.h"

namespace dyadic {

extern const Probe kFloatAvx2, kFloatAvx512Vnni;

namespace {

void plain_loop() {
  float sums[32] = {}, x = 0.5F;
  asm volatile("" : "+m"(x));
  for (int round = 0; round < 1000; ++round) {
    for (float& sum : sums) sum = sum * x + x;
    asm volatile("" : : "r"(sums) : "memory");
  }
}

constexpr Probe kFloatPortable = {"plain loop", 1000 * 32, plain_loop};

}  // namespace

const Probe& float_probe(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      break;
    case Isa::kAvx2:
      return kFloatAvx2;
    case Isa::kAvx512Vnni:
    case Isa::kAmx:
      return kFloatAvx512Vnni;
  }
  return kFloatPortable;
}

}  // namespace dyadic

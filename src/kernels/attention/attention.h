// What the rows of `attention` share: its parameters and what an instruction set supplies, one head of one sequence.
//
// Row r of a sequence looks at its own sequence's rows c (docs/numerics.md):
//   score[c] = q[r] . k[c]              D[c] = min(255, mul_shift(max score - score[c], distance_m, distance_s))
//   e[c] = table[D[c]]                  t = mul_shift(sum e[c] v[c], floor(2^32 / sum e), 16)
//   context[r] = clamp(mul_shift(t, out_m, out_s), -127, 127)
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace dyadic::attention {

inline constexpr int64_t kMaxLength = 65536;   // sums of e * v stay below 2^31
inline constexpr int64_t kMaxHeadDim = 65536;  // distances of scores stay below 2^31

struct Ratio {  // m / 2^s
  int32_t m = 0;
  int s = 1;
};

struct Parameters {
  int64_t heads = 0, head_dim = 0;
  std::array<uint8_t, 256> table{};
  Ratio distance, out;
};

// One head of one sequence. Rows of q, k, v and context lie `stride` bytes apart.
struct Head {
  const int8_t *q, *k, *v;
  int8_t* context;
  int64_t stride, length;
  std::byte* scratch;
};

// What an instruction set supplies.
struct HeadKernel {
  size_t (*scratch_bytes)(int64_t head_dim, int64_t max_length);
  void (*run)(const Parameters& parameters, const Head& head);
};

}  // namespace dyadic::attention

// What the rows of `attention` share: its parameters and what an instruction set supplies, one head of one sequence.
//
// Row r of a sequence looks at its own sequence's rows c (docs/numerics.md):
//   score[c] = q[r] . k[c]              D[c] = min(255, mul_shift(max score - score[c], distance_m, distance_s))
//   e[c] = table[D[c]]                  t = mul_shift(sum e[c] v[c], floor(2^32 / sum e), 16), |t| <= 127 * 2^16
//   context[r] = clamp(mul_shift(t, out_m, out_s), -127, 127)
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/fixed_point.h"

namespace dyadic::attention {

inline constexpr int64_t kMaxLength = 65536;       // sums of e * v stay below 2^31
inline constexpr int64_t kMaxHeadDim = 65536;      // distances of scores stay below 2^31
inline constexpr int64_t kMaxVectorHeadDim = 256;  // of vector rows, which take multiples of 4

struct Ratio {  // m / 2^s
  int32_t m = 0;
  int s = 1;
};

struct Parameters {
  int64_t heads = 0, head_dim = 0;
  alignas(64) uint8_t table[256] = {};
  Ratio distance, out;
};

// table[16 i + j] = ((coarse[i] * fine[j] >> 16) + 128) >> 8.
struct TableFactors {
  uint16_t coarse[16], fine[16];
};
// Of a table of 256 entries; geometric ones have factors, most others none.
std::optional<TableFactors> factor(const uint8_t* table);

// How vector rows compute both ratios and the table.
struct VectorParameters : Parameters {
  // distance * m + add fits 32 bits without sign, shifted right by distance_shift.right it is D before its limit.
  // Otherwise D is made by high halves.
  bool product32 = false;
  HighShift distance_shift{}, out_shift{};  // distance.m is shifted left by m_left already; out needs no left shift
  bool half_table = false;                  // table[127..255] are equal; of rows that do not use factors
  bool has_factors = false;                 // of rows that do
  TableFactors factors{};
};

// One head of one sequence. Rows of q, k, v and context lie `stride` bytes apart.
struct Head {
  const int8_t *q, *k, *v;
  int8_t* context;
  int64_t stride, length;
  std::byte* scratch;
};

// What an instruction set supplies.
struct VectorRows {
  size_t (*scratch_bytes)(int64_t head_dim, int64_t max_length);
  void (*run)(const VectorParameters& parameters, const Head& head);
  int least_right;    // of distance_shift where product32 holds
  bool uses_factors;  // of the table
  // The row pass alone, which benchmarks time: scores of `lanes` queries, a row a key, to e in groups of keys and its
  // sums. Both arrays have room for keys up to a multiple of four.
  int lanes;
  void (*row_pass)(const VectorParameters& parameters, const int32_t* scores, int64_t keys, int32_t* e, int32_t* sigma);
  // Not null where a thread's processor is to be set up before its first `run` and reset after its last.
  void (*begin)(const VectorParameters& parameters) = nullptr;
  void (*end)() = nullptr;
};
extern const VectorRows kAvx2Rows;
extern const VectorRows kAvx512VnniRows;
extern const VectorRows kAmxRows;

// The bytes of a head that one step of the tile registers takes, at most 64, or 0 if heads of that depth have no such
// steps of equal length.
int64_t amx_step(int64_t head_dim);

}  // namespace dyadic::attention

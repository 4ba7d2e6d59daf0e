// The bodies of composites that methods share: normative integer definitions, built from a few shape parameters.
//
// A composite's node lists its inputs in the order of its body's inputs: data first, then parameters (constants).
// Parameters are integers made when the model is made; a body's text does not depend on their values.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graph/builder.h"
#include "graph/model.h"
#include "tensor/epilogue.h"

namespace dyadic {

// linear: y_j = epilogue(x w^T), split into column ranges.
//   inputs      x i8 [T,K] codes -127..127; for an add stage: residual [T,N] of the preceding stage's type
//   parameters  weight i8 [N,K] codes -127..127; then what the stages need, in their order:
//               bias i32 [N]; m i32 [N], s u8 [1] or [N] (requantize); tables i8 [G,256], ends i32 [G], ends[G-1] = N
//               (table: channel c with ends[g-1] <= c < ends[g] looks up tables[g, code + 128]);
//               a second stage of one kind has the inputs m2, s2 and so on
//   outputs     y0.. [T, splits[j]] of the last stage's type
// The add stage's result has the stage's type, to which both operands are cast, and must fit it.
struct LinearShape {
  int64_t in = 0, out = 0;
  std::vector<EpilogueStage> epilogue;
  std::vector<int64_t> splits;     // column counts of the outputs, sum = out
  bool shift_per_channel = false;  // s is [N] instead of [1]
  int64_t classes = 0;             // G of the table stage
};
Body linear_body(const LinearShape& shape);

// attention over packed sequences with deferred normalisation (docs/numerics.md):
//   inputs      q, k, v i8 [T, heads*head_dim] codes -127..127; start, length i32 [B]
//   parameters  table u8 [256] (e of a distance code; table[0] is the largest and > 0);
//               distance_m i32 [1] >= 0, distance_s u8 [1]; out_m i32 [1], out_s u8 [1]
//   outputs     context i8 [T, heads*head_dim]; rows of no sequence are 0.   Symbol L bounds a length.
// Sequence j is the rows start[j] .. start[j] + length[j] - 1 of T >= 1 rows. Sequences are disjoint, in any order,
// with gaps allowed; they may be empty.
Body attention_body(int64_t heads, int64_t head_dim);

// The outputs of a layer norm: i8 (clamped to -127..127) or i16 (saturated), each with parameters out<j>_m i32 [n],
// out<j>_s u8 [1], out<j>_beta i32 [n] (beta with 8 fraction bits).
using NormOutputs = std::vector<DataType>;

// How a norm normalises its rows: from q i32 [T,n], `bits`-bit sums, to y i32 [T,n], (q - mean) / deviation in a unit
// of its own. A method may bring one along; its bodies then run as tile programs.
using NormCore = std::function<Var(BodyBuilder& b, Var q, int64_t n)>;
// The shared one: y in units of sqrt(n) / 2^fraction, |y| <= 2^fraction, from a mean with up to 8 fraction bits and one
// exact root and reciprocal a row.
Var exact_norm(BodyBuilder& b, Var q, int64_t n, int bits = 16, int fraction = 20);

// add_norm: layer norm of a residual sum of i16 codes.
//   inputs      sublayer, identity i16 [T,n]
//   parameters  sublayer_m i32 [1], sublayer_s u8 [1], identity_m, identity_s: to the sum's scale / 256;
//               then the outputs'
//   outputs     out0.. [T,n]
// Without a core the rows are normalised by exact_norm.
Body add_norm_body(int64_t n, const NormOutputs& outputs, const NormCore& core = {});

// embed_norm: layer norm of a sum of table rows.
//   inputs      one index i32 [T] a table, named as the table
//   parameters  <table>_codes i8 [V,n], <table>_m i32 [V], <table>_s u8 [V] for each table; then the outputs'
struct TableShape {
  std::string name;
  int64_t rows = 0;
};
Body embed_norm_body(int64_t n, const std::vector<TableShape>& tables, const NormOutputs& outputs,
                     const NormCore& core = {});

// The same two in words of 16 bits, attribute lane_bits = 16: for kernels, instruction sets and circuits that multiply
// 16 by 16 bits. Sums q have no fraction bits, y the unit sqrt(n) / 2^kQ15NormFraction. embed_norm clamps its sums to
// kLargestQ15Sum; those of add_norm stay below it if the two multipliers do, added up, and kernels serve only then.
//   parameters  add_norm: sublayer_m, identity_m i16 [1], in 2^-15 of a step of q; embed_norm: as above. Then for each
//               output out<j>_m, out<j>_beta i16 [n] and out<j>_shift u8 [1]:
//                 i8:  (mul_shift(y, m, 15) + beta) >> shift, half up
//                 i16: (mul_shift(y, m, 15) + beta) << shift, saturated
inline constexpr int kQ15NormFraction = 14;
inline constexpr int64_t kLargestQ15Sum = (1 << 15) - (1 << 8);
Body q15_add_norm_body(int64_t n, const NormOutputs& outputs);
Body q15_embed_norm_body(int64_t n, const std::vector<TableShape>& tables, const NormOutputs& outputs);

// pool: mean of each sequence's rows, then (normalize) the unit vector in steps of 2^-15.
//   inputs      x i16 [T,n]; start, length i32 [B]
//   outputs     embedding i16 [B,n]; length 0 gives zeros
Body pool_body(int64_t n, bool normalize);

// Whether a composite's body is, in every character of its text, the shared body that its operator, attributes and
// shapes name. Kernels replace these bodies only; a body that a method or a file brings along runs as a tile program.
// Each of them computes a row from the same row of its operands, or a sequence from its own rows alone: a batch may be
// cut between sequences. `body` is the one of the key composite.body, as verify_model ensures.
bool is_shared_body(const Node& composite, const Body& body);

}  // namespace dyadic

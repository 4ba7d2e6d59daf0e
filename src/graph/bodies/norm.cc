#include <algorithm>

#include "base/status.h"
#include "graph/bodies/bodies.h"
#include "graph/bodies/common.h"

namespace dyadic {
namespace {

constexpr DataType kI32 = DataType::kI32, kI64 = DataType::kI64;

struct NormParameters {
  Multiplier gamma;
  Var beta;
};

std::vector<NormParameters> declare(BodyBuilder& b, int64_t n, const NormOutputs& outputs) {
  if (n < 1 || n > 1 << 14) fail(ErrorKind::kContract, "a layer norm takes rows of 1 to 16384 elements, not ", n);
  std::vector<NormParameters> parameters;
  for (size_t j = 0; j < outputs.size(); ++j) {
    const Multiplier gamma = multiplier(b, cat("out", j), {n}, {1});
    parameters.push_back({gamma, b.input(cat("out", j, "_beta"), kI32, {n})});
  }
  return parameters;
}

// The layer norm of sums, i32 [T,n] with 8 fraction bits: they are rounded to i16 codes q, then normalised, then each
// output is gamma * y + beta, with 8 fraction bits until its one rounding. There is no epsilon.
void layer_norm(BodyBuilder& b, Var sums, int64_t n, const NormOutputs& outputs,
                const std::vector<NormParameters>& parameters, const NormCore& core) {
  const Var q = b.named(b.cast(b.cast_sat(b.shr(sums, 8), DataType::kI16), kI32), "sum");
  const Var y = b.named(core ? core(b, q, n) : exact_norm(b, q, n), "y");
  for (size_t j = 0; j < outputs.size(); ++j) {
    const Var scaled = b.mul_shift(y, parameters[j].gamma.m, parameters[j].gamma.s, kI32);
    const Var z = b.shr(b.add(scaled, parameters[j].beta), 8);
    b.output(outputs[j] == DataType::kI8 ? to_code8(b, z) : b.cast_sat(z, outputs[j]), cat("out", j));
  }
}

}  // namespace

// y = (q - mean) / |q - mean|; a constant row gives 0. The sum of squares of `guard` more bits stays below 2^62.
Var exact_norm(BodyBuilder& b, Var q, int64_t n, int bits, int fraction) {
  int log_n = 0;
  while (int64_t{1} << log_n < n) ++log_n;
  const int guard = std::min(8, (62 - log_n) / 2 - bits);
  const Var total = b.reduce_sum(q, {1}, true, kI64);
  const Var mean = b.named(b.cast(b.div(b.add(b.shl(total, guard + 1), n), 2 * n), kI32), "mean");  // rounded half up
  const Var d = b.named(b.sub(b.shl(q, guard), mean), "d");
  const Var square = b.dot(d, d, {.contract_a = {1}, .contract_b = {1}, .batch_a = {0}, .batch_b = {0}}, kI64);
  const ReciprocalRoot root = reciprocal_root(b, b.named(b.reshape(square, {"T", 1}), "square"));
  const Var y = b.mul_shift(d, root.reciprocal, b.sub(61 - fraction, root.half), kI32);
  return b.fact(y, {-(int64_t{1} << fraction), int64_t{1} << fraction}, kLayerNormLemma);
}

Body add_norm_body(int64_t n, const NormOutputs& outputs, const NormCore& core) {
  BodyBuilder b("add_norm");
  const Var operand[] = {b.input("sublayer", DataType::kI16, {"T", n}), b.input("identity", DataType::kI16, {"T", n})};
  const Multiplier ratio[] = {multiplier(b, "sublayer", {1}, {1}), multiplier(b, "identity", {1}, {1})};
  const auto parameters = declare(b, n, outputs);
  Var term[2];
  for (int i : {0, 1}) term[i] = b.mul_shift(b.cast(operand[i], kI32), ratio[i].m, ratio[i].s, kI32);
  layer_norm(b, b.add(term[0], term[1]), n, outputs, parameters, core);
  return {1, b.build()};
}

Body embed_norm_body(int64_t n, const std::vector<TableShape>& tables, const NormOutputs& outputs,
                     const NormCore& core) {
  if (tables.empty()) fail(ErrorKind::kContract, "embed_norm: no table");
  BodyBuilder b("embed_norm");
  std::vector<Var> index, codes;
  std::vector<Multiplier> ratio;
  for (const auto& t : tables) index.push_back(b.input(t.name, kI32, {"T"}, {0, t.rows - 1}));
  for (const auto& t : tables) {
    codes.push_back(b.input(t.name + "_codes", DataType::kI8, {t.rows, n}, kCode8));
    ratio.push_back(multiplier(b, t.name, {t.rows}, {t.rows}));
  }
  const auto parameters = declare(b, n, outputs);
  Var sums;
  for (size_t i = 0; i < tables.size(); ++i) {
    const auto of_row = [&](Var table) { return b.reshape(b.gather(table, index[i]), {"T", 1}); };
    const Var row = b.cast(b.gather(codes[i], index[i]), kI32);
    const Var term = b.mul_shift(row, of_row(ratio[i].m), of_row(ratio[i].s), kI32);
    sums = i == 0 ? term : b.add(sums, term);
  }
  layer_norm(b, sums, n, outputs, parameters, core);
  return {1, b.build()};
}

}  // namespace dyadic

#include <algorithm>

#include "base/status.h"
#include "graph/bodies/bodies.h"
#include "graph/bodies/common.h"

namespace dyadic {
namespace {

constexpr DataType kI16 = DataType::kI16, kI32 = DataType::kI32, kI64 = DataType::kI64;
constexpr Interval kQ15Shift{0, 8};

struct NormParameters {
  Multiplier gamma;
  Var beta;
};

void check_width(int64_t n) {
  if (n < 1 || n > 1 << 14) fail(ErrorKind::kContract, "a layer norm takes rows of 1 to 16384 elements, not ", n);
}

std::vector<NormParameters> declare(BodyBuilder& b, int64_t n, const NormOutputs& outputs) {
  check_width(n);
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

struct Tables {
  std::vector<Var> index, codes;
  std::vector<Multiplier> ratio;
};

Tables declare_tables(BodyBuilder& b, int64_t n, const std::vector<TableShape>& tables) {
  if (tables.empty()) fail(ErrorKind::kContract, "embed_norm: no table");
  Tables t;
  for (const auto& table : tables) t.index.push_back(b.input(table.name, kI32, {"T"}, {0, table.rows - 1}));
  for (const auto& table : tables) {
    t.codes.push_back(b.input(table.name + "_codes", DataType::kI8, {table.rows, n}, kCode8));
    t.ratio.push_back(multiplier(b, table.name, {table.rows}, {table.rows}));
  }
  return t;
}

// The sum of one row of each table, i32 [T,n] with 8 fraction bits.
Var sum_of_rows(BodyBuilder& b, const Tables& tables) {
  Var sums;
  for (size_t i = 0; i < tables.index.size(); ++i) {
    const Var index = tables.index[i];
    const auto of_row = [&](Var table) { return b.reshape(b.gather(table, index), {"T", 1}); };
    const Var row = b.cast(b.gather(tables.codes[i], index), kI32);
    const Var s = of_row(tables.ratio[i].s), m = of_row(tables.ratio[i].m);
    const Var term = b.mul_shift(row, m, s, kI32);
    sums = i == 0 ? term : b.add(sums, term);
  }
  return sums;
}

struct Deviation {
  Var d;  // q - mean, with `guard` fraction bits
  ReciprocalRoot root;
};

Deviation deviation(BodyBuilder& b, Var q, int64_t n, int guard) {
  const Var total = b.reduce_sum(q, {1}, true, kI64);
  const Var mean = b.named(b.cast(b.div(b.add(b.shl(total, guard + 1), n), 2 * n), kI32), "mean");  // rounded half up
  const Var d = b.named(b.sub(b.shl(q, guard), mean), "d");
  const Var square = b.dot(d, d, {.contract_a = {1}, .contract_b = {1}, .batch_a = {0}, .batch_b = {0}}, kI64);
  return {d, reciprocal_root(b, b.named(b.reshape(square, {"T", 1}), "square"))};
}

// ---- in words of 16 bits

struct Q15Parameters {
  Var m, beta, shift;
};

std::vector<Q15Parameters> declare_q15(BodyBuilder& b, int64_t n, const NormOutputs& outputs) {
  check_width(n);
  std::vector<Q15Parameters> parameters;
  for (size_t j = 0; j < outputs.size(); ++j) {
    const Var m = b.input(cat("out", j, "_m"), kI16, {n}), beta = b.input(cat("out", j, "_beta"), kI16, {n});
    parameters.push_back(
        {b.cast(m, kI32), b.cast(beta, kI32), b.input(cat("out", j, "_shift"), DataType::kU8, {1}, kQ15Shift)});
  }
  return parameters;
}

// The layer norm of sums q, i32 [T,n]. The deviations of a row are shifted by as much as the largest may be, to words;
// so is their reciprocal root. |d * 2^half| < 2^31 - 2^15 (docs/numerics.md), hence their upper halves are below 2^15.
void q15_norm(BodyBuilder& b, Var q, int64_t n, const NormOutputs& outputs,
              const std::vector<Q15Parameters>& parameters) {
  constexpr int64_t kLargest = (int64_t{1} << 31) - (1 << 15) - 1, kUnit = int64_t{1} << kQ15NormFraction;
  const auto [d, root] = deviation(b, b.named(q, "sum"), n, 8);
  const Var aligned = b.fact(b.shl(b.cast(d, kI64), root.half), {-kLargest, kLargest}, kLayerNormLemma);
  const Var word = b.cast(b.shr(aligned, 16), kI32);
  const Var reciprocal = b.shr(root.reciprocal, 16, Rounding::kFloor);
  const Var y = b.named(b.fact(b.mul_shift(word, reciprocal, 15, kI32), {-kUnit, kUnit}, kLayerNormLemma), "y");
  for (size_t j = 0; j < outputs.size(); ++j) {
    const Q15Parameters& p = parameters[j];
    const Var z = b.add(b.mul_shift(y, p.m, 15, kI32), p.beta);
    b.output(outputs[j] == DataType::kI8 ? to_code8(b, b.shr(z, p.shift)) : b.cast_sat(b.shl(z, p.shift), outputs[j]),
             cat("out", j));
  }
}

}  // namespace

// y = (q - mean) / |q - mean|; a constant row gives 0. The sum of squares of `guard` more bits stays below 2^62.
Var exact_norm(BodyBuilder& b, Var q, int64_t n, int bits, int fraction) {
  int log_n = 0;
  while (int64_t{1} << log_n < n) ++log_n;
  const auto [d, root] = deviation(b, q, n, std::min(8, (62 - log_n) / 2 - bits));
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
  BodyBuilder b("embed_norm");
  const Tables t = declare_tables(b, n, tables);
  const auto parameters = declare(b, n, outputs);
  layer_norm(b, sum_of_rows(b, t), n, outputs, parameters, core);
  return {1, b.build()};
}

Body q15_add_norm_body(int64_t n, const NormOutputs& outputs) {
  BodyBuilder b("add_norm");
  const Var operand[] = {b.input("sublayer", kI16, {"T", n}), b.input("identity", kI16, {"T", n})};
  const Var m[] = {b.input("sublayer_m", kI16, {1}), b.input("identity_m", kI16, {1})};
  const auto parameters = declare_q15(b, n, outputs);
  Var term[2];
  for (int i : {0, 1}) {
    const Var factor = b.cast(m[i], kI32);
    term[i] = b.mul_shift(b.cast(operand[i], kI32), factor, 15, kI32);
  }
  q15_norm(b, b.add(term[0], term[1]), n, outputs, parameters);
  return {1, b.build()};
}

Body q15_embed_norm_body(int64_t n, const std::vector<TableShape>& tables, const NormOutputs& outputs) {
  BodyBuilder b("embed_norm");
  const Tables t = declare_tables(b, n, tables);
  const auto parameters = declare_q15(b, n, outputs);
  const Var q = b.clamp(b.shr(sum_of_rows(b, t), 8), -kLargestQ15Sum, kLargestQ15Sum);
  q15_norm(b, q, n, outputs, parameters);
  return {1, b.build()};
}

}  // namespace dyadic

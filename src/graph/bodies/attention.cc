#include "graph/bodies/bodies.h"
#include "graph/bodies/common.h"

namespace dyadic {

Body attention_body(int64_t heads, int64_t head_dim) {
  constexpr DataType kI32 = DataType::kI32, kI64 = DataType::kI64, kU8 = DataType::kU8;
  const int64_t width = heads * head_dim;
  BodyBuilder b("attention");
  const Var q = b.input("q", DataType::kI8, {"T", width}, kCode8),
            k = b.input("k", DataType::kI8, {"T", width}, kCode8),
            v = b.input("v", DataType::kI8, {"T", width}, kCode8);
  const Var start = b.input("start", kI32, {"B"}, kRows), length = b.input("length", kI32, {"B"}, kRows);
  const Var table = b.input("table", kU8, {256});
  const Var distance_m = b.input("distance_m", kI32, {1}, {0, highest(kI32)});
  const Var distance_s = b.input("distance_s", kU8, {1}, kShift);
  const Multiplier out = multiplier(b, "out", {1}, {1});

  const Sequences seq = sequences(b, start, length);
  const auto padded = [&](Var x) {  // [T, heads*head_dim] -> [B, heads, L, head_dim]
    return b.transpose(b.gather(b.reshape(x, {"T", heads, head_dim}), seq.rows), {0, 2, 1, 3});
  };
  const Var key_valid = b.reshape(seq.valid, {"B", 1, 1, "L"});
  const Var keys = padded(k), queries = padded(q);
  const Var scores = b.named(
      b.dot(queries, keys, {.contract_a = {3}, .contract_b = {3}, .batch_a = {0, 1}, .batch_b = {0, 1}}), "scores");

  // exp(score - largest score) by table; a masked key's distance is cut at 0 and its e selected to 0.
  const Var top = b.reduce_max(b.select(key_valid, scores, -head_dim * 127 * 127), {3});
  const Var distance = b.max(b.sub(top, scores), 0);
  const Var code =
      b.named(b.cast(b.min(b.mul_shift(distance, distance_m, distance_s, kI64), 255), kU8), "distance_code");
  const Var e = b.named(b.select(key_valid, b.lookup(table, code), 0), "e");

  // One division a row, after the product with the values; max: the identity except for a row without a valid key.
  const Var one = b.cast(b.lookup(table, b.scalar(kU8, 0)), kI32);
  const Var sigma = b.named(b.max(b.reduce_sum(e, {3}, true, kI32), one), "sigma");
  const Var reciprocal = b.named(b.cast(b.div(int64_t{1} << 32, b.cast(sigma, kI64)), kI32), "reciprocal");
  const Var acc =
      b.named(b.dot(e, padded(v), {.contract_a = {3}, .contract_b = {2}, .batch_a = {0, 1}, .batch_b = {0, 1}}), "acc");
  const Var mean =
      b.named(b.fact(b.mul_shift(acc, reciprocal, 16, kI32), {-(127 << 16), 127 << 16}, kHullLemma), "mean");
  const Var context = b.reshape(b.transpose(to_code8(b, b.mul_shift(mean, out.m, out.s, kI64)), {0, 2, 1, 3}),
                                {Dim("B") * Dim("L"), width});

  // Back to packed rows: row t takes position t - start[j] of the one sequence j that contains it.
  const Var row = b.iota("T", kI32), first = b.reshape(start, {"B", 1});
  const Var end = b.add(first, b.reshape(length, {"B", 1}));
  const Var is_before_end = b.lt(row, end);
  const Var inside = b.bit_and(b.le(first, row), is_before_end);  // [B,T]
  const Var flat = b.iota(Dim("B") * Dim("L"), kI32);
  const Var base = b.slice(b.reshape(flat, {"B", "L"}), 1, 0, 1);
  const Var source = b.select(inside, b.add(b.sub(row, first), base), 0);
  const Var last = b.reduce_max(flat, {0}, false);
  const Var index = b.clamp(b.reduce_max(source, {0}, false), 0, last);  // clamp: the identity
  const Var owned = b.reshape(b.reduce_max(inside, {0}, false), {"T", 1});
  b.output(b.select(owned, b.gather(context, index), 0), "context");
  return {1, b.build()};
}

}  // namespace dyadic

#include "graph/bodies/bodies.h"
#include "graph/bodies/common.h"

namespace dyadic {

Body pool_body(int64_t n, bool normalize) {
  constexpr DataType kI16 = DataType::kI16, kI32 = DataType::kI32, kI64 = DataType::kI64;
  BodyBuilder b("pool");
  const Var x = b.input("x", kI16, {"T", n});
  const Var start = b.input("start", kI32, {"B"}, kRows), length = b.input("length", kI32, {"B"}, kRows);
  const Sequences seq = sequences(b, start, length);
  const Var padded = b.gather(x, seq.rows);
  const Var rows = b.select(b.reshape(seq.valid, {"B", "L", 1}), padded, 0);
  const Var total = b.reduce_sum(rows, {1}, false, kI32);
  const Var count = b.reshape(b.max(length, 1), {"B", 1});
  const Var twice = b.shl(count, 1);
  const Var quotient = b.div(b.add(b.shl(total, 1), count), twice);  // half up
  const Var mean = b.named(b.cast(b.fact(quotient, range_of(kI16), kHullLemma), kI16), "mean");
  if (!normalize) {
    b.output(mean, "embedding");
    return {1, b.build()};
  }
  const Var square = b.dot(mean, mean, {.contract_a = {1}, .contract_b = {1}, .batch_a = {0}, .batch_b = {0}}, kI64);
  const ReciprocalRoot root = reciprocal_root(b, b.named(b.reshape(square, {"B", 1}), "square"));
  const Var shift = b.sub(46, root.half);
  const Var unit = b.mul_shift(b.cast(mean, kI32), root.reciprocal, shift, kI32);
  b.output(b.cast_sat(unit, kI16), "embedding");
  return {1, b.build()};
}

}  // namespace dyadic

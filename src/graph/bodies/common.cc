#include "graph/bodies/common.h"

namespace dyadic {

Sequences sequences(BodyBuilder& b, Var start, Var length) {
  const Var last_row = b.reduce_max(b.iota("T", DataType::kI32), {0}, false);
  const Var position = b.iota("L", DataType::kI32);
  const Var first = b.reshape(start, {"B", 1});
  const Var rows = b.named(b.min(b.add(first, position), last_row), "rows");
  return {start, length, rows, b.named(b.lt(position, b.reshape(length, {"B", 1})), "valid")};
}

ReciprocalRoot reciprocal_root(BodyBuilder& b, Var square) {
  const auto [v, k] = b.normalize(square, 61, true);
  const Var root = b.max(b.isqrt(v), int64_t{1} << 30);  // max: the identity except for a square of 0
  const Var reciprocal = b.cast(b.div((int64_t{1} << 61) - 1, root), DataType::kI32);
  return {b.named(reciprocal, "reciprocal"), b.named(b.shr(k, 1, Rounding::kFloor), "half")};
}

}  // namespace dyadic

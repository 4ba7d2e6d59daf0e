// The loops that row programs are made of: one operation over the lanes of a block of rows, compiled once per
// instruction set from one definition (tile_ops.inc).
#pragma once
#include <cstdint>

#include "base/cpu.h"
#include "tensor/data_type.h"

namespace dyadic::tile {

enum class Op : uint8_t {
  kNone,
  kConvert,  // between lanes and storage types; what is cut off is proven to be no information
  // Modulo 2^bits of the result.
  kAdd,
  kSub,
  kRsub,  // b - a
  kMul,
  kShl,
  kAnd,
  kOr,
  kXor,
  kSelect,    // condition, a, b
  kNegateIf,  // condition, x: condition != 0 ? -x : x
  // Exact.
  kAbs,
  kMin,
  kMax,
  kClamp,  // constants: lo, hi
  kShrFloor,
  kShrHalfUp,
  kShrHalfAway,
  kMulShiftFloor,  // x, m, s; the product in 64 bits
  kMulShiftHalfUp,
  kMulShift32Floor,  // |x*m| + 2^(s-1) proven to fit 32 bits
  kMulShift32HalfUp,
  kDiv,
  kRem,
  kIsqrt,
  kNormalize,  // x -> y, k; constants: top, even
  kEq,
  kLt,
  kLe,
  kLookup,  // table, index; constants: elements from the table of one column to that of the next, 0 if all read one
  kLookupBytes,  // table of 256 bytes, index in [0, 255]
  kBucketize,    // x, thresholds; constants: how many, and as of kLookup
  kRandomBits,   // step, index; constants: seed low, seed high, stream
  // One result a row.
  kSum,
  kRowMax,
  kRowMin,
  kDot,
};

inline bool is_reduction(Op op) { return op >= Op::kSum; }

// A loop is chosen by its operation, the types it reads and writes (lanes are i32 or i64; kConvert, and the tables of
// kLookup, kLookupBytes and kBucketize, also have storage types) and a mask of the sources that are one number a row.
//
// Two operations on 32-bit lanes, the second with the first's result as an operand, may be one loop: `then` is the
// second, its other operands follow the first's. Such loops, kClamp and kLookupBytes may also end in storage types.
struct LoopKey {
  Op op = Op::kNone;
  DataType from = DataType::kI32, to = DataType::kI32;
  unsigned scalars = 0;
  Op then = Op::kNone;
};

// Row r of destination i begins at dst[i] + r * dst_step[i] elements, sources alike.
struct Call {
  void* dst[2];
  const void* src[4];
  int64_t dst_step[2], src_step[4];
  int64_t rows, n;
  const int64_t* constants;
};
using Loop = void (*)(const Call&);

// nullptr if there is no such loop. Without `then`, scalars = 0 always has one.
Loop find_loop(Isa isa, const LoopKey& key);

namespace portable {
Loop find_loop(const LoopKey& key);
}
namespace avx2 {
Loop find_loop(const LoopKey& key);
}
namespace avx512vnni {
Loop find_loop(const LoopKey& key);
}

}  // namespace dyadic::tile

#include "base/status.h"
#include "graph/bodies/bodies.h"
#include "graph/bodies/common.h"

namespace dyadic {
namespace {

// What a stage needs besides the running value. Data comes before parameters, so every stage's inputs are declared
// first.
struct StageInputs {
  Var residual, bias, tables, ends;
  Multiplier requantize;
};

// A stage's name among the body's inputs: "m", and "m2" for a second stage of its kind.
std::string numbered(const std::string& name, int count) { return count == 1 ? name : name + std::to_string(count); }

std::vector<StageInputs> declare(BodyBuilder& b, const LinearShape& shape, Var& weight) {
  const auto& stages = shape.epilogue;
  std::vector<StageInputs> inputs(stages.size());
  DataType type = DataType::kI32;
  for (size_t i = 0, count = 0; i < stages.size(); type = stages[i++].type)
    if (stages[i].kind == StageKind::kAdd)
      inputs[i].residual = b.input(numbered("residual", static_cast<int>(++count)), type, {"T", shape.out});
  weight = b.input("weight", DataType::kI8, {shape.out, shape.in}, kCode8);
  int count[5] = {};
  for (size_t i = 0; i < stages.size(); ++i) {
    const int n = ++count[static_cast<int>(stages[i].kind)];
    switch (stages[i].kind) {
      case StageKind::kBias:
        inputs[i].bias = b.input(numbered("bias", n), DataType::kI32, {shape.out});
        break;
      case StageKind::kRequantize:
        inputs[i].requantize.m = b.input(numbered("m", n), DataType::kI32, {shape.out});
        inputs[i].requantize.s =
            b.input(numbered("s", n), DataType::kU8, {shape.shift_per_channel ? shape.out : 1}, kShift);
        break;
      case StageKind::kTable:
        if (shape.classes < 1) fail(ErrorKind::kContract, "linear: a table stage needs at least one class");
        inputs[i].tables = b.input(numbered("tables", n), DataType::kI8, {shape.classes, 256}, kCode8);
        inputs[i].ends = b.input(numbered("ends", n), DataType::kI32, {shape.classes});
        break;
      case StageKind::kAdd:
      case StageKind::kClamp:
        break;
    }
  }
  return inputs;
}

// tables[g, code + 128] with g the number of ends that a channel has passed; the last end is the channel count.
Var class_table(BodyBuilder& b, Var code, Var tables, Var ends, const LinearShape& shape) {
  Var first = b.add(b.cast(code, DataType::kI32), 128);
  if (shape.classes > 1) {
    const Var channel = b.iota(shape.out, DataType::kI32);
    const Var group = b.bucketize(channel, b.slice(ends, 0, 0, shape.classes - 1), DataType::kU16);
    first = b.add(first, b.shl(b.cast(group, DataType::kI32), 8));
  }
  return b.lookup(b.reshape(tables, {shape.classes * 256}), first);
}

Var apply(BodyBuilder& b, const EpilogueStage& stage, const StageInputs& in, Var y, const LinearShape& shape) {
  switch (stage.kind) {
    case StageKind::kBias:
      return b.add(y, in.bias);
    case StageKind::kRequantize: {
      if (b.value(y).type != DataType::kI64) y = b.cast(y, DataType::kI32);
      y = b.mul_shift(y, in.requantize.m, in.requantize.s, DataType::kI64);
      if (stage.zero_point != 0) y = b.add(y, stage.zero_point);
      return b.cast(b.clamp(y, stage.clamp.lo, stage.clamp.hi), stage.type);
    }
    case StageKind::kTable:
      return class_table(b, y, in.tables, in.ends, shape);
    case StageKind::kAdd: {
      const Var residual = b.cast(in.residual, stage.type);
      return b.add(b.cast(y, stage.type), residual);
    }
    case StageKind::kClamp:
      return b.clamp(y, stage.clamp.lo, stage.clamp.hi);
  }
  return y;
}

}  // namespace

Body linear_body(const LinearShape& shape) {
  BodyBuilder b("linear");
  const Var x = b.input("x", DataType::kI8, {"T", shape.in}, kCode8);
  Var weight;
  const auto inputs = declare(b, shape, weight);
  Var y = b.named(b.dot(x, weight, {.contract_a = {1}, .contract_b = {1}}), "acc");
  for (size_t i = 0; i < shape.epilogue.size(); ++i) {
    y = apply(b, shape.epilogue[i], inputs[i], y, shape);
    if (b.value(y).type != shape.epilogue[i].type)
      fail(ErrorKind::kContract, "linear: stage ", i, " of '", to_string(shape.epilogue), "' gives ",
           name(b.value(y).type));
  }
  int64_t begin = 0;
  for (size_t j = 0; j < shape.splits.size(); begin += shape.splits[j++])
    b.output(shape.splits.size() == 1 ? y : b.slice(y, 1, begin, shape.splits[j]), cat("y", j));
  if (begin != shape.out)
    fail(ErrorKind::kContract, "linear: splits of ", begin, " columns, the output has ", shape.out);
  return {1, b.build()};
}

}  // namespace dyadic

// Operators that see which token is whose: Gather, Attention, MeanPool.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "real/onednn.h"
#include "real/ops/ops.h"
#include "real/stated_order.h"

namespace dyadic {
namespace {

// data [V, ..], indices i32 [..] -> [indices.., ..].
Shape infer_gather(const Node& node, RealInputs inputs) {
  const Shape& data = operand(node, inputs, 0, DataType::kF32);
  if (data.empty()) refuse(node, "cannot gather from a scalar");
  expect_integer(node, "axis", 0, 0);
  Shape shape = operand(node, inputs, 1, DataType::kI32);
  shape.insert(shape.end(), data.begin() + 1, data.end());
  return shape;
}

void run_gather(const RealCall& call) {
  const Tensor &data = call.inputs[0], &indices = call.inputs[1];
  const int32_t* index = indices.data<int32_t>();
  const int64_t rows = data.dim(0);
  for (int64_t i = 0; i < indices.count(); ++i)
    if (index[i] < 0 || index[i] >= rows)
      refuse(call.node, "index ", index[i], " at element ", i, " is outside 0..", rows - 1);
  if (call.output.count() == 0) return;
  const int64_t columns = data.count() / rows;
  const float* x = data.data<float>();
  float* y = call.output.as<float>();
  call.pool.parallel_for(indices.count(), 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) std::memcpy(y + i * columns, x + index[i] * columns, sizeof(float) * columns);
  });
}

struct Sequences {
  const int32_t *start, *length;
  int64_t count;
};

// Inputs i and i + 1, checked to lie within `tokens` rows.
Sequences sequences(const RealCall& call, int i, int64_t tokens) {
  const Sequences s{call.inputs[i].data<int32_t>(), call.inputs[i + 1].data<int32_t>(), call.inputs[i].count()};
  for (int64_t b = 0; b < s.count; ++b)
    if (s.start[b] < 0 || s.length[b] < 0 || int64_t{s.start[b]} + s.length[b] > tokens)
      refuse(call.node, "sequence ", b, " (start ", s.start[b], ", length ", s.length[b], ") leaves the ", tokens,
             " tokens");
  return s;
}

void expect_sequences(const Node& node, RealInputs inputs, int i) {
  expect_shape(node, inputs, i + 1, DataType::kI32, operand(node, inputs, i, DataType::kI32, 1));
}

// q, k, v [T, heads * head_dim], start, length [B] -> [T, heads * head_dim]: softmax(scale * q k') v for each head of
// each sequence; rows of no sequence are 0. Vaswani et al., arXiv:1706.03762.
Shape infer_attention(const Node& node, RealInputs inputs) {
  const int64_t heads = node.integer("heads"), head_dim = node.integer("head_dim");
  const Shape& q = operand(node, inputs, 0, DataType::kF32, 2);
  if (heads < 1 || head_dim < 1 || !(q[1] == Dim(heads) * Dim(head_dim)))
    refuse(node, heads, " heads of ", head_dim, " do not make up q ", to_string(q));
  for (int i : {1, 2}) expect_shape(node, inputs, i, DataType::kF32, q);
  expect_sequences(node, inputs, 3);
  if (node.has("scale") && !std::isfinite(node.number("scale"))) refuse(node, "attribute 'scale' is not finite");
  return q;
}

// Calls f for the parts of [0, count) that hold at most `size` each, and at least 1.
template <class F>
void for_blocks(int64_t count, int64_t size, F f) {
  size = std::clamp<int64_t>(size, 1, std::max<int64_t>(1, count));
  for (int64_t begin = 0; begin < count; begin += size) f(begin, std::min(count, begin + size));
}

template <class Library>
void run_attention(const RealCall& call) {
  constexpr int64_t kScores = 1 << 15;  // scores held at a time: 128 KB, part of a second-level cache
  const int64_t tokens = call.output.dims[0], width = call.output.dims[1];
  const int64_t heads = call.node.integer("heads"), d = call.node.integer("head_dim");
  const Sequences s = sequences(call, 3, tokens);
  const float *q = call.inputs[0].data<float>(), *k = call.inputs[1].data<float>(), *v = call.inputs[2].data<float>();
  float* y = call.output.as<float>();
  const auto scale =
      static_cast<float>(call.node.has("scale") ? call.node.number("scale") : 1 / std::sqrt(static_cast<double>(d)));
  std::vector<char> owned(static_cast<size_t>(tokens));
  for (int64_t b = 0; b < s.count; ++b)
    for (int64_t t = s.start[b]; t < s.start[b] + s.length[b]; ++t)
      if (std::exchange(owned[t], 1)) refuse(call.node, "token ", t, " belongs to two sequences");
  for (int64_t t = 0; t < tokens; ++t)
    if (!owned[t]) std::fill_n(y + t * width, width, 0.0f);

  call.pool.parallel_for(s.count * heads, 1, [&](int64_t begin, int64_t end, int) {
    std::vector<float> scores;
    while (begin < end) {  // heads [begin % heads, ..) of sequence b
      const int64_t b = begin / heads, head0 = begin % heads, head1 = std::min(heads, head0 + end - begin);
      begin += head1 - head0;
      const int64_t n = s.length[b], offset = s.start[b] * width;
      if (n == 0) continue;
      for_blocks(n, kScores / n, [&](int64_t row0, int64_t row1) {
        const int64_t rows = row1 - row0, size = rows * n;
        for_blocks(head1 - head0, kScores / size, [&](int64_t h0, int64_t h1) {
          scores.resize(std::max<size_t>(scores.size(), (h1 - h0) * size));
          for (int64_t h = h0; h < h1; ++h) {
            const int64_t at = offset + (head0 + h) * d;
            Library::sgemm(rows, n, d, scale, {q + at + row0 * width, width}, {k + at, width}, true, 0.0f,
                           {scores.data() + (h - h0) * size, n});
          }
          Library::softmax_rows(scores.data(), (h1 - h0) * rows, n);
          for (int64_t h = h0; h < h1; ++h) {
            const int64_t at = offset + (head0 + h) * d;
            Library::sgemm(rows, d, n, 1.0f, {scores.data() + (h - h0) * size, n}, {v + at, width}, false, 0.0f,
                           {y + at + row0 * width, width});
          }
        });
      });
    }
  });
}

// x [T,n], start, length [B] -> [B,n]: the mean of each sequence's rows; 0 for an empty sequence.
Shape infer_mean_pool(const Node& node, RealInputs inputs) {
  const Shape& x = operand(node, inputs, 0, DataType::kF32, 2);
  expect_sequences(node, inputs, 1);
  return {inputs[1]->shape[0], x[1]};
}

void run_mean_pool(const RealCall& call) {
  const int64_t n = call.output.dims[1];
  const Sequences s = sequences(call, 1, call.inputs[0].dim(0));
  const float* x = call.inputs[0].data<float>();
  float* y = call.output.as<float>();
  call.pool.parallel_for(s.count, 1, [&](int64_t begin, int64_t end, int) {
    std::vector<double> total(static_cast<size_t>(n));
    for (int64_t b = begin; b < end; ++b) {
      std::ranges::fill(total, 0.0);
      for (int64_t t = s.start[b]; t < s.start[b] + s.length[b]; ++t)
        for (int64_t j = 0; j < n; ++j) total[j] += x[t * n + j];
      const double inverse = s.length[b] > 0 ? 1.0 / s.length[b] : 0.0;
      for (int64_t j = 0; j < n; ++j) y[b * n + j] = static_cast<float>(total[j] * inverse);
    }
  });
}

}  // namespace

std::span<const RealOp> sequence_ops() {
  static constexpr RealOp kRows[] = {
      {"Gather", 2, 2, "axis", infer_gather, run_gather},
      {"Attention", 5, 5, "heads head_dim scale", infer_attention, run_attention<OneDnn>, nullptr,
       run_attention<StatedOrder>},
      {"MeanPool", 3, 3, "", infer_mean_pool, run_mean_pool},
  };
  return kRows;
}

}  // namespace dyadic

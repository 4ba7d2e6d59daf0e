#include "graph/evaluator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "base/fixed_point.h"
#include "base/random.h"
#include "base/status.h"
#include "graph/builder.h"
#include "graph/core_ops.h"
#include "graph/edges.h"
#include "graph/island.h"
#include "graph/walk.h"

namespace dyadic {
namespace {

// ---------------------------------------------------------------- scalar meanings

// x / 2^k rounded, exactly.
int128 rounded_shift(int128 x, int k, Rounding rounding) {
  if (k == 0) return x;
  const int128 half = int128{1} << (k - 1);
  switch (rounding) {
    case Rounding::kFloor:
      return x >> k;
    case Rounding::kHalfUp:
      return (x + half) >> k;
    case Rounding::kHalfAway:
      return x < 0 ? -((-x + half) >> k) : (x + half) >> k;
  }
  return 0;
}

Rounding rounding_of(const Node& node) {
  const std::string text = node.text("rounding", "half_up");
  return text == "floor" ? Rounding::kFloor : text == "half_up" ? Rounding::kHalfUp : Rounding::kHalfAway;
}

// ---------------------------------------------------------------- axes

int64_t product(const Dims& dims, size_t begin, size_t end) {
  return std::accumulate(dims.begin() + begin, dims.begin() + end, int64_t{1}, std::multiplies<>());
}

int normalized(int64_t axis, int rank) { return static_cast<int>(axis < 0 ? axis + rank : axis); }

std::vector<int> normalized(const std::vector<int64_t>& axes, int rank) {
  std::vector<int> result;
  for (int64_t a : axes) result.push_back(normalized(a, rank));
  return result;
}

// ---------------------------------------------------------------- products of rows

// Sum of a[i] * b[i] for operands of at most 8 bits, widened, n a multiple of 64. A block of 2^14 products of magnitude
// at most 255 * 255 stays below 2^30, so its sum is exact in 32 bits.
int64_t dot_bytes(const int16_t* a, const int16_t* b, int64_t n) {
  int64_t sum = 0;
  for (int64_t begin = 0; begin < n; begin += 1 << 14) {
    int32_t block = 0;
    const int64_t end = std::min<int64_t>(begin + (1 << 14), n);
    for (int64_t i = begin; i < end; i += 64)
      for (int j = 0; j < 64; ++j) block += int32_t{a[i + j]} * b[i + j];
    sum += block;
  }
  return sum;
}

int128 dot_exact(const int64_t* a, const int64_t* b, int64_t n) {
  int128 sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += int128{a[i]} * b[i];
  return sum;
}

// `rows` rows of n elements, each padded with zeros to `stride`.
std::vector<int16_t> padded_rows(const std::vector<int64_t>& x, int64_t rows, int64_t n, int64_t stride) {
  std::vector<int16_t> result(rows * stride);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) result[r * stride + i] = static_cast<int16_t>(x[r * n + i]);
  return result;
}

// An input's range is a promise of whoever calls.
void check_promise(const Value& v, const Tensor& tensor, const std::string& what) {
  if (!v.fact) return;
  const auto values = tensor.to_int64();
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] < v.fact->range.lo || values[i] > v.fact->range.hi)
      fail(ErrorKind::kContract, what, ", element ", i, ": ", values[i], " leaves [", v.fact->range.lo, ", ",
           v.fact->range.hi, "], which its callers promise");
}

// ---------------------------------------------------------------- one node

class NodeEvaluator {
 public:
  NodeEvaluator(const Graph& graph, size_t number, std::vector<Tensor> operands, const Bindings& bindings)
      : graph_(graph), number_(number), node_(graph.nodes[number]), in_(std::move(operands)), bindings_(bindings) {
    for (ValueId id : node_.outputs) {
      const Value& v = graph.value(id);
      out_.emplace_back(v.type, bind(v.shape, bindings));
    }
  }

  std::vector<Tensor> run() {
    compute();
    for (size_t i = 0; i < out_.size(); ++i) check_fact(i);
    return std::move(out_);
  }

 private:
  struct Operand {
    std::vector<int64_t> data;
    Dims dims;
  };

  template <class... Why>
  [[noreturn]] void refuse(int output, int64_t element, Why&&... why) const {
    Dims index;
    const Dims& dims = out_[output].dims();
    for (size_t a = dims.size(); a-- > 0; element /= dims[a]) index.insert(index.begin(), element % dims[a]);
    fail(ErrorKind::kContract, "body ", graph_.name, ", node ", number_, " (", node_.op, "), value ",
         graph_.value(node_.outputs[output]).name, ", element ", to_string(index), ": ", std::forward<Why>(why)...);
  }

  // Stores the exact result r into element i, or refuses it.
  void store(int output, int64_t i, int128 r) {
    const Interval range = range_of(out_[output].type());
    if (r < range.lo || r > range.hi) refuse_overflow(output, i, r);
    out_[output].set(i, static_cast<int64_t>(r));
  }

  // Result element i = f(i), for i in order.
  template <class F>
  void fill(const F& f) {
    const Interval range = range_of(out_[0].type());
    const int64_t count = out_[0].count();
    dispatch(out_[0].type(), [&](auto zero) {
      using T = decltype(zero);
      T* out = out_[0].mutable_data<T>();
      for (int64_t i = 0; i < count; ++i) {
        const int128 r = f(i);
        if (r < range.lo || r > range.hi) refuse_overflow(0, i, r);
        out[i] = static_cast<T>(r);
      }
    });
  }

  [[noreturn]] void refuse_overflow(int output, int64_t i, int128 r) const {
    const bool wide = r != static_cast<int64_t>(r);
    refuse(output, i,
           wide ? (r < 0 ? "a number below -2^63" : "a number of 2^63 or more") : cat(static_cast<int64_t>(r)),
           " does not fit ", name(out_[output].type()));
  }

  void check_fact(size_t output) const {
    const Value& v = graph_.value(node_.outputs[output]);
    if (!v.fact) return;
    const auto values = out_[output].to_int64();
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i] < v.fact->range.lo || values[i] > v.fact->range.hi)
        refuse(static_cast<int>(output), static_cast<int64_t>(i), values[i], " leaves [", v.fact->range.lo, ", ",
               v.fact->range.hi, "], which the lemma '", v.fact->lemma, "' promises");
  }

  Operand operand(int i) const { return {in_[i].to_int64(), in_[i].dims()}; }

  // Where each row of the last axis of operand i begins, as an operand over its leading axes.
  Operand row_starts(int i) const {
    Operand starts{{}, Dims(in_[i].dims().begin(), in_[i].dims().end() - 1)};
    starts.data.resize(element_count(starts.dims));
    for (size_t r = 0; r < starts.data.size(); ++r) starts.data[r] = static_cast<int64_t>(r) * in_[i].dims().back();
    return starts;
  }

  // Result element i = f(i, element of each operand), broadcasting.
  template <class F, class... Operands>
  void map_into(int output, const F& f, const Operands&... operands) {
    constexpr size_t kCount = sizeof...(Operands);
    const Dims& dims = out_[output].dims();
    const Walk<kCount> walk(dims, {broadcast_strides(operands.dims, dims)...});
    const std::array<const int64_t*, kCount> base = {operands.data.data()...};
    const int64_t n = walk.dims.back();
    const Interval range = range_of(out_[output].type());
    dispatch(out_[output].type(), [&](auto zero) {
      using T = decltype(zero);
      T* out = out_[output].mutable_data<T>();
      int64_t i = 0;
      walk.rows([&](const std::array<int64_t, kCount>& at) {
        [&]<size_t... K>(std::index_sequence<K...>) {
          for (int64_t j = 0; j < n; ++j, ++i) {
            const int128 r = f(i, base[K][at[K] + j * walk.strides[K].back()]...);
            if (r < range.lo || r > range.hi) refuse_overflow(output, i, r);
            out[i] = static_cast<T>(r);
          }
        }
        (std::make_index_sequence<kCount>{});
      });
    });
  }
  template <class F, class... Operands>
  void map(const F& f, const Operands&... operands) {
    map_into(0, f, operands...);
  }
  template <class F>
  void map1(const F& f) {
    map([&](int64_t, int64_t x) -> int128 { return f(x); }, operand(0));
  }
  template <class F>
  void map2(const F& f) {
    map([&](int64_t, int64_t x, int64_t y) -> int128 { return f(int128{x}, int128{y}); }, operand(0), operand(1));
  }

  void compute();
  void evaluate_shift(bool left);
  void evaluate_mul_shift();
  void evaluate_division(bool remainder);
  void evaluate_normalize();
  void evaluate_lookup();
  void evaluate_bucketize();
  void evaluate_reduce();
  void evaluate_dot();
  void evaluate_combined_dot(const std::vector<int64_t> (&x)[2], int64_t batches, const int64_t (&free)[2], int64_t n);
  void evaluate_patches();
  void evaluate_top_k();
  void evaluate_gather();
  void evaluate_scatter_add();
  void evaluate_slice();
  void evaluate_update_slice();
  void evaluate_concat();
  void evaluate_transpose();
  void evaluate_scan();
  void evaluate_quantize();
  void evaluate_dequantize();

  int64_t index_of(const Operand& indices, int64_t i, int64_t n) const;
  int64_t start(int position, int64_t size, int64_t n) const;

  const Graph& graph_;
  const size_t number_;
  const Node& node_;
  const std::vector<Tensor> in_;
  const Bindings& bindings_;
  std::vector<Tensor> out_;
};

void NodeEvaluator::compute() {
  switch (*find_core_op(node_.op)) {
    case CoreOp::k_add:
      return map2([](int128 x, int128 y) { return x + y; });
    case CoreOp::k_sub:
      return map2([](int128 x, int128 y) { return x - y; });
    case CoreOp::k_mul:
      return map2([](int128 x, int128 y) { return x * y; });
    case CoreOp::k_abs:
      return map1([](int128 x) { return x < 0 ? -x : x; });
    case CoreOp::k_min:
      return map2([](int128 x, int128 y) { return std::min(x, y); });
    case CoreOp::k_max:
      return map2([](int128 x, int128 y) { return std::max(x, y); });
    case CoreOp::k_clamp:
      return map([](int64_t, int64_t x, int64_t lo, int64_t hi) { return std::min(std::max(x, lo), hi); }, operand(0),
                 operand(1), operand(2));
    case CoreOp::k_shl:
      return evaluate_shift(true);
    case CoreOp::k_shr:
      return evaluate_shift(false);
    case CoreOp::k_mul_shift:
      return evaluate_mul_shift();
    case CoreOp::k_div:
      return evaluate_division(false);
    case CoreOp::k_rem:
      return evaluate_division(true);
    case CoreOp::k_isqrt:
      return map(
          [this](int64_t i, int64_t x) {
            if (x < 0) refuse(0, i, "square root of ", x);
            return static_cast<int64_t>(isqrt(static_cast<uint64_t>(x)));
          },
          operand(0));
    case CoreOp::k_normalize:
      return evaluate_normalize();
    case CoreOp::k_and:
      return map2([](int128 x, int128 y) { return x & y; });
    case CoreOp::k_or:
      return map2([](int128 x, int128 y) { return x | y; });
    case CoreOp::k_xor:
      return map2([](int128 x, int128 y) { return x ^ y; });
    case CoreOp::k_eq:
      return map2([](int128 x, int128 y) { return x == y; });
    case CoreOp::k_lt:
      return map2([](int128 x, int128 y) { return x < y; });
    case CoreOp::k_le:
      return map2([](int128 x, int128 y) { return x <= y; });
    case CoreOp::k_select:
      return map([](int64_t, int64_t c, int64_t a, int64_t b) { return c != 0 ? a : b; }, operand(0), operand(1),
                 operand(2));
    case CoreOp::k_cast: {
      if (node_.text("mode", "exact") == "exact") return map1([](int128 x) { return x; });
      const Interval range = range_of(out_[0].type());
      return map1([&](int64_t x) { return clamp64(x, range.lo, range.hi); });
    }
    case CoreOp::k_lookup:
      return evaluate_lookup();
    case CoreOp::k_bucketize:
      return evaluate_bucketize();
    case CoreOp::k_random_bits: {
      const auto word = [&](const char* key) { return static_cast<uint32_t>(node_.integer(key)); };
      const PhiloxKey key = {word("seed_low"), word("seed_high")};
      const uint32_t stream = word("stream");
      return map(
          [&](int64_t, int64_t step, int64_t index) {
            const PhiloxCounter counter = {static_cast<uint32_t>(index / 4), 0, static_cast<uint32_t>(step), stream};
            return int64_t{philox4x32(counter, key)[index % 4]};
          },
          operand(0), operand(1));
    }
    case CoreOp::k_reduce:
      return evaluate_reduce();
    case CoreOp::k_dot:
      return evaluate_dot();
    case CoreOp::k_patches:
      return evaluate_patches();
    case CoreOp::k_top_k:
      return evaluate_top_k();
    case CoreOp::k_gather:
      return evaluate_gather();
    case CoreOp::k_scatter_add:
      return evaluate_scatter_add();
    case CoreOp::k_slice:
      return evaluate_slice();
    case CoreOp::k_update_slice:
      return evaluate_update_slice();
    case CoreOp::k_concat:
      return evaluate_concat();
    case CoreOp::k_reshape:
      out_[0] = in_[0].reshaped(out_[0].dims());
      return;
    case CoreOp::k_transpose:
      return evaluate_transpose();
    case CoreOp::k_iota:
      return fill([](int64_t i) { return i; });
    case CoreOp::k_pack:
    case CoreOp::k_unpack:
      for (int64_t i = 0; i < out_[0].count(); ++i) store(0, i, in_[0].at(i));
      return;
    case CoreOp::k_scan:
      return evaluate_scan();
    case CoreOp::k_quantize:
      return evaluate_quantize();
    case CoreOp::k_dequantize:
      return evaluate_dequantize();
  }
}

void NodeEvaluator::evaluate_shift(bool left) {
  const int width = bits(in_[0].type());
  const Rounding rounding = rounding_of(node_);
  map(
      [&](int64_t i, int64_t x, int64_t k) {
        if (k >= width) refuse(0, i, "shift count ", k, " of ", name(in_[0].type()));
        return left ? int128{x} << k : rounded_shift(x, static_cast<int>(k), rounding);
      },
      operand(0), operand(1));
}

void NodeEvaluator::evaluate_mul_shift() {
  const Rounding rounding = rounding_of(node_);
  map(
      [&](int64_t i, int64_t x, int64_t m, int64_t s) {
        if (s > 62) refuse(0, i, "shift count ", s);
        const int128 p = int128{x} * m, half = s == 0 ? 0 : int128{1} << (s - 1);
        if ((p < 0 ? -p : p) + half >= int128{1} << 63) refuse(0, i, "the product ", x, " * ", m, " leaves 63 bits");
        return rounded_shift(p, static_cast<int>(s), rounding);
      },
      operand(0), operand(1), operand(2));
}

void NodeEvaluator::evaluate_division(bool remainder) {
  map(
      [&](int64_t i, int64_t a, int64_t b) {
        if (b <= 0) refuse(0, i, "divisor ", b);
        return remainder ? a - b * div_floor(a, b) : div_floor(a, b);
      },
      operand(0), operand(1));
}

void NodeEvaluator::evaluate_normalize() {
  const int top = static_cast<int>(node_.integer("top"));
  const bool even = node_.integer("even", 0) != 0;
  const auto shift = [&](int64_t i, int64_t x) {
    if (x < 0) refuse(0, i, "operand ", x, " is negative");
    const int k = top - log2_floor(static_cast<uint64_t>(std::max<int64_t>(x, 1)));
    if (k < 0) refuse(0, i, "operand ", x, " has its leading one above bit ", top);
    return even ? k & ~1 : k;
  };
  const Operand x = operand(0);
  map_into(
      0, [&](int64_t i, int64_t v) { return int128{v} << shift(i, v); }, x);
  map_into(1, shift, x);
}

void NodeEvaluator::evaluate_lookup() {
  const std::vector<int64_t> table = in_[0].to_int64();
  const int64_t n = in_[0].dims().back();
  map(
      [&](int64_t i, int64_t row, int64_t index) {
        if (index < 0 || index >= n) refuse(0, i, "index ", index, " of a table of ", n);
        return table[row + index];
      },
      row_starts(0), operand(1));
}

void NodeEvaluator::evaluate_bucketize() {
  const std::vector<int64_t> thresholds = in_[1].to_int64();
  const int64_t n = in_[1].dims().back();
  const Operand rows = row_starts(1);
  for (int64_t row : rows.data)
    for (int64_t j = row + 1; j < row + n; ++j)
      if (thresholds[j - 1] > thresholds[j])
        fail(ErrorKind::kContract, "body ", graph_.name, ", node ", number_, " (bucketize): threshold ", j - row,
             " is ", thresholds[j], " after ", thresholds[j - 1]);
  map(
      [&](int64_t, int64_t x, int64_t row) {
        const auto begin = thresholds.begin() + row;
        return std::upper_bound(begin, begin + n, x) - begin;
      },
      operand(0), rows);
}

void NodeEvaluator::evaluate_reduce() {
  const std::string& kind = node_.text("kind");
  const int rank = in_[0].rank();
  const auto reduced = normalized(node_.integers("axes"), rank);
  std::vector<int> perm;
  for (int a = 0; a < rank; ++a)
    if (!std::count(reduced.begin(), reduced.end(), a)) perm.push_back(a);
  int64_t n = 1;
  for (int a : reduced) {
    perm.push_back(a);
    n *= in_[0].dim(a);
  }
  const auto x = permuted(in_[0].to_int64().data(), in_[0].dims(), perm);
  fill([&](int64_t i) -> int128 {
    const auto begin = x.begin() + i * n, end = begin + n;
    if (kind == "sum") return std::accumulate(begin, end, int128{0});
    if (n == 0) refuse(0, i, kind, " of nothing");
    return kind == "max" ? *std::max_element(begin, end) : *std::min_element(begin, end);
  });
}

void NodeEvaluator::evaluate_dot() {
  std::vector<int64_t> x[2];
  int64_t batches = 1, free[2] = {1, 1}, n = 1;
  for (int o : {0, 1}) {
    const Tensor& t = in_[o];
    std::vector<int> perm = normalized(node_.integers_or_empty(o ? "batch_b" : "batch_a"), t.rank());
    const auto contracted = normalized(node_.integers(o ? "contract_b" : "contract_a"), t.rank());
    if (o == 0) {
      for (int a : perm) batches *= t.dim(a);
      for (int a : contracted) n *= t.dim(a);
    }
    const auto taken = [&](int a) {
      return std::count(perm.begin(), perm.end(), a) || std::count(contracted.begin(), contracted.end(), a);
    };
    std::vector<int> free_axes;
    for (int a = 0; a < t.rank(); ++a)
      if (!taken(a)) free_axes.push_back(a);
    for (int a : free_axes) free[o] *= t.dim(a);
    perm.insert(perm.end(), free_axes.begin(), free_axes.end());
    perm.insert(perm.end(), contracted.begin(), contracted.end());
    x[o] = permuted(t.to_int64().data(), t.dims(), perm);
  }
  if (node_.text("combine", "mul") != "mul") return evaluate_combined_dot(x, batches, free, n);
  // Result element i is the product of row i / free[1] of the first and of this row of the second operand.
  const auto column = [&](int64_t i) { return i / free[1] / free[0] * free[1] + i % free[1]; };
  if (bits(in_[0].type()) <= 8 && bits(in_[1].type()) <= 8) {
    const int64_t stride = (n + 63) / 64 * 64;
    const auto a = padded_rows(x[0], batches * free[0], n, stride), b = padded_rows(x[1], batches * free[1], n, stride);
    fill([&](int64_t i) { return dot_bytes(a.data() + i / free[1] * stride, b.data() + column(i) * stride, stride); });
  } else {
    fill([&](int64_t i) { return dot_exact(x[0].data() + i / free[1] * n, x[1].data() + column(i) * n, n); });
  }
}

// Applies the scalar body `combine` to one row of the first operand and every row of the second at a time.
void NodeEvaluator::evaluate_combined_dot(const std::vector<int64_t> (&x)[2], int64_t batches, const int64_t (&free)[2],
                                          int64_t n) {
  Graph body = nested_body(node_, "combine");
  body.value(body.inputs[0]).shape = {n};
  body.value(body.inputs[1]).shape = {free[1], n};
  for (const Node& node : body.nodes) {
    std::vector<const Value*> operands;
    for (ValueId id : node.inputs) operands.push_back(&body.value(id));
    const auto results = infer_core_op(node, operands);
    for (size_t i = 0; i < results.size(); ++i) body.value(node.outputs[i]).shape = results[i].shape;
  }
  const auto rows = [&](int o, int64_t first, Dims dims) {
    Tensor t(in_[o].type(), std::move(dims));
    for (int64_t i = 0; i < t.count(); ++i) t.set(i, x[o][first * n + i]);
    return t;
  };
  for (int64_t r = 0; r < batches * free[0]; ++r) {
    const Tensor operands[] = {rows(0, r, {n}), rows(1, r / free[0] * free[1], {free[1], n})};
    const auto terms = evaluate(body, operands)[0].to_int64();  // [free, n], or [n] or [] if it depends on less
    for (int64_t c = 0; c < free[1]; ++c) {
      int128 sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += terms[(c * n + i) % static_cast<int64_t>(terms.size())];
      store(0, r * free[1] + c, sum);
    }
  }
}

void NodeEvaluator::evaluate_patches() {
  const auto &kernel = node_.integers("kernel"), &stride = node_.integers("stride"),
             &dilation = node_.integers("dilation"), &pads = node_.integers("pads");
  const int64_t code = node_.integer("pad_code", 0);
  const int64_t height = in_[0].dim(1), width = in_[0].dim(2), channels = in_[0].dim(3);
  const auto x = in_[0].to_int64();
  fill([&](int64_t i) {
    const auto digit = [&i](int64_t n) {
      const int64_t d = i % n;
      i /= n;
      return d;
    };
    const int64_t c = digit(channels), kx = digit(kernel[1]), ky = digit(kernel[0]), ox = digit(out_[0].dim(2)),
                  oy = digit(out_[0].dim(1)), image = i;
    const int64_t iy = oy * stride[0] + ky * dilation[0] - pads[0], ix = ox * stride[1] + kx * dilation[1] - pads[1];
    const bool inside = 0 <= iy && iy < height && 0 <= ix && ix < width;
    return inside ? x[((image * height + iy) * width + ix) * channels + c] : code;
  });
}

void NodeEvaluator::evaluate_top_k() {
  const int axis = normalized(node_.integer("axis", -1), in_[0].rank());
  const Dims& dims = in_[0].dims();
  const int64_t n = dims[axis], k = node_.integer("k");
  const int64_t outer = product(dims, 0, axis), inner = product(dims, axis + 1, dims.size());
  const auto x = in_[0].to_int64();
  if (k > n) fail(ErrorKind::kContract, "body ", graph_.name, ", node ", number_, " (top_k): k is ", k, " of ", n);
  std::vector<int64_t> order(n);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t in = 0; in < inner; ++in) {
      const auto element = [&](int64_t j) { return x[(o * n + j) * inner + in]; };
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return element(a) > element(b); });
      for (int64_t j = 0; j < k; ++j) {
        store(0, (o * k + j) * inner + in, element(order[j]));
        store(1, (o * k + j) * inner + in, order[j]);
      }
    }
}

// Element i of the indices, which must lie in an axis of n.
int64_t NodeEvaluator::index_of(const Operand& indices, int64_t i, int64_t n) const {
  const int64_t index = indices.data[i];
  if (index < 0 || index >= n)
    fail(ErrorKind::kContract, "body ", graph_.name, ", node ", number_, " (", node_.op, "), value ",
         graph_.value(node_.outputs[0]).name, ": index ", i, " is ", index, ", the axis has ", n);
  return index;
}

void NodeEvaluator::evaluate_gather() {
  const Dims& dims = in_[0].dims();
  const int axis = normalized(node_.integer("axis", 0), in_[0].rank());
  const int64_t batch = node_.integer("batch", 0), n = dims[axis];
  const int64_t batches = product(dims, 0, batch), outer = product(dims, batch, axis);
  const int64_t run = product(dims, axis + 1, dims.size()) * (bits(in_[0].type()) / 8);
  const Operand indices = operand(1);
  const int64_t count = batches ? static_cast<int64_t>(indices.data.size()) / batches : 0;
  std::byte* out = out_[0].mutable_raw();
  for (int64_t b = 0; b < batches; ++b)
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t j = 0; j < count; ++j, out += run) {
        const int64_t index = index_of(indices, b * count + j, n);
        std::memcpy(out, in_[0].raw() + ((b * outer + o) * n + index) * run, run);
      }
}

void NodeEvaluator::evaluate_scatter_add() {
  const Dims& dims = in_[0].dims();
  const int axis = normalized(node_.integer("axis", 0), in_[0].rank());
  const int64_t batch = node_.integer("batch", 0), n = dims[axis];
  const int64_t batches = product(dims, 0, batch), outer = product(dims, batch, axis),
                inner = product(dims, axis + 1, dims.size());
  const Operand indices = operand(1);
  const int64_t count = batches ? static_cast<int64_t>(indices.data.size()) / batches : 0;
  const auto base = in_[0].to_int64(), updates = in_[2].to_int64();
  std::vector<int128> sums(base.begin(), base.end());
  for (int64_t b = 0, u = 0; b < batches; ++b)
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t j = 0; j < count; ++j) {
        const int64_t index = index_of(indices, b * count + j, n);
        for (int64_t c = 0; c < inner; ++c) sums[((b * outer + o) * n + index) * inner + c] += updates[u++];
      }
  for (size_t i = 0; i < sums.size(); ++i) store(0, static_cast<int64_t>(i), sums[i]);
}

// The start of a window of `size` in an axis of n: the attribute, or operand `position`.
int64_t NodeEvaluator::start(int position, int64_t size, int64_t n) const {
  const int64_t start = static_cast<int>(in_.size()) > position ? in_[position].at(0) : node_.integer("start", 0);
  if (start < 0 || start > n - size)
    fail(ErrorKind::kContract, "body ", graph_.name, ", node ", number_, " (", node_.op, "), value ",
         graph_.value(node_.outputs[0]).name, ": start ", start, ", size ", size, " in an axis of ", n);
  return start;
}

void NodeEvaluator::evaluate_slice() {
  const Dims& dims = in_[0].dims();
  const int axis = normalized(node_.integer("axis"), in_[0].rank());
  const int64_t size = node_.integer("size"), first = start(1, size, dims[axis]);
  const int64_t inner = product(dims, axis + 1, dims.size()) * (bits(in_[0].type()) / 8);
  for (int64_t o = 0; o < product(dims, 0, axis); ++o)
    std::memcpy(out_[0].mutable_raw() + o * size * inner, in_[0].raw() + (o * dims[axis] + first) * inner,
                size * inner);
}

void NodeEvaluator::evaluate_update_slice() {
  const Dims& dims = in_[0].dims();
  const int axis = normalized(node_.integer("axis"), in_[0].rank());
  const int64_t size = in_[1].dim(axis), first = start(2, size, dims[axis]);
  const int64_t inner = product(dims, axis + 1, dims.size()) * (bits(in_[0].type()) / 8);
  std::memcpy(out_[0].mutable_raw(), in_[0].raw(), in_[0].bytes());
  for (int64_t o = 0; o < product(dims, 0, axis); ++o)
    std::memcpy(out_[0].mutable_raw() + (o * dims[axis] + first) * inner, in_[1].raw() + o * size * inner,
                size * inner);
}

void NodeEvaluator::evaluate_concat() {
  const int axis = normalized(node_.integer("axis"), in_[0].rank());
  const int64_t width = bits(in_[0].type()) / 8;
  std::byte* out = out_[0].mutable_raw();
  for (int64_t o = 0; o < product(in_[0].dims(), 0, axis); ++o)
    for (const Tensor& part : in_) {
      const int64_t run = product(part.dims(), axis, part.dims().size()) * width;
      std::memcpy(out, part.raw() + o * run, run);
      out += run;
    }
}

void NodeEvaluator::evaluate_transpose() {
  dispatch(in_[0].type(), [&](auto zero) {
    using T = decltype(zero);
    const auto values = permuted(in_[0].data<T>(), in_[0].dims(), normalized(node_.integers("perm"), in_[0].rank()));
    std::copy(values.begin(), values.end(), out_[0].mutable_data<T>());
  });
}

void NodeEvaluator::evaluate_scan() {
  const Graph body = nested_body(node_, "body");
  const auto carried = static_cast<size_t>(node_.integer("carried"));
  const auto* text = std::get_if<std::string>(&node_.attributes.at("count"));
  const int64_t count = text ? parse_dim(*text).value(bindings_) : node_.integer("count");
  const bool reverse = node_.text("direction", "forward") == "reverse";
  std::vector<Tensor> operands = in_;
  for (int64_t step = 0; step < count; ++step) {
    const int64_t t = reverse ? count - 1 - step : step;
    for (size_t i = carried; i < in_.size(); ++i) {
      const Dims dims = bind(body.value(body.inputs[i]).shape, bindings_);
      if (dims.size() == in_[i].dims().size()) continue;  // the same at every step
      operands[i] = Tensor(in_[i].type(), dims);
      std::memcpy(operands[i].mutable_raw(), in_[i].raw() + t * operands[i].bytes(), operands[i].bytes());
    }
    auto results = evaluate(body, operands, bindings_);
    for (size_t j = carried; j < results.size(); ++j)
      std::memcpy(out_[j].mutable_raw() + t * results[j].bytes(), results[j].raw(), results[j].bytes());
    std::move(results.begin(), results.begin() + static_cast<int64_t>(carried), operands.begin());
  }
  for (size_t j = 0; j < carried; ++j) {
    const Value& v = body.value(body.inputs[j]);
    check_promise(v, operands[j], cat("body ", graph_.name, ", node ", number_, " (scan), final ", v.name));
    out_[j] = operands[j];
  }
}

void NodeEvaluator::evaluate_quantize() {
  const double scale = node_.number("scale");
  const int64_t zero_point = node_.integer("zero_point", 0);
  const Interval codes{node_.integer("lo"), node_.integer("hi")};
  fill([&](int64_t i) {
    uint32_t x;
    std::memcpy(&x, in_[0].raw() + i * 4, sizeof x);
    const auto code = quantize_float(x, scale, zero_point, codes);
    if (!code) refuse(0, i, "not a number");
    return *code;
  });
}

void NodeEvaluator::evaluate_dequantize() {
  const double scale = node_.number("scale");
  const int64_t zero_point = node_.integer("zero_point", 0);
  for (int64_t i = 0; i < in_[0].count(); ++i) {
    const uint32_t x = dequantize_float(in_[0].at(i), scale, zero_point);
    std::memcpy(out_[0].mutable_raw() + i * 4, &x, sizeof x);
  }
}

}  // namespace

std::vector<Tensor> evaluate(const Graph& body, std::span<const Tensor> inputs, Bindings bindings,
                             const Observer& observer) {
  if (is_island(body)) fail(ErrorKind::kContract, "body ", body.name, " is a float island, which a Session runs");
  if (inputs.size() != body.inputs.size())
    fail(ErrorKind::kContract, "body ", body.name, " takes ", body.inputs.size(), " inputs, not ", inputs.size());
  std::vector<Tensor> values(body.values.size());
  for (size_t i = 0; i < body.values.size(); ++i) values[i] = body.values[i].constant;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& v = body.value(body.inputs[i]);
    const std::string what = cat("body ", body.name, ", input ", v.name);
    if (inputs[i].type() != v.type)
      fail(ErrorKind::kContract, what, " is ", name(v.type), ", not ", name(inputs[i].type()));
    unify(v.shape, inputs[i].dims(), bindings, what);
    check_promise(v, inputs[i], what);
    values[body.inputs[i]] = inputs[i];
  }
  std::vector<int> last_use(body.values.size(), -1);
  for (size_t n = 0; n < body.nodes.size(); ++n)
    for (ValueId id : body.nodes[n].inputs) last_use[id] = static_cast<int>(n);
  for (ValueId id : body.outputs) last_use[id] = static_cast<int>(body.nodes.size());
  for (size_t n = 0; n < body.nodes.size(); ++n) {
    const Node& node = body.nodes[n];
    std::vector<Tensor> operands;
    for (ValueId id : node.inputs) operands.push_back(values[id]);
    auto results = NodeEvaluator(body, n, std::move(operands), bindings).run();
    for (size_t i = 0; i < results.size(); ++i) {
      values[node.outputs[i]] = results[i];
      if (observer) observer(node.outputs[i], results[i]);
    }
    for (ValueId id : node.inputs)
      if (last_use[id] == static_cast<int>(n)) values[id] = {};
  }
  std::vector<Tensor> outputs;
  for (ValueId id : body.outputs) outputs.push_back(values[id]);
  return outputs;
}

}  // namespace dyadic

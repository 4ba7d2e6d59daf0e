#include "runtime/tile/movement.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "base/status.h"
#include "graph/core_ops.h"
#include "graph/stages.h"

namespace dyadic::tile {
namespace {

int64_t product(const Dims& dims, size_t begin, size_t end) {
  return std::accumulate(dims.begin() + begin, dims.begin() + end, int64_t{1}, std::multiplies<>());
}
int64_t bytes_of(const TensorView& v) { return bits(v.type) / 8; }
int normalized(int64_t axis, size_t rank) {
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}
bool is_empty(const Dims& dims) { return std::count(dims.begin(), dims.end(), 0) != 0; }

// Visits every combination of indices but the last axis's: f(offset of each operand). Dimensions must not be 0.
template <size_t N, class F>
void for_each_row(const Dims& dims, const std::array<const Dims*, N>& strides, const F& f) {
  std::array<int64_t, N> offset{};
  if (dims.empty()) return f(offset);
  Dims index(dims.size(), 0);
  for (;;) {
    f(offset);
    size_t axis = dims.size() - 1;
    for (; axis-- > 0;) {
      for (size_t k = 0; k < N; ++k) offset[k] += (*strides[k])[axis];
      if (++index[axis] < dims[axis]) break;
      for (size_t k = 0; k < N; ++k) offset[k] -= (*strides[k])[axis] * dims[axis];
      index[axis] = 0;
    }
    if (axis == static_cast<size_t>(-1)) return;
  }
}

template <class T>
T* at(const TensorView& v, int64_t offset = 0) {
  return reinterpret_cast<T*>(v.data) + offset;
}

// n elements from `from` on to `to` on.
void convert_run(const TensorView& to, int64_t to_offset, const TensorView& from, int64_t from_offset, int64_t n) {
  if (to.type == from.type) {
    const int64_t size = bytes_of(to);
    if (n) std::memcpy(to.data + to_offset * size, from.data + from_offset * size, n * size);
    return;
  }
  dispatch(to.type, [&](auto t) {
    dispatch(from.type, [&](auto f) {
      const auto* src = at<decltype(f)>(from, from_offset);
      std::transform(src, src + n, at<decltype(t)>(to, to_offset), [](auto x) { return static_cast<decltype(t)>(x); });
    });
  });
}

int64_t element(const TensorView& v, int64_t i) {
  return dispatch(v.type, [&](auto zero) { return static_cast<int64_t>(*at<decltype(zero)>(v, i)); });
}

int64_t checked_index(const TensorView& indices, int64_t i, int64_t n, const std::string& where) {
  const int64_t index = element(indices, i);
  if (index < 0 || index >= n) fail(ErrorKind::kContract, where, ": index ", i, " is ", index, ", the axis has ", n);
  return index;
}

// Where a window of `size` begins in an axis of n: the attribute, or the operand at `position`.
int64_t checked_start(const Node& node, std::span<const TensorView> in, size_t position, int64_t size, int64_t n,
                      const std::string& where) {
  const int64_t start = in.size() > position ? element(in[position], 0) : node.integer("start", 0);
  if (start < 0 || start > n - size)
    fail(ErrorKind::kContract, where, ": start ", start, ", size ", size, " in an axis of ", n);
  return start;
}

void gather(const Node& node, std::span<const TensorView> in, const TensorView& out, const std::string& where) {
  const Dims& dims = in[0].dims;
  const int axis = normalized(node.integer("axis", 0), dims.size());
  const int64_t batch = node.integer("batch", 0), n = dims[axis];
  const int64_t batches = product(dims, 0, batch), outer = product(dims, batch, axis);
  const int64_t run = product(dims, axis + 1, dims.size());
  const int64_t count = product(in[1].dims, batch, in[1].dims.size());
  int64_t to = 0;
  for (int64_t b = 0; b < batches; ++b)
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t j = 0; j < count; ++j, to += run)
        convert_run(out, to, in[0], ((b * outer + o) * n + checked_index(in[1], b * count + j, n, where)) * run, run);
}

void scatter_add(const Node& node, std::span<const TensorView> in, const TensorView& out, const std::string& where) {
  const Dims& dims = in[0].dims;
  const int axis = normalized(node.integer("axis", 0), dims.size());
  const int64_t batch = node.integer("batch", 0), n = dims[axis];
  const int64_t batches = product(dims, 0, batch), outer = product(dims, batch, axis);
  const int64_t run = product(dims, axis + 1, dims.size());
  const int64_t count = product(in[1].dims, batch, in[1].dims.size());
  convert_run(out, 0, in[0], 0, element_count(dims));
  dispatch(out.type, [&](auto t) {
    dispatch(in[2].type, [&](auto f) {
      using T = decltype(t);
      const auto* update = at<decltype(f)>(in[2]);
      for (int64_t b = 0; b < batches; ++b)
        for (int64_t o = 0; o < outer; ++o)
          for (int64_t j = 0; j < count; ++j, update += run) {
            T* sum = at<T>(out, ((b * outer + o) * n + checked_index(in[1], b * count + j, n, where)) * run);
            // Modulo 2^bits: only the final sums are proven to fit.
            for (int64_t c = 0; c < run; ++c)
              sum[c] = static_cast<T>(static_cast<uint64_t>(sum[c]) + static_cast<uint64_t>(update[c]));
          }
    });
  });
}

void slice(const Node& node, std::span<const TensorView> in, const TensorView& out, const std::string& where) {
  const Dims& dims = in[0].dims;
  const int axis = normalized(node.integer("axis"), dims.size());
  const int64_t size = out.dims[axis], first = checked_start(node, in, 1, size, dims[axis], where);
  const int64_t run = product(dims, axis + 1, dims.size());
  for (int64_t o = 0; o < product(dims, 0, axis); ++o)
    convert_run(out, o * size * run, in[0], (o * dims[axis] + first) * run, size * run);
}

void update_slice(const Node& node, std::span<const TensorView> in, const TensorView& out, const std::string& where) {
  const Dims& dims = in[0].dims;
  const int axis = normalized(node.integer("axis"), dims.size());
  const int64_t size = in[1].dims[axis], first = checked_start(node, in, 2, size, dims[axis], where);
  const int64_t run = product(dims, axis + 1, dims.size());
  convert_run(out, 0, in[0], 0, element_count(dims));
  for (int64_t o = 0; o < product(dims, 0, axis); ++o)
    convert_run(out, (o * dims[axis] + first) * run, in[1], o * size * run, size * run);
}

void concat(const Node& node, std::span<const TensorView> in, const TensorView& out) {
  const int axis = normalized(node.integer("axis"), out.dims.size());
  int64_t to = 0;
  for (int64_t o = 0; o < product(out.dims, 0, axis); ++o)
    for (const TensorView& part : in) {
      const int64_t run = product(part.dims, axis, part.dims.size());
      convert_run(out, to, part, o * run, run);
      to += run;
    }
}

void transpose(const Node& node, const TensorView& in, const TensorView& out) {
  const Dims strides = strides_of(in.dims);
  Dims permuted;
  for (const int64_t p : node.integers("perm")) permuted.push_back(strides[normalized(p, in.dims.size())]);
  copy_strided(out.dims, out, strides_of(out.dims), in, permuted);
}

void iota(const TensorView& out) {
  dispatch(out.type, [&](auto zero) {
    using T = decltype(zero);
    std::iota(at<T>(out), at<T>(out) + out.dims[0], T{0});
  });
}

void patches(const Node& node, const TensorView& in, const TensorView& out) {
  const auto &kernel = node.integers("kernel"), &stride = node.integers("stride"),
             &dilation = node.integers("dilation"), &pads = node.integers("pads");
  int64_t code = node.integer("pad_code", 0);
  const int64_t height = in.dims[1], width = in.dims[2], channels = in.dims[3];
  std::vector<int64_t> padding(channels, code);
  const TensorView pad{DataType::kI64, {channels}, reinterpret_cast<std::byte*>(padding.data())};
  int64_t to = 0;
  for (int64_t image = 0; image < out.dims[0]; ++image)
    for (int64_t oy = 0; oy < out.dims[1]; ++oy)
      for (int64_t ox = 0; ox < out.dims[2]; ++ox)
        for (int64_t ky = 0; ky < kernel[0]; ++ky)
          for (int64_t kx = 0; kx < kernel[1]; ++kx, to += channels) {
            const int64_t iy = oy * stride[0] + ky * dilation[0] - pads[0];
            const int64_t ix = ox * stride[1] + kx * dilation[1] - pads[1];
            if (0 <= iy && iy < height && 0 <= ix && ix < width)
              convert_run(out, to, in, ((image * height + iy) * width + ix) * channels, channels);
            else
              convert_run(out, to, pad, 0, channels);
          }
}

// Packed codes are little-endian bit fields.
int64_t packed_code(const TensorView& v, int64_t i) {
  const int width = bits(v.type);
  int64_t code = 0;
  for (int64_t b = 0, bit = i * width; b < width; ++b, ++bit)
    code |= static_cast<int64_t>(std::to_integer<unsigned>(v.data[bit / 8]) >> (bit % 8) & 1) << b;
  return lowest(v.type) < 0 && code > highest(v.type) ? code - (int64_t{1} << width) : code;
}

void pack(const TensorView& in, const TensorView& out) {
  const int width = bits(out.type);
  std::memset(out.data, 0, storage_bytes(out.type, out.count()));
  for (int64_t i = 0, bit = 0; i < out.count(); ++i) {
    const int64_t code = element(in, i);
    for (int64_t b = 0; b < width; ++b, ++bit)
      out.data[bit / 8] |= static_cast<std::byte>((code >> b & 1) << (bit % 8));
  }
}

void unpack(const TensorView& in, const TensorView& out) {
  dispatch(out.type, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < out.count(); ++i) *at<T>(out, i) = static_cast<T>(packed_code(in, i));
  });
}

void top_k(const Node& node, const TensorView& in, std::span<const TensorView> out, const std::string& where) {
  const int axis = normalized(node.integer("axis", -1), in.dims.size());
  const int64_t n = in.dims[axis], k = out[0].dims[axis];
  if (k > n) fail(ErrorKind::kContract, where, ": k is ", k, " of ", n);
  const int64_t outer = product(in.dims, 0, axis), inner = product(in.dims, axis + 1, in.dims.size());
  std::vector<int64_t> order(n);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      const auto offset = [&](int64_t j) { return (o * n + j) * inner + i; };
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
        const int64_t x = element(in, offset(a)), y = element(in, offset(b));
        return x != y ? x > y : a < b;
      });
      const TensorView indices{DataType::kI64, {n}, reinterpret_cast<std::byte*>(order.data())};
      for (int64_t j = 0; j < k; ++j) {
        convert_run(out[0], (o * k + j) * inner + i, in, offset(order[j]), 1);
        convert_run(out[1], (o * k + j) * inner + i, indices, j, 1);
      }
    }
}

// Accumulates in the result, modulo 2^bits where it is a sum: exact, as the result is proven to fit.
template <class D, class S, class F>
void accumulate(const Dims& dims, const Dims& to_strides, D* to, const S* from, const F& f) {
  const Dims from_strides = strides_of(dims);
  const int64_t n = dims.empty() ? 1 : dims.back(), step = dims.empty() ? 0 : to_strides.back();
  for_each_row<2>(dims, {&to_strides, &from_strides}, [&](const std::array<int64_t, 2>& offset) {
    D* d = to + offset[0];
    const S* s = from + offset[1];
    if (step == 1) {
      for (int64_t i = 0; i < n; ++i) d[i] = f(d[i], static_cast<D>(s[i]));
    } else {
      for (int64_t i = 0; i < n; ++i) d[i * step] = f(d[i * step], static_cast<D>(s[i]));
    }
  });
}

void reduce(const Node& node, const TensorView& in, const TensorView& out, const std::string& where) {
  const std::string& kind = node.text("kind");
  std::vector<bool> reduced(in.dims.size(), false);
  for (const int64_t axis : node.integers("axes")) reduced[normalized(axis, in.dims.size())] = true;
  Dims to_strides(in.dims.size(), 0);
  for (int64_t axis = static_cast<int64_t>(in.dims.size()) - 1, stride = 1; axis >= 0; --axis)
    if (!reduced[axis]) {
      to_strides[axis] = stride;
      stride *= in.dims[axis];
    }
  const int64_t count = element_count(out.dims);
  if (kind != "sum" && count > 0 && is_empty(in.dims)) fail(ErrorKind::kContract, where, ": ", kind, " of nothing");
  dispatch(out.type, [&](auto t) {
    dispatch(in.type, [&](auto f) {
      using D = decltype(t);
      using S = decltype(f);
      D* to = at<D>(out);
      const S* from = at<S>(in);
      std::fill(to, to + count,
                static_cast<D>(kind == "sum"   ? 0
                               : kind == "max" ? lowest(out.type)
                                               : highest(out.type)));
      if (is_empty(in.dims)) return;
      if (kind == "sum")
        accumulate(in.dims, to_strides, to, from,
                   [](D x, D y) { return static_cast<D>(static_cast<uint64_t>(x) + static_cast<uint64_t>(y)); });
      else if (kind == "max")
        accumulate(in.dims, to_strides, to, from, [](D x, D y) { return x < y ? y : x; });
      else
        accumulate(in.dims, to_strides, to, from, [](D x, D y) { return x < y ? x : y; });
    });
  });
}

}  // namespace

Dims strides_of(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

void copy_strided(const Dims& dims, const TensorView& to, const Dims& to_strides, const TensorView& from,
                  const Dims& from_strides) {
  if (is_empty(dims)) return;
  const int64_t n = dims.empty() ? 1 : dims.back();
  const int64_t to_step = dims.empty() ? 1 : to_strides.back(), from_step = dims.empty() ? 1 : from_strides.back();
  for_each_row<2>(dims, {&to_strides, &from_strides}, [&](const std::array<int64_t, 2>& offset) {
    if (to_step == 1 && from_step == 1) return convert_run(to, offset[0], from, offset[1], n);
    dispatch(to.type, [&](auto t) {
      dispatch(from.type, [&](auto f) {
        auto* d = at<decltype(t)>(to, offset[0]);
        const auto* s = at<decltype(f)>(from, offset[1]);
        for (int64_t i = 0; i < n; ++i) d[i * to_step] = static_cast<decltype(t)>(s[i * from_step]);
      });
    });
  });
}

void run_movement(const Node& node, std::span<const TensorView> in, std::span<const TensorView> out,
                  const std::string& where) {
  switch (core_op(node)) {
    case CoreOp::k_gather:
      return gather(node, in, out[0], where);
    case CoreOp::k_scatter_add:
      return scatter_add(node, in, out[0], where);
    case CoreOp::k_slice:
      return slice(node, in, out[0], where);
    case CoreOp::k_update_slice:
      return update_slice(node, in, out[0], where);
    case CoreOp::k_concat:
      return concat(node, in, out[0]);
    case CoreOp::k_reshape:
      return convert_run(out[0], 0, in[0], 0, element_count(out[0].dims));
    case CoreOp::k_transpose:
      return transpose(node, in[0], out[0]);
    case CoreOp::k_iota:
      return iota(out[0]);
    case CoreOp::k_pack:
      return pack(in[0], out[0]);
    case CoreOp::k_unpack:
      return unpack(in[0], out[0]);
    case CoreOp::k_patches:
      return patches(node, in[0], out[0]);
    case CoreOp::k_top_k:
      return top_k(node, in[0], out, where);
    case CoreOp::k_reduce:
      return reduce(node, in[0], out[0], where);
    case CoreOp::k_add:
    case CoreOp::k_sub:
    case CoreOp::k_mul:
    case CoreOp::k_abs:
    case CoreOp::k_min:
    case CoreOp::k_max:
    case CoreOp::k_clamp:
    case CoreOp::k_shl:
    case CoreOp::k_shr:
    case CoreOp::k_mul_shift:
    case CoreOp::k_div:
    case CoreOp::k_rem:
    case CoreOp::k_isqrt:
    case CoreOp::k_normalize:
    case CoreOp::k_and:
    case CoreOp::k_or:
    case CoreOp::k_xor:
    case CoreOp::k_eq:
    case CoreOp::k_lt:
    case CoreOp::k_le:
    case CoreOp::k_select:
    case CoreOp::k_cast:
    case CoreOp::k_lookup:
    case CoreOp::k_bucketize:
    case CoreOp::k_random_bits:
    case CoreOp::k_dot:
    case CoreOp::k_scan:
    case CoreOp::k_quantize:
    case CoreOp::k_dequantize:
      break;
  }
  DYADIC_CHECK(false, node.op, " is no movement");
}

}  // namespace dyadic::tile

// Dots and movements as C: one nest of loops each.
#include <algorithm>

#include "graph/c_printer_writer.h"

namespace dyadic {
namespace {

using Indices = std::vector<std::string>;

int normalized(int64_t axis, size_t rank) {
  return static_cast<int>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis);
}

std::vector<int> axes_of(const Node& node, const std::string& key, size_t rank) {
  std::vector<int> axes;
  for (const int64_t axis : node.integers_or_empty(key)) axes.push_back(normalized(axis, rank));
  return axes;
}

// Loops over every index of a shape; returns the indices. `loops` counts those opened.
Indices open_loops(CWriter& c, const Shape& shape, const std::string& letter, int& loops) {
  Indices indices;
  for (size_t i = 0; i < shape.size(); ++i) {
    indices.push_back(cat(letter, i));
    if (c.open_loop(indices.back(), shape[i]))
      ++loops;
    else
      indices.back() = "0";
  }
  return indices;
}

void close_loops(CWriter& c, int loops) {
  while (loops-- > 0) c.close();
}

std::string cast_to(const CWriter& c, ValueId to, ValueId from, const std::string& expression) {
  return c.storage[to] == c.storage[from] ? expression : cat('(', CWriter::c_type(c.storage[to]), ')', expression);
}

// out[indices] = in[f(indices)]
template <class F>
void print_copy(CWriter& c, ValueId out, ValueId in, const F& source) {
  int loops = 0;
  const Indices indices = open_loops(c, c.graph.value(out).shape, "i", loops);
  c.line(c.element(out, indices), " = ", cast_to(c, out, in, c.element(in, source(indices))), ';');
  close_loops(c, loops);
}

std::string plus(const std::string& a, const std::string& b) { return b == "0" ? a : a == "0" ? b : cat(a, " + ", b); }

// The start of slice and update_slice: attribute or operand.
std::string start_of(const CWriter& c, const Node& node, size_t position) {
  if (node.inputs.size() <= position) return std::to_string(node.integer("start", 0));
  return "(int64_t)" +
         c.element(node.inputs[position], Indices(c.graph.value(node.inputs[position]).shape.size(), "0"));
}

// Where an element of gather's result comes from, and scatter_add's updates go to.
Indices gathered(const CWriter& c, const Node& node, const Indices& i) {
  const Shape& x = c.graph.value(node.inputs[0]).shape;
  const Shape& index = c.graph.value(node.inputs[1]).shape;
  const int axis = normalized(node.integer("axis", 0), x.size());
  const auto batch = node.integer("batch", 0);
  const auto count = static_cast<int64_t>(index.size()) - batch;
  Indices at(i.begin(), i.begin() + batch);
  at.insert(at.end(), i.begin() + axis, i.begin() + axis + count);
  Indices result(i.begin(), i.begin() + axis);
  result.push_back("(int64_t)" + c.element(node.inputs[1], at));
  result.insert(result.end(), i.begin() + axis + count, i.end());
  return result;
}

void print_scatter_add(CWriter& c, const Node& node) {
  const ValueId out = node.outputs[0];
  print_copy(c, out, node.inputs[0], [](const Indices& i) { return i; });
  int loops = 0;
  const Indices i = open_loops(c, c.graph.value(node.inputs[2]).shape, "i", loops);
  const std::string to = c.element(out, gathered(c, node, i));
  // Only the final sums are proven to fit.
  c.line(to, " = (", CWriter::c_type(c.storage[out]), ")((uint64_t)", to, " + (uint64_t)", c.element(node.inputs[2], i),
         ");");
  close_loops(c, loops);
}

void print_concat(CWriter& c, const Node& node) {
  const ValueId out = node.outputs[0];
  const int axis = normalized(node.integer("axis"), c.graph.value(out).shape.size());
  std::string begin = "0";
  for (const ValueId part : node.inputs) {
    const Shape& shape = c.graph.value(part).shape;
    int loops = 0;
    const Indices from = open_loops(c, shape, "i", loops);
    Indices to = from;
    to[axis] = plus(begin, to[axis]);
    c.line(c.element(out, to), " = ", cast_to(c, out, part, c.element(part, from)), ';');
    close_loops(c, loops);
    begin = plus(begin, CWriter::dim(shape[axis]));
  }
}

void print_patches(CWriter& c, const Node& node) {
  const auto &stride = node.integers("stride"), &dilation = node.integers("dilation"), &pads = node.integers("pads");
  const ValueId in = node.inputs[0], out = node.outputs[0];
  const Shape& x = c.graph.value(in).shape;
  int loops = 0;
  const Indices i = open_loops(c, c.graph.value(out).shape, "i", loops);
  const char* names[] = {"row", "column"};
  for (int k = 0; k < 2; ++k)
    c.line("const int64_t ", names[k], " = ", i[1 + k], " * ", stride[k], " + ", i[3 + k], " * ", dilation[k], " - ",
           pads[k], ';');
  c.line(c.element(out, i), " = row >= 0 && row < ", CWriter::dim(x[1]), " && column >= 0 && column < ",
         CWriter::dim(x[2]), " ? ", cast_to(c, out, in, c.element(in, {i[0], "row", "column", i[5]})), " : ",
         CWriter::literal(node.integer("pad_code", 0)), ';');
  close_loops(c, loops);
}

// Selection by repeatedly taking the largest of those behind the last taken, in the order (value descending, index).
void print_top_k(CWriter& c, const Node& node) {
  const ValueId in = node.inputs[0], values = node.outputs[0], places = node.outputs[1];
  const Shape& shape = c.graph.value(in).shape;
  const int axis = normalized(node.integer("axis", -1), shape.size());
  if (shape[axis].is_one()) {
    print_copy(c, values, in, [](const Indices& i) { return i; });
    int zeros = 0;
    c.line(c.element(places, open_loops(c, shape, "i", zeros)), " = 0;");
    return close_loops(c, zeros);
  }
  Shape outer = shape;
  outer[axis] = 1;
  int loops = 0;
  Indices i = open_loops(c, outer, "i", loops);
  if (loops == 0) {
    c.open_block();
    ++loops;
  }
  const auto element = [&](const std::string& at) {
    Indices indices = i;
    indices[axis] = at;
    return c.element(in, indices);
  };
  c.line("int64_t last_taken = -1;");
  c.open("for (int64_t k0 = 0; k0 < ", node.integer("k"), "; ++k0)");
  c.line("int64_t best_index = -1;");
  c.open("for (int64_t j0 = 0; j0 < ", CWriter::dim(shape[axis]), "; ++j0)");
  c.line("if (last_taken >= 0 && (", element("j0"), " > ", element("last_taken"), " || (", element("j0"),
         " == ", element("last_taken"), " && j0 <= last_taken))) continue;");
  c.line("if (best_index < 0 || ", element("j0"), " > ", element("best_index"), ") best_index = j0;");
  c.close();
  Indices to = i;
  to[axis] = "k0";
  c.line(c.element(values, to), " = ", cast_to(c, values, in, element("best_index")), ';');
  c.line(c.element(places, to), " = (", CWriter::c_type(c.storage[places]), ")best_index;");
  c.line("last_taken = best_index;");
  c.close();
  close_loops(c, loops);
}

void print_reduce(CWriter& c, const Node& node) {
  const ValueId in = node.inputs[0], out = node.outputs[0];
  const Shape& shape = c.graph.value(in).shape;
  const auto reduced = axes_of(node, "axes", shape.size());
  const bool keeps = node.integer("keepdims", 1) != 0;
  const std::string kind = node.text("kind");
  int loops = 0;
  Indices i(shape.size()), to;
  const auto is_reduced = [&](size_t axis) {
    return std::count(reduced.begin(), reduced.end(), static_cast<int>(axis));
  };
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    i[axis] = cat('i', axis);
    if (is_reduced(axis)) {
      if (keeps) to.push_back("0");
      continue;
    }
    if (c.open_loop(i[axis], shape[axis]))
      ++loops;
    else
      i[axis] = "0";
    to.push_back(i[axis]);
  }
  if (loops == 0) {
    c.open_block();
    ++loops;
  }
  const char* type = CWriter::c_type(c.variable_type(out));
  const Interval range = c.range(out);
  c.line(type, " reduced = ", CWriter::literal(kind == "sum" ? 0 : kind == "max" ? range.lo : range.hi), ';');
  int inner = 0;
  for (const int axis : reduced)
    if (c.open_loop(i[axis], shape[axis]))
      ++inner;
    else
      i[axis] = "0";
  const std::string x = cat(bits(c.storage[in]) >= 32 ? "(int64_t)" : "", c.element(in, i));
  if (kind == "sum")  // modulo 2^64 or 2^32: the whole is proven to fit
    c.line("reduced = (", type, ")((u", type, ")reduced + (u", type, ')', x, ");");
  else
    c.line("if (", x, kind == "max" ? " > reduced" : " < reduced", ") reduced = (", type, ')', x, ';');
  close_loops(c, inner);
  c.line(c.element(out, to), " = (", CWriter::c_type(c.storage[out]), ")reduced;");
  close_loops(c, loops);
}

// Packed storage is bytes; codes are little-endian bit fields.
void print_pack(CWriter& c, const Node& node) {
  const ValueId in = node.inputs[0], out = node.outputs[0];
  const int width = bits(c.graph.value(out).type);
  const std::string count = CWriter::product(c.graph.value(in).shape);
  c.line("memset(", c.memory(out), ", 0, (size_t)((", count, " * ", width, " + 7) / 8));");
  c.open("for (int64_t i0 = 0; i0 < ", count, "; ++i0)");
  c.open("for (int64_t bit = 0; bit < ", width, "; ++bit)");
  c.line(c.memory(out), "[(i0 * ", width, " + bit) / 8] |= (uint8_t)(((uint64_t)", c.memory(in),
         "[i0] >> bit & 1) << ((i0 * ", width, " + bit) % 8));");
  c.close();
  c.close();
}

void print_unpack(CWriter& c, const Node& node) {
  const ValueId in = node.inputs[0], out = node.outputs[0];
  const DataType packed = c.graph.value(in).type;
  const int width = bits(packed);
  c.open("for (int64_t i0 = 0; i0 < ", CWriter::product(c.graph.value(out).shape), "; ++i0)");
  c.line("int32_t code = 0;");
  c.line("for (int64_t bit = 0; bit < ", width, "; ++bit) code |= (", c.memory(in), "[(i0 * ", width,
         " + bit) / 8] >> ((i0 * ", width, " + bit) % 8) & 1) << bit;");
  if (lowest(packed) < 0) c.line("if (code > ", highest(packed), ") code -= ", 1 << width, ';');
  c.line(c.memory(out), "[i0] = (", CWriter::c_type(c.storage[out]), ")code;");
  c.close();
}

}  // namespace

void print_dot_stage(CWriter& c, int n) {
  const Node& node = c.graph.nodes[n];
  const ValueId a = node.inputs[0], b = node.inputs[1], out = node.outputs[0];
  const Shape& shape_a = c.graph.value(a).shape;
  const Shape& shape_b = c.graph.value(b).shape;
  Indices at_a(shape_a.size()), at_b(shape_b.size()), to;
  int loops = 0, inner = 0;
  const auto batch_a = axes_of(node, "batch_a", shape_a.size()), batch_b = axes_of(node, "batch_b", shape_b.size());
  const auto contract_a = axes_of(node, "contract_a", shape_a.size()),
             contract_b = axes_of(node, "contract_b", shape_b.size());
  const auto loop = [&](const std::string& index, const Dim& count, int& opened) {
    if (!c.open_loop(index, count)) return std::string("0");
    ++opened;
    return index;
  };
  for (size_t i = 0; i < batch_a.size(); ++i) {
    to.push_back(loop(cat("n", i), shape_a[batch_a[i]], loops));
    at_a[batch_a[i]] = at_b[batch_b[i]] = to.back();
  }
  const auto free_loops = [&](const Shape& shape, Indices& at, const std::vector<int>& batch,
                              const std::vector<int>& contract, const char* letter) {
    for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis) {
      if (std::count(batch.begin(), batch.end(), axis) || std::count(contract.begin(), contract.end(), axis)) continue;
      to.push_back(loop(cat(letter, axis), shape[axis], loops));
      at[axis] = to.back();
    }
  };
  free_loops(shape_a, at_a, batch_a, contract_a, "i");
  free_loops(shape_b, at_b, batch_b, contract_b, "j");
  if (loops == 0) {
    c.open_block();
    ++loops;
  }
  const DataType sum = c.variable_type(out);
  const char* type = CWriter::c_type(sum);
  c.line(type, " dot = 0;");
  for (size_t i = 0; i < contract_a.size(); ++i)
    at_a[contract_a[i]] = at_b[contract_b[i]] = loop(cat("k", i), shape_a[contract_a[i]], inner);
  const auto operand = [&](ValueId v, const Indices& at) {
    // Products of operands of at most 16 bits do not need more than int; others are taken in the sum's type.
    const bool small = range_of(DataType::kI16).contains(c.range(v)) && bits(c.storage[v]) <= 16;
    return cat(small && sum == DataType::kI32 ? "" : cat('(', type, ')'), c.element(v, at));
  };
  const std::string term = cat(operand(a, at_a), " * ", operand(b, at_b));
  if (c.graph.value(out).fact)  // partial sums may leave the type
    c.line("dot = (", type, ")((u", type, ")dot + (u", type, ")(", term, "));");
  else
    c.line("dot += ", term, ';');
  close_loops(c, inner);
  c.line(c.element(out, to), " = ", c.storage[out] == sum ? "" : cat('(', CWriter::c_type(c.storage[out]), ')'),
         "dot;");
  close_loops(c, loops);
}

void print_movement(CWriter& c, int n) {
  const Node& node = c.graph.nodes[n];
  const ValueId out = node.outputs[0];
  const size_t rank = c.graph.value(out).shape.size();
  switch (core_op(node)) {
    case CoreOp::k_gather:
      return print_copy(c, out, node.inputs[0], [&](const Indices& i) { return gathered(c, node, i); });
    case CoreOp::k_scatter_add:
      return print_scatter_add(c, node);
    case CoreOp::k_slice:
      return print_copy(c, out, node.inputs[0], [&](Indices i) {
        std::string& at = i[normalized(node.integer("axis"), rank)];
        at = plus(start_of(c, node, 1), at);
        return i;
      });
    case CoreOp::k_update_slice: {
      print_copy(c, out, node.inputs[0], [](const Indices& i) { return i; });
      int loops = 0;
      const Indices from = open_loops(c, c.graph.value(node.inputs[1]).shape, "i", loops);
      Indices to = from;
      std::string& at = to[normalized(node.integer("axis"), rank)];
      at = plus(start_of(c, node, 2), at);
      c.line(c.element(out, to), " = ", cast_to(c, out, node.inputs[1], c.element(node.inputs[1], from)), ';');
      return close_loops(c, loops);
    }
    case CoreOp::k_concat:
      return print_concat(c, node);
    case CoreOp::k_transpose:
      return print_copy(c, out, node.inputs[0], [&](const Indices& i) {
        Indices from(rank);
        const auto& perm = node.integers("perm");
        for (size_t axis = 0; axis < rank; ++axis) from[normalized(perm[axis], rank)] = i[axis];
        return from;
      });
    case CoreOp::k_iota: {
      int loops = 0;
      const Indices i = open_loops(c, c.graph.value(out).shape, "i", loops);
      c.line(c.element(out, i), " = (", CWriter::c_type(c.storage[out]), ')', i[0], ';');
      return close_loops(c, loops);
    }
    case CoreOp::k_pack:
      return print_pack(c, node);
    case CoreOp::k_unpack:
      return print_unpack(c, node);
    case CoreOp::k_patches:
      return print_patches(c, node);
    case CoreOp::k_top_k:
      return print_top_k(c, node);
    case CoreOp::k_reduce:
      return print_reduce(c, node);
    case CoreOp::k_scan:
    case CoreOp::k_quantize:
    case CoreOp::k_dequantize:
      fail(ErrorKind::kContract, c.where(n), ": cannot be printed as C");
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
    case CoreOp::k_reshape:
      break;
  }
  DYADIC_CHECK(false, node.op, " is no movement");
}

}  // namespace dyadic

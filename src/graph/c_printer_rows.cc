// Row stages as C: a loop over rows; in it, loops over the elements of a row with the numbers of the row between them.
#include <algorithm>
#include <array>

#include "graph/c_printer_writer.h"

namespace dyadic {
namespace {

constexpr DataType k32 = DataType::kI32, k64 = DataType::kI64;

// Where each Value of a stage is computed: element loops are numbered 0, 1, ..; a number of a row with phase p is known
// before loop p.
struct Phases {
  std::map<ValueId, int> of;
  int last = 0;
};

bool is_row_value(const CWriter& c, const Stage& stage, ValueId v) {
  const Shape& shape = c.graph.value(v).shape;
  if (stage.width.is_one() || shape.empty() || shape.back().is_one()) return true;
  // [lead..] of a reduction that keeps no axis; of operands from outside only the broadcast shape counts.
  const int producer = c.graph.producer(v);
  const bool inside = producer >= 0 && std::count(stage.nodes.begin(), stage.nodes.end(), producer);
  return inside && shape.size() == stage.lead.size() && !stage.lead.empty();
}

bool is_table(const Node& node, size_t operand) {
  return (node.op == "lookup" && operand == 0) || (node.op == "bucketize" && operand == 1);
}

bool reduces(const CWriter& c, const Stage& stage, const Node& node) {
  return (node.op == "reduce" || node.op == "dot") && !is_row_value(c, stage, node.inputs[0]);
}

Phases find_phases(const CWriter& c, const Stage& stage) {
  Phases phases;
  for (const int n : stage.nodes) {
    const Node& node = c.graph.nodes[n];
    int phase = 0;
    for (const ValueId v : node.inputs)
      if (const auto it = phases.of.find(v); it != phases.of.end()) phase = std::max(phase, it->second);
    if (reduces(c, stage, node)) ++phase;
    for (const ValueId v : node.outputs) phases.of[v] = phase;
    phases.last = std::max(phases.last, phase);
  }
  return phases;
}

// The phase in which a node's own code runs.
int code_phase(const CWriter& c, const Stage& stage, const Phases& phases, const Node& node) {
  return phases.of.at(node.outputs[0]) - reduces(c, stage, node);
}

class RowPrinter {
 public:
  RowPrinter(CWriter& c, const Stage& stage) : c_(c), stage_(stage), phases_(find_phases(c, stage)) {
    for (size_t i = 0; i < stage.lead.size(); ++i) lead_.push_back(stage.lead[i].is_one() ? "0" : cat("i", i));
  }

  void print() {
    int loops = 0;
    for (size_t i = 0; i < lead_.size(); ++i) loops += c_.open_loop(lead_[i], stage_.lead[i]);
    if (loops == 0) {
      c_.open_block();
      ++loops;
    }
    for (const RowBuffer& b : row_buffers(c_, stage_)) buffered_.insert(b.value);
    for (int phase = 0; phase <= phases_.last; ++phase) {
      print_numbers_of_row(phase);
      if (!stage_.width.is_one()) print_elements(phase);
    }
    while (loops-- > 0) c_.close();
  }

 private:
  void print_numbers_of_row(int phase) {
    for (const int n : stage_.nodes) {
      const Node& node = c_.graph.nodes[n];
      if (!is_row_value(c_, stage_, node.outputs[0]) || phases_.of.at(node.outputs[0]) != phase) continue;
      if (!reduces(c_, stage_, node)) print_node(node);
      for (const ValueId v : node.outputs) store(v);
    }
  }

  void print_elements(int phase) {
    std::vector<const Node*> nodes;
    for (const int n : stage_.nodes) {
      const Node& node = c_.graph.nodes[n];
      const bool full = reduces(c_, stage_, node) || !is_row_value(c_, stage_, node.outputs[0]);
      if (full && code_phase(c_, stage_, phases_, node) == phase) nodes.push_back(&node);
    }
    if (nodes.empty()) return;
    for (const Node* node : nodes) {
      for (size_t i = 0; i < node->inputs.size(); ++i)
        if (!is_table(*node, i) && is_row_value(c_, stage_, node->inputs[i])) number_of_row(node->inputs[i]);
      if (reduces(c_, stage_, *node)) declare_sum(*node);
    }
    // What the row knows stays known behind the loop; elements are known inside it only.
    auto row_names = names_;
    c_.open_loop("j", stage_.width);
    for (const Node* node : nodes) {
      if (reduces(c_, stage_, *node)) {
        accumulate(*node);
        continue;
      }
      print_node(*node);
      for (const ValueId v : node->outputs) {
        store(v);
        if (buffered_.count(v)) c_.line(buffer(v), "[j] = ", c_cast(buffer_type(v), v, name(v)), ';');
      }
    }
    c_.close();
    names_ = std::move(row_names);
  }

  // ---------------------------------------------------------------- operands

  // A variable that holds v for this row, or this element; a literal for a scalar constant.
  const std::string& name(ValueId v) {
    auto it = names_.find(v);
    if (it != names_.end()) return it->second;
    const Value& value = c_.graph.value(v);
    if (value.is_constant() && value.constant.count() == 1) return names_[v] = CWriter::literal(value.constant.at(0));
    if (is_row_value(c_, stage_, v)) return number_of_row(v);
    std::string source = buffered_.count(v) && phases_.of.count(v) ? buffer(v) + "[j]" : outside(v);
    return declare(v, source);
  }

  const std::string& number_of_row(ValueId v) {
    const auto it = names_.find(v);
    if (it != names_.end()) return it->second;
    const Value& value = c_.graph.value(v);
    if (value.is_constant() && value.constant.count() == 1) return names_[v] = CWriter::literal(value.constant.at(0));
    return declare(v, outside(v));
  }

  const std::string& declare(ValueId v, const std::string& expression) {
    const std::string wish = c_.graph.value(v).name;
    // Parameters and pointers already have the plain name.
    std::string& variable = variables_[v];
    if (variable.empty()) variable = c_.fresh_local(c_.has_memory(v) ? wish + "_" : wish, locals_);
    const DataType type = c_.variable_type(v);
    c_.line("const ", CWriter::c_type(type), ' ', variable, " = ", expression, ';');
    return names_[v] = variable;
  }

  // An element of memory, with v's axes aligned to the row's from the end.
  std::string outside(ValueId v) const {
    const Shape& shape = c_.graph.value(v).shape;
    const std::string at = c_.element(v, aligned(shape));
    return c_.variable_type(v) == k32 && (c_.storage[v] == k64 || c_.storage[v] == DataType::kU32)
               ? cat("(int32_t)", at)
               : at;
  }

  std::vector<std::string> aligned(const Shape& shape) const {
    std::vector<std::string> all = lead_;
    all.push_back(stage_.width.is_one() ? "0" : "j");
    return {all.end() - static_cast<int64_t>(shape.size()), all.end()};
  }

  DataType type(ValueId v) const { return c_.variable_type(v); }
  static DataType wider(DataType a, DataType b) { return a == k64 || b == k64 ? k64 : k32; }

  // v as an operand of an operation computed in `type`.
  std::string operand(ValueId v, DataType computed) {
    const bool constant = c_.graph.value(v).is_constant() && c_.graph.value(v).constant.count() == 1;
    return computed == k64 && type(v) == k32 && !constant ? cat("(int64_t)", name(v)) : name(v);
  }

  std::string c_cast(DataType to, ValueId from, const std::string& expression) const {
    return to == type(from) ? expression : cat('(', CWriter::c_type(to), ')', expression);
  }

  std::string buffer(ValueId v) const { return c_.memory(v); }
  DataType buffer_type(ValueId v) const { return c_.storage[v]; }

  void store(ValueId v) {
    if (!c_.residence.in_memory[v] || buffered_.count(v)) return;
    const Shape& shape = c_.graph.value(v).shape;
    const bool squeezed = !stage_.lead.empty() && shape.size() == stage_.lead.size();
    const std::string at = c_.element(v, squeezed ? lead_ : aligned(shape));
    c_.line(at, " = ", c_cast(c_.storage[v], v, name(v)), ';');
  }

  // ---------------------------------------------------------------- reductions

  // Partial sums stay between 0 and the whole, which is proven to fit, unless a fact narrowed the whole: then they are
  // taken modulo 2^32 or 2^64.
  void declare_sum(const Node& node) {
    const ValueId out = node.outputs[0];
    std::string& variable = variables_[out];
    if (variable.empty())
      variable =
          c_.fresh_local(c_.has_memory(out) ? c_.graph.value(out).name + "_" : c_.graph.value(out).name, locals_);
    names_[out] = variable;
    const bool sum = node.op == "dot" || node.text("kind") == "sum";
    c_.line(CWriter::c_type(type(out)), ' ', variable, " = ",
            sum ? "0" : CWriter::literal(node.text("kind") == "max" ? c_.range(out).lo : c_.range(out).hi), ';');
  }

  void accumulate(const Node& node) {
    const ValueId out = node.outputs[0];
    const std::string sum = names_.at(out);
    const std::string x = operand(node.inputs[0], type(out));
    if (node.op != "dot" && node.text("kind") != "sum") {
      const char* relation = node.text("kind") == "max" ? " > " : " < ";
      c_.line("if (", x, relation, sum, ") ", sum, " = ", c_cast_to(type(out), node.inputs[0], x), ';');
      return;
    }
    std::string term = x;
    if (node.op == "dot") term += cat(" * ", operand(node.inputs[1], type(out)));
    if (!c_.graph.value(out).fact) {
      c_.line(sum, " += ", narrowed(type(out), node, term), ';');
      return;
    }
    const char* u = type(out) == k32 ? "uint32_t" : "uint64_t";
    c_.line(sum, " = (", CWriter::c_type(type(out)), ")((", u, ')', sum, " + (", u, ")(", term, "));");
  }

  std::string c_cast_to(DataType to, ValueId v, const std::string& expression) const {
    return to == k32 && type(v) == k64 ? cat("(int32_t)", expression) : expression;
  }
  std::string narrowed(DataType to, const Node& node, const std::string& expression) const {
    DataType from = k32;
    for (const ValueId v : node.inputs) from = wider(from, type(v));
    return to == k32 && from == k64 ? cat("(int32_t)(", expression, ')') : expression;
  }

  // ---------------------------------------------------------------- one node

  void print_node(const Node& node);
  void define(const Node& node, DataType computed, const std::string& expression) {
    const ValueId out = node.outputs[0];
    const bool is_call = expression.rfind("dyadic_", 0) == 0;
    declare(out, type(out) == k64 || computed == k32 ? expression
                 : is_call                           ? cat("(int32_t)", expression)
                                                     : cat("(int32_t)(", expression, ')'));
  }
  // A cast that changes nothing is no code, but for a variable of another type.
  void rename(ValueId out, ValueId in) {
    const std::string x = name(in);
    if (type(out) == type(in))
      names_[out] = x;
    else
      declare(out, cat('(', CWriter::c_type(type(out)), ')', x));
  }
  void infix(const Node& node, const char* symbol) {
    const DataType computed = operation_type(node);
    define(node, computed, cat(operand(node.inputs[0], computed), ' ', symbol, ' ', operand(node.inputs[1], computed)));
  }
  DataType operation_type(const Node& node) const {
    DataType computed = type(node.outputs[0]);
    for (const ValueId v : node.inputs) computed = wider(computed, type(v));
    return computed;
  }
  // Compilers warn of comparing a variable with itself.
  std::string relation(const Node& node, int a, const char* symbol, int b) {
    const std::string x = name(node.inputs[a]), y = name(node.inputs[b]);
    if (x == y) return cat("((void)", x, ", ", *symbol == '<' && symbol[1] == 0 ? "0)" : "1)");
    return cat(x, ' ', symbol, ' ', y);
  }
  void print_table_operation(const Node& node);
  bool is_used(ValueId v) const {
    const auto readers = c_.graph.consumers(v);
    return c_.residence.in_memory[v] ||
           std::any_of(readers.begin(), readers.end(), [&](int n) { return c_.residence.stage[n] >= 0; });
  }

  CWriter& c_;
  const Stage& stage_;
  const Phases phases_;
  std::vector<std::string> lead_;
  std::map<ValueId, std::string> names_;      // in scope
  std::map<ValueId, std::string> variables_;  // all that were given
  std::set<std::string> locals_;
  std::set<ValueId> buffered_;
};

void RowPrinter::print_table_operation(const Node& node) {
  const bool looks_up = node.op == "lookup";
  const ValueId table = node.inputs[looks_up ? 0 : 1], x = node.inputs[looks_up ? 1 : 0];
  const Shape& shape = c_.graph.value(table).shape;
  std::vector<std::string> indices = aligned(Shape(shape.begin(), shape.end() - 1));
  if (looks_up) {
    // The last index is written out even for a table of one entry, so that its variable is used.
    const std::string row = CWriter::position(Shape(shape.begin(), shape.end() - 1), indices);
    const std::string start = row.empty() ? "" : cat('(', row, ") * ", CWriter::factor(shape.back()), " + ");
    const std::string at = cat(c_.memory(table), '[', start, name(x), ']');
    return define(
        node, k32,
        c_.variable_type(node.outputs[0]) == k32 && bits(c_.storage[table]) >= 32 ? cat("(int32_t)", at) : at);
  }
  const ValueId out = node.outputs[0];
  const std::string value = name(x),
                    variable = variables_[out] = c_.fresh_local(c_.graph.value(out).name + "_", locals_);
  indices.push_back("k0");
  c_.line("int32_t ", variable, " = 0;");
  c_.line("for (int64_t k0 = 0; k0 < ", CWriter::dim(shape.back()), "; ++k0) ", variable,
          " += ", bits(c_.storage[table]) >= 32 ? "(int64_t)" : "", c_.element(table, indices), " <= ", value, ';');
  names_[out] = variable;
}

void RowPrinter::print_node(const Node& node) {
  const auto& in = node.inputs;
  const ValueId out = node.outputs[0];
  const DataType computed = operation_type(node);
  const auto arg = [&](int i) { return operand(in[i], computed); };
  const char* suffix = computed == k32 ? "32" : "";
  const std::string rounding = node.text("rounding", "half_up");
  switch (core_op(node)) {
    case CoreOp::k_add:
      return infix(node, "+");
    case CoreOp::k_sub:
      return infix(node, "-");
    case CoreOp::k_mul:
      return infix(node, "*");
    case CoreOp::k_and:
      return infix(node, "&");
    case CoreOp::k_or:
      return infix(node, "|");
    case CoreOp::k_xor:
      return infix(node, "^");
    case CoreOp::k_eq:
      return define(node, computed, relation(node, 0, "==", 1));
    case CoreOp::k_lt:
      return define(node, computed, relation(node, 0, "<", 1));
    case CoreOp::k_le:
      return define(node, computed, relation(node, 0, "<=", 1));
    case CoreOp::k_abs:  // (a literal may have a sign of its own)
      return define(node, computed, cat(name(in[0]), " < 0 ? -(", arg(0), ") : ", arg(0)));
    case CoreOp::k_min:
      return define(node, computed, cat(relation(node, 0, "<", 1), " ? ", arg(0), " : ", arg(1)));
    case CoreOp::k_max:
      return define(node, computed, cat(relation(node, 0, "<", 1), " ? ", arg(1), " : ", arg(0)));
    case CoreOp::k_clamp: {  // min(max(x, lo), hi), which is hi for lo > hi
      const std::string below = relation(node, 0, "<", 1), above = relation(node, 2, "<", 0);
      const std::string inside = cat(above, " ? ", arg(2), " : ", arg(0));
      const bool ordered = c_.range(in[1]).hi <= c_.range(in[2]).lo;
      return define(node, computed,
                    ordered
                        ? cat(below, " ? ", arg(1), " : ", inside)
                        : cat(relation(node, 2, "<", 1), " ? ", arg(2), " : ", below, " ? ", arg(1), " : ", inside));
    }
    case CoreOp::k_shl: {
      const DataType t = c_.range(in[1]).hi >= 31 ? k64 : computed;
      return define(node, t, cat(operand(in[0], t), " * ((", CWriter::c_type(t), ")1 << ", name(in[1]), ')'));
    }
    case CoreOp::k_shr: {
      const DataType t = c_.range(in[1]).hi >= 32 ? k64 : computed;
      if (rounding == "floor") return define(node, t, cat(operand(in[0], t), " >> ", name(in[1])));
      if (rounding == "half_away")
        return define(node, k64, cat("dyadic_shr_away(", name(in[0]), ", ", name(in[1]), ')'));
      return define(node, t, cat("dyadic_shr", t == k32 ? "32" : "", '(', name(in[0]), ", ", name(in[1]), ')'));
    }
    case CoreOp::k_mul_shift: {
      const std::string x = name(in[0]), m = name(in[1]), s = name(in[2]);
      const bool narrow = fits_mul_shift_32(node, c_.ranges.values);
      if (rounding == "floor")
        return define(node, narrow ? k32 : k64,
                      narrow ? cat('(', x, " * ", m, ") >> ", s) : cat("((int64_t)", x, " * ", m, ") >> ", s));
      return define(node, narrow ? k32 : k64,
                    cat("dyadic_mul_shift", narrow ? "32" : "", '(', x, ", ", m, ", ", s, ')'));
    }
    case CoreOp::k_div:
      return define(node, computed, cat("dyadic_div", suffix, '(', name(in[0]), ", ", name(in[1]), ')'));
    case CoreOp::k_rem:
      return define(node, computed, cat("dyadic_rem", suffix, '(', name(in[0]), ", ", name(in[1]), ')'));
    case CoreOp::k_isqrt:
      return define(node, k64, cat("dyadic_isqrt(", name(in[0]), ')'));
    case CoreOp::k_normalize: {
      const std::string x = name(in[0]);
      const ValueId k = node.outputs[1];
      declare(k, cat("dyadic_normalize(", x, ", ", node.integer("top"), ", ", node.integer("even", 0), ')'));
      if (is_used(out)) define(node, k64, cat("(int64_t)((uint64_t)", x, " << ", names_.at(k), ')'));
      return;
    }
    case CoreOp::k_select:
      return define(node, computed, cat(name(in[0]), " ? ", arg(1), " : ", arg(2)));
    case CoreOp::k_cast: {
      const Interval to = range_of(c_.graph.value(out).type), from = c_.range(in[0]);
      std::string x = name(in[0]);
      if (node.text("mode", "exact") == "exact" || to.contains(from)) return rename(out, in[0]);
      const std::string lo = CWriter::literal(to.lo), hi = CWriter::literal(to.hi);
      if (from.hi > to.hi) x = cat(x, " > ", hi, " ? ", hi, " : ", x);
      if (from.lo < to.lo) x = cat(name(in[0]), " < ", lo, " ? ", lo, " : ", x);
      return define(node, type(in[0]), x);
    }
    case CoreOp::k_lookup:
    case CoreOp::k_bucketize:
      return print_table_operation(node);
    case CoreOp::k_random_bits:
      return define(node, k64,
                    cat("dyadic_random_bits(", node.integer("seed_low"), "u, ", node.integer("seed_high"), "u, ",
                        node.integer("stream"), "u, (uint32_t)", name(in[0]), ", (uint32_t)", name(in[1]), ')'));
    case CoreOp::k_reduce:  // of a row of one element
    case CoreOp::k_reshape:
      return rename(out, in[0]);
    case CoreOp::k_dot:
      return define(node, computed, cat(arg(0), " * ", arg(1)));
    case CoreOp::k_patches:
    case CoreOp::k_top_k:
    case CoreOp::k_gather:
    case CoreOp::k_scatter_add:
    case CoreOp::k_slice:
    case CoreOp::k_update_slice:
    case CoreOp::k_concat:
    case CoreOp::k_transpose:
    case CoreOp::k_iota:
    case CoreOp::k_pack:
    case CoreOp::k_unpack:
    case CoreOp::k_scan:
    case CoreOp::k_quantize:
    case CoreOp::k_dequantize:
      break;
  }
  DYADIC_CHECK(false, node.op, " in a row stage");
}

}  // namespace

std::vector<RowBuffer> row_buffers(const CWriter& c, const Stage& stage) {
  if (stage.form != Stage::Form::kRows) return {};
  const Phases phases = find_phases(c, stage);
  std::set<ValueId> values;
  for (const int n : stage.nodes) {
    const Node& node = c.graph.nodes[n];
    const int phase = code_phase(c, stage, phases, node);
    for (const ValueId v : node.inputs)
      if (const auto it = phases.of.find(v);
          it != phases.of.end() && !is_row_value(c, stage, v) && it->second < phase && !c.residence.in_memory[v])
        values.insert(v);
  }
  std::vector<RowBuffer> buffers;
  for (const ValueId v : values) buffers.push_back({v, c.storage[v], stage.width});
  return buffers;
}

void print_row_stage(CWriter& c, const Stage& stage) { RowPrinter(c, stage).print(); }

}  // namespace dyadic

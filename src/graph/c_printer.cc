#include "graph/c_printer.h"

#include <algorithm>
#include <cctype>

#include "graph/c_printer_writer.h"
#include "graph/island.h"

namespace dyadic {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

bool mentions(const std::string& text, const std::string& word) {
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end]))) return true;
  }
  return false;
}

// Bytes rounded up to whole cache lines, as C text and as a function.
struct ScratchPart {
  std::string name;
  DataType type;
  Shape shape;
};

std::string bytes_text(const ScratchPart& part) {
  const int size = bits(part.type) / 8;
  return cat('(', CWriter::product(part.shape), size > 1 ? cat(" * ", size) : "", " + 63) / 64 * 64");
}

// Values in memory that are neither parameters nor results lie in scratch, one after the other.
class Printer {
 public:
  Printer(const Graph& body, const Ranges& ranges, const std::string& symbol)
      : body_(body), c_(body, ranges), symbol_(symbol) {
    c_.reserve(symbol);
  }

  CFunction print() {
    name_parameters();
    name_constants();
    name_scratch();
    for (const Stage& stage : c_.stages) print(stage);
    print_copies();
    CFunction f;
    f.name = symbol_;
    f.prelude = kCPrelude;
    f.symbols.assign(symbols_.begin(), symbols_.end());
    f.code = head() + c_.text() + "}\n";
    for (const ScratchPart& part : scratch_) f.scratch.push_back({element_count(part.shape), bits(part.type) / 8});
    return f;
  }

 private:
  void name_parameters() {
    for (const Value& v : body_.values)
      for (const Dim& d : v.shape)
        for (const std::string& s : d.symbols) symbols_.insert(s);
    // Symbols are written into index expressions as they are.
    for (const std::string& s : symbols_)
      if (c_.fresh(s) != s) fail(ErrorKind::kContract, "body ", body_.name, ": symbol ", s, " is no name in C");
    for (const ValueId v : body_.inputs) {
      inputs_.push_back(c_.fresh(body_.value(v).name));
      c_.set_memory(v, inputs_.back());
    }
    for (const ValueId v : body_.outputs) {
      outputs_.push_back(c_.fresh(body_.value(v).name));
      const ValueId root = c_.residence.root[v];
      if (!c_.has_memory(root) && !body_.value(root).is_constant()) c_.set_memory(root, outputs_.back());
    }
  }

  void name_constants() {
    for (size_t i = 0; i < body_.values.size(); ++i) {
      const auto v = static_cast<ValueId>(i);
      const Value& value = body_.value(v);
      if (!value.is_constant() || !c_.residence.in_memory[v]) continue;
      const std::string name = c_.fresh(value.name);
      c_.set_memory(v, name);
      std::string text = cat("  static const ", CWriter::c_type(value.type), ' ', name, '[',
                             std::max<int64_t>(value.constant.count(), 1), "] = {");
      size_t column = text.size();
      for (int64_t e = 0; e < std::max<int64_t>(value.constant.count(), 1); ++e) {
        const std::string number = value.constant.count() ? CWriter::literal(value.constant.at(e)) : "0";
        if (column + number.size() > 116) {
          text += "\n      ";
          column = 6;
        }
        text += (e ? ", " : "") + number;
        column += number.size() + 2;
      }
      constants_.push_back({name, text + "};\n"});
    }
  }

  void name_scratch() {
    const auto add = [&](ValueId v, DataType type, Shape shape) {
      const std::string name = c_.fresh(body_.value(v).name);
      c_.set_memory(v, name);
      scratch_.push_back({name, type, std::move(shape)});
    };
    for (const Stage& stage : c_.stages) {
      for (const int n : stage.nodes)
        for (const ValueId v : body_.nodes[n].outputs)
          if (c_.residence.in_memory[v] && !c_.has_memory(v)) add(v, c_.storage[v], body_.value(v).shape);
      for (const RowBuffer& buffer : row_buffers(c_, stage)) add(buffer.value, buffer.type, {buffer.width});
    }
  }

  void print(const Stage& stage) {
    std::string names;
    for (const int n : stage.nodes)
      if (const std::string& op = body_.nodes[n].op; !mentions(names, op)) names += (names.empty() ? "" : ", ") + op;
    c_.line("/* ", names, " */");
    switch (stage.form) {
      case Stage::Form::kRows:
        return print_row_stage(c_, stage);
      case Stage::Form::kDot:
        return print_dot_stage(c_, stage.nodes[0]);
      case Stage::Form::kMove:
        return print_movement(c_, stage.nodes[0]);
    }
  }

  // Results that are parameters, constants or each other.
  void print_copies() {
    for (size_t i = 0; i < body_.outputs.size(); ++i) {
      const ValueId v = body_.outputs[i];
      const Value& value = body_.value(v);
      if (c_.memory(v) != outputs_[i])
        c_.line("memcpy(", outputs_[i], ", ", c_.memory(v), ", (size_t)(", CWriter::product(value.shape), " * ",
                bits(value.type) / 8, "));");
    }
  }

  std::string head() const {
    std::vector<std::string> parameters, all;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      parameters.push_back(
          cat("const ", CWriter::c_type(body_.value(body_.inputs[i]).type), " *restrict ", inputs_[i]));
      all.push_back(inputs_[i]);
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      parameters.push_back(cat(CWriter::c_type(body_.value(body_.outputs[i]).type), " *restrict ", outputs_[i]));
      all.push_back(outputs_[i]);
    }
    for (const std::string& s : symbols_) {
      parameters.push_back("int64_t " + s);
      all.push_back(s);
    }
    parameters.push_back("void *scratch");
    std::string text = cat("void ", symbol_, '(');
    size_t column = text.size();
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (i && column + parameters[i].size() > 110) {
        text += ",\n    ";
        column = 4;
      } else if (i) {
        text += ", ";
      }
      text += parameters[i];
      column += parameters[i].size() + 2;
    }
    text += ") {\n";
    for (const auto& [name, definition] : constants_)
      if (mentions(c_.text(), name)) text += definition;
    if (!scratch_.empty()) text += "  char *free_memory = scratch;\n";
    for (const ScratchPart& part : scratch_) {
      const char* type = CWriter::c_type(part.type);
      text += cat("  ", type, " *restrict ", part.name, " = (", type, " *)(void *)free_memory;\n");
      text += cat("  free_memory += ", bytes_text(part), ";\n");
    }
    std::string used = c_.text();
    for (const ScratchPart& part : scratch_) used += CWriter::product(part.shape) + ' ';
    if (!scratch_.empty()) used += " scratch ";
    all.push_back("scratch");
    for (const std::string& name : all)
      if (!mentions(used, name)) text += cat("  (void)", name, ";\n");
    return text;
  }

  const Graph& body_;
  CWriter c_;
  const std::string symbol_;
  std::set<std::string> symbols_;
  std::vector<std::string> inputs_, outputs_;
  std::vector<std::pair<std::string, std::string>> constants_;  // name, definition
  std::vector<ScratchPart> scratch_;
};

}  // namespace

namespace {

// C's words, those of the headers, and the names that printed loops use themselves.
const std::set<std::string>& reserved_words() {
  static const std::set<std::string> words = {
      "auto",     "break",  "case",       "char",       "const",    "continue", "default",     "do",
      "double",   "else",   "enum",       "extern",     "float",    "for",      "goto",        "if",
      "inline",   "int",    "long",       "register",   "restrict", "return",   "short",       "signed",
      "sizeof",   "static", "struct",     "switch",     "typedef",  "union",    "unsigned",    "void",
      "volatile", "while",  "memcpy",     "memset",     "size_t",   "scratch",  "free_memory", "j",
      "row",      "column", "last_taken", "best_index", "reduced",  "bit",      "code",        "dot"};
  return words;
}

std::string identifier(const std::string& wish) {
  std::string name;
  for (const char ch : wish) name += is_word(ch) ? ch : '_';
  const auto all_digits = [](auto begin, auto end) {
    return std::all_of(begin, end, [](char ch) { return std::isdigit(static_cast<unsigned char>(ch)); });
  };
  const bool is_type = name.size() > 5 && name.find("int") <= 1 && name.substr(name.size() - 2) == "_t";
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) || name[0] == '_' || is_type ||
      name.rfind("dyadic_", 0) == 0)
    return "v_" + name;
  const bool is_loop = name.size() > 1 && std::string("ijkn").find(name[0]) != std::string::npos &&
                       all_digits(name.begin() + 1, name.end());
  return is_loop ? name + '_' : name;
}

template <class IsTaken>
std::string unique_identifier(const std::string& wish, const IsTaken& is_taken, std::set<std::string>& entered) {
  const std::string name = identifier(wish);
  std::string result = name;
  for (int n = 2; reserved_words().count(result) || is_taken(result); ++n) result = cat(name, '_', n);
  entered.insert(result);
  return result;
}

}  // namespace

std::string c_identifier(const std::string& wish, std::set<std::string>& taken) {
  return unique_identifier(
      wish, [&](const std::string& name) { return taken.count(name) != 0; }, taken);
}

CWriter::CWriter(const Graph& g, const Ranges& r)
    : graph(g), ranges(r), stages(form_stages(g)), residence(find_residence(g, stages)), storage(g.values.size()) {
  std::vector<bool> fixed(g.values.size(), false);  // parameters and results have their declared types
  for (const ValueId v : g.inputs) fixed[v] = true;
  for (const ValueId v : g.outputs) fixed[residence.root[v]] = true;
  for (size_t v = 0; v < storage.size(); ++v) {
    const Value& value = g.values[v];
    storage[v] = fixed[v] || value.is_constant() || is_packed(value.type) || is_real(value.type)
                     ? value.type
                     : narrowest(r.values[v]);
  }
  for (size_t v = 0; v < storage.size(); ++v) storage[v] = storage[residence.root[v]];
}

bool CWriter::open_loop(const std::string& index, const Dim& count) {
  if (count.is_one()) return false;
  open("for (int64_t ", index, " = 0; ", index, " < ", dim(count), "; ++", index, ')');
  return true;
}

std::string CWriter::fresh(const std::string& wish) { return c_identifier(wish, taken_); }

std::string CWriter::fresh_local(const std::string& wish, std::set<std::string>& locals) const {
  return unique_identifier(
      wish, [&](const std::string& name) { return taken_.count(name) || locals.count(name); }, locals);
}

std::string CWriter::dim(const Dim& d) {
  if (d.symbols.empty()) return std::to_string(d.factor);
  std::string text = d.factor == 1 ? "" : std::to_string(d.factor);
  for (const std::string& s : d.symbols) text += (text.empty() ? "" : " * ") + s;
  return text;
}

std::string CWriter::factor(const Dim& d) {
  const std::string text = dim(d);
  return text.find(' ') == std::string::npos ? text : cat('(', text, ')');
}

std::string CWriter::product(const Shape& shape) { return dim(element_count(shape)); }

const char* CWriter::c_type(DataType type) {
  switch (type) {
    case DataType::kI8:
      return "int8_t";
    case DataType::kU8:
      return "uint8_t";
    case DataType::kI16:
      return "int16_t";
    case DataType::kU16:
      return "uint16_t";
    case DataType::kI32:
      return "int32_t";
    case DataType::kU32:
      return "uint32_t";
    case DataType::kI64:
      return "int64_t";
    default:
      return "uint8_t";  // packed
  }
}

std::string CWriter::literal(int64_t value) {
  if (value == INT64_MIN) return "(-INT64_C(9223372036854775807) - 1)";
  if (value == INT32_MIN) return "(-2147483647 - 1)";
  if (value > INT32_MAX) return cat("INT64_C(", value, ')');
  if (value < INT32_MIN) return cat("-INT64_C(", -value, ')');
  return std::to_string(value);
}

std::string CWriter::position(const Shape& shape, const std::vector<std::string>& indices) {
  DYADIC_CHECK(shape.size() == indices.size());
  std::string at;
  bool sum = false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].is_one() || (at.empty() && indices[i] == "0")) continue;
    if (!at.empty()) at = cat(sum ? "(" : "", at, sum ? ")" : "", " * ", factor(shape[i]));
    const bool compound = indices[i].find(' ') != std::string::npos;
    if (indices[i] != "0") {
      sum = !at.empty() || compound;
      at += (at.empty() ? "" : " + ") + indices[i];
    } else {
      sum = false;
    }
  }
  return at;
}

std::string CWriter::element(ValueId v, const std::vector<std::string>& indices) const {
  const std::string at = position(graph.value(v).shape, indices);
  return cat(memory(v), '[', at.empty() ? "0" : at, ']');
}

int64_t CFunction::scratch_bytes(const Bindings& bindings) const {
  int64_t bytes = 64;
  for (const auto& [count, size] : scratch) bytes += (count.value(bindings) * size + 63) / 64 * 64;
  return bytes;
}

CFunction print_c(const Graph& body, const Ranges& ranges, const std::string& symbol) {
  if (is_island(body))
    fail(ErrorKind::kContract, symbol, " is a float island, which cannot be printed as integer C; ",
         "quantize with a recipe that keeps no node in float");
  return Printer(body, ranges, symbol).print();
}

}  // namespace dyadic

#include "graph/text.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/hash.h"
#include "graph/builder.h"
#include "graph/core_ops.h"
#include "graph/island.h"

namespace dyadic {
namespace {

constexpr size_t kMaxTextBytes = size_t{64} << 20;
constexpr size_t kMaxRank = 64;
constexpr int64_t kMaxListed = 64;  // constants of more elements are printed by name and hash

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_letter(c) || is_digit(c); }
bool is_name(char c) { return is_word(c) || c == '.' || c == '/' || c == '-'; }

// ---- attributes --------------------------------------------------------------------------------------------------

bool lists(const std::vector<AttributeSpec>& table, const std::string& name) {
  return std::any_of(table.begin(), table.end(), [&](const AttributeSpec& row) { return row.name == name; });
}

std::string quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      result += {'\\', c};
    else if (byte < 0x20 || byte == 0x7f)
      result += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    else
      result += c;
  }
  return result + '"';
}

std::string name_text(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), is_name) ? std::string(name) : quoted(name);
}

// A string attribute: bare if it is one word and not a number's.
std::string word_text(std::string_view text) {
  const bool bare = !text.empty() && is_letter(text[0]) && std::all_of(text.begin(), text.end(), is_word) &&
                    text != "inf" && text != "nan" && text != "f64";
  return bare ? std::string(text) : quoted(text);
}

std::string number_text(double value) {
  char buffer[32];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}
std::string number_text(int64_t value) { return std::to_string(value); }

template <class T>
std::string list_text(const std::vector<T>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) text += (i ? "," : "") + number_text(values[i]);
  return text + "]";
}

std::string attribute_text(const Attribute& attribute) {
  struct Printer {
    std::string operator()(int64_t v) const { return number_text(v); }
    std::string operator()(double v) const { return number_text(v); }
    std::string operator()(const std::string& v) const { return word_text(v); }
    std::string operator()(const std::vector<int64_t>& v) const { return list_text(v); }
    std::string operator()(const std::vector<double>& v) const { return "f64" + list_text(v); }
  };
  return std::visit(Printer{}, attribute);
}

// A core operation's attributes in the order of its row without those at their defaults, then any others by name.
std::string attributes_text(const Node& node) {
  std::string text;
  const auto print = [&](const std::string& key, const std::string& value) {
    text += (text.empty() ? "" : ", ") + word_text(key) + "=" + value;
  };
  std::vector<AttributeSpec> table;
  const auto op = node.body.empty() ? find_core_op(node.op) : std::nullopt;
  if (op) table = attribute_specs(info(*op));
  for (const auto& row : table) {
    const auto it = node.attributes.find(std::string(row.name));
    if (it == node.attributes.end()) continue;
    const std::string value = attribute_text(it->second);
    if (value != row.fallback) print(it->first, value);
  }
  for (const auto& [key, value] : node.attributes)
    if (!lists(table, key)) print(key, attribute_text(value));
  return text.empty() ? "" : " {" + text + "}";
}

// ---- printing ----------------------------------------------------------------------------------------------------

std::string interval_text(const Interval& range) { return cat("[", range.lo, ",", range.hi, "]"); }

std::string type_text(const Value& value, bool is_input) {
  std::string text = cat(name(value.type), to_string(value.shape));
  if (value.fact && is_input && value.fact->lemma == "input")
    text += " in " + interval_text(value.fact->range);
  else if (value.fact)
    text += " fact " + interval_text(value.fact->range) + " " + quoted(value.fact->lemma);
  if (value.encoding)
    text += cat(" encoding ", quoted(cat(value.encoding->family, " ", value.encoding->bits, " bits")));
  return text;
}

std::string constant_text(const Value& value) {
  const Tensor& tensor = value.constant;
  if (is_real(tensor.type()) || tensor.count() > kMaxListed)
    return "@" + name_text(value.name) + ":" + hex64(tensor.hash());
  std::string text = "{";
  for (int64_t i = 0; i < tensor.count(); ++i) text += (i ? "," : "") + std::to_string(tensor.at(i));
  return text + "}";
}

std::string value_text(const Graph& graph, ValueId id) { return id < 0 ? "_" : "%" + name_text(graph.value(id).name); }

std::string values_text(const Graph& graph, const std::vector<ValueId>& ids) {
  std::string text;
  for (const ValueId id : ids) text += (text.empty() ? "" : ", ") + value_text(graph, id);
  return text;
}

std::string node_text(const Graph& graph, const Node& node) {
  std::string text = values_text(graph, node.outputs) + " = " + node.op + "(" + values_text(graph, node.inputs) + ")" +
                     attributes_text(node) + " : ";
  for (size_t i = 0; i < node.outputs.size(); ++i)
    text += (i ? ", " : "") + type_text(graph.value(node.outputs[i]), false);
  if (!node.body.empty()) text += " body " + quoted(node.body);
  if (!node.name.empty()) text += " name " + quoted(node.name);
  return text;
}

bool is_core(const Node& node) { return node.body.empty() && find_core_op(node.op); }

// ---- parsing -----------------------------------------------------------------------------------------------------

class Parser {
 public:
  Parser(std::string_view text, std::string where, const ConstantResolver& constants)
      : text_(text), where_(std::move(where)), constants_(constants) {}

  Graph parse() {
    if (text_.size() > kMaxTextBytes) error("the text has ", text_.size(), " bytes, more than ", kMaxTextBytes);
    const std::string kind = word();
    if (kind != "body" && kind != "graph") error_at(token_, "expected 'body' or 'graph', found '", kind, "'");
    is_body_ = kind == "body";
    graph_.name = name();
    expect('{');
    while (!accept('}')) statement();
    skip_space();
    if (at_ != text_.size()) error("text after the closing brace");
    return std::move(graph_);
  }

 private:
  template <class... Args>
  [[noreturn]] void error(Args&&... args) const {
    error_at(at_, std::forward<Args>(args)...);
  }

  template <class... Args>
  [[noreturn]] void error_at(size_t at, Args&&... args) const {
    while (at < text_.size() && (text_[at] == ' ' || text_[at] == '\n')) ++at;
    const std::string_view before = text_.substr(0, std::min(at, text_.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    fail(ErrorKind::kMalformed, where_, ":", line, ":", column, ": ", std::forward<Args>(args)...);
  }

  // Calls f; an error that it throws gets the place in the text.
  template <class F>
  auto guarded(size_t at, F f) const {
    try {
      return f();
    } catch (const Error& e) {
      error_at(at, e.what());
    }
  }

  struct Result {
    size_t at;
    Value value;
  };

  void statement() {
    skip_space();
    if (peek() == '%') return node();
    const std::string kind = word();
    if (kind == "in") {
      const size_t at = at_;
      Value value = defined(value_name(), at);
      expect(':');
      type(value, true);
      define(std::move(value), &graph_.inputs);
    } else if (kind == "const") {
      constant();
    } else if (kind == "out") {
      do graph_.outputs.push_back(use());
      while (accept(','));
    } else {
      error_at(token_, "expected 'in', 'const', 'out', a value or '}', found '", kind, "'");
    }
  }

  void constant() {
    const size_t at = at_;
    Value value = defined(value_name(), at);
    expect(':');
    type(value, false);
    expect('=');
    Dims dims;
    for (const Dim& dim : value.shape) {
      if (!dim.is_constant())
        error_at(at, "constant ", value.name, ": its shape ", to_string(value.shape), " has a symbol");
      dims.push_back(dim.factor);
    }
    value.constant = accept('@') ? referenced(value, dims) : listed(value, dims);
    define(std::move(value), nullptr);
  }

  Tensor referenced(const Value& value, const Dims& dims) {
    const size_t at = at_;
    const std::string key = name();
    expect(':');
    const std::string digits(take_while(is_word));
    uint64_t hash = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), hash, 16);
    if (digits.size() != 16 || parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size())
      error_at(at, "constant ", key, ": expected 16 hexadecimal digits after ':'");
    if (!constants_) error_at(at, "constant ", key, " is not listed and no constants were given");
    const Tensor tensor = constants_(key, hash);
    if (tensor.type() != value.type || tensor.dims() != dims)
      error_at(at, "constant ", key, " is ", dyadic::name(tensor.type()), to_string(tensor.dims()), ", not ",
               dyadic::name(value.type), to_string(dims));
    if (tensor.hash() != hash) error_at(at, "constant ", key, " has the hash ", hex64(tensor.hash()), ", not ", digits);
    return tensor;
  }

  Tensor listed(const Value& value, const Dims& dims) {
    const size_t at = at_;
    if (is_real(value.type)) error_at(at, "constant ", value.name, " of real numbers must be given by name and hash");
    expect('{');
    std::vector<int64_t> values;
    if (!accept('}')) {
      do {
        const size_t item = at_;
        values.push_back(integer());
        if (values.back() < lowest(value.type) || values.back() > highest(value.type))
          error_at(item, values.back(), " does not fit ", dyadic::name(value.type));
      } while (accept(','));
      expect('}');
    }
    const int64_t count = guarded(at, [&] { return element_count(dims); });
    if (count != static_cast<int64_t>(values.size()))
      error_at(at, "constant ", value.name, ": ", values.size(), " elements for shape ", to_string(dims));
    Tensor tensor(value.type, dims);
    for (size_t i = 0; i < values.size(); ++i) tensor.set(static_cast<int64_t>(i), values[i]);
    return tensor;
  }

  void node() {
    std::vector<Result> results;
    do {
      const size_t at = at_;
      results.push_back({at, defined(value_name(), at)});
      for (size_t i = 0; i + 1 < results.size(); ++i)
        if (results[i].value.name == results.back().value.name)
          error_at(at, "value %", results[i].value.name, " is defined twice");
    } while (accept(','));
    expect('=');
    Node node;
    node.op = word();
    const size_t op_at = token_;
    expect('(');
    if (!accept(')')) {
      do node.inputs.push_back(accept('_') ? -1 : use());
      while (accept(','));
      expect(')');
    }
    if (accept('{')) attributes(node);
    expect(':');
    for (size_t i = 0; i < results.size(); ++i) {
      if (i) expect(',');
      type(results[i].value, false);
    }
    if (accept_word("body")) node.body = string();
    if (accept_word("name")) node.name = string();
    if (node.body.empty() && !find_core_op(node.op) && !(is_body_ && is_island(graph_)))
      error_at(op_at, "operation '", node.op, "' is not known");
    if (is_body_ && !node.body.empty()) error_at(op_at, "a body holds core operations only, not composites");
    if (is_core(node)) check_core(node, op_at, results);
    for (auto& result : results) node.outputs.push_back(define(std::move(result.value), nullptr));
    graph_.add_node(std::move(node));
  }

  void attributes(Node& node) {
    do {
      skip_space();
      const size_t at = at_;
      const std::string key = peek() == '"' ? string() : word();
      expect('=');
      if (!node.attributes.emplace(key, attribute()).second) error_at(at, "attribute ", key, " is given twice");
    } while (accept(','));
    expect('}');
  }

  // The annotated types must be those that the operation infers: a text says nothing that is not so.
  void check_core(const Node& node, size_t at, const std::vector<Result>& results) {
    std::vector<const Value*> operands;
    for (const ValueId id : node.inputs) {
      if (id < 0) error_at(at, node.op, ": an operand is missing");
      operands.push_back(&graph_.value(id));
    }
    const auto inferred = guarded(at, [&] { return infer_core_op(node, operands); });
    if (inferred.size() != results.size())
      error_at(at, node.op, " has ", inferred.size(), " results, not ", results.size());
    for (size_t i = 0; i < results.size(); ++i) {
      const Value& value = results[i].value;
      if (value.type != inferred[i].type || value.shape != inferred[i].shape)
        error_at(results[i].at, "value %", value.name, " is annotated ", dyadic::name(value.type),
                 to_string(value.shape), " but ", node.op, " gives ", dyadic::name(inferred[i].type),
                 to_string(inferred[i].shape));
    }
  }

  void type(Value& value, bool is_input) {
    const std::string type = word();
    const auto parsed = parse_data_type(type);
    if (!parsed) error_at(token_, "'", type, "' is not a type");
    value.type = *parsed;
    expect('[');
    if (!accept(']')) {
      do {
        skip_space();
        const size_t at = at_;
        const std::string_view dim = take_while([](char c) { return is_word(c) || c == '*'; });
        value.shape.push_back(guarded(at, [&] { return parse_dim(dim); }));
        if (value.shape.size() > kMaxRank) error_at(at, "a shape has more than ", kMaxRank, " dimensions");
      } while (accept(','));
      expect(']');
    }
    guarded(token_, [&] { return element_count(value.shape); });
    if (is_input && accept_range())
      value.fact = Fact{interval(), "input"};
    else if (accept_word("fact")) {
      const Interval range = interval();
      value.fact = Fact{range, string()};
    }
    if (accept_word("encoding"))
      error_at(token_, "encodings are printed for people and cannot be read back; read the model's JSON instead");
  }

  Interval interval() {
    expect('[');
    const size_t at = at_;
    Interval range{};
    range.lo = integer();
    expect(',');
    range.hi = integer();
    expect(']');
    if (range.lo > range.hi) error_at(at, "the interval ", interval_text(range), " is empty");
    return range;
  }

  Attribute attribute() {
    skip_space();
    if (peek() == '"') return string();
    if (accept('[')) return list<int64_t>();
    if (!is_letter(peek())) return number();
    const std::string text = word();
    if (text == "f64" && accept('[')) return list<double>();
    if (text == "inf" || text == "nan") return real(text, token_);
    return text;
  }

  template <class T>
  std::vector<T> list() {
    std::vector<T> values;
    if (accept(']')) return values;
    do {
      const size_t at = at_;
      const Attribute value = number();
      if (!std::holds_alternative<T>(value)) error_at(at, "the list mixes integers and real numbers");
      values.push_back(std::get<T>(value));
    } while (accept(','));
    expect(']');
    return values;
  }

  Attribute number() {
    skip_space();
    const size_t at = at_;
    const std::string_view digits = take_while([](char c) { return is_word(c) || c == '.' || c == '-' || c == '+'; });
    if (digits.find_first_of(".en") != std::string_view::npos) return real(digits, at);
    int64_t value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (parsed.ec == std::errc::result_out_of_range) error_at(at, "the number ", digits, " does not fit 64 bits");
    if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size())
      error_at(at, "expected a number, found '", digits.empty() ? text_.substr(at, 1) : digits, "'");
    return value;
  }

  double real(std::string_view digits, size_t at) {
    double value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size())
      error_at(at, "'", digits, "' is not a number");
    return value;
  }

  int64_t integer() {
    skip_space();
    const size_t at = at_;
    const Attribute value = number();
    if (!std::holds_alternative<int64_t>(value)) error_at(at, "expected an integer");
    return std::get<int64_t>(value);
  }

  std::string string() {
    skip_space();
    const size_t at = at_;
    if (peek() != '"') error("expected a string in quotes");
    std::string result;
    for (++at_; at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n'; ++at_)
      result += text_[at_] == '\\' ? escaped() : text_[at_];
    if (peek() != '"') error_at(at, "the string has no closing quote");
    ++at_;
    return result;
  }

  char escaped() {
    const char c = ++at_ < text_.size() ? text_[at_] : '\0';
    if (c == '"' || c == '\\') return c;
    unsigned code = 0;
    const char* digits = text_.data() + at_ + 1;
    if (c != 'x' || text_.size() - at_ < 3 || std::from_chars(digits, digits + 2, code, 16).ptr != digits + 2)
      error("a backslash must be followed by a quote, a backslash or xNN");
    at_ += 2;
    return static_cast<char>(code);
  }

  std::string word() {
    skip_space();
    token_ = at_;
    if (!is_letter(peek())) error("expected a word, found ", found());
    return std::string(take_while(is_word));
  }

  std::string name() {
    skip_space();
    if (peek() == '"') return string();
    const std::string_view text = take_while(is_name);
    if (text.empty()) error("expected a name, found ", found());
    return std::string(text);
  }

  std::string value_name() {
    expect('%');
    std::string text = name();
    if (text.empty()) error("a value's name is empty");
    return text;
  }

  Value defined(std::string name, size_t at) {
    if (ids_.count(name)) error_at(at, "value %", name, " is defined twice");
    Value value;
    value.name = std::move(name);
    return value;
  }

  ValueId define(Value value, std::vector<ValueId>* list) {
    std::string name = value.name;
    const ValueId id = graph_.add_value(std::move(value));
    ids_.emplace(std::move(name), id);
    if (list) list->push_back(id);
    return id;
  }

  ValueId use() {
    skip_space();
    const size_t at = at_;
    const std::string name = value_name();
    const auto it = ids_.find(name);
    if (it == ids_.end()) error_at(at, "value %", name, " is not defined");
    return it->second;
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  std::string found() const { return at_ < text_.size() ? quoted(text_.substr(at_, 1)) : "the end of the text"; }

  template <class Predicate>
  std::string_view take_while(Predicate predicate) {
    const size_t begin = at_;
    while (at_ < text_.size() && predicate(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  void skip_space() {
    for (;;) {
      take_while([](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; });
      if (text_.substr(at_, 2) != "//") return;
      take_while([](char c) { return c != '\n'; });
    }
  }

  bool accept(char c) {
    skip_space();
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  // "in" before an interval; before a value it begins the next input.
  bool accept_range() {
    const size_t before = at_;
    if (!accept_word("in")) return false;
    skip_space();
    if (peek() == '[') return true;
    at_ = before;
    return false;
  }

  bool accept_word(std::string_view expected) {
    skip_space();
    const size_t end = at_ + expected.size();
    if (text_.substr(at_, expected.size()) != expected || (end < text_.size() && is_word(text_[end]))) return false;
    token_ = at_;
    at_ = end;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) error("expected '", c, "', found ", found());
  }

  std::string_view text_;
  std::string where_;
  const ConstantResolver& constants_;
  Graph graph_;
  bool is_body_ = true;
  std::unordered_map<std::string, ValueId> ids_;
  size_t at_ = 0, token_ = 0;  // token_: where the last word began
};

}  // namespace

std::string to_text(const Graph& graph) {
  const bool is_body = is_island(graph) || std::all_of(graph.nodes.begin(), graph.nodes.end(), is_core);
  std::string text = (is_body ? "body " : "graph ") + name_text(graph.name) + " {\n";
  const auto line = [&](const std::string& content) { text += "  " + content + "\n"; };
  for (const ValueId id : graph.inputs) line("in " + value_text(graph, id) + " : " + type_text(graph.value(id), true));
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const Value& value = graph.values[i];
    if (value.is_constant())
      line("const " + value_text(graph, static_cast<ValueId>(i)) + " : " + type_text(value, false) + " = " +
           constant_text(value));
  }
  for (const Node& node : graph.nodes) line(node_text(graph, node));
  if (!graph.outputs.empty()) line("out " + values_text(graph, graph.outputs));
  return text + "}\n";
}

Graph parse_text(std::string_view text, const std::string& where, const ConstantResolver& constants) {
  return Parser(text, where, constants).parse();
}

}  // namespace dyadic

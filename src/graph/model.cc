#include "graph/model.h"

#include <algorithm>
#include <unordered_map>

#include "base/hash.h"
#include "base/json.h"
#include "graph/edges.h"
#include "graph/text.h"
#include "graph/verifier.h"

namespace dyadic {
namespace {

constexpr int kSchema = 1;
constexpr size_t kMaxRank = 64;
constexpr size_t kMaxNodes = 1 << 14, kMaxValues = 1 << 18;  // of a graph: some passes look at every pair of nodes

// ---- writing -----------------------------------------------------------------------------------------------------

Json to_json(const Interval& range) { return Json::array({range.lo, range.hi}); }

// One key says which of the five kinds it is, so that 2 and 2.0, and the two empty lists, stay apart.
Json to_json(const Attribute& attribute) {
  static constexpr const char* kKinds[] = {"int", "real", "text", "ints", "reals"};
  Json value;
  std::visit([&](const auto& v) { value = v; }, attribute);
  return Json::object({{kKinds[attribute.index()], std::move(value)}});
}

Json to_json(const Shape& shape) {
  Json dims = Json::array();
  for (const Dim& dim : shape) dims.push_back(dim.is_constant() ? Json(dim.factor) : Json(to_string(dim)));
  return dims;
}

Json to_json(const Encoding& encoding) {
  return {{"family", encoding.family},           {"bits", encoding.bits},
          {"storage", name(encoding.storage)},   {"axes", encoding.granularity.axes},
          {"group", encoding.granularity.group}, {"scale", encoding.scale},
          {"zero_point", encoding.zero_point},   {"codes", to_json(encoding.codes)}};
}

Json to_json(const Value& value) {
  Json json = {{"name", value.name}, {"type", name(value.type)}, {"shape", to_json(value.shape)}};
  if (value.fact) json["fact"] = {{"range", to_json(value.fact->range)}, {"lemma", value.fact->lemma}};
  if (value.encoding) json["encoding"] = to_json(*value.encoding);
  if (value.is_constant()) json["constant"] = true;
  return json;
}

Json names(const Graph& graph, const std::vector<ValueId>& ids) {
  Json list = Json::array();
  for (const ValueId id : ids) list.push_back(id < 0 ? Json(nullptr) : Json(graph.value(id).name));
  return list;
}

Json to_json(const Graph& graph) {
  Json values = Json::array(), nodes = Json::array();
  for (const Value& value : graph.values) values.push_back(to_json(value));
  for (const Node& node : graph.nodes) {
    Json json = {{"op", node.op}, {"name", node.name}};
    if (!node.body.empty()) json["body"] = node.body;
    json["inputs"] = names(graph, node.inputs);
    json["outputs"] = names(graph, node.outputs);
    if (!node.attributes.empty()) {
      Json& attributes = json["attributes"] = Json::object();
      for (const auto& [key, attribute] : node.attributes) attributes[key] = to_json(attribute);
    }
    nodes.push_back(std::move(json));
  }
  return {{"name", graph.name},
          {"inputs", names(graph, graph.inputs)},
          {"outputs", names(graph, graph.outputs)},
          {"values", std::move(values)},
          {"nodes", std::move(nodes)}};
}

// JSON has no word for them; a model that holds one is wrong anyway.
void refuse_nonfinite(const Model& model) {
  const auto check = [](double x, const std::string& graph, const std::string& what) {
    if (!is_finite(x)) fail(ErrorKind::kContract, "graph ", graph, ": ", what, " holds a number that is not finite");
  };
  for (const auto& [key, graph] : model.graphs) {
    for (const Node& node : graph.nodes)
      for (const auto& [name, attribute] : node.attributes) {
        if (const auto* x = std::get_if<double>(&attribute)) check(*x, key, "attribute " + name + " of " + node.name);
        if (const auto* list = std::get_if<std::vector<double>>(&attribute))
          for (const double x : *list) check(x, key, "attribute " + name + " of " + node.name);
      }
    for (const Value& value : graph.values)
      if (value.encoding)
        for (const double x : value.encoding->scale) check(x, key, "the encoding of " + value.name);
  }
}

// ---- reading -----------------------------------------------------------------------------------------------------

template <class... Args>
[[noreturn]] void malformed(const JsonObject& object, const std::string& key, Args&&... why) {
  fail(ErrorKind::kMalformed, object.where(), ": key '", key, "' ", std::forward<Args>(why)...);
}

const Json& list(const JsonObject& object, const std::string& key) {
  const Json& value = object.at(key);
  if (!value.is_array()) malformed(object, key, "must be a list");
  return value;
}

template <class T>
std::vector<T> numbers(const JsonObject& object, const std::string& key) {
  std::vector<T> result;
  for (const Json& item : list(object, key)) {
    const bool fits = std::is_floating_point_v<T> ? item.is_number()
                                                  : item.is_number_integer() && !(item.is_number_unsigned() &&
                                                                                  item.get<uint64_t>() > INT64_MAX);
    if (!fits) malformed(object, key, "must hold ", std::is_floating_point_v<T> ? "numbers" : "integers", " only");
    result.push_back(item.get<T>());
  }
  return result;
}

Interval interval(const JsonObject& object, const std::string& key) {
  const auto ends = numbers<int64_t>(object, key);
  if (ends.size() != 2 || ends[0] > ends[1]) malformed(object, key, "must be two integers, the lower first");
  return {ends[0], ends[1]};
}

DataType data_type(const JsonObject& object, const std::string& key) {
  const std::string text = object.string(key);
  const auto type = parse_data_type(text);
  if (!type) malformed(object, key, "is '", text, "', which is not a type");
  return *type;
}

Shape shape(const JsonObject& object, const std::string& key) {
  Shape result;
  if (list(object, key).size() > kMaxRank) malformed(object, key, "has more than ", kMaxRank, " dimensions");
  for (const Json& item : list(object, key)) {
    if (item.is_number_unsigned() && item.get<uint64_t>() <= INT64_MAX) {
      result.emplace_back(item.get<int64_t>());
      continue;
    }
    if (!item.is_string()) malformed(object, key, "must hold sizes and products of symbols");
    try {
      result.push_back(parse_dim(item.get<std::string>()));
    } catch (const Error& error) {
      malformed(object, key, "is wrong: ", error.what());
    }
  }
  return result;
}

Attribute attribute(const JsonObject& object) {
  if (object.json().size() != 1)
    fail(ErrorKind::kMalformed, object.where(), ": an attribute must have exactly one kind");
  if (object.has("int")) return object.integer("int", INT64_MIN, INT64_MAX);
  if (object.has("real")) return object.number("real");
  if (object.has("text")) return object.string("text");
  if (object.has("ints")) return numbers<int64_t>(object, "ints");
  if (object.has("reals")) return numbers<double>(object, "reals");
  fail(ErrorKind::kMalformed, object.where(), ": the kind of an attribute must be int, real, text, ints or reals");
}

Encoding encoding(const JsonObject& object) {
  Encoding result;
  result.family = object.string("family");
  result.bits = static_cast<int>(object.integer("bits", 1, 64));
  result.storage = data_type(object, "storage");
  for (const int64_t axis : numbers<int64_t>(object, "axes")) {
    if (axis < -64 || axis > 63) malformed(object, "axes", "holds ", axis, ", which is no axis");
    result.granularity.axes.push_back(static_cast<int>(axis));
  }
  result.granularity.group = object.integer("group", 0, INT64_MAX);
  result.scale = numbers<double>(object, "scale");
  result.zero_point = numbers<int64_t>(object, "zero_point");
  result.codes = interval(object, "codes");
  for (const double scale : result.scale)
    if (!is_scale(scale)) malformed(object, "scale", "holds ", scale, ", which is no positive normal number");
  if (result.zero_point.size() != 1 && result.zero_point.size() != result.scale.size())
    malformed(object, "zero_point", "has ", result.zero_point.size(), " entries for ", result.scale.size(), " scales");
  return result;
}

// Members of a list or object, each with a place that names it.
template <class F>
void for_each(const JsonObject& object, const std::string& key, F f) {
  size_t index = 0;
  for (const Json& item : list(object, key)) f(JsonObject(item, cat(object.where(), ": ", key, "[", index++, "]")));
}
template <class F>
void for_each_member(const JsonObject& object, F f) {
  for (const auto& [key, item] : object.json().items()) f(key, item);
}

class GraphReader {
 public:
  GraphReader(std::string key, const std::function<Tensor(const std::string&)>& constant)
      : key_(std::move(key)), constant_(constant) {}

  Graph read(const JsonObject& object) {
    graph_.name = object.string("name");
    for (const auto& [key, most] : {std::pair("nodes", kMaxNodes), std::pair("values", kMaxValues)})
      if (list(object, key).size() > most) malformed(object, key, "has more than ", most, " entries");
    for_each(object, "values", [&](const JsonObject& item) { value(item); });
    graph_.inputs = ids(object, "inputs", false);
    graph_.outputs = ids(object, "outputs", false);
    for_each(object, "nodes", [&](const JsonObject& item) { node(item); });
    return std::move(graph_);
  }

 private:
  void value(const JsonObject& object) {
    Value value;
    value.name = object.string("name");
    if (value.name.empty() || ids_.count(value.name))
      malformed(object, "name", "is '", value.name, "', empty or taken");
    value.type = data_type(object, "type");
    value.shape = shape(object, "shape");
    if (object.has("fact")) {
      const JsonObject fact = object.object("fact");
      value.fact = Fact{interval(fact, "range"), fact.string("lemma")};
    }
    if (object.has("encoding")) value.encoding = encoding(object.object("encoding"));
    if (object.boolean("constant", false)) {
      value.constant = constant_(constant_name(key_, value));
      if (value.constant.type() != value.type || to_shape(value.constant.dims()) != value.shape)
        malformed(object, "constant", "is ", dyadic::name(value.constant.type()), to_string(value.constant.dims()),
                  " in the file, not ", dyadic::name(value.type), to_string(value.shape));
    }
    const std::string name = value.name;
    ids_[name] = graph_.add_value(std::move(value));
  }

  void node(const JsonObject& object) {
    Node node;
    node.op = object.string("op");
    node.name = object.string("name");
    node.body = object.string("body", "");
    node.inputs = ids(object, "inputs", true);
    node.outputs = ids(object, "outputs", false);
    if (object.has("attributes")) {
      const JsonObject attributes = object.object("attributes");
      for_each_member(attributes, [&](const std::string& key, const Json& item) {
        node.attributes[key] = attribute(JsonObject(item, attributes.where() + ": " + key));
      });
    }
    graph_.add_node(std::move(node));
  }

  std::vector<ValueId> ids(const JsonObject& object, const std::string& key, bool may_be_absent) {
    std::vector<ValueId> result;
    for (const Json& item : list(object, key)) {
      if (may_be_absent && item.is_null()) {
        result.push_back(-1);
        continue;
      }
      if (!item.is_string()) malformed(object, key, "must hold names of values");
      const auto it = ids_.find(item.get<std::string>());
      if (it == ids_.end()) malformed(object, key, "names '", item.get<std::string>(), "', which is not a value");
      result.push_back(it->second);
    }
    return result;
  }

  std::string key_;
  const std::function<Tensor(const std::string&)>& constant_;
  Graph graph_;
  std::unordered_map<std::string, ValueId> ids_;
};

// Whether the key follows from the text is for verify_model to say.
Body body(const JsonObject& object, const std::string& key, const std::function<Tensor(const std::string&)>& constant) {
  Body result;
  result.version = static_cast<int>(object.integer("version", 1, INT32_MAX));
  result.graph = parse_text(object.string("text"), object.where() + ": text", [&](const std::string& name, uint64_t) {
    Value value;
    value.name = name;
    return constant(constant_name(key, value));
  });
  return result;
}

}  // namespace

Bindings maxima(const Symbols& symbols) {
  Bindings result;
  for (const auto& [name, symbol] : symbols) result[name] = symbol.maximum;
  return result;
}

std::string Body::key() const { return cat(graph.name, "@", version, ":", hex64(hash64(to_text(graph)))); }

std::string constant_name(const std::string& graph, const Value& value) { return graph + "/" + value.name; }
std::string asset_name(const std::string& asset) { return "assets/" + asset; }

Model lone_model(const Model& model, const Node& node) {
  Model lone;
  const Body& body = lone.bodies.emplace(node.body, model.body(node)).first->second;
  Graph& main = lone.graphs["main"];
  main.name = model.main().name;
  std::map<ValueId, ValueId> ids;
  Node copy = node;
  for (ValueId& id : copy.inputs) {
    const auto [at, fresh] = ids.try_emplace(id, -1);
    if (fresh) {
      at->second = main.add_value(model.main().value(id));
      if (!main.value(at->second).is_constant()) main.inputs.push_back(at->second);
    }
    id = at->second;
  }
  for (ValueId& id : copy.outputs) main.outputs.push_back(id = main.add_value(model.main().value(id)));
  main.add_node(std::move(copy));
  const auto mentions = [](const Graph& graph, const std::string& symbol) {
    return std::any_of(graph.values.begin(), graph.values.end(), [&](const Value& value) {
      return std::any_of(value.shape.begin(), value.shape.end(), [&](const Dim& dim) {
        return std::count(dim.symbols.begin(), dim.symbols.end(), symbol) != 0;
      });
    });
  };
  for (const auto& [name, symbol] : model.symbols)
    if (symbol.largest_of.empty() ? mentions(main, name) || mentions(body.graph, name)
                                  : main.find(symbol.largest_of) >= 0)
      lone.symbols.emplace(name, symbol);
  return lone;
}

std::string model_to_json(const Model& model) {
  refuse_nonfinite(model);
  Json json = {{"format", "dyadic model"}, {"schema", kSchema}};
  Json& metadata = json["metadata"] = Json::object();
  for (const auto& [key, text] : model.metadata) metadata[key] = text;
  Json& symbols = json["symbols"] = Json::object();
  for (const auto& [name, symbol] : model.symbols)
    symbols[name] = {{"maximum", symbol.maximum}, {"largest_of", symbol.largest_of}};
  Json& bodies = json["bodies"] = Json::array();
  for (const auto& [key, body] : model.bodies)
    bodies.push_back({{"key", key}, {"version", body.version}, {"text", to_text(body.graph)}});
  Json& graphs = json["graphs"] = Json::object();
  for (const auto& [key, graph] : model.graphs) graphs[key] = to_json(graph);
  Json& assets = json["assets"] = Json::array();
  for (const auto& [name, tensor] : model.assets) assets.push_back(name);
  try {
    return json.dump() + "\n";
  } catch (const Json::exception& error) {
    fail(ErrorKind::kContract, "the model cannot be written as JSON: ", error.what());
  }
}

Model model_from_json(std::string_view text, const std::string& where,
                      const std::function<Tensor(const std::string& name)>& constant) {
  const Json json = parse_json(text, where);
  const JsonObject object(json, where);
  if (object.string("format") != "dyadic model") malformed(object, "format", "must be 'dyadic model'");
  object.integer("schema", kSchema, kSchema);
  Model model;
  const JsonObject metadata = object.object("metadata");
  for_each_member(metadata, [&](const std::string& key, const Json&) { model.metadata[key] = metadata.string(key); });
  const JsonObject symbols = object.object("symbols");
  for_each_member(symbols, [&](const std::string& name, const Json&) {
    const JsonObject symbol = symbols.object(name);
    model.symbols[name] = {symbol.integer("maximum", 1, int64_t{1} << 40), symbol.string("largest_of")};
  });
  for_each(object, "bodies", [&](const JsonObject& item) {
    const std::string key = item.string("key");
    if (!model.bodies.emplace(key, body(item, key, constant)).second) malformed(item, "key", "appears twice: ", key);
  });
  const JsonObject graphs = object.object("graphs");
  for_each_member(graphs, [&](const std::string& key, const Json&) {
    model.graphs[key] = GraphReader(key, constant).read(graphs.object(key));
  });
  for (const Json& item : list(object, "assets")) {
    if (!item.is_string()) malformed(object, "assets", "must hold names");
    const auto name = item.get<std::string>();
    Tensor tensor = constant(asset_name(name));
    if (tensor.type() != DataType::kU8) malformed(object, "assets", "names ", name, ", which is not of bytes");
    model.assets[name] = std::move(tensor);
  }
  if (!model.graphs.count("main")) malformed(graphs, "main", "is missing");
  try {
    verify_model(model);
  } catch (const Error& error) {
    fail(ErrorKind::kMalformed, where, ": ", error.what());
  }
  return model;
}

}  // namespace dyadic

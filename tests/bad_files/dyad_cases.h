// graph.json of a .dyad file, its bodies, and what only shows when the model runs.
#pragma once
#include "bad_file.h"
#include "base/hash.h"
#include "graph/model.h"
#include "graph/text.h"

namespace dyadic::test {

inline BadFiles graph_cases() {
  BadFiles cases;
  const auto coded = [&](std::string verb, std::string name, Damage damage, int code, std::string message) {
    cases.push_back({"encoder.dyad", std::move(verb), std::move(name), std::move(damage), code, std::move(message)});
  };
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    coded("inspect", std::move(name), std::move(damage), 3, "graph.json: .. " + message);
  };
  const auto text = [](auto f) { return graph([f](Json& d, Container&) { return f(d.dump()); }); };
  const auto edit = [](auto f) { return graph([f](Json& d, Container&) { return f(d), d.dump(); }); };
  const std::string main = "/graphs/main", values = main + "/values", nodes = main + "/nodes";

  coded("inspect", "graph.json is missing", container([](Container& c) {
          c.header["other.json"] = c.header.at("graph.json");
          c.header.erase("graph.json");
        }),
        3, "no tensor 'graph.json'");
  coded("inspect", "graph.json is of signed bytes", set_header("/graph.json/dtype", "I8"), 3, "must be U8");
  bad("graph.json is empty", text([](const std::string&) { return std::string(); }), "not valid JSON at byte 0");
  bad("graph.json ends in the middle", text([](const std::string& t) { return t.substr(0, t.size() / 2); }),
      "not valid JSON at byte");
  bad("graph.json nests 100,000 lists", text([](const std::string&) { return repeated("[", 100000); }),
      "nested deeper than 64");
  bad("graph.json is over 64 MiB", text([](const std::string& t) { return t + std::string(64 << 20, ' '); }),
      "more than the 67108864 allowed");
  bad("format of another program", set_graph("/format", "onnx"), "key 'format'");
  bad("schema of the future", set_graph("/schema", 2), "key 'schema' is 2");
  bad("schema is a string", set_graph("/schema", "1"), "key 'schema' must be an integer");
  for (const char* key : {"format", "schema", "metadata", "symbols", "bodies", "graphs", "assets"})
    bad(cat("lacks ", key), without_graph(cat('/', key)), cat("key '", key, "' is missing"));
  bad("metadata is a list", set_graph("/metadata", Json::array()), "metadata: expected a JSON object");
  bad("metadata holds a number", set_graph("/metadata/task", 1), "metadata: key 'task' must be a string");

  // Symbols.
  bad("symbol's maximum is 0", set_graph("/symbols/T/maximum", 0), "symbols: T: key 'maximum' is 0");
  bad("symbol's maximum is negative", set_graph("/symbols/T/maximum", -1), "symbols: T: key 'maximum' is -1");
  bad("symbol's maximum is 2^41", set_graph("/symbols/T/maximum", int64_t{1} << 41), "symbols: T: key 'maximum'");
  bad("symbol's maximum is a string", set_graph("/symbols/T/maximum", "512"), "symbols: T: key 'maximum'");
  bad("symbol is not declared", without_graph("/symbols/T"), "symbol T is not declared");
  bad("symbol is the largest of nothing", set_graph("/symbols/L/largest_of", "nothing"), "symbol L: 'nothing'");
  bad("symbol is the largest of a result", set_graph("/symbols/L/largest_of", "embedding"), "symbol L: 'embedding'");
  coded("inspect", "texts longer than the position table", set_graph("/symbols/L/maximum", int64_t{1} << 40), 4,
        "node");
  coded("inspect", "more tokens than sums can hold", set_graph("/symbols/T/maximum", int64_t{1} << 40), 4, "node");

  // Bodies.
  bad("bodies are an object", set_graph("/bodies", Json::object()), "key 'bodies' must be a list");
  bad("bodies are missing", set_graph("/bodies", Json::array()), "is not in the model");
  bad("body stands twice", edit([](Json& d) { d["bodies"].push_back(d["bodies"][0]); }), "key 'key' appears twice");
  bad("body's version is 0", set_graph("/bodies/0/version", 0), "bodies[0]: key 'version' is 0");
  bad("body's text was changed", edit([](Json& d) {
        auto t = d["bodies"][0]["text"].get<std::string>();
        d["bodies"][0]["text"] = t.replace(t.find("  out "), 6, "  // a comment\n  const %extra : u8[] = {1}\n  out ");
      }),
      "does not follow from its text");
  bad("body's text is empty", set_graph("/bodies/0/text", ""), "bodies[0]: text:1:1");
  bad("body's text ends in the middle", edit([](Json& d) {
        const auto t = d["bodies"][0]["text"].get<std::string>();
        d["bodies"][0]["text"] = t.substr(0, t.size() / 2);
      }),
      "bodies[0]: text:");

  // Graphs.
  bad("no graphs", set_graph("/graphs", Json::object()), "graphs: key 'main' is missing");
  bad("main is a list", set_graph(main, Json::array()), "graphs: main: expected a JSON object");
  for (const char* key : {"name", "inputs", "outputs", "values", "nodes"})
    bad(cat("graph lacks ", key), without_graph(cat(main, '/', key)), cat("main: key '", key, "' is missing"));
  bad("value has no name", set_graph(values + "/0/name", ""), "values[0]: key 'name' is ''");
  bad("value's name is taken", edit([](Json& d) {
        auto& v = d["graphs"]["main"]["values"];
        v[1]["name"] = v[0]["name"];
      }),
      "values[1]: key 'name'");
  bad("value's type is unknown", set_graph(values + "/0/type", "i9"), "values[0]: key 'type' is 'i9'");
  bad("value's shape is negative", set_graph(values + "/0/shape", {"T", -1}), "values[0]: key 'shape'");
  bad("value's shape is a formula", set_graph(values + "/0/shape", {"T+1"}), "values[0]: key 'shape' is wrong");
  bad("value's shape overflows", set_graph(values + "/0/shape", {"4611686018427387904*4"}), "values[0]: key 'shape'");
  bad("dimension of a million symbols", set_graph(values + "/0/shape", {repeated("T*", 1000000) + "T"}),
      "values[0]: key 'shape' is wrong");
  bad("shape of a million dimensions", set_graph(values + "/0/shape", std::vector<int>(1000000, 1)),
      "values[0]: key 'shape'");
  bad("fact is reversed", set_graph(values + "/0/fact/range", {3, 1}), "values[0]: fact: key 'range'");
  bad("fact is wider than the type", set_graph(values + "/0/fact/range", {0, int64_t{1} << 40}), "fact");
  bad("fact has no lemma", without_graph(values + "/0/fact/lemma"), "values[0]: fact: key 'lemma' is missing");
  coded("inspect", "token ids beyond the table", set_graph(values + "/0/fact/range", {0, 1000000}), 4, "node");
  coded("inspect", "token ids below 0", set_graph(values + "/0/fact/range", {-1, 34}), 4, "node");
  coded("inspect", "constant is not in the file", edit([](Json& d) {
          for (Json& v : d["graphs"]["main"]["values"])
            if (v.contains("constant")) return void(v["name"] = "absent");
        }),
        3, "tensor 'main/absent' is missing");
  bad("constant of another shape", edit([](Json& d) {
        for (Json& v : d["graphs"]["main"]["values"])
          if (v.contains("constant")) return void(v["shape"] = {1, 2, 3});
      }),
      "key 'constant'");
  bad("node takes what is no value", set_graph(nodes + "/0/inputs/0", "nothing"), "nodes[0]: key 'inputs' names");
  bad("node takes a number", set_graph(nodes + "/0/inputs/0", 3), "nodes[0]: key 'inputs' must hold names");
  bad("node takes its own result", edit([](Json& d) {
        Json& node = d["graphs"]["main"]["nodes"][1];
        node["inputs"][0] = node["outputs"][0];
      }),
      "used before its definition");
  bad("two nodes in a circle", edit([](Json& d) {
        auto& n = d["graphs"]["main"]["nodes"];
        n[0]["inputs"][0] = n[1]["outputs"][0];
      }),
      "used before its definition");
  bad("nodes in the wrong order", edit([](Json& d) {
        auto& n = d["graphs"]["main"]["nodes"];
        std::swap(n[0], n[1]);
      }),
      "used before its definition");
  bad("value is defined twice", edit([](Json& d) {
        auto& n = d["graphs"]["main"]["nodes"];
        n.push_back(n[0]);
      }),
      "is defined twice");
  bad("value is never defined", edit([](Json& d) {
        d["graphs"]["main"]["values"].push_back({{"name", "lost"}, {"type", "i8"}, {"shape", {1}}});
      }),
      "value lost is never defined");
  bad("result is no value", set_graph(main + "/outputs", {"nothing"}), "main: key 'outputs' names 'nothing'");
  bad("input is absent", set_graph(main + "/inputs", {nullptr}), "main: key 'inputs'");
  bad("node's body is unknown", set_graph(nodes + "/0/body", "linear@1:0000000000000000"), "is not in the model");
  bad("node's body is another's", edit([](Json& d) {
        auto& n = d["graphs"]["main"]["nodes"];
        n[0]["body"] = n[1]["body"];
      }),
      "node 0");
  bad("node lacks an input", without_graph(nodes + "/0/inputs/0"), "node 0");
  bad("node lacks a result", set_graph(nodes + "/0/outputs", Json::array()), "");
  bad("attribute of no kind", set_graph(nodes + "/0/attributes", {{"a", Json::object()}}), "attributes: a:");
  bad("attribute of two kinds", set_graph(nodes + "/0/attributes", {{"a", {{"int", 1}, {"real", 2}}}}),
      "attributes: a:");
  bad("attribute of another kind", set_graph(nodes + "/0/attributes", {{"a", {{"bool", true}}}}), "attributes: a:");
  bad("attributes are a list", set_graph(nodes + "/0/attributes", Json::array()), "attributes: expected a JSON object");
  coded("inspect", "asset is not in the file", set_graph("/assets/0", "absent"), 3,
        "tensor 'assets/absent' is missing");
  coded("inspect", "asset leads out of the file", set_graph("/assets/0", "../../etc/passwd"), 3, "is missing");
  bad("asset is a number", set_graph("/assets/0", 1), "key 'assets' must hold names");

  // Attributes choose kernels. Without the right ones the model runs through its bodies: the same bits, slower.
  const auto linear = [edit](const char* key, Json attribute) {
    return edit([=](Json& d) {
      for (Json& n : d["graphs"]["main"]["nodes"])
        if (n["op"] == "linear") n["attributes"][key] = attribute;
    });
  };
  const auto slower = [&](std::string name, const char* key, Json attribute) {
    coded("run", std::move(name), linear(key, std::move(attribute)), 0, "");
  };
  slower("attribute: epilogue is nonsense", "epilogue", {{"text", "frobnicate(i8,0,0,0)"}});
  slower("attribute: epilogue is a number", "epilogue", {{"int", 1}});
  slower("attribute: a thousand epilogue stages", "epilogue", {{"text", repeated("bias(i32,0,0,0) ", 1000)}});
  slower("attribute: in is 2^62", "in", {{"int", int64_t{1} << 62}});
  slower("attribute: in is negative", "in", {{"int", -8}});
  slower("attribute: out is 2^40", "out", {{"int", int64_t{1} << 40}});
  slower("attribute: splits of 2^40", "splits", {{"ints", {int64_t{1} << 40, int64_t{1} << 40}}});
  slower("attribute: splits are missing", "splits", {{"ints", Json::array()}});

  // What a text encoder needs beyond a good graph.
  const auto runs = [&](std::string name, Damage damage, std::string message) {
    coded("run", std::move(name), std::move(damage), 3, std::move(message));
  };
  const auto encoding = [edit](const char* key, Json value) {
    return edit([=](Json& d) {
      Json& main = d["graphs"]["main"];
      for (Json& v : main["values"])
        if (v["name"] == main["outputs"][0]) v["encoding"][key] = value;
    });
  };
  coded("run", "scale is missing", encoding("scale", Json::array()), 4, "one scale");
  runs("scale is a string", encoding("scale", {"1"}), "encoding: key 'scale' must hold numbers");
  runs("scale is negative", encoding("scale", {-1.0}), "scale");
  runs("scale is 0", encoding("scale", {0.0}), "scale");
  runs("zero point is missing", encoding("zero_point", Json::array()), "zero_point");
  runs("two zero points for one scale", encoding("zero_point", {0, 1}), "zero_point");
  runs("bits are 65", encoding("bits", 65), "encoding: key 'bits' is 65");
  runs("axis is 1000", encoding("axes", {1000}), "encoding: key 'axes' holds 1000");
  runs("codes are reversed", encoding("codes", {127, -127}), "encoding: key 'codes'");
  for (const char* length : {"", "many", "-5", "1", "13x", "99999999999999999999"})
    runs(cat("max_length '", length, "'"), set_graph("/metadata/max_length", length), "max_length");
  runs("max_length exceeds the positions", set_graph("/metadata/max_length", "17"), "max_length");
  runs("no tokenizer", set_graph("/assets", Json::array()), "neither tokenizer.json nor vocab.txt");
  runs("tokenizer has more tokens than the model", container([](Container& c) {
         const Json& e = c.header.at("assets/vocab.txt");
         const auto begin = e["data_offsets"][0].get<size_t>(), end = e["data_offsets"][1].get<size_t>();
         const std::string vocabulary = c.data.substr(begin, end - begin) + "one more\n";
         replace_tensor(c, "assets/vocab.txt", vocabulary, {vocabulary.size()});
       }),
       "36 tokens");
  return cases;
}

// A model of one composite: i32[T] token ids of 0..34 and i32[B] lengths of 0..16 to %y.
struct BodyCase {
  std::string statements;  // of the body, behind its inputs
  std::string type = "i8";
  Json shape = {"T"};
};

inline std::string body_model(const BodyCase& body, const Json& good, const ConstantResolver& constants = {}) {
  const std::string text = "body evil {\n  in %token : i32[T] in [0,34]\n  in %length : i32[B] in [0,16]\n" +
                           body.statements + "  out %y\n}\n";
  std::string key = "evil@1:0000000000000000";
  try {
    key = Body{1, parse_text(text, "", constants)}.key();
  } catch (const Error&) {  // whoever reads the model will say the same
  }
  const auto value = [](const std::string& name, const std::string& type, const Json& shape) {
    return Json{{"name", name}, {"type", type}, {"shape", shape}};
  };
  Json model = good;
  model["bodies"] = {{{"key", key}, {"version", 1}, {"text", text}}};
  Json values = {value("token", "i32", {"T"}), value("position", "i32", {"T"}), value("type", "i32", {"T"}),
                 value("start", "i32", {"B"}), value("length", "i32", {"B"}),   value("y", body.type, body.shape)};
  values[0]["fact"] = {{"range", {0, 34}}, {"lemma", "input"}};
  values[4]["fact"] = {{"range", {0, 16}}, {"lemma", "input"}};
  values[5]["encoding"] = {{"family", "affine"}, {"bits", 8},      {"storage", "i8"},   {"axes", Json::array()},
                           {"group", 0},         {"scale", {1.0}}, {"zero_point", {0}}, {"codes", {-127, 127}}};
  model["graphs"]["main"] = {
      {"name", "main"},
      {"inputs", {"token", "position", "type", "start", "length"}},
      {"outputs", {"y"}},
      {"values", values},
      {"nodes",
       {{{"op", "evil"}, {"name", "evil"}, {"body", key}, {"inputs", {"token", "length"}}, {"outputs", {"y"}}}}}};
  return model.dump();
}

inline Damage evil_body(const BodyCase& body) {
  return graph([body](Json& good, Container&) { return body_model(body, good); });
}

inline std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return result;
}

// scan nested in scan: each level quotes the text of the next.
inline std::string nested_scans(int depth) {
  std::string body = "body s { in %c : i32[] in [0,34] out %c }";
  for (int i = 1; i < depth; ++i)
    body = "body s { in %c : i32[] in [0,34] %d = scan(%c) {body=\"" + escaped(body) +
           "\", carried=1, count=1} : i32[] out %d }";
  return body;
}

// So many composites, one behind the other.
inline Damage chain(int length) {
  return graph([length](Json& good, Container&) {
    Json model = Json::parse(body_model({"  %y = abs(%token) : i32[T]\n", "i32"}, good));
    Json &main = model["graphs"]["main"], node = main["nodes"][0], value = main["values"][5];
    value.erase("encoding");
    for (int i = 1; i < length; ++i) {
      value["name"] = cat("y", i);
      main["values"].push_back(value);
      node["inputs"][0] = i == 1 ? "token" : cat("y", i - 1);
      node["outputs"] = {cat("y", i)};
      main["nodes"].push_back(node);
    }
    return model.dump();
  });
}

// A constant whose 2^17 channels all differ, handed on by a thousand operations.
inline Damage channels() {
  return graph([](Json& good, Container& c) {
    Tensor tensor(DataType::kI32, {1 << 17});
    for (int i = 0; i < 1 << 17; ++i) tensor.mutable_data<int32_t>()[i] = i;
    std::string statements = cat("  const %v0 : i32[131072] = @v0:", hex64(tensor.hash()), "\n");
    for (int i = 1; i < 1000; ++i) statements += cat("  %v", i, " = abs(%v", i - 1, ") : i32[131072]\n");
    const std::string text = body_model({statements + "  %y = abs(%v999) : i32[131072]\n", "i32", {1 << 17}}, good,
                                        [&](const std::string&, uint64_t) { return tensor; });
    const auto key = Json::parse(text)["bodies"][0]["key"].get<std::string>();
    c.header[key + "/v0"] = {
        {"dtype", "I32"}, {"shape", {1 << 17}}, {"data_offsets", {c.data.size(), c.data.size() + tensor.bytes()}}};
    c.data.append(reinterpret_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.bytes()));
    return text;
  });
}

inline BadFiles body_cases() {
  BadFiles cases;
  const auto coded = [&](std::string verb, std::string name, const BodyCase& body, int code, std::string message) {
    cases.push_back({"encoder.dyad", std::move(verb), "body: " + name, evil_body(body), code, std::move(message)});
  };
  const auto bad = [&](std::string name, const BodyCase& body, std::string message) {
    coded("inspect", std::move(name), body, 3, std::move(message));
  };
  const auto unproved = [&](std::string name, const BodyCase& body, std::string message) {
    coded("inspect", std::move(name), body, 4, std::move(message));
  };
  const std::string to_i8 = "  %y = cast(%z) {type=i8} : i8[T]\n";
  bad("operation is unknown", {"  %y = frobnicate(%token) : i8[T]\n"}, "text:4:8: operation 'frobnicate'");
  bad("result of another type", {"  %y = add(%token, %token) : i8[T]\n"}, "text:4:3: value %y is annotated i8[T]");
  bad("operand is missing", {"  %y = add(%token) : i32[T]\n"}, "text:4:");
  bad("operand is not defined", {"  %y = add(%token, %nothing) : i32[T]\n"}, "text:4:20: value %nothing");
  bad("operand is defined later", {"  %y = add(%token, %z) : i32[T]\n  %z = abs(%token) : i32[T]\n"}, "text:4:20");
  bad("value is defined twice", {"  %y = abs(%token) : i32[T]\n  %y = abs(%token) : i32[T]\n"}, "text:5:3");
  bad("attribute is unknown", {"  %y = abs(%token) {speed=1} : i32[T]\n"}, "text:4:");
  bad("attribute is missing", {"  %y = cast(%token) : i8[T]\n"}, "attribute 'type' is missing");
  bad("attribute is a real number", {"  %y = cast(%token) {type=1.5} : i8[T]\n"}, "attribute 'type'");
  bad("string has no end", {"  %y = cast(%token) {type=\"i8} : i8[T]\n"}, "text:4:");
  bad("number does not fit 64 bits", {"  const %c : i64[] = {99999999999999999999}\n"}, "text:4:");
  bad("constant does not fit its type", {"  const %c : u8[] = {256}\n"}, "text:4:");
  bad("constant has too few elements", {"  const %c : u8[4] = {1}\n"}, "text:4:");
  bad("constant of 2^62 elements", {"  const %c : u8[4611686018427387904] = {1}\n"}, "text:4:");
  bad("constant of another file", {"  const %c : u8[100] = @absent:0123456789abcdef\n"}, "absent");
  bad("axis out of range", {"  %y = reduce(%token) {kind=sum, axes=[7]} : i32[]\n"}, "text:4:8");
  bad("shape of other size", {"  %y = reshape(%token) {shape=\"[T,2]\"} : i32[T,2]\n"}, "text:4:8");
  bad("slice leaves its axis",
      {"  const %c : i32[4] = {1,2,3,4}\n  %y = slice(%c) {axis=0, start=3, size=2} : i32[2]\n"}, "text:5:8");
  bad("slice of negative size", {"  const %c : i32[4] = {1,2,3,4}\n  %y = slice(%c) {axis=0, size=-1} : i32[0]\n"},
      "text:5:8");
  bad("more of top_k than there are",
      {"  const %c : i32[4] = {1,2,3,4}\n  %y, %i = top_k(%c) {k=5} : i32[5], u32[5]\n"}, "text:5:");
  bad("image of 2^63 - 1 rows",
      {"  const %c : u8[1,1,1,1] = {1}\n  in %x : u8[1,9223372036854775807,1,1]\n"
       "  %y = patches(%x) {kernel=[1,1], stride=[1,1], dilation=[1,1], pads=[1,0,1,0]} : "
       "u8[1,1,1,1,1,1]\n"},
      "text:6:");
  bad("10,000 nested scans",
      {"  %y = scan(%token) {body=\"" + repeated("body s { in %c : i32[] ", 10000) +
       "\", carried=0, count=1} : i32[T]\n"},
      "text:4:");
  bad("scans nested 20 deep",
      {"  const %c : i32[] = {1}\n  %y = scan(%c) {body=\"" + escaped(nested_scans(19)) +
           "\", carried=1, count=1} : i32[]\n",
       "i32", Json::array()},
      "nested deeper than");
  bad("dimension of a million symbols", {"  %y = abs(%token) : i32[" + repeated("T*", 1000000) + "T]\n"}, "text:4:");
  bad("body ends without results", {"}\n"}, "");

  unproved("sum overflows", {"  const %c : i32[] = {2147483647}\n  %z = add(%token, %c) : i32[T]\n" + to_i8}, "add");
  unproved("product overflows", {"  const %c : i32[] = {2147483647}\n  %z = mul(%token, %c) : i32[T]\n" + to_i8},
           "mul");
  unproved("narrowing loses values", {"  const %c : i32[] = {100}\n  %z = add(%token, %c) : i32[T]\n" + to_i8}, "cast");
  unproved("division by 0", {"  const %c : i32[] = {0}\n  %z = div(%token, %c) : i32[T]\n" + to_i8}, "div");
  unproved("shift of 64", {"  const %c : u8[] = {64}\n  %z = shl(%token, %c) : i32[T]\n" + to_i8}, "shl");
  unproved("index beyond the table",
           {"  const %c : i8[34] = {" + repeated("1,", 33) +
            "1}\n"
            "  %y = gather(%c, %token) {axis=0} : i8[T]\n"},
           "gather");
  unproved("lookup beyond the table",
           {"  const %c : i8[34] = {" + repeated("1,", 33) + "1}\n  %y = lookup(%c, %token) : i8[T]\n"}, "lookup");
  unproved("fact contradicts what is known", {"  %z = abs(%token) : i32[T] fact [35,40] \"it is so\"\n" + to_i8},
           "contradicts the fact");
  cases.push_back({"encoder.dyad", "inspect", "a chain of 5,000 composites", chain(5000), 0, ""});
  cases.push_back({"encoder.dyad", "inspect", "a chain of 20,000 composites", chain(20000), 3, "key 'nodes' has more"});
  cases.push_back({"encoder.dyad", "inspect", "a thousand times 2^17 channels", channels(), 0, ""});
  bad("2^80 multiplications",
      {"  const %c : i8[1099511627776,1099511627776,0] = {}\n"
       "  %d = reduce(%c) {kind=max, axes=[2], keepdims=0, type=i8} : i8[1099511627776,1099511627776]\n"
       "  %y = dot(%d, %d) {contract_a=[0,1], contract_b=[0,1], type=i64} : i64[]\n",
       "i64", Json::array()},
      "a dimension is too large");
  // A fact in a file is a claim, not a proof.
  const std::string table = "  const %t : i8[17,4] = {" + repeated("1,", 67) + "1}\n";
  const std::string lie = "  const %k : i32[] = {100000}\n  %z = mul(%length, %k) : i32[B] fact [0,16] \"trust me\"\n";
  coded("run", "a false fact about an index",
        {table + lie + "  %y = gather(%t, %z) {axis=0} : i8[B,4]\n", "i8", {"B", 4}}, 4, "(gather): index 0 is");
  coded("run", "a false fact about a lookup",
        {"  const %t : i8[17] = {" + repeated("1,", 16) + "1}\n" + lie +
             "  %w = lookup(%t, %z) : i8[B]\n  %y = reshape(%w) {shape=\"[B,1]\"} : i8[B,1]\n",
         "i8",
         {"B", 1}},
        4, "index");
  coded("run", "results of 2^42 bytes",
        {"  const %c : i32[1,1099511627776,0] = {}\n"
         "  %w = reduce(%c) {kind=sum, axes=[2], keepdims=0, type=i32} : i32[1,1099511627776]\n"
         "  %z = reshape(%length) {shape=\"[B,1]\"} : i32[B,1]\n  %y = add(%w, %z) : i32[B,1099511627776]\n",
         "i32",
         {"B", int64_t{1} << 40}},
        1, "out of memory");
  coded("run", "the result is no row for each text", {"  %y = cast(%token) {type=i8} : i8[T]\n"}, 4, "embedding");
  return cases;
}

}  // namespace dyadic::test

// The bodies against stored integers: inputs, parameters, intermediate values and outputs of small cases.
#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "graph/bodies/testing.h"
#include "support.h"

namespace dyadic {
namespace {

using test::Inputs;
using test::Ints;
using test::tensor;

std::optional<std::string> golden_path() {
  const std::string file = "/default_recipe_golden.json";
  if (const char* folder = std::getenv("DYADIC_ORACLE"); folder && *folder) return folder + file;
  return test::data_path("../oracle" + file);
}

// The integers of nested lists, row-major.
Ints flat(const Json& value) {
  if (value.is_number()) return {value.get<int64_t>()};
  Ints all;
  for (const auto& part : value)
    for (int64_t v : flat(part)) all.push_back(v);
  return all;
}

Dims dims_of(const Json& value) {
  Dims dims;
  for (const Json* v = &value; v->is_array(); v = &v->at(0)) dims.push_back(static_cast<int64_t>(v->size()));
  return dims;
}

Tensor tensor_of(DataType type, const Json& value) { return tensor(type, dims_of(value), flat(value)); }

// A parameter that is one number or one a channel.
Tensor vector_of(DataType type, const Json& value) {
  const Ints all = flat(value);
  return tensor(type, {static_cast<int64_t>(all.size())}, all);
}

void set_multiplier(Inputs& in, const std::string& name, const Json& pair) {
  in[name + "_m"] = vector_of(DataType::kI32, pair.at(0));
  in[name + "_s"] = vector_of(DataType::kU8, pair.at(1));
}

void set_norm_outputs(Inputs& in, const Json& parameters) {
  int j = 0;
  for (const char* name : {"operand", "identity"}) {
    const Json& p = parameters.at(name);
    set_multiplier(in, cat("out", j), Json::array({p.at("m"), p.at("s")}));
    in[cat("out", j++, "_beta")] = tensor_of(DataType::kI32, p.at("beta"));
  }
}

void expect_outputs(const Json& want, const std::vector<Tensor>& got) {
  ASSERT_EQ(want.size(), got.size());
  size_t j = 0;
  for (const auto& [name, value] : want.items()) EXPECT_EQ(flat(value), got[j++].to_int64()) << name;
}

// Stored name -> the body's value.
void expect_seen(const Json& want, const Inputs& seen, const std::map<std::string, std::string>& names) {
  for (const auto& [name, value] : want.items()) EXPECT_EQ(flat(value), seen.at(names.at(name)).to_int64()) << name;
}

const NormOutputs kOutputs = {DataType::kI8, DataType::kI16};
const std::map<std::string, std::string> kNormValues = {
    {"sum", "sum"}, {"mu", "mean"}, {"V", "square"}, {"half", "half"}, {"reciprocal", "reciprocal"}, {"y", "y"}};

void check_linear(const Json& c) {
  const Json& p = c.at("params");
  const auto type = *parse_data_type(c.at("attributes").at("out").get<std::string>());
  const bool table = p.contains("tables");
  Inputs in = {{"x", tensor_of(DataType::kI8, c.at("inputs").at("x"))},
               {"weight", tensor_of(DataType::kI8, p.at("weight"))},
               {"bias", tensor_of(DataType::kI32, p.at("bias"))},
               {"m", vector_of(DataType::kI32, p.at("m"))},
               {"s", vector_of(DataType::kU8, p.at("s"))}};
  if (table) {
    in["tables"] = tensor_of(DataType::kI8, p.at("tables"));
    in["ends"] = tensor_of(DataType::kI32, p.at("ends"));
  }
  const int64_t n = in["weight"].dim(0);
  const Body body = linear_body({.in = in["weight"].dim(1),
                                 .out = n,
                                 .epilogue = test::epilogue(type, table),
                                 .splits = {2, n - 2},
                                 .shift_per_channel = p.at("s").is_array(),
                                 .classes = table ? in["ends"].dim(0) : 0});
  const auto got = test::run(body, in);
  Ints joined;
  for (int64_t t = 0; t < in["x"].dim(0); ++t)
    for (const Tensor& part : got)
      for (int64_t j = 0; j < part.dim(1); ++j) joined.push_back(part.at(t * part.dim(1) + j));
  EXPECT_EQ(joined, flat(c.at("outputs").at("y")));
}

void check_attention(const Json& c) {
  const Json &p = c.at("params"), &i = c.at("inputs");
  Inputs in = {{"start", tensor_of(DataType::kI32, i.at("start"))},
               {"length", tensor_of(DataType::kI32, i.at("length"))},
               {"table", tensor_of(DataType::kU8, p.at("table"))}};
  for (const char* x : {"q", "k", "v"}) in[x] = tensor_of(DataType::kI8, i.at(x));
  set_multiplier(in, "distance", p.at("distance"));
  set_multiplier(in, "out", p.at("out"));
  const int64_t heads = c.at("attributes").at("heads").get<int64_t>(),
                L = c.at("attributes").at("max_length").get<int64_t>();
  const std::map<std::string, std::string> names = {
      {"D", "distance_code"}, {"e", "e"}, {"sigma", "sigma"}, {"reciprocal", "reciprocal"}, {"t", "mean"}};
  Inputs seen;
  for (const auto& [stored, name] : names) seen[name] = {};
  expect_outputs(c.at("outputs"), test::run(attention_body(heads, c.at("attributes").at("head_dim").get<int64_t>()), in,
                                            {{"L", L}}, &seen));
  for (const auto& [stored, want] : c.at("intermediate").items()) {
    const Tensor& t =
        seen.at(names.at(stored));  // [B, heads, L, last]; the stored values cover valid rows and keys only
    const bool keys = stored == "D" || stored == "e";
    Ints got;
    for (int64_t b = 0; b < t.dim(0); ++b)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t r = 0; r < in["length"].at(b); ++r)
          for (int64_t j = 0; j < (keys ? in["length"].at(b) : t.dim(3)); ++j)
            got.push_back(t.at(((b * heads + h) * L + r) * t.dim(3) + j));
    EXPECT_EQ(flat(want), got) << stored;
  }
}

Inputs norm_values() {
  Inputs seen;
  for (const auto& [stored, name] : kNormValues) seen[name] = {};
  return seen;
}

void check_add_norm(const Json& c) {
  const Json& p = c.at("params");
  Inputs in, seen = norm_values();
  for (const char* x : {"sublayer", "identity"}) {
    in[x] = tensor_of(DataType::kI16, c.at("inputs").at(x));
    set_multiplier(in, x, p.at("add").at(x));
  }
  set_norm_outputs(in, p);
  expect_outputs(c.at("outputs"), test::run(add_norm_body(in["identity"].dim(1), kOutputs), in, {}, &seen));
  expect_seen(c.at("intermediate"), seen, kNormValues);
}

void check_embed_norm(const Json& c) {
  const Json& p = c.at("params");
  Inputs in, seen = norm_values();
  std::vector<TableShape> tables;
  for (const char* x : {"token", "position", "type"}) {
    in[x] = tensor_of(DataType::kI32, c.at("inputs").at(x));
    in[cat(x, "_codes")] = tensor_of(DataType::kI8, p.at(x).at("codes"));
    set_multiplier(in, x, Json::array({p.at(x).at("m"), p.at(x).at("s")}));
    tables.push_back({x, in[cat(x, "_codes")].dim(0)});
  }
  set_norm_outputs(in, p);
  const int64_t n = in["token_codes"].dim(1);
  expect_outputs(c.at("outputs"), test::run(embed_norm_body(n, tables, kOutputs), in, {}, &seen));
  expect_seen(c.at("intermediate"), seen, kNormValues);
}

void check_pooling(const Json& c) {
  const Json& i = c.at("inputs");
  const Inputs in = {{"x", tensor_of(DataType::kI16, i.at("x"))},
                     {"start", tensor_of(DataType::kI32, i.at("start"))},
                     {"length", tensor_of(DataType::kI32, i.at("length"))}};
  const Bindings bindings = {{"L", c.at("attributes").at("max_length").get<int64_t>()}};
  const int64_t n = in.at("x").dim(1);
  EXPECT_EQ(flat(c.at("outputs").at("mean")), test::run(pool_body(n, false), in, bindings)[0].to_int64());
  EXPECT_EQ(flat(c.at("outputs").at("unit")), test::run(pool_body(n, true), in, bindings)[0].to_int64());
}

TEST(Golden, BodiesReproduceStoredIntegers) {
  const auto path = golden_path();
  DYADIC_SKIP_WITHOUT(path, "the golden vectors of the default recipe (DYADIC_ORACLE names their folder)");
  const std::map<std::string, void (*)(const Json&)> checks = {{"linear", check_linear},
                                                               {"attention", check_attention},
                                                               {"add_norm", check_add_norm},
                                                               {"embed_norm", check_embed_norm},
                                                               {"pooling", check_pooling}};
  const Json golden = parse_json(read_file(*path), *path);
  std::map<std::string, int> count;
  for (const auto& c : golden.at("cases")) {
    const auto composite = c.at("composite").get<std::string>();
    SCOPED_TRACE(composite + ": " + c.at("name").get<std::string>());
    checks.at(composite)(c);
    ++count[composite];
  }
  EXPECT_EQ(count, (std::map<std::string, int>{
                       {"linear", 4}, {"attention", 2}, {"add_norm", 3}, {"embed_norm", 1}, {"pooling", 2}}));
}

}  // namespace
}  // namespace dyadic

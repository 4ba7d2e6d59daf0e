// The JSON files of a model folder.
#pragma once
#include "bad_file.h"

namespace dyadic::test {

// What may be wrong with any JSON file.
inline BadFiles json_cases(const std::string& file, const std::string& verb) {
  const auto bad = [&](const char* name, Damage damage, const char* message) {
    return BadFile{file, verb, name, std::move(damage), 3, message};
  };
  return {
      bad("is empty", content(""), "not valid JSON at byte 0"),
      bad("is one brace", content("{"), "not valid JSON at byte 1"),
      bad("ends in the middle", cut(-1), "not valid JSON at byte"),
      bad("goes on behind its end", append("]"), "not valid JSON at byte"),
      bad("is not UTF-8", prepend("\xff\xfe"), "not valid JSON at byte"),
      bad("nests 100,000 lists", content(repeated("[", 100000)), "nested deeper than 64"),
      bad("nests 100,000 objects", content(repeated("{\"a\":", 100000)), "nested deeper than 64"),
      bad("is a number", content("1"), ""),
      bad("is over 64 MiB", grown_to((uint64_t{64} << 20) + 1), "more than the 67108864 allowed"),
  };
}

inline BadFiles config_cases() {
  BadFiles cases = json_cases("encoder/config.json", "inspect");
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    cases.push_back({"encoder/config.json", "inspect", std::move(name), std::move(damage), 3, std::move(message)});
  };
  bad("is a list", content("[]"), "expected a JSON object");
  bad("names a key twice", replaced("{", "{\"model_type\":\"bert\","), "key 'model_type' appears twice");
  bad("holds NaN", replaced("1e-12", "NaN"), "not valid JSON at byte");
  bad("holds a number beyond doubles", replaced("1e-12", "1e999"), "not valid JSON at byte");
  bad("holds a comment", replaced("{", "{//\n"), "not valid JSON at byte");
  for (const char* key : {"model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                          "hidden_act", "max_position_embeddings", "type_vocab_size", "vocab_size"})
    bad(cat("lacks ", key), without(cat('/', key)), cat("key '", key, "' is missing"));
  const auto value = [&](std::string name, const std::string& key, Json wrong) {
    bad(std::move(name), set("/" + key, std::move(wrong)), "key '" + key + "'");
  };
  value("model of another kind", "model_type", "gpt2");
  value("hidden size is negative", "hidden_size", -8);
  value("hidden size is 0", "hidden_size", 0);
  value("hidden size is a string", "hidden_size", "8");
  value("hidden size is a fraction", "hidden_size", 8.5);
  value("hidden size is null", "hidden_size", nullptr);
  value("hidden size is 2^64 - 1", "hidden_size", UINT64_MAX);
  bad("hidden size is no multiple of the heads", set("/num_attention_heads", 3),
      "no multiple of the 3 of 'num_attention_heads'");
  value("more heads than columns", "num_attention_heads", 16);
  value("a million layers", "num_hidden_layers", 1000000);
  value("vocabulary of 2^40", "vocab_size", int64_t{1} << 40);
  value("positions are negative", "max_position_embeddings", -1);
  value("epsilon is negative", "layer_norm_eps", -1e-12);
  value("epsilon is a string", "layer_norm_eps", "1e-12");
  value("activation is unknown", "hidden_act", "swoosh");
  value("activation is a list", "hidden_act", Json::array({"gelu"}));
  value("is a decoder", "is_decoder", true);
  value("is_decoder is a string", "is_decoder", "no");
  value("relative positions", "position_embedding_type", "relative_key");
  bad("is a link out of the folder", link_to("/etc/passwd"), "lies outside the model folder");
  // Each contradicts the weights: their file is named with the tensor.
  for (const auto& [key, wrong] : std::vector<std::pair<std::string, int>>{{"num_hidden_layers", 2},
                                                                           {"intermediate_size", 17},
                                                                           {"vocab_size", 36},
                                                                           {"max_position_embeddings", 12},
                                                                           {"type_vocab_size", 1}})
    bad(key + " contradicts the weights", set("/" + key, wrong), "tensor 'e");
  return cases;
}

inline BadFiles sentence_transformer_cases() {
  BadFiles cases = json_cases("encoder/modules.json", "inspect");
  const auto bad = [&](std::string file, std::string name, Damage damage, std::string message) {
    cases.push_back({"encoder/" + file, "inspect", std::move(name), std::move(damage), 3, std::move(message)});
  };
  const std::string modules = "modules.json", pooling = "1_Pooling/config.json", length = "sentence_bert_config.json";
  bad(modules, "is an object", content("{}"), "expected a list");
  bad(modules, "is an empty list", content("[]"), "expected a list");
  bad(modules, "lists four modules", json([](Json& d) { d.push_back(d[0]); }), "expected a list");
  bad(modules, "lists a number", set("/1", 1), "module 1: expected a JSON object");
  bad(modules, "order is reversed", json([](Json& d) { std::swap(d[0], d[1]); }), "module 0: key 'type'");
  bad(modules, "type is missing", without("/0/type"), "module 0: key 'type' is missing");
  bad(modules, "type is unknown", set("/2/type", "Dense"), "module 2: key 'type' is 'Dense'");
  bad(modules, "path is a number", set("/1/path", 1), "module 1: key 'path' must be a string");
  bad(modules, "path leads above the folder", set("/1/path", "../encoder/1_Pooling/../../x"), "lies outside");
  bad(modules, "transformer lies above the folder", set("/0/path", ".."), "lies outside the model folder");
  bad(modules, "path is absolute", set("/1/path", "/etc"), "lies outside the model folder");
  bad(modules, "path holds a NUL", set("/1/path", std::string("1_Pooling\0/..", 13)), "name");
  bad(modules, "path does not exist", set("/1/path", "2_Pooling"), "2_Pooling/config.json: missing");
  bad(pooling, "is empty", content(""), "not valid JSON at byte 0");
  bad(pooling, "is missing", removed(), "1_Pooling/config.json: missing");
  bad(pooling, "another pooling", set("/pooling_mode_cls_token", true), "key 'pooling_mode_cls_token' is true");
  bad(pooling, "another pooling by name", set("/pooling_mode", "max"), "key 'pooling_mode' is 'max'");
  bad(pooling, "no pooling", content("{}"), "key 'pooling_mode_mean_tokens' must be true");
  bad(pooling, "pooling is a number", set("/pooling_mode_mean_tokens", 1), "key 'pooling_mode_mean_tokens'");
  bad(pooling, "another width", set("/word_embedding_dimension", 9), "key 'word_embedding_dimension' is 9");
  bad(pooling, "is a link out of the folder", link_to("/etc/passwd"), "lies outside the model folder");
  bad(length, "is a list", content("[]"), "expected a JSON object");
  bad(length, "length is 0", set("/max_seq_length", 0), "key 'max_seq_length' is 0");
  bad(length, "length is negative", set("/max_seq_length", -1), "key 'max_seq_length' is -1");
  bad(length, "length exceeds the positions", set("/max_seq_length", 17), "key 'max_seq_length' is 17");
  bad(length, "length is a string", set("/max_seq_length", "12"), "key 'max_seq_length' must be an integer");
  return cases;
}

}  // namespace dyadic::test

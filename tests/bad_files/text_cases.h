// Tokenizer files, recipes, texts.
#pragma once
#include <zstd.h>

#include "bad_file.h"
#include "model_folder_cases.h"

namespace dyadic::test {

inline BadFiles vocabulary_cases() {
  BadFiles cases = {{"encoder/vocab.txt", "run", "is a link out of the folder", link_to("/etc/passwd"), 3,
                     "lies outside the model folder"}};
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    cases.push_back({"encoder/vocab.txt", "run", std::move(name), std::move(damage), 3, std::move(message)});
  };
  bad("is missing", removed(), "neither tokenizer.json nor vocab.txt");
  bad("is empty", content(""), "the special token '[UNK]' is not in the vocabulary");
  bad("ends before the special tokens", cut(12), "is not in the vocabulary");
  bad("is not UTF-8", replaced("food", "f\xffod"), "line 8: not UTF-8 at byte 1");
  bad("holds a surrogate", replaced("food", "\xed\xa0\x80"), "line 8: not UTF-8 at byte 0");
  bad("has an empty line", replaced("food\n", "\n"), "line 8: a token of 0 bytes");
  bad("has a token twice", replaced("food\n", "man\n"), "line 8: token 'man' already stands at line 6");
  bad("has a token of 513 bytes", append(std::string(513, 'x') + "\n"), "a token of 513 bytes");
  bad("has a line of 1 MiB", append(std::string(1 << 20, 'x')), "a token of 1048576 bytes");
  bad("is over 64 MiB", grown_to((uint64_t{64} << 20) + 1), "more than the 67108864 allowed");
  bad("lacks [SEP]", replaced("[SEP]\n", "[sep]\n"), "the special token '[SEP]'");
  bad("has five million lines", append(repeated("\n", 5000000)), "");
  bad("has more tokens than the model", append("one more\n"), "36 tokens");
  return cases;
}

inline BadFiles tokenizer_cases() {
  BadFiles cases = json_cases("fast/tokenizer.json", "run");
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    cases.push_back({"fast/tokenizer.json", "run", std::move(name), std::move(damage), 3, std::move(message)});
  };
  bad("is a list", content("[]"), "expected a JSON object");
  bad("model is missing", without("/model"), "key 'model' is missing");
  bad("model is a string", set("/model", "WordPiece"), "model: expected a JSON object");
  bad("model of another kind", set("/model/type", "BPE"), "model: type 'BPE' is not supported");
  bad("vocabulary is missing", without("/model/vocab"), "key 'vocab' is missing");
  bad("vocabulary is a list", set("/model/vocab", Json::array()), "vocab: expected a JSON object");
  bad("vocabulary is empty", set("/model/vocab", Json::object()), "is not in the vocabulary");
  bad("an id is negative", set("/model/vocab/man", -1), "the id of 'man' must be an integer of 0..34");
  bad("an id is too large", set("/model/vocab/man", 35), "the id of 'man' must be an integer of 0..34");
  bad("an id is 2^64 - 1", set("/model/vocab/man", UINT64_MAX), "the id of 'man' must be an integer");
  bad("an id is a fraction", set("/model/vocab/man", 5.5), "the id of 'man' must be an integer");
  bad("an id is used twice", set("/model/vocab/man", 6), "share the id 6");
  bad("a token is empty", replaced("\"man\"", "\"\""), "a token of 0 bytes");
  bad("a token has 513 bytes", replaced("\"man\"", "\"" + std::string(513, 'm') + "\""), "a token of 513 bytes");
  bad("the token for unknown words is unknown", set("/model/unk_token", "<unk>"), "the special token '<unk>'");
  bad("word length 0", set("/model/max_input_chars_per_word", 0), "key 'max_input_chars_per_word' is 0");
  bad("word length 2^40", set("/model/max_input_chars_per_word", int64_t{1} << 40), "key 'max_input_chars_per_word'");
  bad("normalizer of another kind", set("/normalizer/type", "NFKC"), "normalizer: type 'NFKC'");
  bad("normalizer is null", set("/normalizer", nullptr), "normalizer");
  bad("lowercase is a number", set("/normalizer/lowercase", 1), "key 'lowercase' must be true or false");
  bad("pre-tokenizer of another kind", set("/pre_tokenizer/type", "ByteLevel"), "pre_tokenizer: type 'ByteLevel'");
  bad("template of one part", set("/post_processor/single", {1}), "this template");
  bad("template of numbers", set("/post_processor/single", {1, 2, 3}), "single[0]: expected a JSON object");
  bad("template is a string", set("/post_processor/single", "[CLS] $A [SEP]"), "this template");
  bad("template names an unknown token", set("/post_processor/single/0/SpecialToken/id", "[BOS]"), "'[BOS]'");
  bad("post-processor of another kind", set("/post_processor/type", "Sequence"), "post_processor");
  bad("added tokens are an object", set("/added_tokens", Json::object()), "key 'added_tokens' must be an array");
  bad("an added token has another id", set("/added_tokens/0/id", 3), "added_tokens[0]");
  bad("an added token is plain text", set("/added_tokens/0/special", false), "is not special");
  bad("an added token lacks its content", without("/added_tokens/0/content"), "key 'content' is missing");
  bad("an escape is no character", replaced("\"man\"", "\"\\ud800\""), "not valid JSON at byte");
  bad("an escape is half a character", replaced("\"man\"", "\"\\udd1e\""), "half a surrogate pair");
  cases.push_back({"encoder/tokenizer_config.json", "run", "is empty", content(""), 3, "not valid JSON at byte 0"});
  cases.push_back({"encoder/tokenizer_config.json", "run", "is a list", content("[]"), 3, "expected a JSON object"});
  cases.push_back({"encoder/tokenizer_config.json", "run", "lower case is a string", set("/do_lower_case", "yes"), 3,
                   "key 'do_lower_case' must be true or false"});
  return cases;
}

inline BadFiles recipe_cases() {
  BadFiles cases;
  const auto coded = [&](std::string name, Damage damage, int code, std::string message) {
    cases.push_back({"recipe.toml", "quantize", std::move(name), std::move(damage), code, std::move(message)});
  };
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    coded(std::move(name), std::move(damage), 3, std::move(message));
  };
  const auto rule = [&](std::string name, const std::string& text, std::string message) {
    bad(std::move(name), content("name = \"x\"\n[[rule]]\n" + text + "\n"), std::move(message));
  };
  bad("is empty", content(""), "key 'name' is missing");
  bad("is no TOML", content("name = \n"), ":1: not valid TOML");
  bad("ends inside a string", content("name = \"x"), ":1: not valid TOML");
  bad("is not UTF-8", content("name = \"\xff\"\n"), "not valid TOML");
  bad("holds a NUL", content(std::string("name = \"x\"\n\0", 12)), "not valid TOML");
  bad("names a key twice", content("name = \"x\"\nname = \"y\"\n"), ":2: not valid TOML");
  bad("is binary", content(std::string(1000, '\x90')), "not valid TOML");
  bad("name is a number", content("name = 1\n"), ":1: 'name' must be a string");
  bad("key is unknown", content("name = \"x\"\ncolour = 1\n"), ":2: unknown key 'colour'");
  bad("requires what nobody knows", content("name = \"x\"\nrequire = \"speed\"\n"), ":2: 'require'");
  bad("sample is negative", content("name = \"x\"\n[calibration]\nsample = -1\n"), ":3: unknown key 'sample'");
  bad("sample is 0", content("name = \"x\"\n[calibration]\nsample = 0\n"), ":3: unknown key 'sample'");
  bad("sample does not fit 64 bits", content("name = \"x\"\n[calibration]\nsample = 99999999999999999999\n"),
      ":3: not valid TOML");
  bad("calibration is a number", content("name = \"x\"\ncalibration = 1\n"), ":2: 'calibration' must be a table");
  bad("rule is a table", content("name = \"x\"\n[rule]\nop = \"Gemm\"\n"), "'rule' must be written [[rule]]");
  bad("rule is a list of numbers", content("name = \"x\"\nrule = [1, 2]\n"), ":2: a rule must be a table");
  rule("operator is a number", "op = 1", ":3: 'op' must be a string");
  rule("operator list holds a number", "op = [\"Gemm\", 1]", ":3: 'op' must be a string");
  rule("key of a rule is unknown", "optimise = true", ":3: unknown key 'optimise'");
  rule("predicate is unknown", "where.color = 1", ":3: unknown predicate 'color'");
  rule("layers are strings", "where.layer = [\"first\"]", ":3: unknown predicate 'layer'");
  rule("role is unknown", "encode.scores = \"affine\"", ":3: unknown role 'scores'");
  rule("part is unknown", "encode.input = \"afine\"", ":3: unknown part 'afine'");
  rule("two parts in one answer", "encode.input = { affine = {}, log2 = {} }", ":3: an answer to 'encode'");
  rule("answer is a list", "encode.input = [\"affine\"]", ":3: an answer to 'encode'");
  rule("question without role", "encode = \"affine\"", ":3: 'encode' must name roles");
  rule("parameter is unknown", "encode.input = { affine = { bit = 8 } }", ":3: part 'affine' has no parameter 'bit'");
  rule("bits are a string", "encode.input = { affine = { bits = \"8\" } }", ":3:");
  rule("bits are negative", "encode.input = { affine = { bits = -8 } }", ":3:");
  rule("bits are 2^62", "encode.input = { affine = { bits = 4611686018427387904 } }", ":3:");
  rule("parameter is NaN", "fit.input = { min-max = { headroom = nan } }", ":3: parameter 'headroom'");
  rule("parameter is infinite", "fit.input = { min-max = { headroom = inf } }", ":3: parameter 'headroom'");
  rule("parameter is a date", "fit.input = { min-max = { headroom = 2020-01-01 } }", ":3: parameter 'headroom'");
  rule("parameters are a number", "fit.input = { min-max = 1.25 }", ":3: the parameters of 'min-max'");
  rule("dotted key of 10,000 parts", repeated("a.", 10000) + "a = 1", "more than 128 dots in one line");
  rule("10,000 nested lists", "op = " + repeated("[", 10000), "not valid TOML");
  rule("10,000 nested tables", "op = " + repeated("{a=", 10000), "not valid TOML");
  bad("is over 256 KiB", append(repeated("# more\n", 40000)), "at most 256 KiB");
  coded("covers too little", content("name = \"x\"\n[[rule]]\nop = \"Gemm\"\nencode.input = \"affine\"\n"), 4,
        "encode");
  bad("is a link to a device", link_to("/dev/zero"), "not a regular file");
  return cases;
}

inline std::string compressed(const std::string& text) {
  std::string result(ZSTD_compressBound(text.size()), '\0');
  result.resize(ZSTD_compress(result.data(), result.size(), text.data(), text.size(), 1));
  return result;
}

inline BadFiles text_cases() {
  BadFiles cases;
  const auto coded = [&](std::string file, std::string name, Damage damage, int code, std::string message) {
    cases.push_back({file, file == "texts.txt" ? "quantize" : "eval", std::move(name), std::move(damage), code,
                     std::move(message)});
  };
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    coded("texts.txt", std::move(name), std::move(damage), 3, std::move(message));
  };
  bad("is empty", content(""), "no text to calibrate on");
  bad("holds empty lines only", content(repeated("\n", 100)), "no text to calibrate on");
  bad("is not UTF-8", append("fine\n\xff\xfe\n"), "line 34: not UTF-8 at byte 0");
  bad("ends inside a character", append("caf\xc3"), "line 33: not UTF-8 at byte 3");
  bad("holds an overlong form", append("\xc0\xaf"), "line 33: not UTF-8 at byte 0");
  bad("holds a code point beyond Unicode", append("\xf4\x90\x80\x80"), "line 33: not UTF-8 at byte 0");
  bad("is UTF-16", content(std::string("\xff\xfe\x41\x00\n\x00", 6)), "line 1: not UTF-8 at byte 0");
  bad("has a line over 64 MiB", grown_to((uint64_t{64} << 20) + 4096), "more than the 67108864");
  bad("grew to 1 TiB", grown_to(uint64_t{1} << 40), "more than the 1073741824 bytes of text allowed");
  coded("texts.txt", "is missing", removed(), 1, "cannot open");
  const auto zstd = [&](std::string name, Damage damage, std::string message) {
    bad("Zstandard: " + std::move(name), std::move(damage), std::move(message));
  };
  const auto squeezed = [](auto f) { return bytes([f](const std::string& good) { return f(compressed(good)); }); };
  zstd("magic number only", content("\x28\xb5\x2f\xfd"), "ends inside a frame at byte 4");
  zstd("ends in the middle", squeezed([](std::string z) { return z.substr(0, z.size() / 2); }), "ends inside a frame");
  zstd("lacks its last byte", squeezed([](const std::string& z) { return z.substr(0, z.size() - 1); }),
       "ends inside a frame");
  zstd("goes on behind its end", squeezed([](const std::string& z) { return z + "more"; }), "corrupt");
  zstd("reserved bit is set", squeezed([](std::string z) { return z[4] = static_cast<char>(z[4] | 8), z; }), "corrupt");
  zstd("2 GiB in a few kB",
       content([] {  // 2048 frames of one MiB each
         return repeated(compressed(std::string(1 << 20, ' ')), 2048);
       }()),
       "more than the 1073741824 bytes of text allowed");
  zstd("window of 2 GiB", content(std::string("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", 9)), "corrupt");

  const auto pairs = [&](std::string name, Damage damage, std::string message) {
    coded("pairs.tsv", std::move(name), std::move(damage), 3, std::move(message));
  };
  const auto line = [&](std::string name, const std::string& text, std::string message) {
    pairs(std::move(name), append(text), std::move(message));
  };
  pairs("is empty", content(""), "nothing to evaluate");
  line("six fields", "a\tb\tc\td\t2.0\tone\n", "line 5: 6 tab-separated fields");
  line("eight fields", "a\tb\tc\td\t2.0\tone\ttwo\tthree\n", "line 5: 8 tab-separated fields");
  line("a million tabs", repeated("\t", 1000000), "line 5: 1000001 tab-separated fields");
  for (const char* score : {"", "x", "nan", "inf", "-1", "5.1", "1e999", "0x1", "2,5", "2.5 "})
    line(cat("score '", score, "'"), cat("a\tb\tc\td\t", score, "\tone\ttwo\n"), "line 5: field 5 must be a score");
  line("is not UTF-8", "a\tb\tc\td\t2.0\tone\t\xfftwo\n", "line 5: not UTF-8 at byte");
  return cases;
}

}  // namespace dyadic::test

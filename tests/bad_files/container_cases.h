// The safetensors format, as weights of a model folder and as the container of a .dyad file.
#pragma once
#include <limits>

#include "bad_file.h"

namespace dyadic::test {

// Any kind of file: what a path may name instead of it.
inline BadFiles file_cases(const std::string& file, const std::string& verb) {
  const auto bad = [&](const char* name, Damage damage, int code, const char* message) {
    return BadFile{file, verb, name, std::move(damage), code, message};
  };
  return {
      bad("is a folder", folder(), 3, file == "encoder.dyad" ? "not a model folder" : "not a regular file"),
      bad("is a named pipe", named_pipe(), 3, "not a regular file"),
      bad("is a device, by a link", link_to("/dev/zero"), 3, ""),
      bad("is a link to itself", link_to_itself(), file.find('/') == file.npos ? 1 : 3, ""),
  };
}

inline BadFiles container_cases(const std::string& file, const std::string& verb, const std::string& tensor) {
  BadFiles cases;
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    cases.push_back({file, verb, std::move(name), std::move(damage), 3, std::move(message)});
  };
  const std::string at = "/" + tensor, where = "tensor '" + tensor + "'";
  const auto entry = [&](std::string name, const char* key, Json value, std::string message) {
    bad(std::move(name), set_header(at + "/" + key, std::move(value)), where + " .. " + message);
  };

  // Truncation at each border of the structure.
  bad("is empty", content(""), "0 bytes are too few for the header length at byte 0");
  bad("ends after 1 byte", cut(1), "1 bytes are too few");
  bad("ends inside the header length", cut(7), "7 bytes are too few");
  bad("ends behind the header length", cut(8), "but only 0 bytes follow");
  bad("ends inside the header", cut(40), "but only 32 bytes follow");
  bad("ends behind the header", bytes([](const std::string& good) { return good.substr(0, 8 + header_bytes(good)); }),
      "lie outside the 0 bytes of data");
  bad("ends inside the data", cut(-100), "(is the file truncated?)");
  bad("lacks its last byte", cut(-1), "(is the file truncated?)");
  bad("has one byte more", append("x"), "1 bytes behind the last tensor belong to nothing");
  bad("grew to 1 TiB", grown_to(uint64_t{1} << 40), "bytes behind the last tensor belong to nothing");

  // The header's length.
  const auto length = [](uint64_t size) {
    return bytes([size](const std::string& good) { return little_endian(size) + good.substr(8); });
  };
  bad("header length 0", length(0), "not valid JSON at byte");
  bad("header length of all ones", length(UINT64_MAX), "header length at byte 0 is 18446744073709551615");
  bad("header length 2^63", length(uint64_t{1} << 63), "header length at byte 0 is 9223372036854775808");
  bad("header length over 100 MiB", length((uint64_t{100} << 20) + 1), "more than the 104857600 allowed");
  bad("header length one too small",
      bytes([](const std::string& good) { return little_endian(header_bytes(good) / 2) + good.substr(8); }),
      "not valid JSON at byte");
  bad("header length of the whole file",
      bytes([](const std::string& good) { return little_endian(good.size()) + good.substr(8); }),
      "(is the file truncated?)");

  // The header's JSON.
  const auto header = [](std::string text) {
    return header_text([text = std::move(text)](const std::string&) { return text; });
  };
  bad("header is no JSON", header("hello"), "not valid JSON at byte 0");
  bad("header is a list", header("[]"), "expected a JSON object");
  bad("header is null", header("null"), "expected a JSON object");
  bad("header goes on behind its end", header_text([](const std::string& h) { return h + "}"; }),
      "not valid JSON at byte");
  bad("header names a tensor twice",
      header_text([](const std::string& h) { return "{\"a\":1,\"a\":2," + h.substr(1); }), "key 'a' appears twice");
  bad("header nests 100,000 lists", header(repeated("[", 100000)), "nested deeper than 8");
  bad("header nests 100,000 objects", header(repeated("{\"a\":", 100000)), "nested deeper than 8");
  bad("header is not UTF-8", header_text([](const std::string& h) { return "{\"\xff\":1," + h.substr(1); }),
      "not valid JSON at byte");
  bad("header holds a NUL", header_text([](const std::string& h) { return std::string("\0", 1) + h; }),
      "not valid JSON at byte 0");
  bad("metadata is a list", set_header("/__metadata__", Json::array()), "__metadata__: expected a JSON object");
  bad("metadata holds a number", set_header("/__metadata__/x", 1), "key 'x' must be a string");
  bad("header has a million keys", header_text([](const std::string&) {
        std::string text = "{";
        for (int i = 0; i < 1000000; ++i) text += cat(i ? "," : "", '"', i, "\":1");
        return text + "}";
      }),
      "tensor '0': expected a JSON object");

  // One tensor's entry.
  bad("tensor is a number", set_header(at, 1), where + ": expected a JSON object");
  bad("dtype is missing", without_header(at + "/dtype"), where + ": key 'dtype' is missing");
  entry("dtype is unknown", "dtype", "F31", "unknown dtype 'F31'");
  entry("dtype is a number", "dtype", 32, "key 'dtype' must be a string");
  bad("shape is missing", without_header(at + "/shape"), where + ": key 'shape' is missing");
  entry("shape is a string", "shape", "[8]", "key 'shape' must be a list");
  entry("dimension is negative", "shape", {-8}, "key 'shape'");
  entry("dimension is a fraction", "shape", {0.5}, "key 'shape'");
  entry("dimension is 2^64 - 1", "shape", {UINT64_MAX}, "key 'shape'");
  entry("product of dimensions overflows", "shape", {int64_t{1} << 32, int64_t{1} << 32}, "key 'shape'");
  entry("huge dimensions beside a zero", "shape", {int64_t{1} << 62, 0}, "");
  entry("shape of 65 dimensions", "shape", std::vector<int>(65, 1), "at most 64 dimensions");
  entry("shape does not fill the offsets", "shape", {1}, "data_offsets give it");
  bad("data_offsets are missing", without_header(at + "/data_offsets"), where + ": key 'data_offsets' is missing");
  entry("one offset", "data_offsets", {0}, "key 'data_offsets' must be [begin, end]");
  entry("three offsets", "data_offsets", {0, 1, 2}, "key 'data_offsets' must be [begin, end]");
  entry("offset is negative", "data_offsets", {-8, 8}, "key 'data_offsets' must be [begin, end]");
  entry("offset is a fraction", "data_offsets", {0.0, 8.0}, "key 'data_offsets' must be [begin, end]");
  entry("offsets are reversed", "data_offsets", {8, 0}, "data_offsets [8, 0] lie outside");
  entry("offsets beyond the end", "data_offsets", {0, int64_t{1} << 40}, "lie outside");
  entry("offset 2^64 - 1", "data_offsets", {0, UINT64_MAX}, "lie outside");
  bad("tensors overlap", container([tensor](Container& c) {
        Json copy = c.header.at(tensor);
        c.header["zz"] = copy;
      }),
      "inside the tensor before it");
  bad("hole between tensors", container([tensor](Container& c) {
        const auto begin = c.header.at(tensor)["data_offsets"][0].get<size_t>();
        for (auto& [key, other] : c.header.items())
          if (key != "__metadata__" && other["data_offsets"][0].get<size_t>() >= begin)
            for (Json& offset : other["data_offsets"]) offset = offset.get<size_t>() + 8;
        c.data.insert(begin, 8, 'x');
      }),
      "leaving a hole behind byte");
  bad("dtype that nothing computes with", container([tensor](Container& c) {
        Json& e = c.header.at(tensor);
        const auto size = e["data_offsets"][1].get<size_t>() - e["data_offsets"][0].get<size_t>();
        e["dtype"] = "F8_E4M3";
        e["shape"] = {size};
      }),
      where + " has dtype F8_E4M3");
  return cases;
}

// Weights that fit their file, but not the model.
inline BadFiles weight_cases() {
  BadFiles cases;
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    cases.push_back(
        {"encoder/model.safetensors", "inspect", std::move(name), std::move(damage), 3, std::move(message)});
  };
  const std::string bias = "encoder.layer.0.output.dense.bias", weight = "encoder.layer.0.output.dense.weight";
  const auto element = [](const std::string& tensor, size_t index, float value) {
    return container([=](Container& c) {
      const auto begin = c.header.at(tensor)["data_offsets"][0].get<size_t>();
      std::memcpy(c.data.data() + begin + 4 * index, &value, 4);
    });
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  bad("a weight is NaN", element(weight, 5, std::numeric_limits<float>::quiet_NaN()), "element 5 is NaN");
  bad("a weight is infinite", element(weight, 127, kInfinity), "element 127 is infinite");
  bad("a bias is minus infinite", element(bias, 0, -kInfinity), "element 0 is infinite");
  bad("a tensor is missing", container([bias](Container& c) {
        c.header["other"] = c.header.at(bias);
        c.header.erase(bias);
      }),
      "tensor '" + bias + "' is missing");
  bad("a tensor has another shape", set_header("/" + weight + "/shape", {16, 8}), "has shape [16,8]");
  bad("a tensor is flat", set_header("/" + weight + "/shape", {128}), "has shape [128]");
  bad("a tensor is of integers", set_header("/" + bias + "/dtype", "I32"), "is i32; supported: F32, F16, BF16");
  bad("a tensor has no place in the model", container([bias](Container& c) {
        c.header["encoder.layer.1.output.dense.bias"] = {
            {"dtype", "F32"}, {"shape", {0}}, {"data_offsets", {c.data.size(), c.data.size()}}};
      }),
      "has no place in the model");
  bad("is a link out of the folder", link_to("/etc/passwd"), "lies outside the model folder");
  bad("is missing", removed(), "missing, and no model.safetensors.index.json either");
  return cases;
}

inline BadFiles shard_cases() {
  BadFiles cases;
  const auto bad = [&](std::string name, Damage damage, std::string message) {
    cases.push_back(
        {"sharded/model.safetensors.index.json", "inspect", std::move(name), std::move(damage), 3, std::move(message)});
  };
  const std::string tensor = "/weight_map/encoder.layer.0.output.dense.bias";
  bad("is empty", content(""), "not valid JSON at byte 0");
  bad("weight_map is missing", content("{}"), "key 'weight_map' is missing");
  bad("weight_map is a list", set("/weight_map", Json::array()), "weight_map: expected a JSON object");
  bad("weight_map is empty", set("/weight_map", Json::object()), "is missing");
  bad("shard is a number", set(tensor, 1), "key 'encoder.layer.0.output.dense.bias' must be a string");
  bad("shard does not exist", set(tensor, "part-3.safetensors"), "part-3.safetensors: missing");
  bad("shard lies above the folder", set(tensor, "../encoder/model.safetensors"), "lies outside the model folder");
  bad("shard is an absolute path", set(tensor, "/etc/passwd"), "lies outside the model folder");
  bad("shard is the index itself", set(tensor, "model.safetensors.index.json"), "header length at byte 0");
  bad("shard is the folder", set(tensor, "."), "not a regular file");
  bad("shard has not the tensor", set(tensor, "part-2.safetensors"), "has no such tensor");
  bad("shard's name holds a NUL", set(tensor, std::string("part-1.safetensors\0x", 20)), "name");
  bad("shard's name is 10,000 letters long", set(tensor, std::string(10000, 'a')), "aaa");
  bad("leaves out a tensor", without(tensor), "is missing");
  return cases;
}

}  // namespace dyadic::test

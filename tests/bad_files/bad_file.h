// Bad files made from good ones: what is done to which file, who reads it, how that must end.
#pragma once
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"

namespace dyadic::test {

namespace fs = std::filesystem;

// Does the damage; the path is that of a private copy of the good file.
using Damage = std::function<void(const fs::path& file)>;

struct BadFile {
  std::string file;  // in the folder of good files, e.g. "encoder/config.json"
  std::string verb;  // of the command line; what it reads besides is good
  std::string name;  // what is wrong with the file
  Damage damage;
  int code;  // exit code
  std::string
      message;  // of the message: byte offset, line or key, as parts divided by " .. "; besides it names the file
};
using BadFiles = std::vector<BadFile>;

inline std::ostream& operator<<(std::ostream& out, const BadFile& bad) {
  return out << bad.verb << ": " << bad.file << ' ' << bad.name;
}

inline std::string slurp(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void spit(const fs::path& file, std::string_view bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc).write(bytes.data(), std::ssize(bytes));
}

// ---- damage to bytes

template <class F>
Damage bytes(F f) {
  return [f](const fs::path& file) { spit(file, f(slurp(file))); };
}

inline Damage content(std::string text) {
  return [text = std::move(text)](const fs::path& file) { spit(file, text); };
}

inline Damage append(std::string text) {
  return bytes([text = std::move(text)](const std::string& good) { return good + text; });
}

inline Damage prepend(std::string text) {
  return bytes([text = std::move(text)](const std::string& good) { return text + good; });
}

// Negative: so many bytes from the end.
inline Damage cut(int64_t size) {
  return bytes([size](const std::string& good) {
    return good.substr(0, static_cast<size_t>(size < 0 ? std::ssize(good) + size : size));
  });
}

inline Damage replaced(std::string from, std::string to) {
  return bytes([from = std::move(from), to = std::move(to)](std::string text) {
    const size_t at = text.find(from);
    if (at == std::string::npos) throw std::runtime_error("the good file does not hold " + from);
    return text.replace(at, from.size(), to);
  });
}

inline std::string repeated(std::string_view text, size_t times) {
  std::string result;
  for (size_t i = 0; i < times; ++i) result += text;
  return result;
}

// ---- damage to what is no content

inline Damage removed() {
  return [](const fs::path& file) { fs::remove_all(file); };
}
inline Damage folder() {
  return [](const fs::path& file) { fs::remove(file), fs::create_directory(file); };
}
inline Damage link_to(const fs::path& target) {
  return [target](const fs::path& file) { fs::remove(file), fs::create_symlink(target, file); };
}
inline Damage link_to_itself() {
  return [](const fs::path& file) { fs::remove(file), fs::create_symlink(file.filename(), file); };
}
inline Damage named_pipe() {
  return [](const fs::path& file) {
    fs::remove(file);
    if (mkfifo(file.c_str(), 0600) != 0) throw std::runtime_error("cannot make a named pipe");
  };
}
// Without blocks on the disk.
inline Damage grown_to(uint64_t size) {
  return [size](const fs::path& file) { fs::resize_file(file, size); };
}

// ---- damage to JSON

template <class F>
Damage json(F f) {
  return bytes([f](const std::string& good) {
    Json document = Json::parse(good);
    f(document);
    return document.dump();
  });
}
inline Damage set(std::string pointer, Json value) {
  return json([=](Json& document) { document[Json::json_pointer(pointer)] = value; });
}
inline void erase(Json& document, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  Json& parent = document[at.parent_pointer()];
  if (parent.is_array())
    parent.erase(std::stoul(at.back()));
  else
    parent.erase(at.back());
}
inline Damage without(std::string pointer) {
  return json([=](Json& document) { erase(document, pointer); });
}

// ---- the safetensors format, so plain that it can be written wrong

struct Container {
  Json header;
  std::string data;
};

inline std::string little_endian(uint64_t value) {
  std::string text(8, '\0');
  for (size_t i = 0; i < 8; ++i) text[i] = static_cast<char>(value >> (8 * i));
  return text;
}
inline uint64_t header_bytes(const std::string& file) {
  uint64_t size = 0;
  std::memcpy(&size, file.data(), sizeof size);
  return size;
}
inline Container opened(const std::string& file) {
  const uint64_t size = header_bytes(file);
  return {Json::parse(file.substr(8, size)), file.substr(8 + size)};
}
inline std::string closed(const std::string& header, const std::string& data) {
  return little_endian(header.size()) + header + data;
}
inline std::string closed(const Container& c) { return closed(c.header.dump(), c.data); }

// The header as text.
template <class F>
Damage header_text(F f) {
  return bytes([f](const std::string& good) {
    const uint64_t size = header_bytes(good);
    return closed(f(good.substr(8, size)), good.substr(8 + size));
  });
}
// Header and data.
template <class F>
Damage container(F f) {
  return bytes([f](const std::string& good) {
    Container c = opened(good);
    f(c);
    return closed(c);
  });
}
inline Damage set_header(std::string pointer, Json value) {
  return container([=](Container& c) { c.header[Json::json_pointer(pointer)] = value; });
}
inline Damage without_header(std::string pointer) {
  return container([=](Container& c) { erase(c.header, pointer); });
}

// Replaces the bytes of one tensor, whatever their number, and moves what lies behind it.
inline void replace_tensor(Container& c, const std::string& name, const std::string& bytes, const Json& shape) {
  Json& entry = c.header.at(name);
  const auto begin = entry["data_offsets"][0].get<size_t>(), end = entry["data_offsets"][1].get<size_t>();
  c.data.replace(begin, end - begin, bytes);
  for (auto& [key, other] : c.header.items())
    if (key != "__metadata__" && key != name && other["data_offsets"][0].get<size_t>() >= end)
      for (Json& offset : other["data_offsets"]) offset = offset.get<size_t>() - (end - begin) + bytes.size();
  entry["data_offsets"] = {begin, begin + bytes.size()};
  entry["shape"] = shape;
}

// The tensors with these edits to graph.json.
template <class F>
Damage graph(F f) {
  return container([f](Container& c) {
    const Json& entry = c.header.at("graph.json");
    const auto begin = entry["data_offsets"][0].get<size_t>(), end = entry["data_offsets"][1].get<size_t>();
    Json document = Json::parse(c.data.substr(begin, end - begin));
    const std::string text = f(document, c);
    replace_tensor(c, "graph.json", text, {text.size()});
  });
}
inline Damage set_graph(std::string pointer, Json value) {
  return graph([=](Json& document, Container&) {
    document[Json::json_pointer(pointer)] = value;
    return document.dump();
  });
}
inline Damage without_graph(std::string pointer) {
  return graph([=](Json& document, Container&) {
    erase(document, pointer);
    return document.dump();
  });
}

}  // namespace dyadic::test

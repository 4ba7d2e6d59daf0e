#include "base/json.h"

#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "base/name_index.h"
#include "base/status.h"

namespace dyadic {
namespace {

// Names of more members are looked up by hash.
constexpr size_t kFewMembers = 16;
// More than vocabularies of most models have. Larger objects may repeat a name as often as a file has room.
constexpr size_t kManyMembers = size_t{1} << 16;

using Utf8 = rapidjson::UTF8<>;
using Size = rapidjson::SizeType;

// For RapidJSON, whose own allocator lets a null pointer through when memory ends.
struct Memory {
  [[maybe_unused]] static constexpr bool kNeedFree = true;
  static void* Malloc(size_t bytes) { return ::operator new(bytes); }
  static void* Realloc(void* old, size_t had, size_t bytes) {
    void* fresh = ::operator new(bytes);
    if (old) std::memcpy(fresh, old, std::min(had, bytes));
    Free(old);
    return fresh;
  }
  static void Free(void* memory) { ::operator delete(memory); }
};

// Builds the document from RapidJSON's events while refusing deep nesting and duplicate keys. nlohmann's own reader
// takes 2.7 times as long, and its builder searches an ordered object for every key it adds, which makes a
// vocabulary or a hostile file quadratic; here an object's names are compared once, at its end, or whenever it has
// doubled beyond kManyMembers.
class Builder : public rapidjson::BaseReaderHandler<Utf8, Builder> {
 public:
  Builder(std::string where, int max_depth, const rapidjson::MemoryStream& stream, size_t skipped)
      : where_(std::move(where)), max_depth_(max_depth), stream_(stream), skipped_(skipped) {}
  Json take() { return std::move(root_); }

  // NOLINTBEGIN(readability-identifier-naming): RapidJSON's names
  bool Null() { return add(nullptr); }
  bool Bool(bool v) { return add(v); }
  bool RawNumber(const char* text, Size size, bool) { return add(number({text, size})); }
  bool String(const char* text, Size size, bool) { return add(string({text, size})); }
  bool StartObject() { return open(Json::object()); }
  bool StartArray() { return open(Json::array()); }
  bool EndObject(Size) {
    refuse_repeated(open_.back()->get_ref<const Json::object_t&>());
    return close();
  }
  bool EndArray(Size) { return close(); }
  bool Key(const char* text, Size size, bool) {
    std::string name = string({text, size});
    Members& members = open_.back()->get_ref<Json::object_t&>();
    if (members.size() == members.capacity()) {
      if (members.size() >= kManyMembers) refuse_repeated(members);
      grow(members);
    }
    slot_ = &members.emplace_back(std::move(name), nullptr).second;
    return true;
  }
  // NOLINTEND(readability-identifier-naming)

 private:
  using Members = std::vector<Json::object_t::value_type>;

  [[noreturn]] void refuse(const std::string& why) const {
    fail(ErrorKind::kMalformed, where_, ": not valid JSON at byte ", skipped_ + stream_.Tell(), ": ", why);
  }

  // RapidJSON 1.1 lets the escape of a low surrogate stand alone, as bytes that are no UTF-8.
  std::string string(std::string_view text) const {
    for (size_t at = text.find('\xed'); at != text.npos; at = text.find('\xed', at + 1))
      if (static_cast<unsigned char>(text[at + 1]) >= 0xa0)
        refuse("half a surrogate pair in the string that ends there");
    return std::string(text);
  }

  // Integers of 64 bits are kept as such; others are the nearest double, or refused where that is infinite or 0 for a
  // number that is not.
  Json number(std::string_view text) const {
    const char *begin = text.data(), *end = begin + text.size();
    uint64_t natural = 0;
    if (const auto [at, error] = std::from_chars(begin, end, natural); at == end && error == std::errc())
      return natural;
    int64_t integer = 0;
    if (const auto [at, error] = std::from_chars(begin, end, integer); at == end && error == std::errc())
      return integer;
    double real = 0;
    if (const auto [at, error] = std::from_chars(begin, end, real); at == end && error == std::errc()) return real;
    refuse(cat("the number ", text.substr(0, 40), " is too large or too near 0"));
  }

  void refuse_repeated(const Members& members) const {
    if (const std::string* name = repeated_name(members))
      fail(ErrorKind::kMalformed, where_, ": key '", *name, "' appears twice in one object");
  }

  // A name that two members have, or null.
  static const std::string* repeated_name(const Members& members) {
    const size_t count = members.size();
    if (count <= kFewMembers) {
      for (size_t i = 0; i < count; ++i)
        for (size_t j = 0; j < i; ++j)
          if (members[i].first == members[j].first) return &members[i].first;
      return nullptr;
    }
    NameIndex names(count);
    const auto name_of = [&](uint32_t i) { return std::string_view(members[i].first); };
    for (uint32_t i = 0; i < count; ++i)
      if (names.add(i, name_of)) return &members[i].first;
    return nullptr;
  }

  // The vector itself would copy every value, all below it included: a pair whose first is const moves only its second.
  static void grow(Members& members) {
    Members larger;
    larger.reserve(std::max<size_t>(4, 2 * members.size()));
    for (auto& [name, value] : members) larger.emplace_back(name, std::move(value));
    members.swap(larger);
  }

  Json& place(Json value) {
    if (open_.empty()) return root_ = std::move(value);
    if (open_.back()->is_array()) return open_.back()->emplace_back(std::move(value));
    return *slot_ = std::move(value);
  }
  bool add(Json value) { return place(std::move(value)), true; }
  bool open(Json empty) {
    if (static_cast<int>(open_.size()) >= max_depth_)
      fail(ErrorKind::kMalformed, where_, ": JSON nested deeper than ", max_depth_);
    open_.push_back(&place(std::move(empty)));
    return true;
  }
  bool close() { return open_.pop_back(), true; }

  std::string where_;
  int max_depth_;
  const rapidjson::MemoryStream& stream_;
  size_t skipped_;  // bytes of the text before the stream
  Json root_;
  Json* slot_ = nullptr;     // where the value of the last key goes
  std::vector<Json*> open_;  // they stay put: only the innermost container grows
};

}  // namespace

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    fail(ErrorKind::kMalformed, where, ": ", text.size(), " bytes of JSON, more than the ", limits.max_bytes,
         " allowed");
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  const size_t skipped = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  rapidjson::MemoryStream stream(text.data() + skipped, text.size() - skipped);
  rapidjson::GenericReader<Utf8, Utf8, Memory> reader;
  Builder builder(where, limits.max_depth, stream, skipped);
  constexpr unsigned kFlags = rapidjson::kParseNumbersAsStringsFlag | rapidjson::kParseValidateEncodingFlag;
  const rapidjson::ParseResult result = reader.Parse<kFlags>(stream, builder);
  // To the reader a NUL is the end.
  const size_t at = result ? stream.Tell() : result.Offset();
  if (result && skipped + at == text.size()) return builder.take();
  const char byte = skipped + at < text.size() ? text[skipped + at] : ' ';
  const bool in_string = result.Code() == rapidjson::kParseErrorStringEscapeInvalid;
  std::string_view why = rapidjson::GetParseError_En(result.Code());
  if (why.ends_with('.')) why.remove_suffix(1);
  if (byte == '\0')
    why = "a NUL";
  else if (in_string && static_cast<unsigned char>(byte) < 0x20)
    why = "a control character in a string";
  fail(ErrorKind::kMalformed, where, ": not valid JSON at byte ", skipped + at, ": ", why);
}

JsonObject::JsonObject(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {
  if (!value.is_object()) fail(ErrorKind::kMalformed, where_, ": expected a JSON object");
}

bool JsonObject::has(const std::string& key) const {
  const auto it = value_->find(key);
  return it != value_->end() && !it->is_null();
}

const Json& JsonObject::at(const std::string& key) const {
  const auto it = value_->find(key);
  if (it == value_->end()) fail(ErrorKind::kMalformed, where_, ": key '", key, "' is missing");
  return *it;
}

JsonObject JsonObject::object(const std::string& key) const { return JsonObject(at(key), cat(where_, ": ", key)); }

std::string JsonObject::string(const std::string& key) const {
  const Json& v = at(key);
  if (!v.is_string()) fail(ErrorKind::kMalformed, where_, ": key '", key, "' must be a string");
  return v.get<std::string>();
}

std::string JsonObject::string(const std::string& key, const std::string& fallback) const {
  return has(key) ? string(key) : fallback;
}

int64_t JsonObject::integer(const std::string& key, int64_t lo, int64_t hi) const {
  const Json& v = at(key);
  if (!v.is_number_integer() || (v.is_number_unsigned() && v.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)))
    fail(ErrorKind::kMalformed, where_, ": key '", key, "' must be an integer");
  const int64_t x = v.get<int64_t>();
  if (x < lo || x > hi) fail(ErrorKind::kMalformed, where_, ": key '", key, "' is ", x, ", outside ", lo, "..", hi);
  return x;
}

int64_t JsonObject::integer(const std::string& key, int64_t lo, int64_t hi, int64_t fallback) const {
  return has(key) ? integer(key, lo, hi) : fallback;
}

bool is_finite(double number) { return std::isfinite(number); }

double JsonObject::number(const std::string& key) const {
  const Json& v = at(key);
  if (!v.is_number() || !is_finite(v.get<double>()))
    fail(ErrorKind::kMalformed, where_, ": key '", key, "' must be a finite number");
  return v.get<double>();
}

bool JsonObject::boolean(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  const Json& v = at(key);
  if (!v.is_boolean()) fail(ErrorKind::kMalformed, where_, ": key '", key, "' must be true or false");
  return v.get<bool>();
}

}  // namespace dyadic

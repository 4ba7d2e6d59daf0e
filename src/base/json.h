// JSON from untrusted files: size- and depth-capped parsing by RapidJSON into a document of nlohmann-json, and typed
// access that names the key.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace dyadic {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  size_t max_bytes = size_t{64} << 20;
  int max_depth = 64;
};

// Throws kMalformed with `where` (a file name), the byte offset and the reason; duplicate keys are refused.
Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});

// JSON has no word for what is not.
bool is_finite(double number);

// A view of one object that remembers where it came from, so that every error names file and key.
class JsonObject {
 public:
  JsonObject(const Json& value, std::string where);  // kMalformed unless an object

  bool has(const std::string& key) const;
  const Json& at(const std::string& key) const;  // kMalformed if absent
  JsonObject object(const std::string& key) const;
  std::string string(const std::string& key) const;
  std::string string(const std::string& key, const std::string& fallback) const;
  int64_t integer(const std::string& key, int64_t lo, int64_t hi) const;  // kMalformed outside [lo, hi]
  int64_t integer(const std::string& key, int64_t lo, int64_t hi, int64_t fallback) const;
  double number(const std::string& key) const;  // finite
  bool boolean(const std::string& key, bool fallback) const;
  const std::string& where() const { return where_; }
  const Json& json() const { return *value_; }

 private:
  const Json* value_;
  std::string where_;
};

}  // namespace dyadic

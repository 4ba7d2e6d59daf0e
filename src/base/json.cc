#include "base/json.h"

#include <cmath>
#include <unordered_set>
#include <vector>

#include "base/status.h"

namespace dyadic {
namespace {

// Refuses deep nesting and duplicate keys before anything is built; the document itself is built by the library.
class LimitCheck : public nlohmann::json_sax<Json> {
 public:
  LimitCheck(std::string where, int max_depth) : where_(std::move(where)), max_depth_(max_depth) {}
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return deeper(true); }
  bool start_array(std::size_t) override { return deeper(false); }
  bool end_object() override { return keys_.pop_back(), true; }
  bool end_array() override { return keys_.pop_back(), true; }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second)
      fail(ErrorKind::kMalformed, where_, ": key '", name, "' appears twice in one object");
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    fail(ErrorKind::kMalformed, where_, ": not valid JSON at byte ", position, ": ", error.what());
  }

 private:
  bool deeper(bool) {
    if (static_cast<int>(keys_.size()) >= max_depth_)
      fail(ErrorKind::kMalformed, where_, ": JSON nested deeper than ", max_depth_);
    keys_.emplace_back();
    return true;
  }
  std::string where_;
  int max_depth_;
  std::vector<std::unordered_set<std::string>> keys_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    fail(ErrorKind::kMalformed, where, ": ", text.size(), " bytes of JSON, more than the ", limits.max_bytes, " allowed");
  LimitCheck check(where, limits.max_depth);
  Json::sax_parse(text.begin(), text.end(), &check);
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorKind::kMalformed, where, ": not valid JSON: ", error.what());
  }
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
  if (x < lo || x > hi)
    fail(ErrorKind::kMalformed, where_, ": key '", key, "' is ", x, ", outside ", lo, "..", hi);
  return x;
}

int64_t JsonObject::integer(const std::string& key, int64_t lo, int64_t hi, int64_t fallback) const {
  return has(key) ? integer(key, lo, hi) : fallback;
}

double JsonObject::number(const std::string& key) const {
  const Json& v = at(key);
  if (!v.is_number() || !std::isfinite(v.get<double>()))
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

#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <vector>

#include "base/status.h"

namespace dyadic {
namespace {

// Objects of more members have their keys in a set.
constexpr size_t kFewMembers = 16;

// Builds the document while refusing deep nesting and duplicate keys. The library's own builder searches an ordered
// object for every key it adds, which makes a vocabulary or a hostile file quadratic; here the set of seen keys answers
// that.
class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string where, int max_depth) : where_(std::move(where)), max_depth_(max_depth) {}
  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool v) override { return add(v); }
  bool number_integer(number_integer_t v) override { return add(v); }
  bool number_unsigned(number_unsigned_t v) override { return add(v); }
  bool number_float(number_float_t v, const string_t&) override { return add(v); }
  bool string(string_t& v) override { return add(std::move(v)); }
  bool binary(binary_t& v) override { return add(std::move(v)); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    Members& members = open_.back().value->get_ref<Json::object_t&>();
    if (is_repeated(name, members))
      fail(ErrorKind::kMalformed, where_, ": key '", name, "' appears twice in one object");
    if (members.size() == members.capacity()) grow(members);
    slot_ = &members.emplace_back(std::move(name), nullptr).second;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    std::string_view why = error.what();
    if (const size_t end = why.find("] "); why.starts_with("[json.") && end != why.npos) why.remove_prefix(end + 2);
    fail(ErrorKind::kMalformed, where_, ": not valid JSON at byte ", position, ": ", why);
  }

 private:
  using Members = std::vector<Json::object_t::value_type>;
  struct Container {
    Json* value;                           // stays put while it is open: only the innermost container grows
    std::unordered_set<std::string> keys;  // of more than kFewMembers members
  };

  // Whether the innermost object has a member of that name; notes the name.
  bool is_repeated(const std::string& name, const Members& members) {
    std::unordered_set<std::string>& keys = open_.back().keys;
    if (members.size() < kFewMembers)
      return std::any_of(members.begin(), members.end(), [&](const auto& member) { return member.first == name; });
    if (keys.empty())
      for (const auto& member : members) keys.insert(member.first);
    return !keys.insert(name).second;
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
    if (open_.back().value->is_array()) return open_.back().value->emplace_back(std::move(value));
    return *slot_ = std::move(value);
  }
  bool add(Json value) { return place(std::move(value)), true; }
  bool open(Json empty) {
    if (static_cast<int>(open_.size()) >= max_depth_)
      fail(ErrorKind::kMalformed, where_, ": JSON nested deeper than ", max_depth_);
    open_.push_back({&place(std::move(empty)), {}});
    return true;
  }
  bool close() { return open_.pop_back(), true; }

  std::string where_;
  int max_depth_;
  Json root_;
  Json* slot_ = nullptr;  // where the value of the last key goes
  std::vector<Container> open_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    fail(ErrorKind::kMalformed, where, ": ", text.size(), " bytes of JSON, more than the ", limits.max_bytes,
         " allowed");
  Builder builder(where, limits.max_depth);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
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

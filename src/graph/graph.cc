#include "graph/graph.h"

#include <algorithm>
#include <set>

#include "base/status.h"

namespace dyadic {
namespace {

template <class T>
const T& attribute(const Node& node, const std::string& key, const char* kind) {
  const auto it = node.attributes.find(key);
  if (it == node.attributes.end())
    fail(ErrorKind::kContract, "node ", node.name, " (", node.op, "): attribute '", key, "' is missing");
  const T* value = std::get_if<T>(&it->second);
  if (!value) fail(ErrorKind::kContract, "node ", node.name, " (", node.op, "): attribute '", key, "' must be ", kind);
  return *value;
}

}  // namespace

int64_t Node::integer(const std::string& key) const { return attribute<int64_t>(*this, key, "an integer"); }
int64_t Node::integer(const std::string& key, int64_t fallback) const { return has(key) ? integer(key) : fallback; }
double Node::number(const std::string& key) const { return attribute<double>(*this, key, "a number"); }
const std::string& Node::text(const std::string& key) const { return attribute<std::string>(*this, key, "a string"); }
std::string Node::text(const std::string& key, const std::string& fallback) const {
  return has(key) ? text(key) : fallback;
}
const std::vector<int64_t>& Node::integers(const std::string& key) const {
  return attribute<std::vector<int64_t>>(*this, key, "a list of integers");
}
std::vector<int64_t> Node::integers_or_empty(const std::string& key) const {
  return has(key) ? integers(key) : std::vector<int64_t>{};
}

ValueId Graph::add_value(Value value) {
  if (by_name_.size() != values.size()) refresh_names();
  const std::string base = value.name.empty() ? "v" : value.name;
  if (value.name.empty() || by_name_.count(value.name))
    for (size_t i = values.size(); by_name_.count(value.name = cat(base, i)); ++i) {
    }
  const auto id = static_cast<ValueId>(values.size());
  by_name_[value.name] = id;
  values.push_back(std::move(value));
  return id;
}

ValueId Graph::add_input(Value value) {
  const ValueId id = add_value(std::move(value));
  inputs.push_back(id);
  return id;
}

ValueId Graph::add_constant(const std::string& constant_name, Tensor tensor) {
  Value v;
  v.name = constant_name;
  v.type = tensor.type();
  v.shape = to_shape(tensor.dims());
  v.constant = std::move(tensor);
  return add_value(std::move(v));
}

Node& Graph::add_node(Node node) {
  nodes.push_back(std::move(node));
  return nodes.back();
}

ValueId Graph::find(const std::string& value_name) const {
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i].name == value_name) return static_cast<ValueId>(i);
  return -1;
}

int Graph::producer(ValueId id) const {
  for (size_t n = 0; n < nodes.size(); ++n)
    if (std::count(nodes[n].outputs.begin(), nodes[n].outputs.end(), id)) return static_cast<int>(n);
  return -1;
}

std::vector<int> Graph::consumers(ValueId id) const {
  std::vector<int> result;
  for (size_t n = 0; n < nodes.size(); ++n)
    if (std::count(nodes[n].inputs.begin(), nodes[n].inputs.end(), id)) result.push_back(static_cast<int>(n));
  return result;
}

bool Graph::is_output(ValueId id) const { return std::count(outputs.begin(), outputs.end(), id) != 0; }

void Graph::sort_topologically() {
  std::set<ValueId> ready(inputs.begin(), inputs.end());
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i].is_constant()) ready.insert(static_cast<ValueId>(i));
  std::vector<Node> sorted;
  std::vector<bool> done(nodes.size());
  for (bool progress = true; progress;) {
    progress = false;
    for (size_t n = 0; n < nodes.size(); ++n) {
      if (done[n]) continue;
      const auto& in = nodes[n].inputs;
      if (!std::all_of(in.begin(), in.end(), [&](ValueId v) { return v < 0 || ready.count(v); })) continue;
      ready.insert(nodes[n].outputs.begin(), nodes[n].outputs.end());
      sorted.push_back(nodes[n]);
      done[n] = progress = true;
    }
  }
  if (sorted.size() != nodes.size())
    fail(ErrorKind::kContract, "graph ", name, " has a cycle or a value without producer");
  nodes = std::move(sorted);
}

void Graph::remove_dead() {
  std::set<ValueId> live(outputs.begin(), outputs.end());
  std::vector<Node> kept;
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    if (std::none_of(node->outputs.begin(), node->outputs.end(), [&](ValueId v) { return live.count(v); })) continue;
    live.insert(node->inputs.begin(), node->inputs.end());
    live.insert(node->outputs.begin(), node->outputs.end());
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  nodes = std::move(kept);
  live.insert(inputs.begin(), inputs.end());
  std::vector<ValueId> renumbered(values.size(), -1);
  std::vector<Value> kept_values;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!live.count(static_cast<ValueId>(i))) continue;
    renumbered[i] = static_cast<ValueId>(kept_values.size());
    kept_values.push_back(std::move(values[i]));
  }
  values = std::move(kept_values);
  const auto renumber = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) id = id < 0 ? id : renumbered[id];
  };
  renumber(inputs);
  renumber(outputs);
  for (auto& node : nodes) {
    renumber(node.inputs);
    renumber(node.outputs);
  }
  refresh_names();
}

void Graph::refresh_names() {
  by_name_.clear();
  for (size_t i = 0; i < values.size(); ++i) by_name_[values[i].name] = static_cast<ValueId>(i);
}

}  // namespace dyadic

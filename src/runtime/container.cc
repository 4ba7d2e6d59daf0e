#include "runtime/container.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/status.h"
#include "tensor/safetensors.h"

namespace dyadic {
namespace {

constexpr const char* kGraph = "graph.json";

Tensor text_tensor(const std::string& text) {
  Tensor t(DataType::kU8, {static_cast<int64_t>(text.size())});
  std::memcpy(t.mutable_raw(), text.data(), text.size());
  return t;
}

}  // namespace

void save_model(const std::string& path, const Model& model) {
  std::vector<std::pair<std::string, Tensor>> tensors = {{kGraph, text_tensor(model_to_json(model))}};
  for (const auto& [name, asset] : model.assets) tensors.emplace_back(asset_name(name), asset);
  for (const auto& [graph_name, graph] : model.graphs)
    for (const Value& value : graph.values)
      if (value.is_constant()) tensors.emplace_back(constant_name(graph_name, value), value.constant);
  write_safetensors(path, tensors, {{"format", "dyad"}});
}

std::shared_ptr<const Model> load_model(const std::string& path) {
  if (std::error_code error; std::filesystem::is_directory(path, error))
    fail(ErrorKind::kMalformed, path,
         ": not a regular file but a folder; a .dyad file is needed, which `dyadic quantize` makes");
  const auto file = Safetensors::open(path);
  if (!file->has(kGraph)) fail(ErrorKind::kMalformed, path, ": no tensor '", kGraph, "': this is not a .dyad file");
  const Tensor graph = file->tensor(kGraph);
  if (graph.type() != DataType::kU8) fail(ErrorKind::kMalformed, path, ": tensor '", kGraph, "' must be U8");
  const std::string_view text(reinterpret_cast<const char*>(graph.raw()), static_cast<size_t>(graph.bytes()));
  auto model = std::make_shared<const Model>(
      model_from_json(text, path + ": " + kGraph, [&](const std::string& name) { return file->tensor(name); }));
  file->populate();  // the range proof reads every constant
  return model;
}

}  // namespace dyadic

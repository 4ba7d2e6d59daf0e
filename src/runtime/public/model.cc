#include "graph/island.h"
#include "runtime/container.h"
#include "runtime/public/implementation.h"

namespace dyadic::v1 {
namespace {

std::vector<TensorInfo> describe(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<TensorInfo> infos;
  for (const ValueId id : ids) {
    const Value& value = graph.value(id);
    TensorInfo info{value.name, to_public(value.type, value.name), {}, {}};
    for (const Dim& dim : value.shape) info.shape.push_back(to_string(dim));
    if (value.encoding) {
      if (value.encoding->scale.size() != 1)
        fail(dyadic::ErrorKind::kContract, value.name, ": its encoding has ", value.encoding->scale.size(), " scales");
      info.encoding = Encoding{value.encoding->bits, value.encoding->scale[0], value.encoding->zero_point[0]};
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

}  // namespace

Model::Model(std::shared_ptr<const Implementation> implementation) : implementation_(std::move(implementation)) {}

Model Model::open(const std::string& path) {
  return translate_errors(
      [&] { return Model(std::make_shared<const Implementation>(Implementation{load_model(path)})); });
}

std::vector<TensorInfo> Model::inputs() const {
  const Graph& graph = implementation_->model->main();
  return translate_errors([&] { return describe(graph, graph.inputs); });
}

std::vector<TensorInfo> Model::outputs() const {
  const Graph& graph = implementation_->model->main();
  return translate_errors([&] { return describe(graph, graph.outputs); });
}

std::map<std::string, int64_t> Model::capacity() const { return maxima(implementation_->model->symbols); }

std::vector<std::string> Model::islands() const {
  return translate_errors([&] { return float_islands(*implementation_->model); });
}

const std::map<std::string, std::string>& Model::metadata() const { return implementation_->model->metadata; }

std::vector<std::string> Model::assets() const {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : implementation_->model->assets) names.push_back(name);
  return names;
}

std::string Model::asset(const std::string& name) const {
  const auto& assets = implementation_->model->assets;
  const auto found = assets.find(name);
  if (found == assets.end()) throw Error(ErrorKind::kUsage, "the model has no asset '" + name + "'");
  return {reinterpret_cast<const char*>(found->second.raw()), static_cast<size_t>(found->second.bytes())};
}

}  // namespace dyadic::v1

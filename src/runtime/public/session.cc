#include "dyadic/session.h"

#include <bit>
#include <cstring>

#include "graph/edges.h"
#include "runtime/public/implementation.h"
#include "runtime/session.h"
#include "tensor/token_batch.h"

namespace dyadic::v1 {
namespace {

dyadic::SessionOptions to_internal(const SessionOptions& options) {
  dyadic::SessionOptions result;
  result.threads = options.threads;
  result.schedule = static_cast<dyadic::Schedule>(options.schedule);
  switch (options.executor) {
    case Executor::kKernels:
      break;
    case Executor::kPortable:
      result.isa = Isa::kPortable;
      break;
    case Executor::kTile:
      result.backend = Backend::kTile;
      break;
    case Executor::kEvaluator:
      result.backend = Backend::kEvaluator;
      break;
  }
  return result;
}

}  // namespace

struct Session::State {
  Model model;
  std::unique_ptr<dyadic::Session> session;

  State(Model m, const SessionOptions& options)
      : model(std::move(m)),
        session(std::make_unique<dyadic::Session>(model.implementation().model, to_internal(options))) {}
  State(const State& like, int threads) : model(like.model), session(like.session->sibling(threads)) {}
};

Session::Session(Model model, SessionOptions options)
    : state_(translate_errors([&] { return std::make_unique<State>(std::move(model), options); })) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session Session::sibling(int threads) const {
  return translate_errors([&] { return Session(std::make_unique<State>(*state_, threads)); });
}

std::map<std::string, Tensor> Session::run(const std::map<std::string, Tensor>& inputs) {
  return translate_errors([&] {
    std::map<std::string, dyadic::Tensor> feeds;
    for (const auto& [name, tensor] : inputs) feeds[name] = v1::to_internal(tensor);
    std::map<std::string, Tensor> results;
    for (const auto& [name, tensor] : state_->session->run(feeds)) results[name] = to_public(tensor, name);
    return results;
  });
}

Tensor Session::run_tokens(const std::vector<std::vector<int32_t>>& texts) {
  return translate_errors([&] {
    const Graph& graph = state_->model.implementation().model->main();
    if (graph.outputs.size() != 1)
      fail(dyadic::ErrorKind::kContract, "not a text encoder: it has ", graph.outputs.size(), " outputs");
    const Value& output = graph.value(graph.outputs[0]);
    if (texts.empty()) return Tensor(to_public(output.type, output.name), {0, output.shape.back().factor});
    for (size_t i = 0; i < texts.size(); ++i)
      if (texts[i].empty()) fail(dyadic::ErrorKind::kContract, "text ", i, " has no tokens");
    return to_public(state_->session->run(pack_tokens(texts).feeds).at(output.name), output.name);
  });
}

const Model& Session::model() const { return state_->model; }
std::string Session::explain() const { return state_->session->explain(); }

std::vector<float> dequantize(const Tensor& codes, const Encoding& encoding) {
  if (!is_scale(encoding.scale))
    throw Error(ErrorKind::kUsage, "dequantize: the scale must be positive, normal and finite");
  std::vector<float> reals(static_cast<size_t>(codes.count()));
  dispatch(static_cast<dyadic::DataType>(codes.type()), [&]<class T>(T code) {
    const std::byte* at = codes.bytes().data();
    for (float& real : reals) {
      std::memcpy(&code, at, sizeof code);
      at += sizeof code;
      real = std::bit_cast<float>(dequantize_float(static_cast<int64_t>(code), encoding.scale, encoding.zero_point));
    }
  });
  return reals;
}

}  // namespace dyadic::v1

#include "quantize/calibration_codes.h"

#include <algorithm>
#include <memory>

#include "base/status.h"
#include "runtime/session.h"

namespace dyadic {
void promise_inputs(Model& model) {
  Graph& main = model.main();
  for (ValueId id : main.inputs) {
    Interval range = range_of(main.value(id).type);
    for (int n : main.consumers(id)) {
      const Graph& body = model.body(main.nodes[n]).graph;
      for (size_t i = 0; i < body.inputs.size(); ++i)
        if (const auto& fact = body.value(body.inputs[i]).fact; main.nodes[n].inputs[i] == id && fact)
          range = {std::max(range.lo, fact->range.lo), std::min(range.hi, fact->range.hi)};
    }
    main.value(id).fact = Fact{range, "input"};
  }
}

void CalibrationCodes::run_new() {
  const Graph& main = model_.main();
  for (; next_ < main.nodes.size(); ++next_) {
    const Node& node = main.nodes[next_];
    if (node.body.empty())
      fail(ErrorKind::kContract, "fit.bias needs integer layers before it; ", node.name, " (", node.op, ") is none");
    SessionOptions options;
    options.threads = threads_;
    auto lone = std::make_shared<Model>(lone_model(model_, node));
    promise_inputs(*lone);
    Session session(lone, options);
    const Graph& single = session.model().main();
    for (size_t batch = 0; batch < codes_.size(); ++batch) {
      std::map<std::string, Tensor> feeds;
      for (ValueId id : single.inputs) {
        const std::string& name = single.value(id).name;
        const auto known = codes_[batch].find(main.find(name));
        feeds[name] = known != codes_[batch].end() ? known->second : calibration_[batch].at(name);
      }
      const auto results = session.run(feeds);
      for (ValueId id : node.outputs) codes_[batch][id] = results.at(main.value(id).name);
    }
  }
}

void CalibrationCodes::Sums::add(const Tensor& tensor) {
  const auto n = static_cast<size_t>(tensor.dims().back());
  sum.resize(n);
  for (int64_t i = 0; i < tensor.count(); ++i)
    sum[static_cast<size_t>(i) % n] +=
        tensor.type() == DataType::kF32 ? double{tensor.data<float>()[i]} : static_cast<double>(tensor.at(i));
  rows += n ? tensor.count() / static_cast<int64_t>(n) : 0;
}

std::vector<double> CalibrationCodes::Sums::mean() const {
  std::vector<double> mean = sum;
  for (double& m : mean) m /= static_cast<double>(std::max<int64_t>(rows, 1));
  return mean;
}

void CalibrationCodes::observe(ValueId real, const Tensor& tensor) {
  if (const auto watched = sums_.find(real); watched != sums_.end()) watched->second.add(tensor);
}

std::vector<double> CalibrationCodes::real_mean(ValueId real) const { return sums_.at(real).mean(); }

std::vector<double> CalibrationCodes::mean(ValueId core) {
  run_new();
  Sums sums;
  for (const auto& codes : codes_) sums.add(codes.at(core));
  return sums.mean();
}

void CalibrationCodes::keep_only(const std::set<ValueId>& live) {
  run_new();
  for (auto& codes : codes_) std::erase_if(codes, [&](const auto& entry) { return !live.count(entry.first); });
}

}  // namespace dyadic

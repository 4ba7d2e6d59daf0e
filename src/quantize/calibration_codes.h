// What a network and the integer model under construction compute on the calibration texts: what a fit needs that
// corrects a layer for the errors of the layers before it.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "graph/model.h"

namespace dyadic {

class CalibrationCodes {
 public:
  // `model` grows while it is lowered; its main graph's inputs are fed from `calibration`, a batch of feeds each.
  CalibrationCodes(const Model& model, const std::vector<std::map<std::string, Tensor>>& calibration, int threads)
      : model_(model), calibration_(calibration), codes_(calibration.size()), threads_(threads) {}

  // The float side: results of the nodes whose means will be asked for, a tensor at a time. ValueIds of the real graph.
  void watch(ValueId real) { sums_[real]; }
  void observe(ValueId real, const Tensor& tensor);
  // The mean of each channel over all rows that were observed.
  std::vector<double> real_mean(ValueId real) const;

  // The integer side. The mean code of each channel (index of the last axis) over the rows of all batches. Runs the
  // composites that were added since the last call, each once. kContract if one of them is no integer composite.
  std::vector<double> mean(ValueId core);
  // Runs what was added and frees the codes of Values that nothing will read any more.
  void keep_only(const std::set<ValueId>& live);

 private:
  struct Sums {
    std::vector<double> sum;  // one a channel
    int64_t rows = 0;
    void add(const Tensor& tensor);
    std::vector<double> mean() const;
  };
  void run_new();

  const Model& model_;
  const std::vector<std::map<std::string, Tensor>>& calibration_;
  std::map<ValueId, Sums> sums_;                  // of real Values
  std::vector<std::map<ValueId, Tensor>> codes_;  // of composites' results, one map a batch
  size_t next_ = 0;                               // the first node of the main graph that has not run
  int threads_;
};

// Each input of the main graph promises what every body that reads it relies on.
void promise_inputs(Model& model);

}  // namespace dyadic

// What methods contribute: parts that answer a recipe's questions. A method registers its parts from its own folder;
// nothing here knows a method's name.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "graph/bodies/bodies.h"
#include "graph/graph.h"
#include "quantize/recipe.h"
#include "tensor/encoding.h"

namespace dyadic {

struct RealRange {
  double lo = 0, hi = 0;
};

// What every part says about itself; `dyadic list` prints it.
struct PartInfo {
  std::string name, summary, source;
  std::map<std::string, std::string> parameters;  // name -> meaning, unit, default
  void (*check)(const Part& part) = nullptr;      // kMalformed naming a parameter of the wrong type or range
};

// encode: what real number a code means.
struct EncodePart {
  PartInfo info;
  // The encoding's codes, storage and granularity for these parameters, without scales.
  Encoding (*prototype)(const Part& part);
  // Whether zero_point stays 0.
  bool (*symmetric)(const Part& part);
  // Appends the parameters of one index (tensor, channel or row) whose values span `range`.
  void (*append)(const Part& part, RealRange range, Encoding& encoding);
  // Where not every code between the first and the last occurs, or the nearest is not the one to take: the code that
  // stands for a real number of `steps` scales. For constants (weights and tables) only, since computed values are
  // rounded by their composite. nullptr: the nearest code.
  int64_t (*code)(const Part& part, const Encoding& encoding, double steps) = nullptr;
  // Of a product's weight: the most significant bits of the multipliers that requantize its channels, 2..31. Below 31
  // scales grow until the channels' ratios have such multipliers exactly.
  int (*multiplier_bits)(const Part& part) = [](const Part&) { return 31; };
};

// The parameter `granularity` of encode parts: "tensor" (default, one scale), "channel" or "row" (one for each index of
// the first axis). kMalformed naming the part for anything else.
Granularity granularity_of(const Part& part);

// fit: how a range is found from values. Streaming and mergeable; an observer's memory does not grow with the number of
// values.
class RangeObserver {
 public:
  virtual ~RangeObserver() = default;
  virtual void observe(std::span<const float> values) = 0;
  virtual void merge(const RangeObserver& other) = 0;  // of the same part
  // The range that codes of [codes.lo, codes.hi] should span.
  virtual RealRange fit(Interval codes, bool symmetric) const = 0;
  virtual size_t bytes() const = 0;
};
struct FitPart {
  PartInfo info;
  std::unique_ptr<RangeObserver> (*make)(const Part& part);
};

// fit.bias: what a result's bias is corrected by, one channel at a time, from its mean over all calibration tokens: in
// float, and as computed in integers from the codes that reach it. All are real numbers.
struct BiasPart {
  PartInfo info;
  double (*correction)(const Part& part, double real_mean, double integer_mean);
};

// approximate, unary functions of 8-bit codes: a table of 256 codes.
struct UnaryRequest {
  const Node* node = nullptr;              // the function, e.g. Gelu
  std::function<double(double)> function;  // what it means
  double in_scale = 1, out_scale = 1;      // real input = in_scale * (code - in_zero), real output likewise
  int64_t in_zero = 0, out_zero = 0;
  Interval out_codes{-127, 127};
};
struct UnaryPart {
  PartInfo info;
  std::set<std::string> ops;
  std::vector<int8_t> (*table)(const Part& part, const UnaryRequest& request);  // entry code + 128
};

// approximate, softmax: e as a function of the distance code D = (row maximum - score) in steps of 1/steps_per_unit.
struct SoftmaxPart {
  PartInfo info;
  double (*steps_per_unit)(const Part& part);
  std::vector<uint8_t> (*table)(const Part& part);  // 256 entries, table[0] = one
  // Significant bits of the multiplier that makes D of a difference of scores, 2..31; 0: as many as keep the product
  // in 32 bits.
  int (*multiplier_bits)(const Part& part) = [](const Part&) { return 31; };
};

// approximate, layer normalization: how rows are normalised, and the real value of one unit of the normalised y.
struct NormPart {
  PartInfo info;
  NormCore (*core)(const Part& part);  // empty: the shared bodies', exact_norm
  double (*unit)(const Part& part, int64_t n);
  // Most significant bits of the multipliers of an output's channels, 2..31.
  int (*multiplier_bits)(const Part& part) = [](const Part&) { return 31; };
  // Most bits of the two ratios of a residual sum, 12..15: encode_sum_ratios (quantize/ratio.h). 31: each by itself.
  int (*sum_bits)(const Part& part) = [](const Part&) { return 31; };
  // 16: the shared bodies in words, which take no core and none of the above. 32: the others.
  int (*lane_bits)(const Part& part) = [](const Part&) { return 32; };
};

// restructure: rewrites the real graph and keeps its float function.
struct ChannelRange {
  std::vector<float> lo, hi;  // per index of the last axis, over the calibration texts
};
struct RestructurePart {
  PartInfo info;
  std::set<std::string> ops;
  // `node` indexes graph.nodes; `ranges` holds every f32 Value of the graph as it was before any restructuring, by
  // name. Returns whether it applied.
  bool (*apply)(Graph& graph, int node, const Part& part, const std::map<std::string, ChannelRange>& ranges);
  // The Value whose range apply() reads, so that a file can keep what repeats it.
  ValueId (*reads)(const Node& node);
};

class Registry {
 public:
  void add(EncodePart part) { encodes_[part.info.name] = std::move(part); }
  void add(FitPart part) { fits_[part.info.name] = std::move(part); }
  // The same, and how ranges are found where a recipe does not say.
  void add_default(FitPart part) {
    default_fit_ = {part.info.name, {}};
    add(std::move(part));
  }
  void add(BiasPart part) { biases_[part.info.name] = std::move(part); }
  void add(UnaryPart part) { unaries_[part.info.name] = std::move(part); }
  void add(SoftmaxPart part) { softmaxes_[part.info.name] = std::move(part); }
  void add(NormPart part) { norms_[part.info.name] = std::move(part); }
  void add(RestructurePart part) { restructures_.push_back(std::move(part)); }

  const EncodePart& encode(const std::string& name) const;
  const FitPart& fit(const std::string& name) const;
  const Part& default_fit() const { return default_fit_; }
  const BiasPart& bias(const std::string& name) const;
  const UnaryPart* unary(const std::string& name) const;
  const SoftmaxPart* softmax(const std::string& name) const;
  const NormPart* norm(const std::string& name) const;
  // In the order in which they apply: that of methods.inc.
  const std::vector<RestructurePart>& restructures() const { return restructures_; }

  RecipeVocabulary vocabulary() const;
  // Every part with the question it answers.
  std::vector<std::pair<std::string, PartInfo>> list() const;

 private:
  std::map<std::string, EncodePart> encodes_;
  std::map<std::string, FitPart> fits_;
  Part default_fit_;
  std::map<std::string, BiasPart> biases_;
  std::map<std::string, UnaryPart> unaries_;
  std::map<std::string, SoftmaxPart> softmaxes_;
  std::map<std::string, NormPart> norms_;
  std::vector<RestructurePart> restructures_;
};

}  // namespace dyadic

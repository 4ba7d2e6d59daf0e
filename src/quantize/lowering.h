// From regions of the real graph to composites of the core graph.
//
// Partition covers the real graph with regions; each consumer edge of a region, and each coded point inside it, is a
// wish: a real Value, the node whose recipe answers decide, and a role. Every distinct wish of a real Value becomes one
// core Value with one Encoding, which the producing composite emits from its own accumulator, never from another code.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graph/model.h"
#include "quantize/calibration_codes.h"
#include "quantize/registry.h"

namespace dyadic {

struct Wish {
  ValueId value = -1;
  int node = -1;  // of the real graph
  std::string role;
  std::vector<float> clip_low;  // per channel: values below carry no information (a saturated function); may be empty
};

// Nodes of the real graph that one composite replaces.
struct Region {
  std::string composite, name;
  std::vector<int> nodes;
  // What the lowering that matched needs to know, by its own names: "product", "chain", "add", "gather", "mul", ..
  std::map<std::string, std::vector<int>> parts;
  const std::vector<int>& part(const std::string& key) const;
  int only(const std::string& key) const { return part(key).at(0); }
};

class LoweringContext;

struct Lowering {
  const char* composite;
  std::set<std::string> anchors;  // operators at which match() is tried
  std::optional<Region> (*match)(const Graph& real, int node);
  std::vector<Wish> (*wishes)(const Graph& real, const Region& region);
  void (*lower)(LoweringContext& context, const Region& region);
};
// In the order in which they are tried.
const std::vector<Lowering>& lowerings();

struct Partition {
  std::vector<std::pair<const Lowering*, Region>> regions;  // in execution order
  std::vector<int> uncovered;                               // nodes that no lowering takes
};
// `answers` are the recipe's for every node: those that it keeps in float become islands, each with what its integer
// composite would have covered. Empty: none.
Partition partition(const Graph& real, const std::vector<Answers>& answers = {});

// How a wish is answered: the parts that decide its encoding.
struct WishAnswer {
  Part encode, fit;
  bool operator==(const WishAnswer&) const = default;
  bool operator<(const WishAnswer& o) const { return std::tie(encode, fit) < std::tie(o.encode, o.fit); }
};

// A core Value that carries a real one.
struct Edge {
  Encoding encoding;
  ValueId core = -1;  // in the main graph, once its producer is lowered
};

// What the parts of a main graph stand for in the real graph: lowerings tell it to whoever asks. Composites, core
// Values and parameters go by their names in the main graph.
struct Provenance {
  // Rows of a parameter hold the codes of a real constant: entry = scale[r] * (code - zero_point[r]), r the index of
  // the constant's first axis, which lies `first_row` rows down the parameter.
  struct Coded {
    std::string parameter;
    int64_t first_row = 0;
    std::vector<double> scale;
    std::vector<int64_t> zero_point;  // empty: 0
  };
  std::map<std::string, std::map<ValueId, Coded>> coded;  // by composite and real constant
  std::map<std::string, ValueId> carried;                 // the real Value of a core Value
  // Tables whose entries are codes: the same entries before they were rounded, in steps of the codes.
  std::map<std::string, std::vector<double>> unrounded;
};

// One main graph under construction.
class LoweringContext {
 public:
  LoweringContext(const Graph& real, const Registry& registry, const std::vector<Answers>& answers, Model& model)
      : real(real), registry(registry), answers_(answers), model_(model) {}

  const Graph& real;
  const Registry& registry;
  Provenance* provenance = nullptr;   // filled while lowering, if it is wanted
  CalibrationCodes* codes = nullptr;  // what is lowered computes on the calibration texts, if there are texts

  // The answer to a wish for `value`: the node's for that role, else the output role of the value's producer (-1: a
  // constant has none). kContract naming the node if the recipe gives none.
  WishAnswer answer(ValueId value, int node, const std::string& role) const;
  const Answers& answers(int node) const { return answers_[node]; }
  void set_edge(ValueId value, const WishAnswer& answer, Encoding encoding) {
    edges_[{value, answer}].encoding = std::move(encoding);
  }
  // The encoding of a wish, e.g. of a coded point inside a region.
  const Encoding& encoding(ValueId value, int node, const std::string& role) const;
  // The core Value of a consumer's wish.
  ValueId input(ValueId value, int node, const std::string& role) const;
  // An integer input of the graph (indices, lengths) by its real Value.
  ValueId index_input(ValueId value) const;
  // Every edge that consumers wish of `value`, in a fixed order.
  std::vector<Edge*> edges(ValueId value);
  // The core Values made so far that regions from `next` on read.
  std::set<ValueId> live(const Partition& parts, size_t next) const;
  const Value& core(ValueId id) const { return model_.main().value(id); }
  // A new core Value of the main graph that carries `real_value`, shaped as it.
  ValueId define(ValueId real_value, DataType type, const Encoding& encoding, const std::string& suffix = "");
  ValueId constant(const std::string& name, Tensor tensor);
  // The encoding of a weight [out, in] (or a table [rows, n]) by the node's answers for `role`, fitted to the data.
  Encoding weight_encoding(int node, const std::string& role, const Tensor& weight) const;
  // The code, by the same answers, of a weight of so many scales.
  std::function<int64_t(double steps)> weight_code(int node, const std::string& role, const Encoding& encoding) const;
  // EncodePart::multiplier_bits of the node's weight.
  int multiplier_bits(int node) const;
  // Whether the recipe corrects the node's bias (fit.bias) and there are codes to do it by.
  bool corrects_bias(int node) const { return codes && answers_[node].fit.count("bias"); }
  // What to add to the bias of each channel, real numbers, if the integer result has this mean.
  std::vector<double> bias_shift(int node, const std::vector<double>& integer_mean) const;
  // Adds a composite node; equal bodies are stored once.
  Node& emit(const Region& region, const Body& body, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
             std::vector<double> bound);

 private:
  const std::vector<Answers>& answers_;
  Model& model_;
  std::map<std::pair<ValueId, WishAnswer>, Edge> edges_;
};

// The scale of a per-tensor encoding.
double tensor_scale(const Encoding& encoding, const std::string& what);

}  // namespace dyadic

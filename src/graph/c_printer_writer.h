// What the parts of the C printer share: names, types, expressions and indented lines.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/ranges.h"
#include "graph/stages.h"

namespace dyadic {

// Definitions that printed functions call.
extern const char kCPrelude[];

class CWriter {
 public:
  CWriter(const Graph& graph, const Ranges& ranges);

  const Graph& graph;
  const Ranges& ranges;
  std::vector<Stage> stages;
  Residence residence;
  std::vector<DataType> storage;  // by ValueId, of what is in memory

  // ---- text
  template <class... Args>
  void line(Args&&... args) {
    text_ += std::string(2 * depth_, ' ') + cat(std::forward<Args>(args)...) + '\n';
  }
  template <class... Args>
  void open(Args&&... args) {
    line(std::forward<Args>(args)..., " {");
    ++depth_;
  }
  void open_block() {
    line("{");
    ++depth_;
  }
  void close() {
    --depth_;
    line("}");
  }
  // for (int64_t index = 0; index < count; ++index); nothing for a dimension of 1.
  bool open_loop(const std::string& index, const Dim& count);
  const std::string& text() const { return text_; }

  // ---- names
  // A C identifier that nothing else has, as close to `wish` as that allows.
  std::string fresh(const std::string& wish);
  // The same for a variable inside a stage: unique among all others and those in `locals`, where it is entered.
  std::string fresh_local(const std::string& wish, std::set<std::string>& locals) const;
  void reserve(const std::string& name) { taken_.insert(name); }
  const std::string& memory(ValueId v) const { return memory_.at(residence.root[v]); }
  void set_memory(ValueId v, std::string name) { memory_[v] = std::move(name); }
  bool has_memory(ValueId v) const { return memory_.count(residence.root[v]) != 0; }

  // ---- expressions
  static std::string dim(const Dim& d);            // "384", "B * L"
  static std::string factor(const Dim& d);         // the same, in parentheses where it is a product
  static std::string product(const Shape& shape);  // of all dimensions
  static const char* c_type(DataType type);        // "int8_t"
  static std::string literal(int64_t value);
  // Row-major position of indices in a shape; dimensions of 1 are skipped. "" for the first element.
  static std::string position(const Shape& shape, const std::vector<std::string>& indices);
  // memory[position]
  std::string element(ValueId v, const std::vector<std::string>& indices) const;

  Interval range(ValueId v) const { return ranges.values[v]; }
  // int32_t where the Value is proven to fit, else int64_t: the type of a variable that holds one element.
  DataType variable_type(ValueId v) const {
    return range_of(DataType::kI32).contains(range(v)) ? DataType::kI32 : DataType::kI64;
  }
  std::string where(int node) const {
    return cat("body ", graph.name, ", node ", node, " (", graph.nodes[node].op, ")");
  }

 private:
  std::string text_;
  int depth_ = 1;
  std::set<std::string> taken_;
  std::map<ValueId, std::string> memory_;
};

// Each prints one stage.
void print_row_stage(CWriter& c, const Stage& stage);
void print_dot_stage(CWriter& c, int node);
void print_movement(CWriter& c, int node);
// The bytes of row buffers that print_row_stage needs are declared through these: buffer j of a stage is carved from
// scratch.
struct RowBuffer {
  ValueId value;
  DataType type;
  Dim width;
};
std::vector<RowBuffer> row_buffers(const CWriter& c, const Stage& stage);

}  // namespace dyadic

#include "export/c/program.h"

#include <algorithm>
#include <cctype>

#include "base/status.h"
#include "graph/memory_plan.h"
#include "graph/ranges.h"

namespace dyadic::export_c_detail {
namespace {

constexpr int64_t kLine = 64;

int64_t lines(int64_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

class Planner {
 public:
  Planner(const Model& model, const CExportOptions& options, std::set<std::string> taken)
      : model_(model),
        main_(model.main()),
        max_length_(options.max_length),
        prefix_(options.prefix),
        taken_(std::move(taken)) {}

  CProgram plan() {
    for (const Node& node : main_.nodes)
      if (node.body.empty())
        fail(ErrorKind::kContract, "layer ", node.name, " (", node.op, ") has no integer body: it cannot be exported");
    proofs_ = prove_model(model_);
    bind_symbols();
    find_inputs();
    print_functions();
    place_weights();
    place_values();
    return std::move(program_);
  }

 private:
  void bind_symbols() {
    for (const ValueId id : main_.inputs) {
      const Value& value = main_.value(id);
      const bool of_texts = value.name == "start" || value.name == "length";
      for (const Dim& dim : value.shape)
        for (const std::string& symbol : dim.symbols)
          program_.symbols.emplace(symbol, of_texts ? Extent::kOne : Extent::kLength);
    }
    for (const auto& [name, symbol] : model_.symbols) {
      if (symbol.largest_of == "length") program_.symbols.emplace(name, Extent::kLength);
      const auto known = program_.symbols.find(name);
      if (known == program_.symbols.end())
        fail(ErrorKind::kContract, "symbol ", name, " is neither a text's length nor the number of texts");
      if (known->second == Extent::kLength && (max_length_ < 1 || max_length_ > symbol.maximum))
        fail(ErrorKind::kUsage, "--max-length must be 1..", symbol.maximum, " for this model, not ", max_length_);
    }
    for (const auto& [name, extent] : program_.symbols) capacity_[name] = extent == Extent::kOne ? 1 : max_length_;
  }

  void find_inputs() {
    using Source = CInput::Source;
    static const std::map<std::string, Source> kMade = {{"position", Source::kPosition},
                                                        {"type", Source::kZero},
                                                        {"start", Source::kZero},
                                                        {"length", Source::kLength}};
    if (main_.outputs.size() != 1 || main_.producer(main_.outputs[0]) < 0)
      fail(ErrorKind::kContract, "exported C gives one computed result, the model has ", main_.outputs.size(),
           " outputs");
    std::vector<std::string> callers;
    for (const ValueId id : main_.inputs) {
      const Value& value = main_.value(id);
      const auto made = kMade.find(value.name);
      const CInput input{made == kMade.end() ? Source::kCaller : made->second, id, promised(id)};
      const int64_t largest = input.source == Source::kPosition ? max_length_ - 1
                              : input.source == Source::kLength ? max_length_
                                                                : 0;
      if (input.source == Source::kCaller) callers.push_back(value.name);
      if (value.shape.size() != 1 || value.shape[0].factor != 1 || value.type != DataType::kI32 ||
          (input.source != Source::kCaller && !input.range.contains({0, largest})))
        fail(ErrorKind::kContract, "input '", value.name, "', ", name(value.type), to_string(value.shape), " of ",
             input.range.lo, "..", input.range.hi, ": exported C takes texts, one integer a token");
      program_.inputs.push_back(input);
    }
    if (callers.size() != 1)
      fail(ErrorKind::kContract, "exported C takes one input, this model has ", callers.size(),
           " besides position, type, start and length");
  }

  // What every reader of an input may rely on.
  Interval promised(ValueId id) const {
    const Value& value = main_.value(id);
    Interval range = value.fact ? value.fact->range : range_of(value.type);
    for (size_t n = 0; n < main_.nodes.size(); ++n)
      for (size_t i = 0; i < main_.nodes[n].inputs.size(); ++i)
        if (main_.nodes[n].inputs[i] == id) {
          const Interval proved = proofs_[n].values[model_.body(main_.nodes[n]).graph.inputs[i]];
          range = {std::max(range.lo, proved.lo), std::min(range.hi, proved.hi)};
        }
    return range;
  }

  // One function a body, printed for the hull of its layers' ranges.
  void print_functions() {
    std::map<std::string, Ranges> hulls;
    for (size_t n = 0; n < main_.nodes.size(); ++n) {
      const auto [it, fresh] = hulls.try_emplace(main_.nodes[n].body, proofs_[n]);
      if (fresh) continue;
      for (size_t v = 0; v < it->second.values.size(); ++v) {
        Interval& hull = it->second.values[v];
        const Interval range = proofs_[n].values[v];
        hull = {std::min(hull.lo, range.lo), std::max(hull.hi, range.hi)};
      }
    }
    std::map<std::string, size_t> known;
    for (const Node& node : main_.nodes) {
      const auto [it, fresh] = known.try_emplace(node.body, program_.functions.size());
      if (fresh) program_.functions.push_back({print(node, hulls.at(node.body)), node.body, &model_.body(node).graph});
      CFunctionUse& use = program_.functions[it->second];
      ++use.layers;
      for (const ValueId id : node.outputs)
        if (program_.power(element_count(main_.value(id).shape)) > 1 || is_packed(main_.value(id).type))
          fail(ErrorKind::kContract, "layer ", node.name, " gives ", name(main_.value(id).type),
               to_string(main_.value(id).shape), ", which is no result of exported C");
      program_.layers.push_back({&node, "", it->second});
    }
    for (CLayer& layer : program_.layers) layer.name = function_name(layer.node->name);
  }

  // The program's own names are `taken` or begin like this.
  std::string function_name(const std::string& wish) {
    std::set<std::string> none;
    const std::string plain = c_identifier(wish, none);
    std::string upper = prefix_;
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const bool clashes = std::ranges::any_of(std::initializer_list<std::string>{prefix_, upper, "AT_", "scratch_of_"},
                                             [&](const std::string& own) { return plain.starts_with(own); });
    return c_identifier(clashes ? "layer_" + plain : plain, taken_);
  }

  CFunction print(const Node& node, Ranges ranges) {
    const Graph& body = model_.body(node).graph;
    ranges.channels.clear();  // they were one layer's
    CFunction function;
    try {
      function = print_c(body, ranges, function_name(body.name));
    } catch (const Error& error) {
      fail(error.kind(), "layer ", node.name, " cannot be exported as C: ", error.what());
    }
    for (const std::string& symbol : function.symbols)
      if (!program_.symbols.count(symbol))
        fail(ErrorKind::kContract, "layer ", node.name, " cannot be exported as C: symbol ", symbol,
             " is neither a text's length nor the number of texts");
    return function;
  }

  void place_weights() {
    for (const Node& node : main_.nodes)
      for (const ValueId id : node.inputs) {
        if (id < 0) fail(ErrorKind::kContract, "layer ", node.name, " leaves an operand out: it cannot be exported");
        const Value& value = main_.value(id);
        if (!value.is_constant() || program_.weight_of.count(id)) continue;
        program_.weight_of[id] = program_.weights.size();
        program_.weights.push_back({c_identifier(value.name, taken_), value.constant, program_.weight_bytes});
        program_.weight_bytes += lines(value.constant.bytes());
      }
  }

  // Values from the layer that writes them (inputs: from the start) to the last that reads them, and each layer's
  // scratch.
  void place_values() {
    struct Buffer {
      CBytes bytes;
      Lifetime lifetime;
      int offset_slot = 0;
    };
    std::vector<Buffer> buffers;
    std::vector<ValueId> ids;
    const int end = static_cast<int>(main_.nodes.size());
    const auto add_value = [&](ValueId id, int first) {
      const Value& value = main_.value(id);
      int last = main_.is_output(id) ? end : first;
      for (int n = first; n < end; ++n)
        if (std::count(main_.nodes[n].inputs.begin(), main_.nodes[n].inputs.end(), id)) last = std::max(last, n);
      const CBytes bytes{{{element_count(value.shape), bits(value.type) / 8}}, -1};
      buffers.push_back({bytes, {capacity(bytes), first, last}});
      ids.push_back(id);
    };
    for (const CInput& input : program_.inputs) add_value(input.value, 0);
    for (int n = 0; n < end; ++n)
      for (const ValueId id : main_.nodes[n].outputs) add_value(id, n);
    for (int n = 0; n < end; ++n) {
      const size_t function = program_.layers[n].function;
      const CBytes bytes{program_.functions[function].function.scratch, static_cast<int>(function)};
      buffers.push_back({bytes, {capacity(bytes), n, n}});
    }

    std::vector<Lifetime> lifetimes;
    for (const Buffer& b : buffers) lifetimes.push_back(b.lifetime);
    const MemoryPlan plan = plan_memory(lifetimes);
    program_.arena_bytes = plan.arena_bytes;
    if (program_.arena_bytes > INT32_MAX / 2)
      fail(ErrorKind::kContract, "static memory of ", program_.arena_bytes, " bytes is too much: lower --max-length");

    // Slots keep the plan's order, so that buffers stay apart for shorter texts too.
    std::vector<int64_t> offsets = plan.offsets;
    std::sort(offsets.begin(), offsets.end());
    offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
    program_.slots.resize(offsets.size() + 1);
    for (size_t i = 0; i < buffers.size(); ++i)
      buffers[i].offset_slot =
          static_cast<int>(std::lower_bound(offsets.begin(), offsets.end(), plan.offsets[i]) - offsets.begin());
    for (const Buffer& above : buffers)
      for (const Buffer& below : buffers) {
        const bool together =
            above.lifetime.first <= below.lifetime.last && below.lifetime.first <= above.lifetime.last;
        if (below.offset_slot < above.offset_slot && together && below.lifetime.bytes > 0)
          put_behind(above.offset_slot, below.offset_slot, below.bytes);
      }
    for (const Buffer& b : buffers) put_behind(static_cast<int>(offsets.size()), b.offset_slot, b.bytes);
    for (auto slot = program_.slots.rbegin(); slot != program_.slots.rend(); ++slot) remove_implied(*slot);

    for (size_t i = 0; i < ids.size(); ++i) program_.slot_of[ids[i]] = buffers[i].offset_slot;
    for (int n = 0; n < end; ++n) program_.layers[n].scratch = buffers[ids.size() + n].offset_slot;
  }

  // Where two such bounds are multiples of one power of the length, the smaller says nothing.
  void put_behind(int slot, int below, const CBytes& bytes) {
    if (bytes.parts.empty()) return;
    auto& behind = program_.slots[slot].behind;
    for (auto& [other_slot, other] : behind) {
      if (other_slot != below) continue;
      if (covers(other, bytes)) return;
      if (covers(bytes, other)) {
        other = bytes;
        return;
      }
    }
    behind.emplace_back(below, bytes);
  }

  // Behind a slot that itself lies behind a buffer, nothing new is said by naming that buffer.
  void remove_implied(CSlot& slot) const {
    const auto implied = [&](const std::pair<int, CBytes>& bound) {
      return std::any_of(slot.behind.begin(), slot.behind.end(), [&](const std::pair<int, CBytes>& other) {
        const auto& further = program_.slots[other.first].behind;
        return std::any_of(further.begin(), further.end(), [&](const std::pair<int, CBytes>& b) {
          return b.first == bound.first && covers(b.second, bound.second);
        });
      });
    };
    std::vector<std::pair<int, CBytes>> kept;
    for (const auto& bound : slot.behind)
      if (!implied(bound)) kept.push_back(bound);
    slot.behind = std::move(kept);
  }

  bool covers(const CBytes& a, const CBytes& b) const {
    if (a.function >= 0 && a.function == b.function) return true;
    if (a.parts.size() != 1 || b.parts.size() != 1) return false;
    return program_.power(a.parts[0].first) == program_.power(b.parts[0].first) &&
           a.parts[0].first.factor * a.parts[0].second >= b.parts[0].first.factor * b.parts[0].second;
  }
  int64_t capacity(const CBytes& bytes) const {
    int64_t sum = 0;
    for (const auto& [count, size] : bytes.parts) sum += lines(count.value(capacity_) * size);
    return sum;
  }

  const Model& model_;
  const Graph& main_;
  const int64_t max_length_;
  const std::string prefix_;
  std::set<std::string> taken_;
  std::vector<Ranges> proofs_;
  Bindings capacity_;
  CProgram program_;
};

}  // namespace

std::string CProgram::extent(const Dim& dim, const std::string& length) const {
  std::string text = dim.factor == 1 ? "" : std::to_string(dim.factor);
  for (const std::string& symbol : dim.symbols)
    if (symbols.at(symbol) == Extent::kLength) text += (text.empty() ? "" : " * ") + length;
  return text.empty() ? "1" : text;
}

int64_t CProgram::power(const Dim& dim) const {
  return std::count_if(dim.symbols.begin(), dim.symbols.end(),
                       [&](const std::string& s) { return symbols.at(s) == Extent::kLength; });
}

CProgram plan_program(const Model& model, const CExportOptions& options, std::set<std::string> taken) {
  return Planner(model, options, std::move(taken)).plan();
}

}  // namespace dyadic::export_c_detail

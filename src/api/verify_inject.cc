#include "api/verify_inject.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "base/fixed_point.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/status.h"
#include "graph/bodies/bodies.h"
#include "graph/ranges.h"
#include "tensor/epilogue.h"

namespace dyadic {
namespace {

// Rows that are tried on a fault which the extreme codes do not show, for a composite of few parameters; fewer for a
// large one, so that a search takes seconds.
constexpr int64_t kMostRows = int64_t{1} << 22, kLeastRows = int64_t{1} << 15, kSearchBytes = int64_t{1} << 38;
constexpr int64_t kSearchRows = 4096;  // at once

// ---- the fault ---------------------------------------------------------------------------------------------------

struct Fault {
  size_t composite = 0;  // of the cases
  size_t input = 0;      // of its node
  int64_t byte = 0;
  int bit = 0;
};

int64_t constant_bytes(const LoneComposite& c) {
  int64_t bytes = 0;
  for (const ValueId id : c.node().inputs)
    if (const Value& v = c.model->main().value(id); v.is_constant()) bytes += v.constant.bytes();
  return bytes;
}

const Tensor& constant_of(const LoneComposite& c, size_t input) {
  return c.model->main().value(c.node().inputs[input]).constant;
}

Fault fault_at(std::span<const CompositeCase> cases, int64_t offset, int bit) {
  Fault fault{0, 0, offset, bit};
  for (;; ++fault.composite) {
    const LoneComposite& c = cases[fault.composite].composite;
    for (fault.input = 0; fault.input < c.node().inputs.size(); ++fault.input) {
      const Tensor& constant = constant_of(c, fault.input);
      if (!constant.defined()) continue;
      if (fault.byte < constant.bytes()) return fault;
      fault.byte -= constant.bytes();
    }
  }
}

Tensor flipped(const Tensor& constant, int64_t byte, int bit) {
  Tensor copy(constant.type(), constant.dims());
  std::memcpy(copy.mutable_raw(), constant.raw(), static_cast<size_t>(constant.bytes()));
  copy.mutable_raw()[byte] ^= std::byte{1} << bit;
  return copy;
}

// ---- faults that nothing can show --------------------------------------------------------------------------------

// The parameters of one composite, by the names of its body; those of a fault differ in one element.
class Parameters {
 public:
  explicit Parameters(const LoneComposite& c) : c_(c) {}
  const Tensor* find(const std::string& name) const {
    const Graph& body = c_.body().graph;
    for (size_t i = 0; i < body.inputs.size(); ++i)
      if (body.value(body.inputs[i]).name == name)
        if (const Tensor& t = constant_of(c_, i); t.defined()) return &t;
    return nullptr;
  }
  // Element i, or the only element; `absent` if there is no such parameter.
  int64_t at(const std::string& name, int64_t i, int64_t absent = 0) const {
    const Tensor* t = find(name);
    return t ? t->at(t->count() == 1 ? 0 : i) : absent;
  }

 private:
  const LoneComposite& c_;
};

bool same_everywhere(Interval x, const std::function<int64_t(int64_t)>& a, const std::function<int64_t(int64_t)>& b) {
  for (int64_t i = x.lo; i <= x.hi; ++i)
    if (a(i) != b(i)) return false;
  return true;
}

Interval proved(const LoneComposite& c, const std::string& value, int64_t channel) {
  const ValueId id = c.body().graph.find(value);
  const auto channels = c.ranges().channels.find(id);
  return channels == c.ranges().channels.end() ? c.ranges().values[id] : channels->second[channel];
}

// linear: a channel's code is a function of its accumulator alone.
std::string linear_equivalence(const LoneComposite& clean, const LoneComposite& faulty, const std::string& name,
                               int64_t element) {
  if (!clean.node().has("epilogue")) return "";
  const auto stages = parse_epilogue(clean.node().text("epilogue"));
  const Parameters a(clean), b(faulty);
  const auto requantize = std::find_if(stages.begin(), stages.end(),
                                       [](const EpilogueStage& stage) { return stage.kind == StageKind::kRequantize; });
  if (requantize == stages.end() || a.find("m2") || a.find("bias2") || a.find("residual")) return "";
  if (name == "tables") {
    const int64_t code = element % 256 - 128;
    return code < requantize->clamp.lo || code > requantize->clamp.hi
               ? cat("code ", code, " does not occur: codes end at ", requantize->clamp.lo)
               : "";
  }
  if (name != "bias" && name != "m" && !(name == "s" && a.find("s")->count() > 1)) return "";
  const auto code = [&](const Parameters& p) {
    return [&, m = p.at("m", element), s = static_cast<int>(p.at("s", element)),
            bias = p.at("bias", element)](int64_t acc) {
      return clamp64(mul_shift(acc + bias, m, s) + requantize->zero_point, requantize->clamp.lo, requantize->clamp.hi);
    };
  };
  const Interval acc = proved(clean, "acc", element);
  return same_everywhere(acc, code(a), code(b))
             ? cat("channel ", element, " gives the same code for each accumulator in ", acc.lo, "..", acc.hi)
             : "";
}

// Norms: an output's code is a function of y alone; a term of the sum one of its operand's code.
std::string norm_equivalence(const LoneComposite& clean, const LoneComposite& faulty, const std::string& name,
                             int64_t element) {
  const Parameters a(clean), b(faulty);
  const size_t cut = name.rfind('_');
  const std::string stem = name.substr(0, cut), part = cut == std::string::npos ? "" : name.substr(cut + 1);
  const auto term = [&](const Parameters& p, int64_t i) {
    return [m = p.at(stem + "_m", i), s = static_cast<int>(p.at(stem + "_s", i))](int64_t x) {
      return mul_shift(x, m, s);
    };
  };
  if (a.find(stem + "_codes")) {  // a table: the codes of one row
    const Tensor &before = *a.find(stem + "_codes"), &after = *b.find(stem + "_codes");
    const int64_t width = before.dim(1), row = part == "codes" ? element / width : element;
    const auto f = term(a, row), g = term(b, row);
    for (int64_t i = row * width; i < (row + 1) * width; ++i)
      if (f(before.at(i)) != g(after.at(i))) return "";
    return cat("row ", row, " of the table gives the same terms");
  }
  if (a.find(stem + "_beta") && (part == "m" || part == "beta")) {
    const ValueId id = clean.body().graph.find(stem);
    const bool is_code8 = id >= 0 && clean.body().graph.value(id).type == DataType::kI8;
    const Interval ends = is_code8 ? Interval{-127, 127} : range_of(DataType::kI16);
    const auto output = [&](const Parameters& p) {
      return [&, f = term(p, element), beta = p.at(stem + "_beta", element)](int64_t y) {
        return clamp64(shift_right(f(y) + beta, 8, Rounding::kHalfUp), ends.lo, ends.hi);
      };
    };
    const Interval y = proved(clean, "y", element);
    return same_everywhere(y, output(a), output(b))
               ? cat("column ", element, " gives the same code for each normalised value in ", y.lo, "..", y.hi)
               : "";
  }
  if (const ValueId operand = clean.body().graph.find(stem); operand >= 0 && (part == "m" || part == "s")) {
    const Interval x = clean.ranges().values[operand];
    return same_everywhere(x, term(a, 0), term(b, 0)) ? cat("every ", stem, " code gives the same term") : "";
  }
  return "";
}

// Why no input of the composite can show the fault, or empty if that is not proved.
std::string equivalence(const LoneComposite& clean, const LoneComposite& faulty, const Fault& fault) {
  if (!is_shared_body(clean.node(), clean.body())) return "";
  const Graph& body = clean.body().graph;
  const std::string& name = body.value(body.inputs[fault.input]).name;
  const int64_t element = fault.byte * 8 / bits(constant_of(clean, fault.input).type());
  if (clean.node().op == "linear") return linear_equivalence(clean, faulty, name, element);
  if (clean.node().op == "add_norm" || clean.node().op == "embed_norm")
    return norm_equivalence(clean, faulty, name, element);
  return "";
}

// ---- finding it --------------------------------------------------------------------------------------------------

// The index input that selects rows of a constant, at the row of the fault.
PinnedIndex pinned_to(const LoneComposite& c, const Fault& fault) {
  const Graph& body = c.body().graph;
  for (const Node& node : body.nodes) {
    if (node.op != "gather" || node.inputs[0] != body.inputs[fault.input]) continue;
    const Tensor& table = constant_of(c, fault.input);
    for (size_t i = 0; i < body.inputs.size(); ++i)
      if (body.inputs[i] == node.inputs[1]) return {i, fault.byte / (table.bytes() / table.dim(0))};
  }
  return {};
}

// Random rows on which the two differ, by the quickest executors; nothing if there are none among many.
std::optional<Feeds> search(const LoneComposite& clean, const LoneComposite& faulty, const Fault& fault,
                            uint64_t seed) {
  Session a(clean.model, {.proof = clean.proof}), b(faulty.model, {.proof = faulty.proof});
  const PinnedIndex pinned = pinned_to(clean, fault);
  const int64_t rows = std::clamp(kSearchBytes / std::max<int64_t>(constant_bytes(clean), 1), kLeastRows, kMostRows);
  for (int64_t done = 0; done < rows; done += kSearchRows) {
    check_interrupted();
    Feeds feeds = random_feeds(clean, kSearchRows, kCodeSpreads[done / kSearchRows % std::size(kCodeSpreads)],
                               seed + done, pinned);
    if (first_difference(clean, a.run(feeds), b.run(feeds))) return feeds;
  }
  return std::nullopt;
}

class Injector {
 public:
  Injector(std::span<const CompositeCase> cases, std::span<const VerifyBackend> backends) : cases_(cases) {
    for (const VerifyBackend& backend : backends)
      if (backend.options.backend != Backend::kEvaluator && backend.batch_tokens == kMixedBatch)
        backends_.push_back(&backend);
  }

  InjectReport run(int64_t count, uint64_t seed) {
    int64_t bytes = 0;
    for (const CompositeCase& c : cases_) bytes += constant_bytes(c.composite);
    if (bytes == 0) fail(ErrorKind::kContract, "no composite of this model has a constant to flip a bit of");
    Random random(seed, kStream);
    Progress progress("inject faults", count);
    // A model in which most flips change nothing does not keep this going for ever.
    for (int64_t drawn = 0; report_.planted < count && drawn < 20 * count; ++drawn) {
      const auto offset = static_cast<int64_t>(random.below(static_cast<uint64_t>(bytes)));
      const auto bit = static_cast<int>(random.below(8));
      const VerifyBackend& backend = *backends_[random.below(backends_.size())];
      if (plant(fault_at(cases_, offset, bit), backend, random.next64())) progress.add();
    }
    return std::move(report_);
  }

 private:
  static constexpr uint64_t kStream = 0x696e6a656374;

  // False if the fault is proved to change nothing.
  bool plant(const Fault& fault, const VerifyBackend& backend, uint64_t seed) {
    const CompositeCase& c = cases_[fault.composite];
    const Graph& body = c.composite.body().graph;
    PlantedFault planted{
        c.composite.node().name, backend.name, body.value(body.inputs[fault.input]).name, fault.byte, fault.bit, ""};
    const bool is_found = find(c, fault, backend, seed, planted.found_by);
    if (!is_found && !planted.found_by.empty()) {
      report_.equivalent.push_back(std::move(planted));
      return false;
    }
    ++report_.planted;
    if (is_found) {
      ++report_.found;
      ++report_.found_by[planted.found_by];
      report_.faults.push_back(std::move(planted));
    } else {
      planted.found_by = "no difference on the extreme codes, nor on random rows";
      report_.missed.push_back(std::move(planted));
    }
    return true;
  }

  // How the fault is found; or false, and the reason if it is proved that it cannot be.
  bool find(const CompositeCase& c, const Fault& fault, const VerifyBackend& backend, uint64_t seed, std::string& how) {
    LoneComposite faulty;
    try {
      faulty = with_parameter(c.composite, fault.input,
                              flipped(constant_of(c.composite, fault.input), fault.byte, fault.bit));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kContract) throw;
      how = "range proof";
      return true;
    }
    SessionOptions options = backend.options;
    options.proof = faulty.proof;
    Session session(faulty.model, options);
    for (size_t i = 0; i < c.feeds.size(); ++i)
      if (differs(c.composite, session, c.feeds[i], c.expected[i])) {
        how = "extreme codes";
        return true;
      }
    how = equivalence(c.composite, faulty, fault);
    if (!how.empty()) return false;
    const auto feeds = search(c.composite, faulty, fault, seed);
    if (!feeds) return false;
    Session evaluator(c.composite.model, {.backend = Backend::kEvaluator, .proof = c.composite.proof});
    how = "search";
    return differs(c.composite, session, *feeds, evaluator.run(*feeds));
  }

  static bool differs(const LoneComposite& composite, Session& session, const Feeds& feeds, const Feeds& expected) {
    try {
      return first_difference(composite, expected, session.run(feeds)).has_value();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kContract) throw;
      return true;  // e.g. an index that leaves its table
    }
  }

  std::span<const CompositeCase> cases_;
  std::vector<const VerifyBackend*> backends_;
  InjectReport report_;
};

}  // namespace

std::optional<Difference> first_difference(const LoneComposite& composite, const Feeds& expected, const Feeds& found) {
  const Graph& main = composite.model->main();
  for (const ValueId id : composite.node().outputs) {
    const Tensor &a = expected.at(main.value(id).name), &b = found.at(main.value(id).name);
    if (a == b) continue;
    for (int64_t i = 0; i < a.count(); ++i)
      if (a.at(i) != b.at(i)) return Difference{composite.node().name, "", "extreme codes", i, a.at(i), b.at(i)};
  }
  return std::nullopt;
}

InjectReport inject_faults(std::span<const CompositeCase> cases, std::span<const VerifyBackend> backends, int64_t count,
                           uint64_t seed) {
  return Injector(cases, backends).run(count, seed);
}

}  // namespace dyadic

#include "api/verify_inject.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "api/fault_analysis.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/status.h"
#include "graph/ranges.h"

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
      planted.found_by = "no difference on extreme, aimed or random codes";
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
    const int64_t element = fault.byte * 8 / bits(constant_of(c.composite, fault.input).type());
    const FaultAnalysis analysis = analyse_fault(c.composite, faulty, fault.input, element, seed);
    how = analysis.equivalent;
    if (!how.empty()) return false;
    Session evaluator(c.composite.model, {.backend = Backend::kEvaluator, .proof = c.composite.proof});
    for (const Feeds& feeds : analysis.aimed)
      if (differs(c.composite, session, feeds, evaluator.run(feeds))) {
        how = "aimed codes";
        return true;
      }
    const auto feeds = search(c.composite, faulty, fault, seed);
    if (!feeds || !differs(c.composite, session, *feeds, evaluator.run(*feeds))) return false;
    how = "random codes";
    return true;
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

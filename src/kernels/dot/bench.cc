// Exact products of 8-bit codes: GMAC/s, the share of min(compute, reading the panels from where they lie), both
// measured in this run, and the ratio to oneDNN's u8 x s8 -> s32 matmul with packed weights. Every product is compared
// before it is timed; several inputs take turns, ours and oneDNN's calls too.
//
// DYADIC_ISA=avx2 and DNNL_MAX_CPU_ISA=AVX2 together: both on AVX2, where oneDNN's product saturates.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <oneapi/dnnl/dnnl.hpp>
#include <set>
#include <string>

#include "base/random.h"
#include "kernels/dot/panels.h"
#include "kernels/limits/limits.h"
#include "kernels/testing.h"
#include "tensor/tensor.h"

namespace dyadic {
namespace {

constexpr int kTurns = 15, kInputs = 3;

double thread_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + v.size() / 2, v.end());
  return v[v.size() / 2];
}

using Call = std::function<void(int input)>;

// Seconds of one call of each, kTurns samples in turns of about `budget` seconds in all.
std::vector<std::vector<double>> time_in_turns(double budget, const std::vector<Call>& calls) {
  std::vector<int> repeats;
  for (const Call& call : calls) {
    call(0);
    const double begin = thread_seconds();
    call(1);
    repeats.push_back(std::max(1, static_cast<int>(budget / kTurns / std::max(thread_seconds() - begin, 1e-7))));
  }
  std::vector<std::vector<double>> samples(calls.size());
  for (int turn = 0; turn < kTurns; ++turn)
    for (size_t i = 0; i < calls.size(); ++i) {
      const double begin = thread_seconds();
      for (int r = 0; r < repeats[i]; ++r) calls[i](r % kInputs);
      samples[i].push_back((thread_seconds() - begin) / repeats[i]);
    }
  return samples;
}

Tensor random_codes(Random& random, DataType type, const Dims& dims) {
  Tensor t(type, dims);
  for (int64_t i = 0; i < t.count(); ++i)
    t.set(i, range_of(type).lo + static_cast<int64_t>(random.below(range_of(type).hi - range_of(type).lo + 1)));
  return t;
}

// Codes that are bell-shaped and reach 127 in each row, as those of trained networks.
Tensor trained_codes(Random& random, const Dims& dims) {
  Tensor t(DataType::kI8, dims);
  for (int64_t n = 0; n < dims[0]; ++n) {
    std::vector<int64_t> row(dims[1]);
    int64_t largest = 1;
    for (int64_t& w : row) {
      for (int i = 0; i < 12; ++i) w += static_cast<int64_t>(random.below(2001)) - 1000;
      largest = std::max(largest, std::abs(w));
    }
    for (int64_t k = 0; k < dims[1]; ++k) t.set(n * dims[1] + k, 127 * row[k] / largest);
  }
  return t;
}

Panels fastest_panels(Isa isa, const PanelDot& dot, const Tensor& b) {
  constexpr int64_t kColumns = 192;  // a whole number of panels of any width
  std::vector<int64_t> columns((b.dim(0) + kColumns - 1) / kColumns * kColumns, -1);
  std::iota(columns.begin(), columns.begin() + b.dim(0), 0);
  return pack_fastest(isa, dot.a, dot.b, {b.raw(), b.dim(1), b.dim(1), columns, {-127, 127}});
}

// One product, ready to be called again and again.
class Ours {
 public:
  Ours(Panels panels, const Tensor& b, const std::vector<Tensor>& a)
      : a_(a), M_(a[0].dim(0)), N_(b.dim(0)), panels_(std::move(panels)) {
    scratch_ = AlignedBuffer(product_scratch_bytes(panels_, M_));
    c_ = Tensor(DataType::kI32, {M_, N_});
  }
  const Tensor& operator()(int input) {
    product(panels_, M_, N_, a_[input].raw(), panels_.K, c_.mutable_data<int32_t>(), N_, scratch_.data());
    return c_;
  }
  const Panels& panels() const { return panels_; }
  int64_t panel_bytes() const { return static_cast<int64_t>(panels_.bytes.size()); }

 private:
  const std::vector<Tensor>& a_;
  int64_t M_, N_;
  Panels panels_;
  AlignedBuffer scratch_;
  Tensor c_;
};

// u8 x s8 -> s32, weights in the layout of its choice.
class OneDnn {
 public:
  OneDnn(const Tensor& b, const std::vector<Tensor>& a) : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    using Memory = dnnl::memory;
    using Tag = Memory::format_tag;
    const int64_t M = a[0].dim(0), N = b.dim(0), K = b.dim(1);
    const Memory::desc x({M, K}, Memory::data_type::u8, Tag::ab), y({M, N}, Memory::data_type::s32, Tag::ab);
    const dnnl::matmul::primitive_desc description(
        dnnl::matmul::desc(x, Memory::desc({K, N}, Memory::data_type::s8, Tag::any), y), engine_);
    Memory plain({{K, N}, Memory::data_type::s8, Tag::ba}, engine_, const_cast<std::byte*>(b.raw()));
    weights_ = Memory(description.weights_desc(), engine_);
    dnnl::reorder(plain, weights_).execute(stream_, plain, weights_);
    stream_.wait();
    c_ = Tensor(DataType::kI32, {M, N});
    result_ = Memory(y, engine_, c_.mutable_raw());
    for (const Tensor& input : a) inputs_.emplace_back(x, engine_, const_cast<std::byte*>(input.raw()));
    matmul_ = dnnl::matmul(description);
  }
  const Tensor& operator()(int input) {
    matmul_.execute(stream_, {{DNNL_ARG_SRC, inputs_[input]}, {DNNL_ARG_WEIGHTS, weights_}, {DNNL_ARG_DST, result_}});
    stream_.wait();
    return c_;
  }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::memory weights_, result_;
  std::vector<dnnl::memory> inputs_;
  dnnl::matmul matmul_;
  Tensor c_;
};

struct Shape {
  const char* kind;
  int64_t M, N, K;
};

std::vector<Shape> shapes(const std::string& kind) {
  std::vector<Shape> all;
  if (kind == "gemm")
    for (const int64_t M : {128, 384, 1024, 1536})
      for (const int64_t N : {128, 384, 1024, 1536})
        for (const int64_t K : {128, 384, 1024, 1536}) all.push_back({"gemm", M, N, K});
  if (kind == "skinny")
    for (const auto& [N, K] : {std::pair{384, 384}, {1152, 384}, {1536, 384}, {384, 1536}, {1024, 1024}})
      for (const int64_t M : {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 16}) all.push_back({"skinny", M, N, K});
  if (kind == "gemv")
    for (const int64_t n : {1024, 4096}) all.push_back({"gemv", 1, n, n});
  if (kind == "trained")
    for (const auto& [N, K] : {std::pair{1152, 384}, {384, 384}, {1536, 384}, {384, 1536}})
      for (const int64_t M : {1, 16, 128}) all.push_back({"trained", M, N, K});
  if (kind == "small")
    for (const int64_t M : {1, 4, 16, 128})
      all.push_back({"small", M, 384, 384}), all.push_back({"small", M, 1536, 384});
  return all;
}

class Bench {
 public:
  Bench(double seconds, Isa isa) : seconds_(seconds), isa_(isa) {
    report_ = {{"cpu", cpu_model()}, {"isa", isa_name(isa)}, {"threads", 1}, {"peak_gmacs", peak(isa)}};
    std::printf("%s, %s, one thread; peak %.1f GMAC/s (%s)\n", cpu_model().c_str(), isa_name(isa).data(), peak(isa),
                limit_probes(isa).dot.instructions);
  }

  // False where results differ.
  bool run(const Shape& shape, const PanelDot& types, bool with_onednn) {
    Random random(1, static_cast<uint64_t>(shape.M * 31 + shape.N * 7 + shape.K));
    const bool trained = shape.kind == std::string("trained");
    const Dims dims{shape.N, shape.K};
    const Tensor b = trained ? trained_codes(random, dims) : random_codes(random, types.b, dims);
    std::vector<Tensor> a;
    for (int i = 0; i < kInputs; ++i) a.push_back(random_codes(random, types.a, {shape.M, shape.K}));
    const auto pack = [&](const PanelDot& with) { return pack_panels(with, b.raw(), shape.K, shape.N, shape.K); };
    Ours ours(trained ? fastest_panels(isa_, types, b) : pack(types), b, a);
    Ours reference(pack(panel_dot(Isa::kPortable, types.a, types.b)), b, a);
    const PanelDot& dot = *ours.panels().dot;
    std::vector<Call> calls{[&](int input) { ours(input); }};
    std::optional<OneDnn> onednn;
    if (with_onednn) onednn.emplace(b, a), calls.push_back([&](int input) { (*onednn)(input); });
    const Tensor wanted = reference(0);
    const bool exact = !onednn || (*onednn)(0) == wanted;
    if (ours(0) != wanted) {
      std::printf("%s: results differ at %ld x %ld x %ld\n", dot.name, static_cast<long>(shape.M),
                  static_cast<long>(shape.N), static_cast<long>(shape.K));
      return false;
    }
    const auto samples = time_in_turns(seconds_, calls);
    const double macs = 1e-9 * static_cast<double>(shape.M * shape.N * shape.K), s = median(samples[0]);
    const double compute = macs / peak(dot.isa, dot.group), bytes = static_cast<double>(ours.panel_bytes());
    const double memory = 1e-9 * bytes / bandwidth(ours.panel_bytes());
    const double limit = std::max(compute, memory) / s;
    std::printf("%-7s %5ld %5ld %5ld %-18s %7.1f GMAC/s", shape.kind, static_cast<long>(shape.M),
                static_cast<long>(shape.N), static_cast<long>(shape.K), dot.name, macs / s);
    nlohmann::json row = {
        {"kind", shape.kind},  {"m", shape.M}, {"n", shape.N},      {"k", shape.K},
        {"product", dot.name}, {"seconds", s}, {"gmacs", macs / s}, {"panel_bytes", ours.panel_bytes()}};
    std::printf("  %5.1f %% of %s", 100 * limit, compute >= memory ? "compute" : "memory ");
    row["of_limit"] = limit, row["limit"] = compute >= memory ? "compute" : "memory";
    Sum& sum = sums_[shape.kind];
    ++sum.count, sum.limit += std::log(limit), sum.worst_limit = std::min(sum.worst_limit, limit);
    if (onednn) {
      std::vector<double> ratios;
      for (int t = 0; t < kTurns; ++t) ratios.push_back(samples[1][t] / samples[0][t]);
      std::printf("  %.2f x oneDNN%s", median(ratios), exact ? "" : ", which saturates");
      row["onednn_exact"] = exact, row["onednn_seconds"] = median(samples[1]), row["speed_to_onednn"] = median(ratios);
      sum.ratio += std::log(median(ratios)), sum.worst_ratio = std::min(sum.worst_ratio, median(ratios));
    }
    std::printf("%s\n", ours.panels().note.c_str());
    std::fflush(stdout);
    report_["products"].push_back(row);
    return true;
  }

  void finish(const std::string& json) {
    for (const auto& [kind, sum] : sums_) {
      std::printf("%-7s %.1f %% of the limit in the geometric mean, %.1f %% at worst", kind.c_str(),
                  100 * std::exp(sum.limit / sum.count), 100 * sum.worst_limit);
      if (kind != "types" && kind != "trained")
        std::printf("; %.2f x oneDNN, %.2f at worst", std::exp(sum.ratio / sum.count), sum.worst_ratio);
      std::printf("\n");
    }
    if (!json.empty()) std::ofstream(json) << report_.dump(1) << "\n";
  }

 private:
  static constexpr int64_t kProbe = 20'000'000;  // nanoseconds

  struct Sum {
    double limit = 0, ratio = 0, worst_limit = 1e9, worst_ratio = 1e9;
    int count = 0;
  };

  // GMAC/s. Sums of two 16-bit products a lane are half as fast as those of four 8-bit ones, where there are both.
  double peak(Isa isa, int group = 4) {
    double& found = peak_[isa];
    if (found == 0) found = 1e-9 * static_cast<double>(operations_per_second(limit_probes(isa).dot, kProbe));
    return isa == Isa::kAvx512Vnni && group == 2 ? found / 2 : found;
  }

  // Gbyte/s of a buffer of that size.
  double bandwidth(int64_t bytes) {
    double& found = bandwidth_[bytes];
    if (found == 0) found = 1e-9 * static_cast<double>(read_bytes_per_second(isa_, bytes, kProbe));
    return found;
  }

  double seconds_;
  Isa isa_;
  std::map<Isa, double> peak_;
  std::map<int64_t, double> bandwidth_;
  std::map<std::string, Sum> sums_;
  nlohmann::json report_;
};

constexpr char kUsage[] =
    "usage: bench_kernels_dot [--only SHAPES] [--seconds S] [--json FILE]\n"
    "  SHAPES   gemm (all of M, N, K in 128 384 1024 1536), skinny (M = 1..16), gemv (1024^2, 4096^2), trained\n"
    "           (bell-shaped weights, s8 x s8, on AVX2 the product that they allow), types, small (a few of gemm);\n"
    "           all but small unless given\n"
    "  S        for each figure, default 0.03\n";

int run(int argc, char** argv) {
  std::string only, json;
  double seconds = 0.03;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    const bool known = std::set<std::string>{"gemm", "skinny", "gemv", "trained", "types", "small"}.count(value) != 0;
    if (option == "--only" && known) {
      only = value;
    } else if (option == "--json" && !value.empty()) {
      json = value;
    } else if (option == "--seconds" && std::atof(value.c_str()) > 0) {
      seconds = std::atof(value.c_str());
    } else {
      std::fputs(kUsage, stderr);
      return option == "--help" ? 0 : 2;
    }
  }
  testing::hold_onednn_to_this_thread();
  const Isa isa = active_isa();
  Bench bench(seconds, isa);
  const PanelDot& dot = panel_dot(isa, DataType::kU8, DataType::kI8);
  for (const char* kind : {"gemm", "skinny", "gemv", "small"})
    if (only == kind || (only.empty() && kind != std::string("small")))
      for (const Shape& shape : shapes(kind))
        if (!bench.run(shape, dot, true)) return 1;
  const PanelDot& codes = panel_dot(isa, DataType::kI8, DataType::kI8);
  if (only == "trained" || only.empty())
    for (const Shape& shape : shapes("trained"))
      if (!bench.run(shape, codes, false)) return 1;
  if (only == "types" || only.empty())
    for (const PanelDot* each : panel_dots())
      if (each->isa <= isa && each->isa != Isa::kPortable && cpu_runs(*each))
        for (const int64_t M : {1, 16, 128})
          if (!bench.run({"types", M, 384, 384}, *each, false)) return 1;
  bench.finish(json);
  return 0;
}

}  // namespace
}  // namespace dyadic

int main(int argc, char** argv) { return dyadic::run(argc, argv); }

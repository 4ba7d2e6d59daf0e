// Row operations in integers against oneDNN's vectorised f32 primitives: softmax, layer normalisation, GELU.
//
// Ours are the kernels that a model runs: attention's row pass (scores to e and its sum), add_norm with one i8 output
// (the residual sum included) and the table stage of linear. Results are compared with plain loops first. All take
// turns on one thread; medians in nanoseconds an element, the ratio of each turn, and the share of what reading the
// operands and writing the results would take at the speed at which this core reads as many bytes again and again.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>

#include <nlohmann/json.hpp>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/buffer.h"
#include "kernels/attention/attention.h"
#include "kernels/limits/limits.h"
#include "kernels/linear/epilogue.h"
#include "kernels/testing.h"

namespace dyadic {
namespace {

std::mt19937_64 random_bits(1);

template <class T>
void fill(T* p, int64_t count, int64_t lo, int64_t hi) {
  for (int64_t i = 0; i < count; ++i)
    p[i] = static_cast<T>(lo + static_cast<int64_t>(random_bits() % static_cast<uint64_t>(hi - lo + 1)));
}

template <class T>
Tensor noise(Dims dims, int64_t lo, int64_t hi) {
  Tensor t(kTypeOf<T>, std::move(dims));
  fill(t.mutable_data<T>(), t.count(), lo, hi);
  return t;
}

struct Work {
  const char* operation;
  int64_t rows, n;
  int64_t bytes;  // read and written by ours, an element
  std::function<void()> ours, floats;
};

// ---------------------------------------------------------------------------------------------- oneDNN

class OneDnn {
 public:
  using Memory = dnnl::memory;

  std::function<void()> softmax(int64_t rows, int64_t n) {
    const auto [x, y] = operands(rows, n);
    const dnnl::softmax_v2_forward::primitive_desc description(
        {dnnl::prop_kind::forward_inference, dnnl::algorithm::softmax_accurate, x.get_desc(), y.get_desc(), 1},
        engine_);
    return call(dnnl::softmax_v2_forward(description), {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}});
  }
  std::function<void()> layer_norm(int64_t rows, int64_t n) {
    const auto [x, y] = operands(rows, n);
    const dnnl::layer_normalization_forward::primitive_desc description(
        {dnnl::prop_kind::forward_inference, x.get_desc(), 1e-12f, dnnl::normalization_flags::use_scale_shift},
        engine_);
    Memory scale_shift(description.weights_desc(), engine_);
    fill_random(scale_shift, 2 * n);
    return call(dnnl::layer_normalization_forward(description),
                {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}, {DNNL_ARG_SCALE_SHIFT, scale_shift}});
  }
  std::function<void()> gelu(int64_t rows, int64_t n) {
    const auto [x, y] = operands(rows, n);
    const dnnl::eltwise_forward::primitive_desc description(
        {dnnl::prop_kind::forward_inference, dnnl::algorithm::eltwise_gelu_erf, x.get_desc(), 0}, engine_);
    return call(dnnl::eltwise_forward(description), {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}});
  }

 private:
  static void fill_random(Memory& memory, int64_t count) {
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < count; ++i) static_cast<float*>(memory.get_data_handle())[i] = normal(random_bits);
  }
  std::pair<Memory, Memory> operands(int64_t rows, int64_t n) {
    const Memory::desc desc({rows, n}, Memory::data_type::f32, Memory::format_tag::ab);
    Memory x(desc, engine_), y(desc, engine_);
    fill_random(x, rows * n);
    return {x, y};
  }
  template <class Primitive>
  std::function<void()> call(Primitive primitive, std::unordered_map<int, Memory> arguments) {
    return [this, primitive, arguments]() mutable {
      primitive.execute(stream_, arguments);
      stream_.wait();
    };
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
};

// ---------------------------------------------------------------------------------------------- ours

[[noreturn]] void differs(const char* what) { fail(ErrorKind::kFailed, "bench_rows: ", what, " differs"); }

// Scores of 32-bit sums, distances in steps of 1/16, as heads of 32 have them.
std::function<void()> softmax(Isa isa, int64_t rows, int64_t n) {
  const attention::VectorRows& set = isa >= Isa::kAvx512Vnni ? attention::kAvx512VnniRows : attention::kAvx2Rows;
  attention::VectorParameters p;
  for (int d = 0; d < 256; ++d) p.table[d] = static_cast<uint8_t>(std::lround(255 * std::exp(-d / 16.0)));
  p.distance = {1700, 19};
  p.product32 = true;
  p.has_factors = set.uses_factors;
  p.half_table = !set.uses_factors;
  p.factors = attention::factor(p.table).value();
  p.distance_shift = {0, 0, 19, 1 << 18};
  const int64_t lanes = set.lanes, blocks = (rows + lanes - 1) / lanes, padded = (n + 3) / 4 * 4;
  const auto scores = std::make_shared<AlignedBuffer>(blocks * padded * lanes * 4);
  const auto e = std::make_shared<AlignedBuffer>(blocks * padded * lanes * 4);
  const auto sigma = std::make_shared<AlignedBuffer>(blocks * lanes * 4);
  fill(scores->as<int32_t>(), blocks * padded * lanes, -20000, 20000);
  auto run = [=, &set] {
    for (int64_t b = 0; b < blocks; ++b)
      set.row_pass(p, scores->as<int32_t>() + b * padded * lanes, n, e->as<int32_t>() + b * padded * lanes,
                   sigma->as<int32_t>() + b * lanes);
  };
  run();
  for (int64_t row = 0; row < rows; ++row) {
    const int32_t* x = scores->as<int32_t>() + row / lanes * padded * lanes + row % lanes;
    int64_t top = INT64_MIN, sum = 0;
    for (int64_t i = 0; i < n; ++i) top = std::max<int64_t>(top, x[i * lanes]);
    for (int64_t i = 0; i < n; ++i) sum += p.table[std::min<int64_t>(255, mul_shift(top - x[i * lanes], 1700, 19))];
    if (sum != sigma->as<int32_t>()[row]) differs("a row's sum of e");
  }
  return run;
}

// In Q15, as the default recipe has it, with one output.
std::function<void()> layer_norm(Isa isa, int64_t rows, int64_t n) {
  KernelSpec spec;
  spec.composite = "add_norm";
  spec.integers["lane_bits"] = 16;
  for (const char* name : {"sublayer", "identity"}) spec.inputs.push_back(testing::data(name, DataType::kI16, {-1, n}));
  spec.inputs.push_back(testing::parameter<int16_t>("sublayer_m", {5001}));
  spec.inputs.push_back(testing::parameter<int16_t>("identity_m", {11001}));
  spec.inputs.push_back(testing::parameter("out0_m", noise<int16_t>({n}, 4000, 20000)));
  spec.inputs.push_back(testing::parameter("out0_beta", noise<int16_t>({n}, -600, 600)));
  spec.inputs.push_back(testing::parameter<uint8_t>("out0_shift", {4}));
  spec.outputs.push_back(testing::data("out0", DataType::kI8, {-1, n}));
  const std::vector<Tensor> inputs = {noise<int16_t>({rows, n}, -9000, 9000), noise<int16_t>({rows, n}, -9000, 9000)};
  const std::vector<Tensor> outputs = {Tensor(DataType::kI8, {rows, n})};
  const std::shared_ptr<Kernel> kernel = select_kernel(spec, isa)->make(spec);
  const auto portable = select_kernel(spec, Isa::kPortable)->make(spec);
  const auto bound = std::make_shared<testing::Bound>(*kernel, inputs, outputs, 1, 1);
  bound->run();
  if (bound->results() != testing::run(*portable, inputs, outputs, 1, 1)) differs("add_norm");
  return [=] { bound->run(), void(kernel); };
}

// In place, as linear has it: codes of one call are the operands of the next. The table is a permutation, so that they
// stay as varied as they were.
std::function<void()> gelu(Isa isa, int64_t rows, int64_t n) {
  const LinearEpilogue& epilogue = isa >= Isa::kAvx512Vnni ? kEpilogueAvx512Vnni : kEpilogueAvx2;
  const auto codes = std::make_shared<AlignedBuffer>(rows * n), table = std::make_shared<AlignedBuffer>(256);
  const auto mask = std::make_shared<AlignedBuffer>(kMaxEpilogueColumns);
  std::memset(mask->data(), 0xff, mask->size());
  for (int i = 0; i < 256; ++i) table->as<uint8_t>()[i] = static_cast<uint8_t>(77 * i + 5);
  fill(codes->as<uint8_t>(), rows * n, 0, 255);
  const std::vector<uint8_t> before(codes->as<uint8_t>(), codes->as<uint8_t>() + rows * n);
  const int64_t columns = epilogue.columns();
  auto run = [=, &epilogue] {
    for (int64_t c = 0; c < n; c += columns)
      epilogue.lookup(codes->data() + c, n, rows, table->as<int8_t>(), mask->as<uint8_t>());
  };
  run();
  for (int64_t i = 0; i < rows * n; ++i)
    if (codes->as<uint8_t>()[i] != table->as<uint8_t>()[before[i]]) differs("a looked-up code");
  return run;
}

// ---------------------------------------------------------------------------------------------- timing

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + x.size() / 2, x.end());
  return x[x.size() / 2];
}

nlohmann::json measure(const Work& work, Isa isa) {
  constexpr int kTurns = 31;
  const auto calls = [](const std::function<void()>& f) {
    f();
    return std::max<int64_t>(1, static_cast<int64_t>(3e5 / std::max(1.0, testing::time_ns(1, f))));
  };
  const int64_t ours_calls = calls(work.ours), float_calls = calls(work.floats);
  const auto elements = static_cast<double>(work.rows * work.n);
  std::vector<double> ours, floats, ratios;
  for (int turn = 0; turn < kTurns; ++turn) {
    ours.push_back(testing::time_ns(ours_calls, work.ours) / static_cast<double>(ours_calls) / elements);
    floats.push_back(testing::time_ns(float_calls, work.floats) / static_cast<double>(float_calls) / elements);
    ratios.push_back(floats.back() / ours.back());
  }
  const double bandwidth =
      1e-9 * static_cast<double>(read_bytes_per_second(isa, work.bytes * work.rows * work.n, 20000000));
  const double memory = static_cast<double>(work.bytes) / bandwidth / median(ours);
  std::printf("%-10s %5ld %5ld %10.4f %10.4f %8.1f x %8.0f %%%s\n", work.operation, static_cast<long>(work.rows),
              static_cast<long>(work.n), median(ours), median(floats), median(ratios), 100 * memory,
              median(ratios) < 1 ? "  LOSS" : "");
  std::fflush(stdout);
  return {{"operation", work.operation}, {"rows", work.rows},       {"n", work.n},        {"ns", median(ours)},
          {"float_ns", median(floats)},  {"ratio", median(ratios)}, {"of_memory", memory}};
}

int run(const std::string& json) {
  const Isa isa = active_isa();
  if (isa == Isa::kPortable) {
    std::printf("SKIPPED: no vector instructions to compare\n");
    return 0;
  }
  if (isa < Isa::kAvx512Vnni) dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  OneDnn onednn;
  nlohmann::json report = {{"cpu", cpu_model()}, {"isa", isa_name(isa)}, {"threads", 1}};
  std::printf("%s, %s, one thread\n%-10s %5s %5s %10s %10s %10s %10s\n", cpu_model().c_str(), isa_name(isa).data(),
              "operation", "rows", "n", "ours ns", "float ns", "ratio", "of memory");
  for (int64_t n : {128, 384, 1536})
    for (int64_t rows : {1, 16, 128})
      for (const Work& work : {Work{"softmax", rows, n, 5, softmax(isa, rows, n), onednn.softmax(rows, n)},
                               Work{"layer_norm", rows, n, 5, layer_norm(isa, rows, n), onednn.layer_norm(rows, n)},
                               Work{"gelu", rows, n, 2, gelu(isa, rows, n), onednn.gelu(rows, n)}})
        report["rows"].push_back(measure(work, isa));
  if (!json.empty()) std::ofstream(json) << report.dump(1) << "\n";
  return 0;
}

}  // namespace
}  // namespace dyadic

// Usage: bench_rows [--json FILE]
int main(int argc, char** argv) {
  const bool has_json = argc == 3 && std::strcmp(argv[1], "--json") == 0;
  if (argc != 1 && !has_json) {
    std::fputs("usage: bench_rows [--json FILE]\n", stderr);
    return argc == 2 && std::strcmp(argv[1], "--help") == 0 ? 0 : 2;
  }
  dyadic::testing::hold_onednn_to_this_thread();
  try {
    return dyadic::run(has_json ? argv[2] : "");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}

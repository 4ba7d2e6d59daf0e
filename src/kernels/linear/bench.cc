// linear on the shapes of a small encoder: GMAC/s of each kernel, its share of the multiply-add peak measured in the
// same run, and oneDNN's u8 x s8 -> s32 matmul, which has no epilogue, beside it. Results are compared before timing.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/random.h"
#include "kernels/kernel.h"
#include "kernels/limits/limits.h"
#include "kernels/testing.h"

namespace dyadic {
namespace {

// Of this thread's CPU time, which other load on the machine disturbs less than the clock on the wall.
double seconds_of(const std::function<void()>& work) {
  const auto now = [] {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  const double start = now();
  work();
  return now() - start;
}

// Median seconds of one call, out of 15 samples that together take about `budget` seconds.
double median_seconds(double budget, const std::function<void()>& call) {
  call();
  const double once = std::max(seconds_of(call), 1e-7);
  const int calls = std::max(1, static_cast<int>(budget / 15 / once));
  std::vector<double> samples;
  for (int i = 0; i < 15; ++i)
    samples.push_back(seconds_of([&] {
      for (int c = 0; c < calls; ++c) call();
    }));
  std::nth_element(samples.begin(), samples.begin() + 7, samples.end());
  return samples[7] / calls;
}

// Multiply-adds a nanosecond; 0 where there is no instruction to compare with.
double peak_gmacs(Isa isa, double budget) {
  if (isa == Isa::kPortable) return 0;
  return 1e-9 * static_cast<double>(operations_per_second(limit_probes(isa).dot, static_cast<int64_t>(budget * 1e9)));
}

struct Layer {
  const char* name;
  int64_t K, N;
  std::vector<int64_t> splits;
  DataType code;
  bool table;
};
const Layer kLayers[] = {{"q,k,v", 384, 1152, {384, 384, 384}, DataType::kI8, false},
                         {"output", 384, 384, {384}, DataType::kI8, false},
                         {"fc1+table", 384, 1536, {1536}, DataType::kI8, true},
                         {"fc2 i16", 1536, 384, {384}, DataType::kI16, false}};

Tensor random_codes(Random& random, Dims dims) {
  Tensor t(DataType::kI8, dims);
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<int64_t>(random.below(255)) - 127);
  return t;
}

KernelSpec make_spec(const Layer& layer, int bits) {
  Random random(1, layer.K + layer.N);
  KernelSpec spec{.composite = "linear"};
  const auto parameter = [&](const char* name, Tensor t) {
    spec.inputs.push_back({name, t.type(), t.dims(), t, range_of(t.type())});
  };
  spec.inputs.push_back({"x", DataType::kI8, {-1, layer.K}, {}, {-127, 127}});
  parameter("weight", random_codes(random, {layer.N, layer.K}));
  Tensor bias(DataType::kI32, {layer.N}), m(DataType::kI32, {layer.N}), s(DataType::kU8, {1});
  for (int64_t n = 0; n < layer.N; ++n) {
    bias.set(n, static_cast<int64_t>(random.below(20000)) - 10000);
    m.set(n, int64_t{1 << (bits - 1)} + static_cast<int64_t>(random.below(1 << (bits - 1))));
  }
  s.set(0, bits + (layer.code == DataType::kI8 ? 11 : 5));
  parameter("bias", bias);
  parameter("m", m);
  parameter("s", s);
  spec.epilogue = {
      {StageKind::kBias, DataType::kI32},
      {StageKind::kRequantize, layer.code, layer.code == DataType::kI8 ? Interval{-127, 127} : range_of(layer.code)}};
  if (layer.table) {
    spec.epilogue.push_back({StageKind::kTable, DataType::kI8});
    parameter("tables", random_codes(random, {3, 256}));
    parameter("ends", Tensor::from<int32_t>({3}, {500, 1200, static_cast<int32_t>(layer.N)}));
  }
  for (int64_t width : layer.splits) spec.outputs.push_back({"y", layer.code, {-1, width}});
  return spec;
}

// A kernel with everything one call needs, on one thread.
class Runner {
 public:
  Runner(const KernelRow& row, const KernelSpec& spec, const Tensor& x) : kernel_(row.make(spec)) {
    x_ = {DataType::kI8, x.dims(), const_cast<std::byte*>(x.raw())};
    scratch_ = Tensor(DataType::kI8, {static_cast<int64_t>(kernel_->scratch_bytes({&x_.dims, 1}, 0)) + 1});
    scratch_of_ = {scratch_.mutable_raw()};
    for (const KernelOperand& y : spec.outputs) tensors_.emplace_back(y.type, Dims{x.dim(0), y.dims[1]});
    for (Tensor& t : tensors_) outputs_.push_back({t.type(), t.dims(), t.mutable_raw()});
  }
  void operator()() const { kernel_->run({&x_, 1}, outputs_, {nullptr, scratch_of_}); }
  const std::vector<Tensor>& outputs() const { return tensors_; }

 private:
  std::unique_ptr<Kernel> kernel_;
  TensorView x_;
  Tensor scratch_;
  std::vector<std::byte*> scratch_of_;
  std::vector<Tensor> tensors_;
  std::vector<TensorView> outputs_;
};

// The product alone by oneDNN, weights in the layout of its choice.
double dnnl_seconds(double budget, int64_t M, const Layer& layer, const Tensor& x, const Tensor& weight) {
  using Memory = dnnl::memory;
  using Tag = Memory::format_tag;
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const Memory::desc a({M, layer.K}, Memory::data_type::u8, Tag::ab), c({M, layer.N}, Memory::data_type::s32, Tag::ab);
  const Memory::desc b({layer.K, layer.N}, Memory::data_type::s8, Tag::any);
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), engine);
  Memory plain({{layer.K, layer.N}, Memory::data_type::s8, Tag::ba}, engine, const_cast<std::byte*>(weight.raw()));
  Memory packed(description.weights_desc(), engine), source(a, engine, const_cast<std::byte*>(x.raw()));
  Memory result(c, engine);
  dnnl::reorder(plain, packed).execute(stream, plain, packed);
  const dnnl::matmul matmul(description);
  return median_seconds(budget, [&] {
    matmul.execute(stream, {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, result}});
    stream.wait();
  });
}

int run(double budget, int bits) {
  std::vector<KernelRow> rows;
  for (const KernelRow& row : kernel_rows())
    if (row.composite == std::string("linear") && row.isa <= active_isa()) rows.push_back(row);

  std::printf("%s, one thread; GMAC/s of the median of 15 samples (%% of the multiply-add peak)\n",
              cpu_model().c_str());
  std::vector<double> peaks;
  for (const KernelRow& row : rows) {
    peaks.push_back(peak_gmacs(row.isa, budget));
    if (peaks.back() > 0) std::printf("peak of %s: %.1f GMAC/s\n", isa_name(row.isa).data(), peaks.back());
  }
  std::printf("%-10s %5s", "layer", "rows");
  for (const KernelRow& row : rows) std::printf(" %18s", row.name);
  std::printf(" %18s\n", "oneDNN, product");
  for (const Layer& layer : kLayers)
    for (int64_t M : {1, 16, 128, 4096}) {
      const KernelSpec spec = make_spec(layer, bits);
      Random random(2, M);
      const Tensor x = random_codes(random, {M, layer.K});
      const Runner reference(rows.back(), spec, x);
      reference();
      const double macs = 1e-9 * M * layer.N * layer.K;
      std::printf("%-10s %5ld", layer.name, static_cast<long>(M));
      for (size_t i = 0; i < rows.size(); ++i) {
        const Runner runner(rows[i], spec, x);
        runner();
        if (runner.outputs() != reference.outputs()) {
          std::printf("\n%s differs from %s\n", rows[i].name, rows.back().name);
          return 1;
        }
        const double gmacs = macs / median_seconds(budget, [&] { runner(); });
        if (peaks[i] > 0)
          std::printf(" %10.1f (%3.0f %%)", gmacs, 100 * gmacs / peaks[i]);
        else
          std::printf(" %18.1f", gmacs);
        std::fflush(stdout);
      }
      std::printf(" %18.1f\n", macs / dnnl_seconds(budget, M, layer, x, spec.parameter("weight")));
    }
  return 0;
}

}  // namespace
}  // namespace dyadic

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 0.1;
  const int bits = argc > 2 ? std::atoi(argv[2]) : 31;
  if (argc > 3 || seconds <= 0 || bits < 2 || bits > 31) {
    std::fputs(
        "usage: bench_kernels_linear [SECONDS, of each figure, default 0.1] [BITS, of multipliers, default 31]\n",
        stderr);
    return 2;
  }
  dyadic::testing::hold_onednn_to_this_thread();
  return dyadic::run(seconds, bits);
}

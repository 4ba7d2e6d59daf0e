// Microseconds of attention over one sequence, 384 columns wide, and processor cycles a score, for every row this CPU
// can run. With head_dim 32 the two products need 1 cycle a score if one vpdpbusd of 64 bytes starts every cycle.
#include <cmath>
#include <cstdio>
#include <random>

#include "kernels/testing.h"

using namespace dyadic;

namespace {

std::mt19937_64 random_bits(1);

Tensor codes(Dims dims) {
  Tensor t(DataType::kI8, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i) t.set(i, static_cast<int64_t>(random_bits() % 255) - 127);
  return t;
}

KernelSpec spec_of(int64_t heads, int64_t head_dim, int32_t distance_m, uint8_t distance_s) {
  KernelSpec spec;
  spec.composite = "attention";
  spec.integers = {{"heads", heads}, {"head_dim", head_dim}};
  const Dims dims{-1, heads * head_dim};
  for (const char* name : {"q", "k", "v"}) spec.inputs.push_back(testing::data(name, DataType::kI8, dims));
  for (const char* name : {"start", "length"}) spec.inputs.push_back(testing::data(name, DataType::kI32, {-1}));
  std::vector<uint8_t> table(256);
  for (int i = 0; i < 256; ++i) table[i] = static_cast<uint8_t>(255 * std::exp(-i / 16.0) + 0.5);
  spec.inputs.push_back(testing::parameter("table", table));
  spec.inputs.push_back(testing::parameter<int32_t>("distance_m", {distance_m}));
  spec.inputs.push_back(testing::parameter<uint8_t>("distance_s", {distance_s}));
  spec.inputs.push_back(testing::parameter<int32_t>("out_m", {1518500250}));
  spec.inputs.push_back(testing::parameter<uint8_t>("out_s", {46}));
  spec.outputs.push_back(testing::data("context", DataType::kI8, dims));
  return spec;
}

}  // namespace

int main() {
  const double ghz = testing::measured_ghz();
  std::printf("%.2f GHz\n", ghz);
  bool ok = true;
  std::printf("%-22s %8s %6s %6s %10s %12s %10s\n", "row", "head_dim", "m bits", "tokens", "us", "cycles/score",
              "x portable");
  for (int64_t head_dim : {32, 64})
    for (bool short_m : {true, false})
      for (int64_t length : {8, 16, 32, 64, 128, 384}) {
        const int64_t heads = 384 / head_dim;
        const KernelSpec spec = short_m ? spec_of(heads, head_dim, 181, 17) : spec_of(heads, head_dim, 189812531, 37);
        const Dims dims{length, heads * head_dim};
        const std::vector<Tensor> inputs = {codes(dims), codes(dims), codes(dims), Tensor::from<int32_t>({1}, {0}),
                                            Tensor::from<int32_t>({1}, {static_cast<int32_t>(length)})};
        const std::vector<Tensor> outputs = {Tensor(DataType::kI8, dims)};
        const auto all = testing::rows_of("attention");
        const auto portable = all.back()->make(spec);
        testing::Bound base(*portable, inputs, outputs, length, 1);
        const double base_ns = testing::median_ns([&] { base.run(); });
        for (const KernelRow* row : all) {
          if (row->isa > detected_isa()) continue;
          const auto kernel = row->make(spec);
          testing::Bound bound(*kernel, inputs, outputs, length, 1);
          bound.run();
          if (bound.results() != base.results()) {
            std::printf("%s differs from %s\n", row->name, all.back()->name);
            ok = false;
            continue;
          }
          const double ns = row == all.back() ? base_ns : testing::median_ns([&] { bound.run(); });
          std::printf("%-22s %8ld %6d %6ld %10.1f %12.2f %10.1f\n", row->name, long(head_dim), short_m ? 8 : 28,
                      long(length), ns / 1e3, ns * ghz / static_cast<double>(heads * length * length), base_ns / ns);
        }
      }
  return ok ? 0 : 1;
}

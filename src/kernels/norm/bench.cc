// Nanoseconds per element of add_norm and embed_norm with an i8 and an i16 output, for every row this CPU can run.
#include <cstdio>
#include <random>

#include "kernels/testing.h"

using namespace dyadic;

namespace {

std::mt19937_64 random_bits(1);

template <class T>
Tensor noise(Dims dims, int64_t lo, int64_t hi) {
  Tensor t(kTypeOf<T>, std::move(dims));
  for (int64_t i = 0; i < t.count(); ++i)
    t.set(i, lo + static_cast<int64_t>(random_bits() % static_cast<uint64_t>(hi - lo + 1)));
  return t;
}

// Multipliers of `bits` bits.
void add_outputs(KernelSpec& spec, int64_t n, int bits) {
  for (int j = 0; j < 2; ++j) {
    const std::string name = cat("out", j);
    spec.inputs.push_back(
        testing::parameter(name + "_m", noise<int32_t>({n}, 1 << (bits - 3), INT32_MAX >> (31 - bits))));
    spec.inputs.push_back(testing::parameter<uint8_t>(name + "_s", {static_cast<uint8_t>((j ? 27 : 35) + bits - 31)}));
    spec.inputs.push_back(testing::parameter(name + "_beta", noise<int32_t>({n}, -10000, 10000)));
    spec.outputs.push_back(testing::data(name, j ? DataType::kI16 : DataType::kI8, {-1, n}));
  }
}

// The same of bodies in Q15: fractions of 4 bits for i8, codes of two steps for i16.
void add_q15_outputs(KernelSpec& spec, int64_t n) {
  for (int j = 0; j < 2; ++j) {
    const std::string name = cat("out", j);
    spec.inputs.push_back(testing::parameter(name + "_m", noise<int16_t>({n}, 4000, 20000)));
    spec.inputs.push_back(testing::parameter(name + "_beta", noise<int16_t>({n}, -600, 600)));
    spec.inputs.push_back(testing::parameter<uint8_t>(name + "_shift", {static_cast<uint8_t>(j ? 1 : 4)}));
    spec.outputs.push_back(testing::data(name, j ? DataType::kI16 : DataType::kI8, {-1, n}));
  }
}

KernelSpec q15_add_norm(int64_t n) {
  KernelSpec spec;
  spec.composite = "add_norm";
  spec.integers["lane_bits"] = 16;
  for (const char* name : {"sublayer", "identity"}) spec.inputs.push_back(testing::data(name, DataType::kI16, {-1, n}));
  for (auto [name, m] : {std::pair<const char*, int16_t>{"sublayer", 5001}, {"identity", 11001}})
    spec.inputs.push_back(testing::parameter<int16_t>(cat(name, "_m"), {m}));
  add_q15_outputs(spec, n);
  return spec;
}

// Checks every row against the last (portable), then times it.
bool measure(const KernelSpec& spec, const std::vector<Tensor>& inputs, int64_t rows, int64_t n, int bits,
             const char* sums) {
  const auto all = testing::rows_of(spec.composite);
  const std::vector<Tensor> outputs = {Tensor(DataType::kI8, {rows, n}), Tensor(DataType::kI16, {rows, n})};
  const auto portable = all.back()->make(spec);
  const std::vector<Tensor> want = testing::run(*portable, inputs, outputs, 1, 1);
  testing::Bound base(*portable, inputs, outputs, 1, 1);
  const double base_ns = testing::median_ns([&] { base.run(); }) / static_cast<double>(rows * n);
  for (const KernelRow* row : all) {
    if (row->isa > detected_isa()) continue;
    if (const std::string why = row->reject(spec); !why.empty()) {
      std::printf("%-24s rejects: %s\n", row->name, why.c_str());
      continue;
    }
    const auto kernel = row->make(spec);
    testing::Bound bound(*kernel, inputs, outputs, 1, 1);
    bound.run();
    if (bound.results() != want) {
      std::printf("%s differs from %s\n", row->name, all.back()->name);
      return false;
    }
    const double ns = testing::median_ns([&] { bound.run(); }) / static_cast<double>(rows * n);
    std::printf("%-24s %6d %6s %5ld %5ld %10.3f %10.2f\n", row->name, bits, sums, long(rows), long(n), ns,
                base_ns / ns);
  }
  return true;
}

}  // namespace

int main() {
  const int64_t n = 384;
  bool ok = true;
  std::printf("%-24s %6s %6s %5s %5s %10s %10s\n", "row", "m bits", "sums", "rows", "n", "ns/element", "x portable");
  for (auto [rows, bits] : {std::pair<int64_t, int>{1, 31}, {16, 31}, {128, 31}, {1, 10}, {16, 10}, {128, 10}}) {
    for (const bool pairs : {false, true}) {
      if (pairs && bits == 31) continue;  // recipes that narrow sums narrow outputs as well
      KernelSpec add;
      add.composite = "add_norm";
      for (const char* name : {"sublayer", "identity"})
        add.inputs.push_back(testing::data(name, DataType::kI16, {-1, n}));
      const int32_t m[] = {pairs ? 23457 : 1500000000, pairs ? 179 << 7 : 1400000000};
      for (int i = 0; i < 2; ++i) {
        const char* name = i == 0 ? "sublayer" : "identity";
        add.inputs.push_back(testing::parameter<int32_t>(cat(name, "_m"), {m[i]}));
        add.inputs.push_back(testing::parameter<uint8_t>(cat(name, "_s"), {static_cast<uint8_t>(pairs ? 7 : 24)}));
      }
      add_outputs(add, n, bits);
      ok &= measure(add, {noise<int16_t>({rows, n}, -9000, 9000), noise<int16_t>({rows, n}, -9000, 9000)}, rows, n,
                    bits, pairs ? "pairs" : "apart");
    }

    if (bits == 10)
      ok &= measure(q15_add_norm(n), {noise<int16_t>({rows, n}, -9000, 9000), noise<int16_t>({rows, n}, -9000, 9000)},
                    rows, n, 16, "q15");

    KernelSpec embed;
    embed.composite = "embed_norm";
    std::vector<Tensor> ids;
    const std::pair<const char*, int64_t> tables[] = {{"token", 30522}, {"position", 512}, {"type", 2}};
    for (auto [name, size] : tables) {
      embed.inputs.push_back(testing::data(name, DataType::kI32, {-1}));
      ids.push_back(noise<int32_t>({rows}, 0, size - 1));
    }
    for (auto [name, size] : tables) {
      embed.inputs.push_back(testing::parameter(cat(name, "_codes"), noise<int8_t>({size, n}, -127, 127)));
      embed.inputs.push_back(testing::parameter(cat(name, "_m"), noise<int32_t>({size}, 1 << 30, INT32_MAX)));
      embed.inputs.push_back(testing::parameter(cat(name, "_s"), noise<uint8_t>({size}, 16, 18)));
    }
    add_outputs(embed, n, bits);
    ok &= measure(embed, ids, rows, n, bits, "apart");
  }
  return ok ? 0 : 1;
}

// Tile programs against the same bodies printed as C and compiled with -O3 for the same instruction set.
//
// Each *.body beside this file is a body in text form, @N its width. Every program is first held to the evaluator, then
// all are timed in turns, on one thread: medians in nanoseconds an element, and medians of the ratios to the printed C
// of each turn.
#include <dirent.h>

#include <time.h>

#include <algorithm>
#include <cstdio>

#include "../../tests/body_examples.h"
#include "api/compiled_c.h"
#include "base/buffer.h"
#include "base/file.h"
#include "graph/text.h"
#include "runtime/tile/tile_program.h"

namespace dyadic {
namespace {

constexpr int64_t kRows = 128;
constexpr const char* kVnni =
    "-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi -mfma -mprefer-vector-width=512";
constexpr const char* kFlags[] = {"", "-mavx2 -mfma", kVnni, kVnni};

std::string replaced(std::string text, const std::string& word, const std::string& by) {
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + by.size()))
    text.replace(at, word.size(), by);
  return text;
}

Graph body_of_width(const std::string& path, int64_t n) {
  std::string text = read_file(path);
  text = replaced(replaced(text, "@2N", std::to_string(2 * n)), "@N", std::to_string(n));
  return parse_text(text, path);
}

// Data and parameters by the names that the bodies use.
test::Example example_of(const std::string& name, Graph body, Random& random) {
  test::ExampleBuilder b(name, body, {{"T", kRows}}, test::Spread::kUniform, random);
  std::vector<int64_t> table;
  for (int64_t d = 0; d < 256; ++d) table.push_back(d > 100 ? 0 : 255 >> (d / 12));
  for (const ValueId v : body.inputs) {
    const std::string& input = body.value(v).name;
    if (input == "table") b.parameter(input, table);
    if (input == "m0") b.random_parameter(input, -40000000, 40000000);
    if (input == "m1") b.random_parameter(input, -90000000, 90000000);
    if (input == "m") b.random_parameter(input, 1 << 20, 1 << 22);
    if (input.rfind("beta", 0) == 0) b.random_parameter(input, -9000, 9000);
    if (input == "bias") b.random_parameter(input, -100000, 100000);
  }
  return b.build();
}

struct Contestant {
  std::string name;
  std::function<void()> run;
  std::vector<double> nanoseconds;  // an element
};

// Of this thread, so that what else the machine does counts as little as possible.
double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double seconds(const std::function<void()>& run, int repeats) {
  const double begin = cpu_seconds();
  for (int i = 0; i < repeats; ++i) run();
  return cpu_seconds() - begin;
}

void time_in_turns(std::vector<Contestant>& all, int64_t elements) {
  std::vector<int> repeats;
  for (Contestant& c : all) {
    c.run();
    repeats.push_back(std::clamp(static_cast<int>(1e-3 / std::max(seconds(c.run, 1), 1e-7)), 1, 1000));
  }
  for (int round = 0; round < 31; ++round)
    for (size_t i = 0; i < all.size(); ++i)
      all[i].nanoseconds.push_back(seconds(all[i].run, repeats[i]) * 1e9 / repeats[i] / static_cast<double>(elements));
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double median_ratio(const Contestant& a, const Contestant& b) {
  std::vector<double> ratios;
  for (size_t i = 0; i < a.nanoseconds.size(); ++i) ratios.push_back(a.nanoseconds[i] / b.nanoseconds[i]);
  return median(ratios);
}

double worst_ratio = 0;

void bench(const std::string& path, const std::string& name, int64_t n) {
  Random random(1);
  const test::Example e = example_of(name, body_of_width(path, n), random);
  const Ranges ranges = prove_ranges(e.body, e.known(), {{"T", kRows}});
  const std::vector<Tensor> expected = evaluate(e.body, e.inputs);
  const auto check = [&](const std::vector<Tensor>& actual, const std::string& who) {
    for (size_t i = 0; i < expected.size(); ++i)
      if (!(actual[i] == expected[i])) fail(ErrorKind::kFailed, name, ' ', n, ": ", who, " differs from the evaluator");
  };
  const CFunction function = print_c(e.body, ranges, "printed_body");
  ThreadPool pool(1);
  const Bindings bindings = {{"T", kRows}};
  std::vector<Tensor> outputs = expected;
  std::vector<TensorView> in, out;
  std::vector<void*> pointers;
  const std::vector<Tensor> data = e.data();
  for (const Tensor& t : data) in.push_back({t.type(), t.dims(), const_cast<std::byte*>(t.raw())});
  for (const Tensor& t : e.inputs) pointers.push_back(const_cast<std::byte*>(t.raw()));
  std::vector<Tensor> results;
  for (const Tensor& t : expected) results.emplace_back(t.type(), t.dims());
  for (Tensor& t : results) {
    out.push_back({t.type(), t.dims(), t.mutable_raw()});
    pointers.push_back(out.back().data);
  }
  for (const Isa isa : kAllIsas) {
    if (isa > detected_isa()) continue;
    std::vector<Contestant> all;
    const auto parameters = e.parameters();
    const auto program = std::make_shared<TileProgram>(e.body, ranges, parameters, isa);
    check(program->run(data, {}, pool), "tile program");
    const auto scratch = std::make_shared<AlignedBuffer>(program->scratch_bytes(bindings, 1));
    all.push_back({"tile",
                   [&, program, scratch] {
                     program->run(in, out, bindings, pool, {scratch->data(), scratch->size()});
                   },
                   {}});
    for (const char* compiler : {"gcc", "clang"}) {
      if (!has_compiler(compiler)) {
        std::printf("SKIPPED: no C compiler named %s\n", compiler);
        continue;
      }
      const std::string flags = cat("-std=c99 -O3 ", kFlags[static_cast<int>(isa)]);
      const auto compiled = std::make_shared<CompiledC>(e.body, function, compiler, flags);
      check(compiled->run(e.inputs, {}), compiler);
      const auto memory = std::make_shared<AlignedBuffer>(compiled->scratch_bytes(bindings));
      all.push_back(
          {compiler, [&, compiled, memory] { compiled->run(pointers.data(), bindings, memory->data()); }, {}});
    }
    time_in_turns(all, kRows * n);
    std::printf("%-20s %4lld %-11s", name.c_str(), static_cast<long long>(n), std::string(isa_name(isa)).c_str());
    for (const Contestant& c : all) std::printf(" %5s %7.4f", c.name.c_str(), median(c.nanoseconds));
    for (size_t i = 1; i < all.size(); ++i) {
      const double ratio = median_ratio(all[0], all[i]);
      worst_ratio = std::max(worst_ratio, ratio);
      std::printf("  tile/%s %5.2f", all[i].name.c_str(), ratio);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

int run(const std::string& only) {
  const std::string folder = cat(DYADIC_SOURCE_DIR, "/bench/tile");
  std::vector<std::string> names;
  if (DIR* dir = opendir(folder.c_str())) {
    while (const dirent* entry = readdir(dir)) {
      const std::string file = entry->d_name;
      if (file.size() > 5 && file.substr(file.size() - 5) == ".body") names.push_back(file.substr(0, file.size() - 5));
    }
    closedir(dir);
  }
  std::sort(names.begin(), names.end());
  std::printf("%s, %lld rows, ns an element\n", cpu_model().c_str(), static_cast<long long>(kRows));
  for (const std::string& name : names)
    if (name.find(only) != std::string::npos)
      for (const int64_t n : {128, 384}) bench(cat(folder, "/", name, ".body"), name, n);
  std::printf("worst ratio %.2f\n", worst_ratio);
  return 0;
}

}  // namespace
}  // namespace dyadic

// Usage: bench_tile [part of a body's name]
int main(int argc, char** argv) {
  try {
    return dyadic::run(argc > 1 ? argv[1] : "");
  } catch (const dyadic::Error& e) {
    std::fprintf(stderr, "bench_tile: %s\n", e.what());
    return static_cast<int>(e.kind());
  }
}

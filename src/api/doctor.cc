#include "api/doctor.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>

#include "api/float_limit/float_limit.h"
#include "api/quantize_flow.h"
#include "api/recipe_dir.h"
#include "base/status.h"
#include "kernels/kernel.h"
#include "kernels/limits/limits.h"

namespace dyadic {
namespace {
namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// The words behind the first line of /proc/cpuinfo that begins with `key`.
std::set<std::string> cpuinfo_words(const std::string& key) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) {
      std::istringstream words(line.substr(line.find(':') + 1));
      return {std::istream_iterator<std::string>(words), {}};
    }
  return {};
}

// What Dyadic's kernels need first, then what would serve integer products too.
std::vector<CpuFeature> cpu_features() {
#if defined(__x86_64__)
  const auto found = cpuinfo_words("flags");
  const char* const names[] = {"avx2",        "fma",        "avx512f",  "avx512bw", "avx512dq",   "avx512vl",
                               "avx512_vnni", "avx512vbmi", "avx_vnni", "amx_int8", "avx512_bf16"};
#else
  const auto found = cpuinfo_words("Features");
  const char* const names[] = {"asimd", "asimddp", "i8mm", "sve"};
#endif
  std::vector<CpuFeature> features;
  for (const char* name : names) features.push_back({name, found.count(name) > 0});
  return features;
}

// "32768K" in bytes.
int64_t parse_size(const std::string& text) {
  char* unit = nullptr;
  const int64_t number = std::strtoll(text.c_str(), &unit, 10);
  return number * (*unit == 'K' ? 1 << 10 : *unit == 'M' ? 1 << 20 : 1);
}

// Data caches of processor 0 by level.
std::vector<MeasuredMemory> caches() {
  std::vector<MeasuredMemory> result;
  for (int index = 0; index < 8; ++index) {
    const fs::path dir = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    const std::string type = first_line(dir / "type");
    const int64_t bytes = parse_size(first_line(dir / "size"));
    if ((type == "Data" || type == "Unified") && bytes > 0) result.push_back({"L" + first_line(dir / "level"), bytes});
  }
  if (result.empty()) result = {{"L1", 32 << 10}, {"L2", 1 << 20}, {"L3", 32 << 20}};  // usual sizes
  // Half of a cache is not shared with what else lies there; a level beyond must not be served by the one before.
  for (MeasuredMemory& cache : result) cache.buffer_bytes = std::min<int64_t>(cache.cache_bytes / 2, 8 << 20);
  result.push_back(
      {"DRAM", 0, std::min<int64_t>(std::max<int64_t>(2 * result.back().cache_bytes, 64 << 20), 256 << 20)});
  return result;
}

std::string on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream dirs(path ? path : "");
  std::error_code error;
  for (std::string dir; std::getline(dirs, dir, ':');)
    if (const fs::path file = fs::path(dir) / program; !dir.empty() && fs::is_regular_file(file, error))
      return file.string();
  return "";
}

std::string existing(const char* dir) {
  std::error_code error;
  return dir && *dir && fs::is_directory(dir, error) ? dir : "";
}

// A C compiler for another machine with an emulator of it, as the tests of exported C use them.
std::string other_machine() {
  for (const auto& [compiler, emulator] :
       {std::pair("aarch64-linux-gnu-gcc", "qemu-aarch64"), std::pair("arm-linux-gnueabihf-gcc", "qemu-arm"),
        std::pair("s390x-linux-gnu-gcc", "qemu-s390x")})
    if (const std::string path = on_path(compiler); !path.empty() && !on_path(emulator).empty()) return path;
  return "";
}

// A Python that has ONNX Runtime: $VIRTUAL_ENV or build/venv below the current folder.
std::string onnx_runtime() {
  const char* active = std::getenv("VIRTUAL_ENV");
  for (const fs::path& venv : {fs::path(active ? active : ""), fs::path("build/venv")}) {
    std::error_code error;
    if (venv.empty()) continue;
    for (const auto& python : fs::directory_iterator(venv / "lib", error))
      if (fs::is_directory(python.path() / "site-packages/onnxruntime", error)) return (venv / "bin/python").string();
  }
  return "";
}

std::vector<Finding> look_around() {
  const auto directory = [](const char* variable) { return existing(std::getenv(variable)); };
  return {
      {"recipes", "quantize --recipe NAME", recipe_names().empty() ? "" : recipe_dir(),
       "quantize takes recipes by their path only; set DYADIC_RECIPES to their folder"},
      {"models", "tests on a trained model", directory("DYADIC_MODELS"),
       "tests on a trained model are skipped; run scripts/fetch_models.sh and set DYADIC_MODELS"},
      {"data", "tests of accuracy", directory("DYADIC_DATA"),
       "tests of accuracy on real data are skipped; set DYADIC_DATA to their folder"},
      {"gcc", "verify: generated C", on_path("gcc"), "verify skips generated C built by gcc; install gcc"},
      {"clang", "verify: generated C; fuzzing", on_path("clang"),
       "verify skips generated C built by clang, and nothing can be fuzzed; install clang"},
      {"make", "exported C", on_path("make"), "exported C must be built by hand; install make"},
      {"objdump", "tests of machine code", on_path("objdump"),
       "nothing checks that kernels keep sums in registers; install binutils"},
      {"cross compiler", "tests of exported C", other_machine(),
       "exported C is not tested on other processors; install a cross compiler, e.g. gcc-aarch64-linux-gnu, and "
       "qemu-user"},
      {"ONNX Runtime", "speed of others", onnx_runtime(),
       "no speed of others beside ours; scripts/setup.sh --venv installs it into build/venv"},
  };
}

double dots_per_second(const std::vector<MeasuredLimit>& limits, Isa isa) {
  for (const MeasuredLimit& limit : limits)
    if (limit.what == "dot" && limit.isa == isa_name(isa)) return limit.per_second;
  return 0;
}

// With one digit behind the point.
std::string rounded(double x) {
  std::ostringstream text;
  text.precision(1);
  text << std::fixed << x;
  return text.str();
}

std::vector<std::string> costs(const DoctorReport& r) {
  std::vector<std::string> costs;
  if (r.active < r.detected) {
    const double ratio = dots_per_second(r.limits, r.detected) / dots_per_second(r.limits, r.active);
    costs.push_back(cat("DYADIC_ISA caps kernels at ", isa_name(r.active), " although this CPU has ",
                        isa_name(r.detected), ": products take about ", rounded(ratio), "x the time"));
  }
  // What a CPU lacks cannot be measured on it: the ratios are those of a Zen 4 core, which has everything.
  if (r.detected == Isa::kAvx2)
    costs.emplace_back("no AVX-512 VNNI: products take the AVX2 form, about 2.5x the time");
  else if (r.detected == Isa::kPortable)
    costs.emplace_back("neither AVX2 nor AVX-512 VNNI: plain loops everywhere, about 7x the time");
  for (const CpuFeature& feature : r.features)
    if (feature.name == "amx_int8" && feature.present && r.detected < Isa::kAmx)
      costs.emplace_back(
          "this CPU has AMX, but the system does not let this process use it (Linux does from 5.16 on, where no "
          "alternate signal stack is too small): products take about 4x the time");
  if (r.load > r.hardware_threads * 0.5)
    costs.push_back(cat("load ", rounded(r.load), " on ", r.hardware_threads,
                        " hardware threads: times of bench vary; limits are in CPU time, the best of many samples"));
  for (const Finding& f : r.findings)
    if (f.where.empty()) costs.push_back(cat("no ", f.what, ": ", f.cost));
  return costs;
}

}  // namespace

int core_count() {
  const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::set<std::string> cores;
  for (int cpu = 0; cpu < threads; ++cpu)
    cores.insert(first_line("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list"));
  cores.erase("");
  return cores.empty() ? threads : std::min(threads, static_cast<int>(cores.size()));
}

double dot_limit(Isa isa, int threads) {
  if (isa == Isa::kPortable) return 0;
  const auto one = operations_per_second(limit_probes(isa).dot, 50'000'000);
  return static_cast<double>(one) * std::min(threads, core_count());
}

DoctorReport examine_machine(double seconds) {
  DoctorReport r;
  r.cpu = cpu_model();
  r.cores = core_count();
  r.hardware_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (double load = 0; getloadavg(&load, 1) == 1) r.load = load;
  r.detected = detected_isa();
  r.active = active_isa();
  r.features = cpu_features();

  r.memory = caches();
  constexpr int kProbes = 5;
  const auto slice = static_cast<int64_t>(
      seconds * 1e9 / (kProbes * (static_cast<int>(r.detected) + 1) + 2 * static_cast<double>(r.memory.size())));
  for (const LimitProbes* probes : limit_probes()) {
    if (probes->isa > r.detected) break;
    const std::pair<const char*, const Probe*> all[kProbes] = {{"dot", &probes->dot},
                                                               {"float", &float_probe(probes->isa)},
                                                               {"lookup_16", &probes->lookup_16},
                                                               {"lookup_256", &probes->lookup_256},
                                                               {"mul_shift", &probes->mul_shift}};
    for (const auto& [what, probe] : all)
      r.limits.push_back({what, std::string(isa_name(probes->isa)), probe->instructions,
                          static_cast<double>(operations_per_second(*probe, slice))});
  }
  for (MeasuredMemory& level : r.memory)
    level.bytes_per_second = static_cast<double>(read_bytes_per_second(r.detected, level.buffer_bytes, 2 * slice));

  std::set<std::string> seen;
  for (const KernelRow& row : kernel_rows())
    if (row.isa <= r.active && seen.insert(row.composite).second) r.kernels.push_back({row.composite, row.name});
  r.findings = look_around();
  r.costs = costs(r);
  return r;
}

}  // namespace dyadic

// Dyadic's side of bench/peers: serves one .dyad file over stdin and stdout by the protocol that engines.py describes.
//
// usage: bench_peers_ours MODEL.dyad THREADS
#include <dyadic/session.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <span>
#include <sstream>

#include "base/cpu.h"

namespace {
using dyadic::v1::Error;
using dyadic::v1::ErrorKind;
using dyadic::v1::Executor;
using dyadic::v1::Model;
using dyadic::v1::Session;
using Clock = std::chrono::steady_clock;
using Batch = std::vector<std::vector<int32_t>>;

// Texts are lines of token ids; an empty line ends a batch.
std::vector<Batch> read_batches(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw Error(ErrorKind::kFailed, path + ": cannot be read");
  std::vector<Batch> batches(1);
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) {
      batches.emplace_back();
      continue;
    }
    std::istringstream words(line);
    std::vector<int32_t> ids;
    for (int32_t id = 0; words >> id;) ids.push_back(id);
    batches.back().push_back(std::move(ids));
  }
  std::erase_if(batches, [](const Batch& b) { return b.empty(); });
  return batches;
}

// Unit vectors, one after the other, as the peers' graphs return them.
std::vector<float> embed(Session& session, const Batch& batch) {
  const auto codes = session.run_tokens(batch);
  std::vector<float> rows = dequantize(codes, *session.model().outputs()[0].encoding);
  const auto width = static_cast<size_t>(codes.dims()[1]);
  for (size_t begin = 0; begin < rows.size(); begin += width) {
    const std::span row(rows.data() + begin, width);
    float square = 0;
    for (float x : row) square += x * x;
    const float scale = square > 0 ? 1 / std::sqrt(square) : 0;
    for (float& x : row) x *= scale;
  }
  return rows;
}

void check(Session& session, const std::vector<Batch>& batches) {
  Session portable(session.model(), {Executor::kPortable});
  for (const Batch& batch : batches) {
    const auto mine = session.run_tokens(batch), expected = portable.run_tokens(batch);
    if (!std::ranges::equal(mine.bytes(), expected.bytes()))
      throw Error(ErrorKind::kFailed, "the codes differ from the portable kernels'; run `dyadic verify`");
  }
  std::printf("{\"equal\": true}\n");
}

void write_embeddings(Session& session, const std::vector<Batch>& batches, const std::string& path) {
  std::ofstream out(path, std::ios::binary);
  for (const Batch& batch : batches) {
    const auto rows = embed(session, batch);
    out.write(reinterpret_cast<const char*>(rows.data()), static_cast<std::streamsize>(rows.size() * sizeof rows[0]));
  }
  if (!out.flush()) throw Error(ErrorKind::kFailed, path + ": cannot be written");
  std::printf("{}\n");
}

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double pass_ms(Session& session, const std::vector<Batch>& batches) {
  const auto begin = Clock::now();
  for (const Batch& batch : batches) embed(session, batch);
  return milliseconds_since(begin);
}

// Bytes of memory that no other process shares.
int64_t private_bytes() {
  std::ifstream in("/proc/self/smaps_rollup");
  int64_t kilobytes = 0;
  for (std::string word; in >> word;)
    if (word.starts_with("Private_")) {
      int64_t part = 0;
      if (in >> part) kilobytes += part;
    }
  return kilobytes << 10;
}

void first(Session& session, const std::vector<Batch>& batches) {
  const double ms = pass_ms(session, batches);
  std::printf("{\"ms\": %.6g, \"private_bytes\": %lld}\n", ms, static_cast<long long>(private_bytes()));
}

void time(Session& session, const std::vector<Batch>& batches, double seconds) {
  const double warm = pass_ms(session, batches);
  std::vector<double> samples;
  for (double spent = 0; samples.empty() || (spent + warm < 1e3 * seconds && samples.size() < 1000);) {
    samples.push_back(pass_ms(session, batches));
    spent += samples.back();
  }
  std::printf("{\"ms\": [");
  for (size_t i = 0; i < samples.size(); ++i) std::printf("%s%.6g", i ? ", " : "", samples[i]);
  std::printf("]}\n");
}

void serve(const std::string& model, int threads) {
  const auto begin = Clock::now();
  Session session(Model::open(model), {Executor::kKernels, threads});
  const double load_ms = milliseconds_since(begin);
  std::printf(
      "{\"engine\": \"dyadic\", \"forms\": [\"packed\"], \"load_ms\": %.6g, \"isa\": \"%s\", \"cpu\": \"%s\"}\n",
      load_ms, std::string(dyadic::isa_name(dyadic::active_isa())).c_str(), dyadic::cpu_model().c_str());
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, ids, argument;
    words >> command >> ids >> argument;
    const auto batches = read_batches(ids);
    double seconds = 0;
    if (command == "check")
      check(session, batches);
    else if (command == "first")
      first(session, batches);
    else if (command == "embed")
      write_embeddings(session, batches, argument);
    else if (command == "time" && words >> seconds)
      time(session, batches, seconds);
    else
      throw Error(ErrorKind::kUsage, "no such command: " + line);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3) throw Error(ErrorKind::kUsage, "usage: bench_peers_ours MODEL.dyad THREADS");
    serve(argv[1], std::stoi(argv[2]));
  } catch (const Error& error) {
    std::cerr << "bench_peers_ours: " << error.what() << '\n';
    return static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    std::cerr << "bench_peers_ours: " << error.what() << '\n';
    return 2;
  }
}

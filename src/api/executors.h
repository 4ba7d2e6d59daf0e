// `dyadic bench --executors`: what each kind of composite costs as a kernel written by hand, as the C that is generated
// from its body, and as a tile program: where a kernel by hand pays.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/cpu.h"

namespace dyadic {

// All composites of a model that share a body, by kernels of one instruction set.
struct ExecutorRow {
  std::string composite, layer;  // layer: the first of them
  int64_t layers = 0;
  Isa isa = Isa::kPortable;
  std::string used;                  // what a Session runs them by: a kernel's name or "tile program"
  std::map<std::string, double> ms;  // by "hand", "gcc", "clang", "tile": the sum of the layers, median of the rounds

  std::string fastest() const;
  // What is gained by hand: the fastest of the others over "hand"; 0 without a kernel or without others.
  double gain() const;
};

struct ExecutorReport {
  std::string cpu;
  int64_t batch = 0, length = 0;
  std::vector<ExecutorRow> rows;
  std::vector<std::string> skipped;  // compilers that are missing
};

// One thread, one packed batch of random ids of one length, the executors in turns for each instruction set up to
// `isa`. kFailed if one's result differs from the portable kernels'.
ExecutorReport bench_executors(const std::string& model, int64_t batch, int64_t length, Isa isa, int rounds,
                               uint64_t seed);

}  // namespace dyadic

// The ways to run a model that `verify` compares: executors, instruction sets, threads, batches, compilers.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/session.h"

namespace dyadic {

inline constexpr int64_t kMixedBatch = 200;  // tokens in a group of texts, where the batch is not what is tried

struct VerifyBackend {
  std::string name;  // "kernels:avx2:threads=2"
  SessionOptions options;
  int64_t batch_tokens = 0;  // groups of consecutive texts; 1: every text alone
};

// The evaluator first. `proof` is prove_model's result. What this machine cannot run goes to `skipped` with the reason.
std::vector<VerifyBackend> verify_backends(const std::shared_ptr<const Model>& model,
                                           const std::shared_ptr<const std::vector<Ranges>>& proof, int max_threads,
                                           std::vector<std::string>& skipped);

// Runs each composite as its body printed in C (float islands aside) and compiled with these flags; a distinct body is
// compiled once, at the first composite that has it. `proof` is prove_model's result. kFailed with the compiler's
// words.
MakeKernel printed_c(std::shared_ptr<const Model> model, const std::vector<Ranges>& proof, const std::string& compiler,
                     const std::string& flags);

}  // namespace dyadic

// `dyadic eval`: how good embeddings are, and how close they are to another model's.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/encoder.h"
#include "api/quantize_flow.h"

namespace dyadic {

struct EvaluateRequest {
  std::string model, task = "sts", data;  // task: "sts" (pairs with scores) or "cosine" (any text file)
  std::string reference;                  // another model to compare embeddings with; required by "cosine"
  std::vector<int> columns;               // of a .tsv for task "cosine"
  int64_t concatenate = 0;                // task "cosine": join texts drawn from `data` until each has this many tokens
  int64_t sample = 0;                     // task "cosine": at most this many texts; 0: all
  uint64_t seed = 0;                      // of the draw
  EncoderOptions encoder;
};

// Task "cosine" compares all pairs of at most so many texts: a matrix of 128 MB for each model.
inline constexpr size_t kMostCompared = 4000;

struct Evaluation {
  std::string task;
  int64_t count = 0;                        // pairs or texts
  TextCounts texts;                         // unique ones; none counts as cut if --concatenate joined them for that
  std::optional<double> spearman, pearson;  // task "sts": of cosine similarity and score
  std::optional<double> reference_spearman, reference_pearson;
  std::optional<Agreement> cosine;  // with a reference: over unique texts
  // Task "cosine", of 3 to kMostCompared texts: how alike the two models order all pairs of texts, and the share of
  // texts whose nearest other text is the same.
  std::optional<double> pairs_spearman, retrieval;
  double texts_per_second = 0;
};

Evaluation evaluate_model(const EvaluateRequest& request);

// The two halves of it. What a task embeds: unique texts, and for "sts" pairs of them with scores.
struct EvaluationTexts {
  std::vector<std::string> texts;
  std::vector<std::pair<int64_t, int64_t>> pairs;
  std::vector<double> scores;
  TextCounts counts;
};
EvaluationTexts evaluation_texts(const EvaluateRequest& request, const TextEncoder& encoder);
// Everything of an Evaluation but its task, lengths and speed; `reference` may be null.
Evaluation evaluate_embeddings(const EvaluationTexts& texts, const Embeddings& embeddings, const Embeddings* reference);

template <class T>
struct Timed {
  T value;
  double seconds;
};
template <class F>
auto timed(F f) -> Timed<decltype(f())> {
  const auto begin = std::chrono::steady_clock::now();
  auto value = f();
  return {std::move(value), std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()};
}

Agreement agreement(const Embeddings& a, const Embeddings& b);

}  // namespace dyadic

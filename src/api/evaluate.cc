#include "api/evaluate.h"

#include <chrono>
#include <unordered_map>

#include "api/metrics.h"
#include "base/located.h"
#include "base/status.h"
#include "io/datasets/text.h"

namespace dyadic {
namespace {

// Cosine of embedding rows a[i], b[i] for each pair of indices.
std::vector<double> pair_cosines(const Embeddings& e, const std::vector<std::pair<int64_t, int64_t>>& pairs) {
  std::vector<double> values;
  for (const auto& [a, b] : pairs) values.push_back(cosine(e.row(a), e.row(b)));
  return values;
}

std::vector<double> upper_triangle(const std::vector<double>& matrix, size_t n) {
  std::vector<double> values;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i + 1; j < n; ++j) values.push_back(matrix[i * n + j]);
  return values;
}

// Joins texts in order until each result has at least `tokens` tokens, as the encoder counts them up to its maximum;
// what is left at the end is dropped. At most `most` results unless it is 0.
std::vector<std::string> concatenated(const std::vector<std::string>& texts, const TextEncoder& encoder, int64_t tokens,
                                      int64_t most) {
  std::vector<std::string> joined;
  std::string current;
  for (const auto& text : texts) {
    if (most && static_cast<int64_t>(joined.size()) == most) break;
    current += (current.empty() ? "" : " ") + text;
    if (static_cast<int64_t>(encoder.tokenize(current).size()) < tokens) continue;
    joined.push_back(std::move(current));
    current.clear();
  }
  return joined;
}

}  // namespace

Agreement agreement(const Embeddings& a, const Embeddings& b) {
  if (a.dim != b.dim || a.count() != b.count())
    fail(ErrorKind::kContract, "embeddings of ", a.dim, " and ", b.dim, " numbers cannot be compared");
  std::vector<double> values;
  for (int64_t i = 0; i < a.count(); ++i) values.push_back(cosine(a.row(i), b.row(i)));
  return {a.count(), mean(values), percentile(values, 1), minimum(values)};
}

Evaluation evaluate_model(const EvaluateRequest& request) {
  Evaluation result;
  result.task = request.task;
  EncoderOptions encoder_options = request.encoder;
  if (request.concatenate) encoder_options.max_length = request.concatenate;
  const auto encoder = open_encoder(request.model, encoder_options);
  std::vector<std::string> texts;
  std::vector<std::pair<int64_t, int64_t>> pairs;
  std::vector<double> scores;
  std::unordered_map<std::string, int64_t> index;
  const auto intern = [&](const std::string& text) {
    const auto [it, fresh] = index.try_emplace(text, static_cast<int64_t>(texts.size()));
    if (fresh) texts.push_back(text);
    return it->second;
  };
  if (request.task == "sts") {
    for (const StsPair& pair : read_sts(request.data)) {
      pairs.emplace_back(intern(pair.first), intern(pair.second));
      scores.push_back(pair.score);
    }
  } else if (request.task == "cosine") {
    if (request.reference.empty())
      fail(ErrorKind::kUsage, "--task cosine compares with a model: give --reference MODEL");
    std::vector<std::string> lines =
        request.columns.empty() ? read_lines(request.data) : read_columns(request.data, request.columns);
    std::erase_if(lines, [](const std::string& text) { return text.empty(); });
    if (request.concatenate || request.sample) lines = sample_texts(lines, lines.size(), request.seed);
    if (request.concatenate) lines = concatenated(lines, *encoder, request.concatenate, request.sample);
    for (const auto& text : lines)
      if (request.sample == 0 || static_cast<int64_t>(texts.size()) < request.sample) intern(text);
  } else {
    fail(ErrorKind::kUsage, "unknown task '", request.task, "': sts or cosine");
  }
  if (texts.empty()) fail(ErrorKind::kMalformed, request.data, ": nothing to evaluate");
  located(request.data, [&] {
    for (const auto& text : texts) encoder->tokenize(text);
  });

  const auto begin = std::chrono::steady_clock::now();
  const Embeddings embeddings = encoder->encode(texts, encoder->describe());
  result.texts_per_second = static_cast<double>(texts.size()) /
                            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  result.count = static_cast<int64_t>(pairs.empty() ? texts.size() : pairs.size());
  if (!pairs.empty()) {
    const auto similarity = pair_cosines(embeddings, pairs);
    result.spearman = spearman(similarity, scores);
    result.pearson = pearson(similarity, scores);
  }
  if (request.reference.empty()) return result;

  EncoderOptions options = request.encoder;
  options.max_length = encoder->max_length();
  const auto reference = open_encoder(request.reference, options);
  const Embeddings expected = reference->encode(texts, reference->describe());
  result.cosine = agreement(embeddings, expected);
  if (!pairs.empty()) {
    const auto similarity = pair_cosines(expected, pairs);
    result.reference_spearman = spearman(similarity, scores);
    result.reference_pearson = pearson(similarity, scores);
  } else if (texts.size() > 2 && texts.size() <= 4000) {
    const auto a = cosine_matrix(embeddings.values, texts.size()), b = cosine_matrix(expected.values, texts.size());
    result.pairs_spearman = spearman(upper_triangle(a, texts.size()), upper_triangle(b, texts.size()));
    result.retrieval = retrieval_agreement(a, b, texts.size());
  }
  return result;
}

}  // namespace dyadic

#include "api/evaluate.h"

#include <algorithm>
#include <set>
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
    if (static_cast<int64_t>(encoder.tokenize(current).ids.size()) < tokens) continue;
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

EvaluationTexts evaluation_texts(const EvaluateRequest& request, const TextEncoder& encoder) {
  EvaluationTexts result;
  std::unordered_map<std::string, int64_t> index;
  const auto intern = [&](const std::string& text) {
    const auto [it, fresh] = index.try_emplace(text, static_cast<int64_t>(result.texts.size()));
    if (fresh) result.texts.push_back(text);
    return it->second;
  };
  if (request.task == "sts") {
    for (const StsPair& pair : read_sts(request.data)) {
      const int64_t first = intern(pair.first);
      result.pairs.emplace_back(first, intern(pair.second));
      result.scores.push_back(pair.score);
    }
    if (result.pairs.size() == 1 ||
        (!result.pairs.empty() && std::ranges::min(result.scores) == std::ranges::max(result.scores)))
      fail(ErrorKind::kMalformed, request.data, ": a correlation needs two pairs of different scores, and there are ",
           result.pairs.size(), " pairs of ", std::set(result.scores.begin(), result.scores.end()).size());
  } else if (request.task == "cosine") {
    if (request.reference.empty())
      fail(ErrorKind::kUsage, "--task cosine compares with a model: give --reference MODEL");
    std::vector<std::string> lines = read_texts(request.data, request.columns);
    std::erase_if(lines, [](const std::string& text) { return text.empty(); });
    if (request.concatenate || request.sample) lines = sample_texts(lines, lines.size(), request.seed);
    if (request.concatenate) lines = concatenated(lines, encoder, request.concatenate, request.sample);
    for (const auto& text : lines)
      if (request.sample == 0 || static_cast<int64_t>(result.texts.size()) < request.sample) intern(text);
  } else {
    fail(ErrorKind::kUsage, "unknown task '", request.task, "': sts or cosine");
  }
  if (result.texts.empty() && request.concatenate)
    fail(ErrorKind::kMalformed, request.data, ": its texts have fewer than ", request.concatenate, " tokens together");
  if (result.texts.empty()) fail(ErrorKind::kMalformed, request.data, ": nothing to evaluate");
  result.counts = located(request.data, [&] { return encoder.tokenize_all(result.texts).counts; });
  if (request.concatenate) result.counts.cut = 0;
  return result;
}

Evaluation evaluate_embeddings(const EvaluationTexts& texts, const Embeddings& embeddings,
                               const Embeddings* reference) {
  Evaluation result;
  const size_t count = texts.texts.size();
  result.count = static_cast<int64_t>(texts.pairs.empty() ? count : texts.pairs.size());
  if (!texts.pairs.empty()) {
    const auto similarity = pair_cosines(embeddings, texts.pairs);
    result.spearman = spearman(similarity, texts.scores);
    result.pearson = pearson(similarity, texts.scores);
  }
  if (!reference) return result;
  result.cosine = agreement(embeddings, *reference);
  if (!texts.pairs.empty()) {
    const auto similarity = pair_cosines(*reference, texts.pairs);
    result.reference_spearman = spearman(similarity, texts.scores);
    result.reference_pearson = pearson(similarity, texts.scores);
  } else if (count > 2 && count <= kMostCompared) {
    const auto a = cosine_matrix(embeddings.values, count), b = cosine_matrix(reference->values, count);
    result.pairs_spearman = spearman(upper_triangle(a, count), upper_triangle(b, count));
    result.retrieval = retrieval_agreement(a, b, count);
  }
  return result;
}

Evaluation evaluate_model(const EvaluateRequest& request) {
  EncoderOptions options = request.encoder;
  if (request.concatenate) {
    if (options.max_length) fail(ErrorKind::kUsage, "--concatenate cuts texts by itself: --max-length is refused");
    options.max_length = request.concatenate;
    options.max_length_from = "--concatenate";
  }
  const auto encoder = open_encoder(request.model, options);
  const EvaluationTexts texts = evaluation_texts(request, *encoder);
  const auto embeddings = timed([&] { return encoder->encode(texts.texts, encoder->describe()); });
  std::optional<Embeddings> expected;
  if (!request.reference.empty()) {
    options.max_length = encoder->max_length();
    options.max_length_from =
        cat(request.reference, ": its texts are cut as those of ", request.model, ", but their length");
    const auto reference = open_encoder(request.reference, options);
    expected = reference->encode(texts.texts, reference->describe());
  }
  Evaluation result = evaluate_embeddings(texts, embeddings.value, expected ? &*expected : nullptr);
  result.task = request.task;
  result.texts = texts.counts;
  result.texts_per_second = static_cast<double>(texts.texts.size()) / embeddings.seconds;
  return result;
}

}  // namespace dyadic

#include "api/compare.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "api/files.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/status.h"
#include "io/datasets/text.h"
#include "io/huggingface/importer.h"

namespace dyadic {
namespace {
namespace fs = std::filesystem;

// The folder of rows and models: the caller's, or a temporary one that goes with this object.
class WorkFolder {
 public:
  explicit WorkFolder(const std::string& wanted) : path_(wanted) {
    if (wanted.empty()) {
      path_ = temporary_.emplace().path();
      return;
    }
    std::error_code error;
    fs::create_directories(path_, error);
    if (error) fail(ErrorKind::kFailed, path_, ": cannot be made: ", error.message());
  }
  std::string file(const std::string& name) const { return (fs::path(path_) / name).string(); }

 private:
  std::string path_;
  std::optional<TemporaryFolder> temporary_;
};

void add_file(Hash64& hash, const std::string& path) {
  const auto file = MappedFile::open(path);
  hash.update(file->bytes().data(), file->bytes().size());
  hash.update(cat("|", file->bytes().size(), "|"));
}

// What every row of a request depends on: the files that make the float model, the texts and the numbers.
Hash64 common_digest(const CompareRequest& request) {
  Hash64 hash;
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(request.model)) {
    if (entry.is_regular_file() && is_model_file(entry.path().string())) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    hash.update(fs::relative(file, request.model).string());
    add_file(hash, file);
  }
  add_file(hash, request.calibration);
  add_file(hash, request.data);
  hash.update(cat(request.task, "|", request.sample, "|", request.seed, "|", request.threads, "|"));
  for (int column : request.columns) hash.update(cat(column, ","));
  return hash;
}

Json to_json(const CompareRow& row) {
  Json json = {{"recipe", row.recipe}, {"digest", row.digest}, {"error", row.error}, {"islands", row.islands}};
  json["bytes"] = row.bytes;
  json["cosine"] = {
      {"count", row.cosine.count}, {"mean", row.cosine.mean}, {"p01", row.cosine.p01}, {"min", row.cosine.min}};
  if (row.spearman) json["spearman"] = *row.spearman;
  json["texts_per_second"] = row.texts_per_second;
  return json;
}

std::optional<CompareRow> read_row(const std::string& path, const std::string& digest) {
  const Json json = parse_json(read_file(path, size_t{1} << 20), path);
  const JsonObject object(json, path);
  CompareRow row;
  row.recipe = object.string("recipe");
  row.digest = object.string("digest");
  row.error = object.string("error");
  if (row.digest != digest) return std::nullopt;
  if (!object.at("islands").is_array()) fail(ErrorKind::kMalformed, path, ": key 'islands' must be a list");
  for (const Json& island : object.at("islands"))
    if (island.is_string()) row.islands.push_back(island.get<std::string>());
  row.bytes = object.integer("bytes", 0, INT64_MAX);
  const JsonObject cosine = object.object("cosine");
  row.cosine = {cosine.integer("count", 0, INT64_MAX), cosine.number("mean"), cosine.number("p01"),
                cosine.number("min")};
  if (object.has("spearman")) row.spearman = object.number("spearman");
  row.texts_per_second = object.number("texts_per_second");
  row.resumed = true;
  return row;
}

// The row that an earlier call left, with its model; or nothing.
std::optional<CompareRow> kept_row(const std::string& path, const std::string& model_path, const std::string& digest) {
  std::error_code missing;
  if (!fs::is_regular_file(path, missing)) return std::nullopt;
  try {
    auto row = read_row(path, digest);
    const auto bytes = static_cast<int64_t>(fs::file_size(model_path, missing));
    if (row && row->error.empty() && (missing || bytes != row->bytes)) return std::nullopt;
    return row;
  } catch (const Error& error) {
    fail(error.kind(), error.what(), "; delete the file, and its row is computed again");
  }
}

// The float model's side, made when the first row needs it.
struct Reference {
  EvaluationTexts texts;
  Embeddings embeddings;
  Evaluation own;
};

Reference make_reference(const CompareRequest& request, const EvaluateRequest& evaluation) {
  const auto encoder = open_encoder(request.model, evaluation.encoder);
  Reference reference;
  reference.texts = evaluation_texts(evaluation, *encoder);
  reference.embeddings = encoder->encode(reference.texts.texts, encoder->describe());
  reference.own = evaluate_embeddings(reference.texts, reference.embeddings, nullptr);
  return reference;
}

CompareRow compute_row(const CompareRequest& request, const std::string& recipe, const std::string& model_path,
                       const EvaluateRequest& evaluation, const Reference& reference) {
  CompareRow row;
  QuantizeRequest quantize;
  quantize.model = request.model;
  quantize.recipe = recipe;
  quantize.calibration = request.calibration;
  if (is_table(request.calibration)) quantize.columns = request.columns;
  quantize.sample = request.sample;
  quantize.seed = request.seed;
  quantize.threads = request.threads;
  quantize.output = model_path;
  try {
    const QuantizeReport made = quantize_model(quantize);
    row.islands = made.islands;
    row.bytes = made.bytes_after;
    const auto encoder = open_encoder(model_path, evaluation.encoder);
    const Timed<Embeddings> embeddings =
        timed([&] { return encoder->encode(reference.texts.texts, encoder->describe()); });
    const Evaluation result = evaluate_embeddings(reference.texts, embeddings.value, &reference.embeddings);
    row.cosine = *result.cosine;
    row.spearman = result.spearman ? result.spearman : result.pairs_spearman;
    row.texts_per_second = static_cast<double>(reference.texts.texts.size()) / embeddings.seconds;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kContract) throw;
    row.error = error.what();
  }
  return row;
}

}  // namespace

CompareReport compare_recipes(const CompareRequest& request) {
  if (request.resume && request.work.empty())
    fail(ErrorKind::kUsage, "--resume takes up the rows of a folder: give --work DIR");
  if (request.recipes.empty()) fail(ErrorKind::kUsage, "no recipe to compare");
  EvaluateRequest evaluation;
  evaluation.model = evaluation.reference = request.model;
  evaluation.task = request.task;
  evaluation.data = request.data;
  evaluation.seed = request.seed;
  evaluation.encoder.session.threads = request.threads;
  if (is_table(request.data)) evaluation.columns = request.columns;

  std::vector<Recipe> recipes;
  std::map<std::string, std::string> name_of;  // by text
  for (const auto& name : request.recipes) {
    recipes.push_back(load_recipe(name));
    const auto [earlier, fresh] = name_of.try_emplace(recipes.back().text, name);
    if (!fresh) fail(ErrorKind::kUsage, "--recipes: '", name, "' is the recipe of '", earlier->second, "' again");
  }
  require_huggingface(request.model);
  if (is_same_file(request.work, request.model) || is_inside(request.work, request.model))
    fail(ErrorKind::kUsage, "--work ", request.work, " lies in the model's folder, which it would change");
  if (!request.columns.empty() && !is_table(request.data) && !is_table(request.calibration))
    fail(ErrorKind::kUsage, "--columns belongs to a .tsv, which neither --data nor --calib is");
  const WorkFolder work(request.work);
  const Hash64 common = common_digest(request);
  const Reference reference = make_reference(request, evaluation);
  CompareReport report;
  report.task = request.task;
  report.texts = reference.texts.counts;
  report.float_bytes = weight_bytes(request.model);
  report.float_spearman = reference.own.spearman;
  for (size_t i = 0; i < recipes.size(); ++i) {
    check_interrupted();
    Hash64 hash = common;
    hash.update(recipes[i].text);
    const std::string digest = hex64(hash.value()), stem = recipes[i].name + "-" + digest;
    if (request.resume)
      if (auto kept = kept_row(work.file(stem + ".json"), work.file(stem + ".dyad"), digest)) {
        report.rows.push_back(std::move(*kept));
        continue;
      }
    CompareRow row = compute_row(request, request.recipes[i], work.file(stem + ".dyad"), evaluation, reference);
    row.recipe = recipes[i].name;
    row.digest = digest;
    AtomicFile file(work.file(stem + ".json"));
    file.write(to_json(row).dump(2) + "\n");
    file.commit();
    report.rows.push_back(std::move(row));
  }
  return report;
}

}  // namespace dyadic

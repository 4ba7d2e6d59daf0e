#include "api/export.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "api/encoder.h"
#include "api/files.h"
#include "api/verify.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "runtime/container.h"
#include "runtime/session.h"
#include "tensor/token_batch.h"

namespace dyadic {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kReadmeMark = ": a trained network in C99, integers only\n";

int64_t default_length(const Model& model) {
  const auto known = model.metadata.find("max_length");
  if (known != model.metadata.end()) return std::strtoll(known->second.c_str(), nullptr, 10);
  const auto symbol = model.symbols.find("L");
  return symbol == model.symbols.end() ? 512 : symbol->second.maximum;
}

// What a finished `make test` leaves in an exported folder, and nothing else.
bool is_exported(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_regular_file(folder / "README.txt", error)) return false;
  const std::string readme = read_file((folder / "README.txt").string());
  const size_t end = readme.find(kReadmeMark);
  if (end == std::string::npos || readme.find('\n') < end) return false;
  const std::string prefix = readme.substr(0, end);
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name == "README.txt" || name == "Makefile" || name == "test.c" || name == "test_vectors.h" ||
                      name == "test.o" || name == "test_" + prefix ||
                      std::ranges::any_of(std::initializer_list<const char*>{".h", ".c", ".o", ".bin", "_weights.h",
                                                                             "_weights.c", "_weights.o"},
                                          [&](const char* ending) { return name == prefix + ending; });
    if (!ours || !entry.is_regular_file()) return false;
  }
  return true;
}

void check_target(const std::string& path, bool force, const std::vector<std::string>& inputs) {
  if (path.empty()) fail(ErrorKind::kUsage, "the folder to make has no name");
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status)) fail(ErrorKind::kUsage, path, ": exists and is not a folder");
  for (const std::string& input : inputs)
    if (is_inside(input, path))
      fail(ErrorKind::kUsage, path, ": holds ", input, ", which is read: choose another folder");
  const bool is_empty = fs::is_empty(path, error);
  if (error) fail(ErrorKind::kFailed, path, ": cannot read: ", error.message());
  if (!force && !is_empty && !is_exported(path))
    fail(ErrorKind::kUsage, path, ": holds files that no export has written; choose another folder, or --force to ",
         "replace it and everything in it");
}

std::vector<TokenIds> random_texts(const Model& model, int64_t max_length, uint64_t seed) {
  const int64_t vocabulary = input_range(model, "token").hi + 1;
  std::vector<TokenIds> texts;
  Random random(seed);
  for (const int64_t length : {int64_t{16}, int64_t{1}, int64_t{2}, int64_t{3}, int64_t{7}, int64_t{31}, max_length})
    texts.push_back(random_tokens(random, vocabulary, std::min(length, max_length)));
  return texts;
}

CTestVectors compute_vectors(const std::shared_ptr<const Model>& model, std::vector<TokenIds> texts) {
  const Graph& main = model->main();
  std::vector<std::vector<Hash64>> hashes;
  for (const Node& node : main.nodes) hashes.emplace_back(node.outputs.size());
  CTestVectors vectors;
  Session session(model, {});
  for (const TokenIds& text : texts) {
    const auto outputs =
        session.run(pack_tokens({&text, 1}).feeds, [&](const Node& node, size_t output, const TensorView& view) {
          hashes[static_cast<size_t>(&node - main.nodes.data())][output].update(
              view.data, static_cast<size_t>(storage_bytes(view.type, view.count())));
        });
    const auto codes = outputs.begin()->second.to_int64();
    vectors.expected.insert(vectors.expected.end(), codes.begin(), codes.end());
  }
  for (const auto& outputs : hashes) {
    Hash64 layer;
    for (const Hash64& output : outputs) {
      const uint64_t value = output.value();
      layer.update(&value, sizeof value);
    }
    vectors.layer_hashes.push_back(layer.value());
  }
  vectors.texts = std::move(texts);
  return vectors;
}

// Removed with its owner, unless that gives it up.
struct NewFolder {
  explicit NewFolder(const std::string& beside)
      : name(new_beside(beside, [](const char* name) { return mkdir(name, 0777) == 0; })) {}
  ~NewFolder() {
    if (!name.empty()) remove_folder(name);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  std::string name;
};

}  // namespace

void replace_folder(const std::string& path, const std::map<std::string, std::string>& files) {
  const fs::path target = fs::path(path).has_filename() ? fs::path(path) : fs::path(path).parent_path();
  const NewFolder made(target.string());
  NewFolder replaced(target.string());  // an empty folder, whose place the old one takes
  const fs::path folder = made.name, old = replaced.name;
  try {
    for (const auto& [name, contents] : files) {
      AtomicFile file((folder / name).string());
      file.write(contents);
      file.commit();
    }
    std::error_code nothing_there;
    fs::rename(target, old, nothing_there);
    std::error_code error;
    fs::rename(folder, target, error);
    if (error) {
      if (!nothing_there) {
        replaced.name.clear();  // should it not come back to its place, it stays there
        fs::rename(old, target);
      }
      throw fs::filesystem_error("cannot rename the finished folder into place", error);
    }
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::kFailed, path, ": cannot write: ", error.code().message());
  }
}

ExportReport export_c_folder(const ExportRequest& request) {
  check_target(request.output, request.force, {request.model, request.texts});
  const auto model = load_model(request.model);
  ExportReport report;
  CExportOptions options;
  options.prefix = request.prefix;
  options.weights = request.weights;
  report.max_length = options.max_length = request.max_length ? request.max_length : default_length(*model);
  check_exportable(*model, options);  // what cannot be exported is refused before any text is run

  std::vector<TokenIds> texts;
  if (request.texts.empty()) {
    texts = random_texts(*model, options.max_length, request.seed);
    report.texts.count = std::ssize(texts);
  } else {
    EncoderOptions encoding;
    encoding.max_length = options.max_length;
    TokenizedTexts lines = tokenize_lines(request.texts, *open_encoder(request.model, encoding));
    texts = std::move(lines.ids);
    report.texts = lines.counts;
  }
  const CExport made = export_c(*model, options, compute_vectors(model, std::move(texts)));
  replace_folder(request.output, made.files);
  for (const auto& [name, contents] : made.files) report.files[name] = std::ssize(contents);
  report.arena_bytes = made.arena_bytes;
  report.weight_bytes = made.weight_bytes;
  report.layers = made.layers;
  report.bodies = made.bodies;
  report.source_lines = made.source_lines;
  return report;
}

}  // namespace dyadic

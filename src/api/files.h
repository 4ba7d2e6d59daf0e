// Files that a user names: outputs, asked about before work for them begins, and lines of texts as they come.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace dyadic {

// What a model folder is made of: .json, .txt and .safetensors files.
bool is_model_file(const std::string& path);
// Whether an existing folder holds `path`, at any depth, or what it is a link to.
bool is_inside(const std::string& path, const std::string& folder);

// With all that it holds; what cannot be removed stays. Without exceptions: fs::remove_all throws where memory runs
// out.
void remove_folder(const std::string& path) noexcept;

// kUsage if the file that `option` names would take the place of one of `inputs` or of a file of one that is a model
// folder; kFailed if it cannot be written.
void require_output(const std::string& path, const std::string& option, const std::vector<std::string>& inputs);

// A fresh folder below the system's folder for temporaries, removed with all it holds at the end of its life.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The lines of a file, plain or .zst, or of a pipe. kFailed if it cannot be opened or read; a signal that ends the
// program (base/progress.h) ends waiting too, with kInterrupted.
class TextLines {
 public:
  explicit TextLines(const std::string& path);  // "-" is stdin
  ~TextLines();
  TextLines(const TextLines&) = delete;
  TextLines& operator=(const TextLines&) = delete;

  const std::string& name() const;  // for messages
  // The next line without its end, cut beyond 64 MiB: a device may have no line ends at all. False at the end.
  bool next(std::string& line);
  // Whether the next call may have to wait.
  bool may_wait() const;

 private:
  class Source;
  std::unique_ptr<Source> source_;
};

}  // namespace dyadic

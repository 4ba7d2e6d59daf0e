#include "api/files.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/progress.h"
#include "base/status.h"
#include "io/datasets/text.h"

namespace dyadic {
namespace fs = std::filesystem;

bool is_model_file(const std::string& path) {
  const std::string kind = fs::path(path).extension().string();
  return kind == ".json" || kind == ".txt" || kind == ".safetensors";
}

bool is_inside(const std::string& path, const std::string& folder) {
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  if (path.empty() || error) return false;
  for (fs::path at : {whole, fs::weakly_canonical(whole, error)})
    while (at.has_relative_path()) {
      at = at.parent_path();
      if (is_same_file(at.string(), folder)) return true;
    }
  return false;
}

namespace {

// Whether `path` is one of the files of a model folder; each may be a link, as may `path`.
bool is_of_model(const std::string& path, const std::string& folder) {
  std::error_code error;
  if (!fs::exists(path, error) || !fs::is_directory(folder, error)) return false;
  fs::recursive_directory_iterator entry(folder, error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error))
    if (is_model_file(entry->path().string()) && is_same_file(path, entry->path().string())) return true;
  return false;
}

}  // namespace

void remove_folder(const std::string& path) noexcept {
  nftw(
      path.c_str(), [](const char* name, const struct stat*, int, FTW*) { return std::remove(name); }, 8,
      FTW_DEPTH | FTW_PHYS);
}

void require_output(const std::string& path, const std::string& option, const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs)
    if (const bool same = is_same_file(path, input); same || is_of_model(path, input))
      fail(ErrorKind::kUsage, option, " ", path, " would replace ", same ? "" : "a file of ", input, ", which is read");
  require_writable(path);
}

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  const fs::path all = fs::temp_directory_path(error);
  if (error) fail(ErrorKind::kFailed, "no folder for temporary files: TMPDIR: ", error.message());
  path_ = (all / "dyadic-XXXXXX").string();
  if (!mkdtemp(path_.data()))
    fail(ErrorKind::kFailed, all.string(), ": cannot make a temporary folder: ", std::strerror(errno));
}

TemporaryFolder::~TemporaryFolder() { remove_folder(path_); }

class TextLines::Source {
 public:
  explicit Source(const std::string& path) : name_(path == "-" ? "stdin" : path) {
    if (path == "-") return;
    if (path.ends_with(".zst")) {
      stored_ = read_text_file(path);
      descriptor_ = -1, data_ = stored_.data(), end_ = stored_.size();
      return;
    }
    // A pipe without a writer is waited for below, where a signal ends that.
    descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0) fail(ErrorKind::kFailed, name_, ": cannot open: ", std::strerror(errno));
  }
  ~Source() {
    if (descriptor_ > STDIN_FILENO) close(descriptor_);
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  const std::string& name() const { return name_; }

  bool next(std::string& line) {
    constexpr size_t kMost = (size_t{64} << 20) + 2;  // more than a text may have, with CR: it will be refused
    line.clear();
    while (at_ < end_ || fill()) {
      const char* from = data_ + at_;
      const char* end = from + std::min(end_ - at_, kMost - line.size());
      const char* stop = std::find(from, end, '\n');
      line.append(from, stop);
      at_ += static_cast<size_t>(stop - from);
      if (stop != end) return ++at_, true;
      if (line.size() == kMost) return true;
    }
    return !line.empty();
  }

  bool may_wait() const {
    if (at_ < end_ || descriptor_ < 0) return false;
    pollfd ready{descriptor_, POLLIN, 0};
    return poll(&ready, 1, 0) == 0;
  }

 private:
  // False at the end.
  bool fill() {
    if (descriptor_ < 0) return false;
    for (;;) {
      pollfd ready{descriptor_, POLLIN, 0};
      const int came = poll(&ready, 1, 100);  // a signal ends it, as it does not end a read, unless it came just before
      check_interrupted();
      if (came == 0) continue;
      const ssize_t got = read(descriptor_, buffer_, sizeof buffer_);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0 && errno == EISDIR) fail(ErrorKind::kMalformed, name_, ": a folder, not a text file");
      if (got < 0) fail(ErrorKind::kFailed, name_, ": cannot read: ", std::strerror(errno));
      at_ = 0, end_ = static_cast<size_t>(got);
      return got > 0;
    }
  }

  const std::string name_;
  int descriptor_ = STDIN_FILENO;  // below 0: all is in stored_
  std::string stored_;
  char buffer_[1 << 16];
  const char* data_ = buffer_;  // of which [at_, end_) is to come
  size_t at_ = 0, end_ = 0;
};

TextLines::TextLines(const std::string& path) : source_(std::make_unique<Source>(path)) {}
TextLines::~TextLines() = default;
const std::string& TextLines::name() const { return source_->name(); }
bool TextLines::next(std::string& line) { return source_->next(line); }
bool TextLines::may_wait() const { return source_->may_wait(); }

}  // namespace dyadic

// Files: mapped for reading, written to a temporary beside the target and renamed.
#pragma once
#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/function_ref.h"

namespace dyadic {

// A read-only memory map of a regular file. Throws kFailed (cannot open) or kMalformed (not a regular file).
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Asks the system for all of it now, in one go instead of page by page as it is read.
  void populate() const;
  const std::string& path() const { return path_; }

 private:
  MappedFile() = default;
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Reads a whole file of at most `max_bytes`; larger ones are kMalformed.
std::string read_file(const std::string& path, size_t max_bytes = size_t{1} << 30);

// Throws kFailed if no file can be put at `path`: it is a folder, a device or a pipe, may not be written, or its folder
// is missing or may not be written. For a flow to ask before its work begins.
void require_writable(const std::string& path);

// Whether both name one existing file.
bool is_same_file(const std::string& a, const std::string& b);

// The name PATH.tmp-PID, or PATH.tmp-PID-N, by which create() made what was not there: it returns false and leaves
// errno otherwise. kFailed if that is not EEXIST.
std::string new_beside(const std::string& path, FunctionRef<bool(const char* name)> create);

// Writes to a new file beside PATH, then syncs and renames in commit(). Without commit() the temporary is removed and
// PATH is untouched. Of a symbolic link the file that it points to is written; permissions stay. Every failure (disk
// full included) is kFailed and names the path.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::string path_, target_, temporary_;  // target_: behind symbolic links
  std::FILE* file_ = nullptr;
};

}  // namespace dyadic

#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/status.h"

namespace dyadic {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail(ErrorKind::kFailed, path, ": cannot open: ", std::strerror(errno));
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    fail(ErrorKind::kMalformed, path, ": not a regular file");
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->size_ = static_cast<size_t>(info.st_size);
  if (file->size_ > 0) {
    void* map = mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      const int error = errno;
      ::close(fd);
      fail(ErrorKind::kFailed, path, ": cannot map: ", std::strerror(error));
    }
    file->data_ = static_cast<const std::byte*>(map);
  }
  ::close(fd);
  return file;
}

void MappedFile::populate() const {
#ifdef MADV_POPULATE_READ
  if (data_) madvise(const_cast<std::byte*>(data_), size_, MADV_POPULATE_READ);  // older kernels refuse: no harm
#endif
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_file(const std::string& path, size_t max_bytes) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (bytes.size() > max_bytes)
    fail(ErrorKind::kMalformed, path, ": ", bytes.size(), " bytes, more than the ", max_bytes, " allowed here");
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

namespace {

namespace fs = std::filesystem;

// What a symbolic link points to in the end, be it there or not.
std::string behind_links(const std::string& path) {
  fs::path at = path;
  std::error_code error;
  for (int links = 0; fs::is_symlink(fs::symlink_status(at, error)); ++links) {
    const fs::path to = fs::read_symlink(at, error);
    if (error || links == 40) fail(ErrorKind::kFailed, path, ": cannot write: a symbolic link that leads nowhere");
    at = to.is_absolute() ? to : at.parent_path() / to;
  }
  return at.string();
}

std::string writable_target(const std::string& path) {
  if (path.empty()) fail(ErrorKind::kFailed, "cannot write a file without a name");
  const std::string target = behind_links(path);
  struct stat info {};
  if (::stat(target.c_str(), &info) == 0) {
    if (!S_ISREG(info.st_mode))
      fail(ErrorKind::kFailed, path, ": cannot write: it is ",
           S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe", ", not a file");
    if (::access(target.c_str(), W_OK) != 0) fail(ErrorKind::kFailed, path, ": cannot write: ", std::strerror(errno));
  }
  const std::string folder = fs::path(target).parent_path().string();
  if (::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) != 0)
    fail(ErrorKind::kFailed, path, ": cannot write: ", std::strerror(errno), folder.empty() ? "" : ": " + folder);
  return target;
}

}  // namespace

void require_writable(const std::string& path) { writable_target(path); }

bool is_same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  return fs::equivalent(a, b, error) && !error;
}

std::string new_beside(const std::string& path, FunctionRef<bool(const char* name)> create) {
  std::string name = cat(path, ".tmp-", getpid());
  // Processes of two containers may have one number, and one that was killed leaves its files behind.
  for (int other = 1; !create(name.c_str()); ++other) {
    if (errno != EEXIST || other > 100) fail(ErrorKind::kFailed, path, ": cannot write: ", std::strerror(errno));
    name = cat(path, ".tmp-", getpid(), "-", other);
  }
  return name;
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), target_(writable_target(path_)) {
  int descriptor = -1;
  temporary_ = new_beside(target_, [&](const char* name) {
    descriptor = ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return descriptor >= 0;
  });
  struct stat old {};
  if (::stat(target_.c_str(), &old) == 0) fchmod(descriptor, old.st_mode & 0777);
  file_ = fdopen(descriptor, "wb");
  if (file_) return;
  const int error = errno;
  ::close(descriptor);
  ::unlink(temporary_.c_str());
  fail(ErrorKind::kFailed, path_, ": cannot write: ", std::strerror(error));
}

AtomicFile::~AtomicFile() {
  if (file_) std::fclose(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t size) {
  if (size > 0 && std::fwrite(data, 1, size, file_) != size)
    fail(ErrorKind::kFailed, path_, ": write failed: ", std::strerror(errno));
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0)
    fail(ErrorKind::kFailed, path_, ": write failed: ", std::strerror(errno));
  const int closed = std::fclose(std::exchange(file_, nullptr));
  if (closed != 0) fail(ErrorKind::kFailed, path_, ": write failed: ", std::strerror(errno));
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0)
    fail(ErrorKind::kFailed, path_, ": cannot rename the finished file into place: ", std::strerror(errno));
  temporary_.clear();
}

}  // namespace dyadic

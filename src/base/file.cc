#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
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

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), temporary_(path_ + ".tmp-" + std::to_string(getpid())) {
  file_ = std::fopen(temporary_.c_str(), "wbe");
  if (!file_) fail(ErrorKind::kFailed, path_, ": cannot write: ", std::strerror(errno));
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
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail(ErrorKind::kFailed, path_, ": cannot rename the finished file into place: ", std::strerror(errno));
  temporary_.clear();
}

}  // namespace dyadic

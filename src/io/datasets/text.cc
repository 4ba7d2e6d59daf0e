#include "io/datasets/text.h"

#include <zstd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/file.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/status.h"
#include "io/tokenizers/utf8.h"

namespace dyadic {
namespace {

bool is_zstd(std::span<const std::byte> bytes) {
  if (bytes.size() < 4) return false;
  uint32_t magic = 0;
  for (int i = 3; i >= 0; --i) magic = magic << 8 | std::to_integer<uint32_t>(bytes[i]);
  return magic == ZSTD_MAGICNUMBER || (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

std::string decompress(std::span<const std::byte> bytes, const std::string& path, size_t max_bytes) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (!context) fail(ErrorKind::kFailed, path, ": no memory to decompress");
  std::string text;
  std::vector<char> chunk(ZSTD_DStreamOutSize());
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  for (;;) {
    ZSTD_outBuffer out{chunk.data(), chunk.size(), 0};
    const size_t state = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(state))
      fail(ErrorKind::kMalformed, path, ": corrupt Zstandard data near byte ", in.pos, ": ", ZSTD_getErrorName(state));
    if (out.pos > max_bytes - text.size())
      fail(ErrorKind::kMalformed, path, ": more than the ", max_bytes, " bytes of text allowed");
    text.append(chunk.data(), out.pos);
    if (in.pos < in.size) continue;
    if (state == 0) return text;  // a frame has ended, and nothing follows
    if (out.pos < out.size)
      fail(ErrorKind::kMalformed, path, ": Zstandard data is truncated: it ends inside a frame at byte ", in.size);
  }
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Calls use(line, where) for each line of the file; where() names file and line.
template <class Use>
void for_each_line(const std::string& path, Use use) {
  const std::string text = read_text_file(path);
  std::string_view rest = text;
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto where = [&] { return cat(path, ": line ", number); };
    if (find_invalid_utf8(line) != std::string_view::npos) check_utf8(line, where());
    use(line, where);
  }
}

}  // namespace

std::string read_text_file(const std::string& path, size_t max_bytes) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (is_zstd(bytes)) return decompress(bytes, path, max_bytes);
  if (bytes.size() > max_bytes)
    fail(ErrorKind::kMalformed, path, ": more than the ", max_bytes, " bytes of text allowed");
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines;
  for_each_line(path, [&](std::string_view line, const auto&) { lines.emplace_back(line); });
  return lines;
}

std::vector<std::string> read_columns(const std::string& path, std::span<const int> columns) {
  if (columns.empty() || std::ranges::min(columns) < 1)
    fail(ErrorKind::kUsage, "columns to read are counted from 1, and there must be one");
  const auto needed = static_cast<size_t>(std::ranges::max(columns));
  std::vector<std::string> texts;
  for_each_line(path, [&](std::string_view line, const auto& where) {
    const auto fields = split(line, '\t');
    if (fields.size() < needed)
      fail(ErrorKind::kMalformed, where(), ": ", fields.size(), " tab-separated columns, but column ", needed,
           " is asked for");
    for (int column : columns) texts.emplace_back(fields[static_cast<size_t>(column) - 1]);
  });
  return texts;
}

bool is_table(std::string_view path) {
  if (path.ends_with(".zst")) path.remove_suffix(4);
  return path.ends_with(".tsv") || path.ends_with(".csv");
}

std::vector<std::string> read_texts(const std::string& path, std::span<const int> columns) {
  if (!columns.empty()) return read_columns(path, columns);
  if (is_table(path)) fail(ErrorKind::kUsage, path, ": say which columns hold text, e.g. --columns 6,7");
  return read_lines(path);
}

std::vector<std::string> sample_texts(std::vector<std::string> texts, size_t n, uint64_t seed) {
  n = std::min(n, texts.size());
  Random random(seed);
  for (size_t i = 0; i < n; ++i) std::swap(texts[i], texts[i + random.below(texts.size() - i)]);
  texts.resize(n);
  return texts;
}

bool held_back(std::string_view text, int percent) {
  return mix64(hash64(text)) % 100 < static_cast<uint64_t>(std::clamp(percent, 0, 100));
}

std::vector<StsPair> read_sts(const std::string& path) {
  std::vector<StsPair> pairs;
  for_each_line(path, [&](std::string_view line, const auto& where) {
    const auto fields = split(line, '\t');
    if (fields.size() != 7 && fields.size() != 9)
      fail(ErrorKind::kMalformed, where(), ": ", fields.size(), " tab-separated fields; an STS file has 7 or 9");
    double score = 0;
    const char* end = fields[4].data() + fields[4].size();
    const auto parsed = std::from_chars(fields[4].data(), end, score);
    if (parsed.ec != std::errc() || parsed.ptr != end || !(score >= 0 && score <= 5))
      fail(ErrorKind::kMalformed, where(), ": field 5 must be a score of 0..5");
    pairs.push_back({score, std::string(fields[5]), std::string(fields[6])});
  });
  return pairs;
}

}  // namespace dyadic

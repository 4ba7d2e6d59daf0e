// Text for calibration and evaluation: plain or Zstandard-compressed files of lines, TSV columns, STS pairs; samples
// and splits that are the same on every machine.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dyadic {

// The whole file, decompressed if it begins with a Zstandard magic number (several frames in a row are one text).
// kFailed if it cannot be opened; kMalformed if it is truncated or corrupt (with the byte offset in the compressed
// file) or over `max_bytes` once decompressed, which also bounds the memory used. The text is not checked to be UTF-8.
std::string read_text_file(const std::string& path, size_t max_bytes = size_t{1} << 30);

// The lines of such a file without LF or CR LF; an empty line is a text like any other, nothing follows the last line
// end. kMalformed, naming file and line, if a line is not UTF-8.
std::vector<std::string> read_lines(const std::string& path);

// Columns (counted from 1) of a file of tab-separated values without quoting: for each line, the texts of `columns` in
// the order given, all in one list. kUsage for no columns or one below 1; kMalformed, naming file and line, if a line
// has too few.
std::vector<std::string> read_columns(const std::string& path, std::span<const int> columns);

// Whether a file's name says that it holds a table: .tsv or .csv, plain or .zst.
bool is_table(std::string_view path);

// `columns` of a table, or where there are none the lines of any other file. kUsage for a table without columns.
std::vector<std::string> read_texts(const std::string& path, std::span<const int> columns);

// min(n, texts.size()) of the texts, drawn without replacement by Fisher-Yates with Random(seed), in the order drawn: a
// smaller sample of the same seed is a prefix of a larger one.
std::vector<std::string> sample_texts(std::vector<std::string> texts, size_t n, uint64_t seed);

// Splits by content: true for about `percent` (0..100) of all texts, always for the same ones; equal texts never part.
bool held_back(std::string_view text, int percent);

struct StsPair {
  double score;  // 0 (unrelated) .. 5 (the same meaning)
  std::string first, second;
};

// A file of the semantic textual similarity benchmark (Cer et al., SemEval 2017): tab-separated values without quoting,
// 7 or 9 fields a line, of which the fifth to seventh are score and sentences. kMalformed, naming file and line, for
// anything else.
std::vector<StsPair> read_sts(const std::string& path);

}  // namespace dyadic

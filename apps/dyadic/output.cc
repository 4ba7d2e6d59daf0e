#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/status.h"
#include "commands.h"

namespace dyadic::cli {

CLI::Validator whole_number(uint64_t least, uint64_t most) {
  return CLI::Validator(
      [least, most](const std::string& text) -> std::string {
        uint64_t value = 0;
        const char* end = text.data() + text.size();
        const auto [at, error] = std::from_chars(text.data(), end, value);
        const bool plain = error == std::errc() && at == end && (text[0] != '0' || text.size() == 1);
        return plain && value >= least && value <= most
                   ? ""
                   : fmt::format("'{}' is not a number in {}..{}", text, least, most);
      },
      most == UINT64_MAX ? "" : fmt::format("[{} - {}]", least, most));
}

std::vector<int> parse_numbers(const std::string& text, const std::string& option) {
  std::vector<int> numbers;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const bool digits = !part.empty() && part.size() < 8 &&
                        std::all_of(part.begin(), part.end(), [](unsigned char c) { return std::isdigit(c); });
    if (!digits || std::stoi(part) < 1)
      fail(ErrorKind::kUsage, option, ": '", text, "' is not a list of numbers in 1..9999999, like 6,7");
    numbers.push_back(std::stoi(part));
  }
  if (numbers.empty()) fail(ErrorKind::kUsage, option, ": no number given");
  return numbers;
}

void print_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width;
  for (const auto& cell : header) width.push_back(cell.size());
  for (const auto& row : rows)
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  const auto numeric = [](const std::string& cell) {
    return !cell.empty() && (std::isdigit(static_cast<unsigned char>(cell[0])) || cell[0] == '-');
  };
  const auto print = [&](const std::vector<std::string>& row, bool head) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const bool right = head ? !rows.empty() && numeric(rows[0][c]) : numeric(row[c]);
      line += right ? fmt::format("{:>{}}  ", row[c], width[c]) : fmt::format("{:<{}}  ", row[c], width[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  };
  print(header, true);
  for (const auto& row : rows) print(row, false);
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  if (bytes < 1000000) return fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1e3);
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

std::string score_text(double x) { return std::isnan(x) ? "undefined" : fmt::format("{:.5f}", x); }
std::string difference_text(double x) { return std::isnan(x) ? "undefined" : fmt::format("{:+.5f}", x); }

std::string counted(int64_t count, const std::string& noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

void say(const std::string& text) { std::fputs(("dyadic: " + text + "\n").c_str(), stderr); }

void warn_of_cut_texts(const TextCounts& texts) {
  if (texts.cut)
    say(fmt::format("warning: {} of {} cut to {} tokens", texts.cut, counted(texts.count, "text"), texts.max_length));
}

}  // namespace dyadic::cli

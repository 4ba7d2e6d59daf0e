#include <zstd.h>

#include <functional>
#include <random>
#include <set>

#include "base/file.h"
#include "base/status.h"
#include "io/datasets/text.h"
#include "support.h"

namespace dyadic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string error(ErrorKind kind, const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "";
}
std::string malformed(const std::function<void()>& act) { return error(ErrorKind::kMalformed, act); }

std::string written(const std::string& name, std::string_view content) {
  static const std::string dir = test::temporary_dir();
  AtomicFile file(dir + "/" + name);
  file.write(content);
  file.commit();
  return dir + "/" + name;
}

std::string compressed(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string noise(size_t size) {
  std::mt19937_64 random(test::seed());
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>('a' + random() % 26);
  return text;
}

TEST(TextFile, PlainAndCompressed) {
  for (const std::string& text : {std::string(), std::string("a\nb"), noise(1000), noise(ZSTD_DStreamOutSize()),
                                  noise(3 * ZSTD_DStreamOutSize() + 1)}) {
    EXPECT_EQ(read_text_file(written("plain", text)), text);
    EXPECT_EQ(read_text_file(written("named.txt", compressed(text))), text);  // by content, not by name
    EXPECT_EQ(read_text_file(written("two", compressed(text) + compressed(text))), text + text);
  }
  EXPECT_EQ(read_text_file(written("three", "\x28\xb5\x2f")), "\x28\xb5\x2f");
  const std::string skippable("\x50\x2a\x4d\x18\x02\x00\x00\x00xx", 10);
  EXPECT_EQ(read_text_file(written("skippable", skippable + compressed("a"))), "a");
}

TEST(TextFile, BadFiles) {
  EXPECT_THAT(error(ErrorKind::kFailed, [] { read_text_file("/nonexistent/x"); }), HasSubstr("/nonexistent/x"));
  EXPECT_THAT(malformed([] { read_text_file(test::temporary_dir()); }), HasSubstr("not a regular file"));
  const std::string good = compressed(noise(100000));
  for (size_t size : {size_t{4}, size_t{5}, size_t{100}, good.size() / 2, good.size() - 1})
    EXPECT_THAT(malformed([&] { read_text_file(written("cut", good.substr(0, size))); }),
                testing::AllOf(HasSubstr("/cut: "), HasSubstr(cat("at byte ", size))));
  EXPECT_THAT(malformed([&] { read_text_file(written("tail", good + "tail")); }),
              HasSubstr("corrupt Zstandard data near byte"));
  EXPECT_THAT(malformed([&] { read_text_file(written("cap", good), 99999); }), HasSubstr("more than the 99999 bytes"));
  EXPECT_EQ(read_text_file(written("cap", good), 100000).size(), 100000u);
  EXPECT_THAT(malformed([&] { read_text_file(written("cap", "abc"), 2); }), HasSubstr("more than the 2 bytes"));
  // A bomb: 4 GiB of zeros in little data stops at the cap.
  std::string bomb;
  const std::string frame = compressed(std::string(size_t{64} << 20, '\0'));
  for (int i = 0; i < 64; ++i) bomb += frame;
  EXPECT_THAT(malformed([&] { read_text_file(written("bomb", bomb), size_t{1} << 20); }), HasSubstr("more than"));
  std::mt19937_64 random(test::seed());
  for (int i = 0; i < 500; ++i) {
    std::string bad = compressed(std::string(5000, 'x') + noise(200));
    bad[4 + random() % (bad.size() - 4)] ^= 1 << (random() % 8);
    malformed([&] { EXPECT_LE(read_text_file(written("flip", bad), 1 << 20).size(), size_t{1} << 20); });
  }
}

TEST(Lines, EndsAndEmptyLines) {
  EXPECT_THAT(read_lines(written("l", "a\r\n\nb c\t\n")), ElementsAre("a", "", "b c\t"));
  EXPECT_THAT(read_lines(written("l", "last")), ElementsAre("last"));
  EXPECT_THAT(read_lines(written("l", "")), IsEmpty());
  EXPECT_THAT(read_lines(written("l", compressed("é\n中\n"))), ElementsAre("é", "中"));
  EXPECT_THAT(malformed([] { read_lines(written("bad.txt", "fine\nno\xff\n")); }),
              HasSubstr("bad.txt: line 2: not UTF-8 at byte 2"));
}

TEST(Columns, OneTextForEachColumnOfEachLine) {
  const std::string path = written("c.tsv", "a1\ta2\t\"a3\nb1\tb2\t\r\n");  // a quote is a character like any other
  const auto read = [&](std::vector<int> columns) { return read_columns(path, columns); };
  EXPECT_THAT(read({1}), ElementsAre("a1", "b1"));
  EXPECT_THAT(read({3, 2}), ElementsAre("\"a3", "a2", "", "b2"));
  EXPECT_THAT(malformed([&] { read({2, 4}); }), HasSubstr("c.tsv: line 1: 3 tab-separated columns, but column 4"));
  EXPECT_NE(error(ErrorKind::kUsage, [&] { read({}); }), "");
  EXPECT_NE(error(ErrorKind::kUsage, [&] { read({1, 0}); }), "");
}

TEST(Sample, IsAPrefixOfAPermutation) {
  std::vector<std::string> texts;
  for (int i = 0; i < 100; ++i) texts.push_back(cat("t", i));
  const auto all = sample_texts(texts, 1000, 3);
  EXPECT_EQ(all.size(), 100u);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 100u);
  EXPECT_NE(all, texts);
  EXPECT_EQ(sample_texts(texts, 10, 3), std::vector<std::string>(all.begin(), all.begin() + 10));
  EXPECT_NE(sample_texts(texts, 10, 4), sample_texts(texts, 10, 3));
  EXPECT_THAT(sample_texts({}, 5, 0), IsEmpty());
  EXPECT_THAT(sample_texts(texts, 0, 0), IsEmpty());
  EXPECT_THAT(sample_texts(texts, 5, 0),
              ElementsAre("t29", "t97", "t14", "t38", "t13"));  // the same on every machine, for ever
}

TEST(Sample, EveryTextIsEquallyLikely) {
  const std::vector<std::string> texts = {"0", "1", "2", "3", "4"};
  int count[5] = {};
  for (uint64_t seed = 0; seed < 5000; ++seed)
    for (const auto& text : sample_texts(texts, 2, seed)) ++count[text[0] - '0'];
  for (int c : count) EXPECT_NEAR(c, 2000, 200);  // 5.8 standard deviations
}

TEST(HeldBack, ShareAndNesting) {
  int held = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string text = cat(i);  // short texts that differ in a digit: the worst for a weak hash
    held += held_back(text, 10);
    EXPECT_FALSE(held_back(text, 0));
    EXPECT_TRUE(held_back(text, 100));
    EXPECT_TRUE(!held_back(text, 10) || held_back(text, 25));
  }
  EXPECT_NEAR(held, 2000, 250);
  EXPECT_EQ(held_back("the same", 50), held_back(std::string("the same"), 50));
}

TEST(Sts, SevenOrNineFields) {
  const auto pairs =
      read_sts(written("sts.csv", "g\tf\ty\t0001\t2.500\tA \"man.\tA dog.\r\ng\tf\ty\t3\t5\tx\ty\turl\turl\n"));
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].score, 2.5);
  EXPECT_EQ(pairs[0].first, "A \"man.");
  EXPECT_EQ(pairs[0].second, "A dog.");
  EXPECT_EQ(pairs[1].score, 5);
  EXPECT_EQ(pairs[1].second, "y");
  EXPECT_THAT(read_sts(written("sts.csv", "")), IsEmpty());
}

TEST(Sts, MalformedNamesFileAndLine) {
  const std::string good = "g\tf\ty\t1\t2\ta\tb\n";
  for (const char* bad : {"g\tf\ty\t1\t2\ta", "g\tf\ty\t1\t2\ta\tb\tc", ""})
    EXPECT_THAT(malformed([&] { read_sts(written("sts.csv", cat(good, bad, "\n"))); }),
                testing::AllOf(HasSubstr("sts.csv: line 2: "), HasSubstr("has 7 or 9")));
  for (const char* score : {"", "x", "2x", " 2", "nan", "inf", "-0.1", "5.01", "1e999", "0x1"})
    EXPECT_THAT(malformed([&] { read_sts(written("sts.csv", cat(good, "g\tf\ty\t1\t", score, "\ta\tb\n"))); }),
                HasSubstr("sts.csv: line 2: field 5 must be a score"));
}

}  // namespace
}  // namespace dyadic

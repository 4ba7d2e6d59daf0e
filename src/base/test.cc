#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "base/cpu.h"
#include "base/file.h"
#include "base/fixed_point.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/name_index.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/threads.h"
#include "support.h"

namespace dyadic {
namespace {

TEST(FixedPoint, RoundingOfTies) {
  // x / 2: 0.5 -> 1, -0.5 -> 0, 1.5 -> 2, -1.5 -> -1 (ties up); away from zero: 1, -1, 2, -2.
  const int64_t x[] = {1, -1, 3, -3}, up[] = {1, 0, 2, -1}, away[] = {1, -1, 2, -2}, floor[] = {0, -1, 1, -2};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(shift_right(x[i], 1, Rounding::kHalfUp), up[i]);
    EXPECT_EQ(shift_right(x[i], 1, Rounding::kHalfAway), away[i]);
    EXPECT_EQ(shift_right(x[i], 1, Rounding::kFloor), floor[i]);
  }
  EXPECT_EQ(mul_shift(-2999892, 1992157647, 38), -21741);  // sheet integer-arithmetic-only e4: exact -21741.4992
}

TEST(FixedPoint, ShiftRightEqualsWideArithmetic) {
  std::mt19937_64 random(test::seed());
  for (int i = 0; i < 100000; ++i) {
    const int64_t x = static_cast<int64_t>(random()) >> (random() % 63);
    const int k = 1 + static_cast<int>(random() % 62);
    const int128 half = int128{1} << (k - 1);
    EXPECT_EQ(shift_right(x, k, Rounding::kHalfUp), static_cast<int64_t>((int128{x} + half) >> k)) << x << " >> " << k;
  }
}

TEST(FixedPoint, IsqrtIsTheFloorOfTheRoot) {
  std::mt19937_64 random(test::seed());
  auto check = [](uint64_t x) {
    const uint64_t r = isqrt(x);
    EXPECT_LE(r * r, x);
    EXPECT_GT(static_cast<unsigned __int128>(r + 1) * (r + 1), x);
  };
  for (uint64_t x = 0; x < 5000; ++x) check(x);
  for (uint64_t r : {uint64_t{1} << 30, (uint64_t{1} << 31) - 1, uint64_t{3037000499}})
    for (int d = -1; d <= 1; ++d) check(r * r + d);
  for (int i = 0; i < 100000; ++i) check(random() >> (1 + random() % 62));
}

TEST(FixedPoint, DivFloor) {
  EXPECT_EQ(div_floor(7, 2), 3);
  EXPECT_EQ(div_floor(-7, 2), -4);
  EXPECT_EQ(div_floor(-8, 2), -4);
}

TEST(ThreadPool, CoversEveryIndexOnce) {
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 5, 64, 1000}) {
      std::vector<std::atomic<int>> seen(count);
      pool.parallel_for(count, 16, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) ++seen[i];
      });
      for (auto& s : seen) EXPECT_EQ(s, 1);
    }
  }
}

TEST(ThreadPool, RethrowsAnErrorOfAnyPart) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.parallel_for(100, 1,
                                 [](int64_t b, int64_t, int) {
                                   if (b > 0) fail(ErrorKind::kFailed, "part");
                                 }),
               Error);
  int64_t sum = 0;
  pool.parallel_for(3, 100, [&](int64_t b, int64_t e, int) { sum += e - b; });
  EXPECT_EQ(sum, 3);
}

TEST(AtomicFile, LeavesTheOldFileUntouchedWithoutCommit) {
  const std::string path = test::temporary_dir() + "/x";
  {
    AtomicFile file(path);
    file.write("old");
    file.commit();
  }
  {
    AtomicFile file(path);
    file.write("new");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()), {}), 1);
}

TEST(AtomicFile, KeepsPermissionsAndTakesNoFileOfAnother) {
  const std::filesystem::path dir = test::temporary_dir();
  const std::string path = (dir / "x").string(), taken = cat(path, ".tmp-", getpid());
  std::ofstream(path) << "old";
  std::ofstream(taken) << "another's";
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  {
    AtomicFile file(path);
    file.write("new");
    file.commit();
  }
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(read_file(taken), "another's");
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir), {}), 2);
}

// A file size limit makes a write fail in the middle, as a full disk does.
TEST(AtomicFile, AFailedWriteLeavesTheOldFileAndNoTemporary) {
  const std::string path = test::temporary_dir() + "/x";
  {
    AtomicFile file(path);
    file.write("old");
    file.commit();
  }
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    AtomicFile file(path);
    file.write(std::string(1 << 20, 'n'));
    file.commit();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFailed);
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, testing::HasSubstr(path));
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()), {}), 1);
}

TEST(AtomicFile, NamesAFolderThatIsNotThere) { EXPECT_THROW(AtomicFile("/nonexistent-folder/x"), Error); }

TEST(AtomicFile, WritesBehindSymbolicLinks) {
  namespace fs = std::filesystem;
  const fs::path dir = test::temporary_dir();
  fs::create_directory(dir / "far");
  fs::create_symlink("far/y", dir / "near");  // of a file that is not there yet
  fs::create_symlink("near", dir / "x");
  AtomicFile file((dir / "x").string());
  file.write("text");
  file.commit();
  EXPECT_TRUE(fs::is_symlink(dir / "x"));
  EXPECT_TRUE(fs::is_symlink(dir / "near"));
  EXPECT_EQ(read_file((dir / "far/y").string()), "text");
}

TEST(AtomicFile, RefusesWhatIsNoFile) {
  namespace fs = std::filesystem;
  const fs::path dir = test::temporary_dir();
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  fs::create_symlink("loop", dir / "loop");
  const auto message = [](const std::string& path) -> std::string {
    try {
      require_writable(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFailed);
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message((dir / "pipe").string()), testing::HasSubstr("a device or a pipe"));
  EXPECT_THAT(message("/dev/null"), testing::HasSubstr("a device or a pipe"));
  EXPECT_THAT(message(dir.string()), testing::HasSubstr("a folder"));
  EXPECT_THAT(message((dir / "loop").string()), testing::HasSubstr("symbolic link"));
  EXPECT_THAT(message((dir / "no/x").string()), testing::HasSubstr("No such file"));
  EXPECT_THAT(message(""), testing::HasSubstr("without a name"));
  EXPECT_EQ(message((dir / "x").string()), "");
  EXPECT_THROW(AtomicFile((dir / "pipe").string()), Error);
  EXPECT_TRUE(fs::is_fifo(dir / "pipe"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), {}), 2);
}

TEST(Json, CapsAndMessages) {
  auto message = [](std::string_view text, JsonLimits limits = {}) -> std::string {
    try {
      parse_json(text, "file.json", limits);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kMalformed);
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(message("{\"a\":1,\"a\":2}"), testing::HasSubstr("'a' appears twice"));
  EXPECT_THAT(message("{\"a\":"), testing::HasSubstr("file.json"));
  EXPECT_THAT(message(std::string(100000, '[')), testing::HasSubstr("nested deeper"));
  EXPECT_THAT(message("[1,2,3]", {.max_bytes = 3}), testing::HasSubstr("more than"));
  EXPECT_EQ(message("{\"a\":[1,{\"b\":null}]}"), "");
  EXPECT_THAT(message("{\"a\":{\"b\":[1e999]}}"), testing::HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(message("[1] 2"), testing::HasSubstr("not valid JSON at byte 4: "));
  EXPECT_THAT(message("\xef\xbb\xbf[1] 2"), testing::HasSubstr("not valid JSON at byte 7: "));
  EXPECT_THAT(message({"[1]\0[2]", 7}), testing::HasSubstr("not valid JSON at byte 3: a NUL"));
  EXPECT_THAT(message("[\"a\tb\"]"), testing::HasSubstr("not valid JSON at byte 3: a control character"));
  EXPECT_THAT(message("[\"\\udd1e\", 1]"), testing::HasSubstr("not valid JSON at byte 9: half a surrogate pair"));
  EXPECT_THAT(message("[1e-999]"), testing::HasSubstr("not valid JSON at byte 7: the number 1e-999"));
}

TEST(Json, BuildsTheDocumentInOrder) {
  const char* text =
      R"({"z":[],"a":{"z":1,"a":[-2,[3.5,{}],"x",true,null]},"m":{"a":{"a":18446744073709551615}},"":"\u00e9"})";
  EXPECT_EQ(parse_json(text, "f").dump(), Json::parse(text).dump());
  for (const char* scalar : {"7", "null", "\"a\""}) EXPECT_EQ(parse_json(scalar, "f").dump(), scalar);
}

// What nlohmann's reader makes of a text, or "refused".
std::string as_nlohmann_reads(const std::string& text) {
  try {
    return Json::parse(text).dump();
  } catch (const Json::exception&) {
    return "refused";
  }
}

std::string as_read(const std::string& text) {
  try {
    return parse_json(text, "f").dump();
  } catch (const Error& error) {
    return std::string(error.what()).find("appears twice") == std::string::npos ? "refused" : "twice";
  }
}

TEST(Json, AcceptsWhatAnotherReaderAccepts) {
  std::vector<std::string> texts = {"", " ", "\"\t\"", "\x0b[]", "\xa0[]", "\xef\xbb\xbf[]", "\xef\xbb[]"};
  for (const char* bytes : {"\xc3\xa9", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80"})
    texts.push_back(cat('"', bytes, '"'));
  std::istringstream numbers(
      "-0 0 01 1. .5 +1 1e 1e5 -1.5E-3 0.1 123456789012345678.5 1.7976931348623157e308 4.9e-324 1e999 -1e999 0x1 "
      "18446744073709551615 18446744073709551616 -9223372036854775808 -9223372036854775809 NaN Infinity nul truefalse");
  for (std::string text; std::getline(numbers, text, ' ');) texts.push_back(text);
  std::istringstream lines(R"([
]
"
[1,]
[1 2]
[1]]
{"a":1,}
{"a":1 "b":2}
{a:1}
/*c*/1
1//
'a'
"\u0000"
"\ud834\udd1e"
"\ud800"
"\udd1e"
{"\udd1e":1}
"\x")");
  for (std::string text; std::getline(lines, text);) texts.push_back(text);
  for (const std::string& text : texts) EXPECT_EQ(as_read(text), as_nlohmann_reads(text)) << text;
  for (const char* text : {"1e-999", "2e-324", "0e999"})
    EXPECT_EQ(as_read(text), "refused");  // to the other they are 0
  const std::string nul(1, '\0');
  for (const std::string& text : {"[1]" + nul, "[1]" + nul + "[2]", "[1" + nul + "]"})
    EXPECT_EQ(as_read(text), "refused");
}

TEST(Json, ReadsDamagedTextsAsAnotherReader) {
  const std::string whole =
      R"( {"a": [-2, 3.5e-1, {"\u00e9\n": "\ud834\udd1e"}, true, false, null], "n": 18446744073709551615, "": ""} )";
  const std::string bytes = "{}[]\",:\\/0123456789eE+-.untrfalse \n\t\x01\x7f\x80\xc3\xa9\xed\xf4\xff";
  std::mt19937_64 random(1);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = whole;
    for (int changes = 1 + static_cast<int>(random() % 3); changes > 0; --changes) {
      const size_t at = random() % text.size();
      const char byte = bytes[random() % bytes.size()];
      if (random() % 3 == 0)
        text.insert(at, 1, byte);
      else if (random() % 2)
        text.erase(at, 1 + random() % 3);
      else
        text[at] = byte;
    }
    const std::string found = as_read(text);
    if (found == "twice") continue;
    accepted += found != "refused";
    ASSERT_EQ(found, as_nlohmann_reads(text)) << text;
  }
  EXPECT_GT(accepted, 500);
}

TEST(Json, ARepeatedKeyIsRefusedBeforeAllOfAHugeObjectIsRead) {
  std::string text = "{\"a\":0";
  for (int i = 0; i < 1 << 17; ++i) text += ",\"a\":0";
  text += ",never read";
  try {
    parse_json(text, "here");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("'a' appears twice"));
  }
}

TEST(Json, ManyKeysTakeLinearTime) {  // a quadratic builder needs minutes for this
  std::string text = "{";
  for (int i = 0; i < 300000; ++i) text += cat(i ? "," : "", "\"key", i, "\":", i);
  const Json json = parse_json(text + "}", "f");
  ASSERT_EQ(json.size(), 300000u);
  EXPECT_EQ(std::prev(json.end()).key(), "key299999");
}

TEST(NameIndex, FindsWhatWasAddedAndNothingElse) {
  std::vector<std::string> names = {"", "a", std::string(1000, 'x'), std::string("a\0", 2)};
  for (int i = 0; i < 1000; ++i) names.push_back(cat("name", i));
  const auto name_of = [&](uint32_t i) { return std::string_view(names[i]); };
  NameIndex index(names.size());
  for (uint32_t i = 0; i < names.size(); ++i) EXPECT_EQ(index.add(i, name_of), std::nullopt) << names[i];
  const size_t count = names.size();
  names.push_back("name7");
  EXPECT_EQ(index.add(static_cast<uint32_t>(count), name_of), 4u + 7u);
  for (uint32_t i = 0; i < count; ++i) EXPECT_EQ(index.find(names[i], name_of), i);
  for (const char* other : {"b", "name", "name1000", "name07"}) EXPECT_EQ(index.find(other, name_of), std::nullopt);
  EXPECT_EQ(NameIndex().find("a", name_of), std::nullopt);
  EXPECT_THROW(NameIndex().add(0, name_of), std::length_error);
}

// stderr of ten items where nobody looks: it is a file.
std::string shown(Progress progress) {
  set_progress_enabled(true);
  testing::internal::CaptureStderr();
  for (int i = 0; i < 10; ++i) progress.add();
  set_progress_enabled(false);
  return testing::internal::GetCapturedStderr();
}

TEST(Progress, SaysEveryTenthAndNothingOfQuickWork) {
  using std::chrono::seconds;
  EXPECT_EQ(shown({"work", 20, seconds(0)}), "work 0%\nwork 10%\nwork 20%\nwork 30%\nwork 40%\nwork 50%\n");
  EXPECT_EQ(shown({"work", 10, seconds(3600)}), "");
}

TEST(Cpu, NamesRoundTrip) {
  for (Isa isa : kAllIsas) EXPECT_EQ(parse_isa(isa_name(isa)), isa);
  EXPECT_THROW(parse_isa("sse9"), Error);
}

}  // namespace
}  // namespace dyadic

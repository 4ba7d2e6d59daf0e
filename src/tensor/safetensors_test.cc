#include "tensor/safetensors.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/file.h"
#include "support.h"

namespace dyadic {
namespace {

// Written anew each time: some file systems make truncating an existing file slow.
std::string write(const std::string& bytes) {
  static const std::string path = test::temporary_dir() + "/case.safetensors";
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string with_header(const std::string& header, const std::string& data = "") {
  std::string prefix(8, '\0');
  for (int i = 0; i < 8; ++i) prefix[i] = static_cast<char>(uint64_t{header.size()} >> (8 * i));
  return prefix + header + data;
}

// Opens the file and reads every tensor to its last byte.
uint64_t read_all(const std::string& bytes) {
  const auto file = Safetensors::open(write(bytes));
  uint64_t hash = 0;
  for (const auto& name : file->names()) hash ^= file->tensor(name).hash();
  return hash;
}

void expect_refused(const std::string& bytes, const std::string& part_of_message) {
  try {
    read_all(bytes);
    ADD_FAILURE() << "accepted; expected: " << part_of_message;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kMalformed) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(part_of_message));
    EXPECT_THAT(error.what(), testing::HasSubstr("case.safetensors"));
  }
}

TEST(Safetensors, WritesWhatItReads) {
  const std::vector<std::pair<std::string, Tensor>> tensors = {
      {"b", Tensor::from<float>({2, 3}, {1, -2, 3, 0.5f, 0, 1e-40f})},
      {"a", Tensor::from<int8_t>({3}, {-128, 0, 127})},
      {"empty", Tensor(DataType::kI32, {4, 0})},
      {"scalar", Tensor::scalar<int64_t>(-5)},
      {"u16", Tensor::from<uint16_t>({2}, {1, 65535})},
  };
  const std::string path = test::temporary_dir() + "/out.safetensors";
  write_safetensors(path, tensors, {{"format", "pt"}, {"note", "\"quoted\" ü"}});
  const auto file = Safetensors::open(path);
  EXPECT_THAT(file->names(), testing::ElementsAre("a", "b", "empty", "scalar", "u16"));
  EXPECT_EQ(file->metadata().at("note"), "\"quoted\" ü");
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(file->tensor(name) == tensor) << name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file->tensor(name).raw()) % 64, 0u) << name;
  }
  const std::string once = read_file(path);
  write_safetensors(path, tensors, {{"note", "\"quoted\" ü"}, {"format", "pt"}});
  EXPECT_EQ(read_file(path), once);
}

TEST(Safetensors, WriterLeavesTheOldFileWhenItRefuses) {
  const std::string path = write(with_header("{}"));
  const std::string before = read_file(path);
  const Tensor one = Tensor::scalar<int8_t>(1);
  EXPECT_THROW(write_safetensors(path, {{"x", one}, {"x", one}}), Error);
  EXPECT_THROW(write_safetensors(path, {{"__pad.0", one}}), Error);
  EXPECT_THROW(write_safetensors(path, {{"__metadata__", one}}), Error);
  EXPECT_THROW(write_safetensors(path, {{"x\xff", one}}), Error);
  EXPECT_THROW(write_safetensors(path, {{"packed", Tensor(DataType::kI4, {8})}}), Error);
  EXPECT_EQ(read_file(path), before);
  EXPECT_THROW(write_safetensors("/nonexistent/folder/x.safetensors", {{"x", one}}), Error);
}

TEST(Safetensors, EveryHalfIsWidenedExactly) {
  std::string data;
  for (int i = 0; i < 65536; ++i) data += {static_cast<char>(i), static_cast<char>(i >> 8)};
  const std::string tail = R"(","shape":[65536],"data_offsets":[0,131072]}})";
  const auto halves = Safetensors::open(write(with_header(R"({"h":{"dtype":"F16)" + tail, data)))->tensor("h");
  const auto brains = Safetensors::open(write(with_header(R"({"h":{"dtype":"BF16)" + tail, data)))->tensor("h");
  for (int i = 0; i < 65536; ++i) {
    const int exponent = i >> 10 & 31, mantissa = i & 1023;
    double expected = exponent == 31  ? (mantissa ? std::nan("") : std::numeric_limits<double>::infinity())
                      : exponent == 0 ? std::ldexp(mantissa, -24)
                                      : std::ldexp(1024 + mantissa, exponent - 25);
    if (i >> 15) expected = -expected;
    const float half = halves.data<float>()[i];
    ASSERT_TRUE(half == expected || (std::isnan(half) && std::isnan(expected))) << i << " " << half;
    ASSERT_EQ(std::signbit(half), i >> 15 == 1);
    uint32_t bits;
    std::memcpy(&bits, brains.data<float>() + i, 4);
    ASSERT_EQ(bits, static_cast<uint32_t>(i) << 16);
  }
}

TEST(Safetensors, ReadsUnalignedTensorsBoolAndNan) {
  const std::string header = R"({"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]},)"
                             R"("f":{"dtype":"F32","shape":[1],"data_offsets":[3,7]},)"
                             R"("q":{"dtype":"U64","shape":[],"data_offsets":[7,15]}})";
  const auto file = Safetensors::open(write(with_header(header, std::string("\1\0\1\0\0\xc0\x7f", 7) + "12345678")));
  EXPECT_EQ(file->tensor("b").to_int64(), (std::vector<int64_t>{1, 0, 1}));
  EXPECT_TRUE(std::isnan(file->tensor("f").data<float>()[0]));
  EXPECT_THROW(file->tensor("q"), Error);
  EXPECT_THROW(file->tensor("absent"), Error);
}

TEST(Safetensors, NamesWhatIsWrong) {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets,
                      const std::string& data = "12345678") {
    return with_header(R"({"t":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}",
                       data);
  };
  expect_refused("", "too few");
  expect_refused("1234567", "too few");
  expect_refused(std::string(8, '\xff') + "{}", "more than the 104857600 allowed");
  expect_refused(std::string("\x10\0\0\0\0\0\0\0{}", 10), "only 2 bytes follow");
  expect_refused(with_header(""), "header");
  expect_refused(with_header("[]"), "expected a JSON object");
  expect_refused(with_header("{\"\xff\":1}"), "not valid JSON");
  expect_refused(with_header("{\"a\":1,\"a\":1}"), "appears twice");
  expect_refused(with_header(std::string(100000, '[')), "nested deeper");
  expect_refused(with_header(R"({"__metadata__":{"a":1}})"), "must be a string");
  expect_refused(with_header(R"({"__metadata__":[]})"), "expected a JSON object");
  expect_refused(with_header(R"({"t":{"dtype":"U8","shape":[]}})", "1"), "'data_offsets' is missing");
  expect_refused(with_header(R"({"t":7})"), "tensor 't'");
  expect_refused(one(R"("U9")", "[8]", "[0,8]"), "unknown dtype 'U9'");
  expect_refused(one("8", "[8]", "[0,8]"), "'dtype' must be a string");
  expect_refused(one(R"("F8_E4M3")", "[8]", "[0,8]"), "F8_E4M3, which is not supported");
  expect_refused(one(R"("F32")", "[3]", "[0,8]"), "needs 12 bytes");
  expect_refused(one(R"("F32")", "[-2]", "[0,8]"), "no size");
  expect_refused(one(R"("F32")", "[2.0]", "[0,8]"), "no size");
  expect_refused(one(R"("F32")", "[18446744073709551615]", "[0,8]"), "too large");
  expect_refused(one(R"("F32")", "[4611686018427387904,4]", "[0,8]"), "too large");
  expect_refused(one(R"("F4")", "[15]", "[0,8]"), "needs");
  expect_refused(one(R"("U8")", "8", "[0,8]"), "list of at most 64");
  expect_refused(one(R"("U8")",
                     "[1" +
                         [] {
                           std::string s;
                           for (int i = 0; i < 99; ++i) s += ",1";
                           return s;
                         }() +
                         "]",
                     "[0,1]", "1"),
                 "list of at most 64");
  expect_refused(one(R"("U8")", "[8]", "[8,0]"), "lie outside");
  expect_refused(one(R"("U8")", "[8]", "[0,9]"), "lie outside");
  expect_refused(one(R"("U8")", "[8]", "[-1,7]"), "must be [begin, end]");
  expect_refused(one(R"("U8")", "[8]", "[0,4,8]"), "must be [begin, end]");
  expect_refused(one(R"("U8")", "[4]", "[4,8]"), "leaving a hole");
  expect_refused(one(R"("U8")", "[4]", "[0,4]"), "4 bytes behind the last tensor");
  const auto two = [](int begin, int end) {
    return with_header(cat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[)",
                           end - begin, R"(],"data_offsets":[)", begin, ",", end, "]}}"),
                       "12345678");
  };
  EXPECT_NO_THROW(read_all(two(4, 8)));
  expect_refused(two(3, 8), "inside the tensor before it");
  expect_refused(two(0, 8), "inside the tensor before it");
  expect_refused(two(5, 8), "leaving a hole");
}

TEST(Safetensors, AnyDamageIsFoundOrHarmless) {
  const std::string path = test::temporary_dir() + "/small.safetensors";
  write_safetensors(path,
                    {{"w", Tensor::from<float>({2, 2}, {1, 2, 3, 4})}, {"x", Tensor::from<int8_t>({3}, {1, 2, 3})}},
                    {{"k", "v"}});
  const std::string whole = read_file(path);
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_THROW(read_all(whole.substr(0, size)), Error) << size;
  EXPECT_THROW(read_all(whole + "x"), Error);
  int refused = 0;
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    try {
      read_all(damaged);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kMalformed) << "bit " << bit << ": " << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, static_cast<int>(whole.find("data_offsets")) * 4);
}

}  // namespace
}  // namespace dyadic

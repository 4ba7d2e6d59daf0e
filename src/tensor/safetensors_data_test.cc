// The published accept and refuse cases of the format's reference reader.
#include <fstream>

#include "base/file.h"
#include "base/json.h"
#include "support.h"
#include "tensor/safetensors.h"

namespace dyadic {
namespace {

// Name to content of the regular files of a ustar archive.
std::map<std::string, std::string> untar(const std::string& archive) {
  std::map<std::string, std::string> files;
  for (size_t at = 0; at + 512 <= archive.size() && archive[at] != '\0';) {
    const std::string name = archive.substr(at, 100).c_str();
    const size_t size = std::stoull(archive.substr(at + 124, 11), nullptr, 8);
    if (archive[at + 156] == '0') files[name.substr(name.rfind('/') + 1)] = archive.substr(at + 512, size);
    at += 512 + (size + 511) / 512 * 512;
  }
  return files;
}

TEST(SafetensorsData, AgreesWithTheReferenceReader) {
  const auto path = test::data_path("vectors/safetensors_cases.tar");
  DYADIC_SKIP_WITHOUT(path, "needs vectors/safetensors_cases.tar below DYADIC_DATA");
  const auto files = untar(read_file(*path));
  const Json expected = parse_json(files.at("expected.json"), "expected.json");
  EXPECT_EQ(expected.size(), 16u);
  const std::string copy = test::temporary_dir() + "/case.safetensors";
  for (const auto& [name, verdict] : expected.items()) {
    std::ofstream(copy, std::ios::binary | std::ios::trunc) << files.at(name + ".safetensors");
    if (verdict.get<std::string>().starts_with("ok")) {
      const auto file = Safetensors::open(copy);
      for (const auto& tensor : file->names()) file->tensor(tensor).hash();
    } else {
      EXPECT_THROW(Safetensors::open(copy), Error) << name << ": " << verdict;
    }
  }
  std::ofstream(copy, std::ios::binary | std::ios::trunc) << files.at("ok_basic.safetensors");
  const Tensor basic = Safetensors::open(copy)->tensor("test");
  EXPECT_EQ(basic.type(), DataType::kI32);
  EXPECT_EQ(basic.dims(), (Dims{2, 2}));
}

}  // namespace
}  // namespace dyadic

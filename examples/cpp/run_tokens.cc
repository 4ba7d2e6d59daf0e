// Runs token ids through a .dyad file with libdyadic_runtime alone: integers in, integers out, no float until the end.
// usage: run_tokens MODEL.dyad ID,ID,.. [ID,ID,..]     prints one embedding a line
#include <dyadic/session.h>

#include <cstdio>
#include <iostream>
#include <sstream>

namespace {

std::vector<int32_t> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  std::istringstream in(text);
  for (std::string id; std::getline(in, id, ',');) ids.push_back(std::stoi(id));
  return ids;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: run_tokens MODEL.dyad ID,ID,.. [ID,ID,..]\n";
    return 2;
  }
  try {
    std::vector<std::vector<int32_t>> texts;
    for (int i = 2; i < argc; ++i) texts.push_back(parse_ids(argv[i]));
    dyadic::v1::Session session(dyadic::v1::Model::open(argv[1]));
    const dyadic::v1::Tensor codes = session.run_tokens(texts);
    const std::vector<float> reals = dyadic::v1::dequantize(codes, *session.model().outputs()[0].encoding);
    const auto width = static_cast<size_t>(codes.dims()[1]);
    for (size_t i = 0; i < reals.size(); ++i) std::printf("%.9g%c", reals[i], (i + 1) % width ? ' ' : '\n');
  } catch (const dyadic::v1::Error& error) {
    std::cerr << "run_tokens: " << error.what() << '\n';
    return static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    std::cerr << "run_tokens: token ids are numbers with commas between them: " << error.what() << '\n';
    return 2;
  }
}

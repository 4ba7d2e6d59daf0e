// Orders the lines of stdin by how close in meaning they are to a sentence.
// usage: similar MODEL "A sentence." < sentences.txt     MODEL is a .dyad file or a float model folder
#include <dyadic/text_encoder.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <numeric>

namespace {

double dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double cosine(std::span<const float> a, std::span<const float> b) {
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: similar MODEL \"A sentence.\" < sentences.txt\n";
    return 2;
  }
  try {
    std::vector<std::string> texts = {argv[2]};
    for (std::string line; std::getline(std::cin, line);) texts.push_back(line);
    dyadic::v1::TextEncoder encoder(argv[1]);
    const dyadic::v1::Embeddings embeddings = encoder.embed(texts);

    std::vector<std::pair<double, size_t>> order;
    for (size_t i = 1; i < texts.size(); ++i)
      order.emplace_back(cosine(embeddings.row(0), embeddings.row(static_cast<int64_t>(i))), i);
    std::sort(order.rbegin(), order.rend());
    for (const auto& [similarity, i] : order) std::printf("%.6f %s\n", similarity, texts[i].c_str());
  } catch (const dyadic::v1::Error& error) {
    std::cerr << "similar: " << error.what() << '\n';
    return static_cast<int>(error.kind());
  }
}

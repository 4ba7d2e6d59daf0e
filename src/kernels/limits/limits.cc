#include "kernels/limits/limits.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "base/buffer.h"

namespace dyadic {

extern const LimitProbes kLimitsPortable, kLimitsAvx2, kLimitsAvx512Vnni;
extern const Probe kDotLimitAmx;

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kSample = 200'000;  // nanoseconds: long beside the clock's own cost, short beside a time slice

int64_t thread_nanoseconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

// The shortest time of one call, in units of 1 / 1024 ns.
template <class Call>
int64_t shortest(int64_t nanoseconds, const Call& call) {
  const int64_t begin = thread_nanoseconds();
  call();
  const int64_t once = std::max<int64_t>(thread_nanoseconds() - begin, 1);
  const int64_t calls = std::clamp<int64_t>(kSample / once, 1, 1 << 20);
  int64_t best = INT64_MAX;
  for (int64_t now = thread_nanoseconds(); now - begin < nanoseconds || best == INT64_MAX;) {
    for (int64_t c = 0; c < calls; ++c) call();
    const int64_t next = thread_nanoseconds();
    best = std::min(best, (next - now) * 1024 / calls);
    now = next;
  }
  return std::max<int64_t>(best, 1);
}

int64_t rate(int64_t work, int64_t shortest) {
  return static_cast<int64_t>(static_cast<__int128>(work) * kSecond * 1024 / shortest);
}

}  // namespace

std::span<const LimitProbes* const> limit_probes() {
  static const LimitProbes amx = [] {  // has the vectors of AVX-512 VNNI
    LimitProbes probes = kLimitsAvx512Vnni;
    probes.isa = Isa::kAmx;
    probes.dot = kDotLimitAmx;
    return probes;
  }();
  static const LimitProbes* const all[] = {&kLimitsPortable, &kLimitsAvx2, &kLimitsAvx512Vnni, &amx};
  return all;
}

const LimitProbes& limit_probes(Isa isa) { return *limit_probes()[static_cast<size_t>(isa)]; }

int64_t operations_per_second(const Probe& probe, int64_t nanoseconds) {
  return rate(probe.work, shortest(nanoseconds, probe.run));
}

int64_t read_bytes_per_second(Isa isa, int64_t bytes, int64_t nanoseconds) {
  bytes = (bytes + 1023) / 1024 * 1024;
  AlignedBuffer buffer(static_cast<size_t>(bytes));
  std::memset(buffer.data(), 1, buffer.size());  // pages that were never written may all be one
  const auto read = limit_probes(isa).read;
  return rate(bytes, shortest(nanoseconds, [&] { read(buffer.data(), bytes); }));
}

}  // namespace dyadic

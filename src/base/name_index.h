// Which of a list of names a text is, by hash. It holds numbers only: names stay where their owner keeps them, and a
// list is taken in with one allocation.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace dyadic {

class NameIndex {
 public:
  NameIndex() : NameIndex(0) {}
  explicit NameIndex(size_t most) : left_(most), slots_(std::bit_ceil(2 * std::max<size_t>(1, most))) {}

  // The number of `name`; name_of(number) is the name of any number that was added.
  template <class NameOf>
  std::optional<uint32_t> find(std::string_view name, const NameOf& name_of) const {
    const Slot& slot = slots_[locate(name, std::hash<std::string_view>()(name), name_of)];
    return slot.place ? std::optional(slot.place - 1) : std::nullopt;
  }

  // Adds a number below 2^32 - 1 unless its name is there: then returns whose it is. std::length_error beyond `most`.
  template <class NameOf>
  std::optional<uint32_t> add(uint32_t number, const NameOf& name_of) {
    const std::string_view name = name_of(number);
    const uint64_t hash = std::hash<std::string_view>()(name);
    Slot& slot = slots_[locate(name, hash, name_of)];
    if (slot.place) return slot.place - 1;
    if (left_ == 0) throw std::length_error("NameIndex");
    --left_;
    slot = {static_cast<uint32_t>(hash >> 32), number + 1};
    return std::nullopt;
  }

 private:
  struct Slot {
    uint32_t hash = 0;   // its upper half
    uint32_t place = 0;  // 1 + number; 0: free
  };

  // The slot of `name`, or the free one where it would be.
  template <class NameOf>
  size_t locate(std::string_view name, uint64_t hash, const NameOf& name_of) const {
    const size_t mask = slots_.size() - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
      const Slot& slot = slots_[at];
      if (!slot.place || (slot.hash == static_cast<uint32_t>(hash >> 32) && name_of(slot.place - 1) == name)) return at;
    }
  }

  size_t left_;              // names that may still be added
  std::vector<Slot> slots_;  // a power of two, at least twice as many as names: one is always free
};

}  // namespace dyadic

// The text form of graphs, made from the table of core operations: it prints and parses, and print(parse(print(g))) ==
// print(g).
//
//   body linear {
//     in %x : i8[T,384] in [-127,127]
//     in %weight : i8[1152,384] in [-127,127]
//     %acc = dot(%x, %weight) {contract_a=[1], contract_b=[1]} : i32[T,1152]
//     %t = mul_shift(%acc, %m, %s) {type=i64} : i64[T,1152]
//     %y = cast(%c) {type=i8} : i8[T,1152] fact [-127,127] "a lemma"
//     const %table : u8[256] = @table:0123456789abcdef          (over 64 elements: by name and hash)
//     const %one : i32[] = {1}
//     out %y
//   }
//
// A body named `island` is that of a float island and holds operators of the real dialect too (graph/island.h).
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace dyadic {

std::string to_text(const Graph& graph);
// `constants` resolves constants over 64 elements by name and hash; kMalformed naming line and column on any error.
using ConstantResolver = std::function<Tensor(const std::string& name, uint64_t hash)>;
Graph parse_text(std::string_view text, const std::string& where, const ConstantResolver& constants = {});

}  // namespace dyadic

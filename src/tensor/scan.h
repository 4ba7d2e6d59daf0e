// Passes over every element of large constants, which the range proof and therefore every start of a model pays for:
// plain loops in a file that is compiled to be vectorised.
#pragma once
#include <cstdint>

namespace dyadic {

// lo[c], hi[c] = the ends of column c of data [rows, columns], together with what lo and hi held before. T: the storage
// types of integer constants.
template <class T>
void widen_columns(const T* data, int64_t rows, int64_t columns, T* lo, T* hi);

// least[r], greatest[r] = the ends of sum_k weight[r,k] * x[k] over all x with lo[k] <= x[k] <= hi[k], for each of
// `rows` rows of K codes, given sum[k] = lo[k] + hi[k] and width[k] = hi[k] - lo[k] for ends within [-2^14, 2^14).
void weighted_sums(const int8_t* weight, int64_t rows, int64_t K, const int16_t* sum, const int16_t* width,
                   int64_t* least, int64_t* greatest);

// magnitude[r] = sum_k |weight[r,k]|, for each of `rows` rows of K codes.
void magnitude_sums(const int8_t* weight, int64_t rows, int64_t K, int64_t* magnitude);

// sum_k codes[k].
int64_t sum_of(const int8_t* codes, int64_t count);

}  // namespace dyadic

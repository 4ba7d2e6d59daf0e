// What the public headers hide, shared by the files that implement them. In namespace v1 an unqualified name is the
// public one, dyadic::NAME ours.
#pragma once
#include <memory>
#include <utility>

#include "dyadic/error.h"
#include "dyadic/model.h"
#include "dyadic/tensor.h"

#include "base/status.h"
#include "graph/model.h"

namespace dyadic {

// f(), with our errors as those of the public headers.
template <class F>
decltype(auto) translate_errors(F&& f) {
  try {
    return std::forward<F>(f)();
  } catch (const Error& error) {
    throw v1::Error(static_cast<v1::ErrorKind>(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    throw v1::Error(v1::ErrorKind::kFailed, "out of memory");
  }
}

namespace v1 {

struct Model::Implementation {
  std::shared_ptr<const dyadic::Model> model;
};

// Both copy. kContract, naming `what`, for a type that is not in the public headers (packed or real).
dyadic::Tensor to_internal(const Tensor& tensor);
Tensor to_public(const dyadic::Tensor& tensor, const std::string& what);
DataType to_public(dyadic::DataType type, const std::string& what);

}  // namespace v1
}  // namespace dyadic

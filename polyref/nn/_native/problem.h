// What a call asks for, with the dtypes and torch's tensors taken off.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include <c10/core/ScalarType.h>

#include "response.h"

namespace polyref {

enum class Reduction : int64_t { none = 0, mean = 1, sum = 2 };

// The incoming gradient, of any strides: one for every row, or one a group.
struct Incoming {
  const void* data = nullptr; // null is 1
  c10::ScalarType dtype = c10::ScalarType::Float;
  int64_t outer = 0, inner = 0; // strides; the inner one of the positions within a batch entry
};

inline bool is_known(c10::ScalarType dtype) {
  return dtype == c10::ScalarType::Double || dtype == c10::ScalarType::Float || dtype == c10::ScalarType::Half ||
      dtype == c10::ScalarType::BFloat16;
}

inline double read(const Incoming& from, int64_t n, int64_t i) {
  const int64_t at = n * from.outer + i * from.inner;
  switch (from.dtype) {
    case c10::ScalarType::Double:
      return static_cast<const double*>(from.data)[at];
    case c10::ScalarType::Float:
      return static_cast<const float*>(from.data)[at];
    case c10::ScalarType::Half:
      return static_cast<const c10::Half*>(from.data)[at];
    default:
      return static_cast<const c10::BFloat16*>(from.data)[at];
  }
}

// The rows are numbered p = n * inner + i. Row p's class k lies at n * classes * inner + k * inner + i.
struct Problem {
  int64_t batch, classes, inner;
  int64_t groups; // at least 1; each holds as many consecutive rows as the others
  int64_t ignore_index;
  Reduction reduction;
  const void* logits;
  const int64_t* target;
  const double* weight; // null is 1
  Response response;
  void* loss = nullptr; // one a row, or one a group; null where it is not wanted
  c10::ScalarType loss_dtype = c10::ScalarType::Float;
  void* out = nullptr; // the gradient; null where it is not wanted. May be the logits
  Incoming incoming;

  int64_t rows() const {
    return batch * inner;
  }
};

// One for each dtype of the logits.
template <typename T>
void solve(const Problem& problem);

// Memory of one thread, aligned for vectors, kept between calls while it is small.
class Scratch {
 public:
  void* get(std::size_t bytes) {
    if (bytes > size_) {
      data_.reset(); // never both at once
      size_ = bytes;
      data_.reset(new char[bytes + alignment]);
    }
    const auto address = reinterpret_cast<std::uintptr_t>(data_.get());
    return data_.get() + (alignment - address % alignment) % alignment;
  }

  // Gives back what is too large to keep.
  void trim() {
    if (size_ > kept) {
      data_.reset();
      size_ = 0;
    }
  }

  static Scratch& of_this_thread() {
    thread_local Scratch scratch;
    return scratch;
  }

 private:
  static constexpr std::size_t alignment = 64, kept = std::size_t{1} << 22;
  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
};

} // namespace polyref

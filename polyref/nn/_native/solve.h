// The whole of a call for one dtype of the logits: denominators, units in parallel, sums in order.
//
// What a unit computes does not depend on which thread computes it, and the units' sums are added in their order, so
// the result is the same for any number of threads.
#pragma once

#include <atomic>
#include <vector>

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include "rows.h"
#include "tiles.h"

namespace polyref {

// Work for which a second thread is not worth waking, in logits.
inline constexpr int64_t kGrain = 16384;

// For each group the sum of the weights of the rows that count, where it is wanted. Looks at every target.
template <typename W>
std::vector<W> denominators(const Problem& problem) {
  constexpr int64_t block = 8192;
  const int64_t in_group = problem.rows() / problem.groups;
  const int64_t blocks = (in_group + block - 1) / block;
  std::vector<W> sums(problem.groups * blocks, W(0));
  std::atomic<bool> wrong{false};
  at::parallel_for(0, problem.groups * blocks, 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b / blocks * in_group + b % blocks * block;
      const int64_t last = std::min(first + block, (b / blocks + 1) * in_group);
      int64_t counted = 0;
      bool outside = false;
      W sum = 0;
      for (int64_t row = first; row < last; ++row) {
        const int64_t y = problem.target[row];
        const bool kept = y != problem.ignore_index;
        counted += kept;
        outside |= kept & (static_cast<uint64_t>(y) >= static_cast<uint64_t>(problem.classes));
      }
      if (outside) {
        wrong = true;
        continue;
      }
      if (problem.weight != nullptr && problem.reduction == Reduction::mean) {
        for (int64_t row = first; row < last; ++row) {
          const int64_t y = problem.target[row];
          sum += y == problem.ignore_index ? W(0) : W(problem.weight[y]);
        }
      } else {
        sum = static_cast<W>(counted);
      }
      sums[b] = sum;
    }
  });
  if (wrong) {
    for (int64_t row = 0; row < problem.rows(); ++row) {
      const int64_t y = problem.target[row];
      TORCH_CHECK_INDEX(
          y == problem.ignore_index || (y >= 0 && y < problem.classes),
          "Target ", y, " is out of bounds: with ", problem.classes, " classes give 0 to ", problem.classes - 1,
          ", or ignore_index ", problem.ignore_index);
    }
  }
  std::vector<W> result(problem.groups, W(0));
  for (int64_t b = 0; b < problem.groups * blocks; ++b) {
    result[b / blocks] += sums[b];
  }
  return result;
}

template <typename W>
void store_loss(const Problem& problem, int64_t at, W value) {
  switch (problem.loss_dtype) {
    case c10::ScalarType::Double:
      static_cast<double*>(problem.loss)[at] = static_cast<double>(value);
      break;
    case c10::ScalarType::Float:
      static_cast<float*>(problem.loss)[at] = static_cast<float>(value);
      break;
    case c10::ScalarType::Half:
      static_cast<c10::Half*>(problem.loss)[at] = static_cast<float>(value);
      break;
    default:
      static_cast<c10::BFloat16*>(problem.loss)[at] = static_cast<float>(value);
  }
}

template <typename T>
void solve(const Problem& problem) {
  using A = compute_t<T>;
  using W = wide_t<A>;
  const std::vector<W> denominator = denominators<W>(problem);
  const bool mean = problem.reduction == Reduction::mean;
  const bool tiled = problem.inner != 1 || problem.classes <= kTransposed;
  const int64_t size = tiled ? kLanes<A> : rows_in_unit<T>(problem.classes);
  const int64_t in_group = problem.rows() / problem.groups;
  const int64_t units = (in_group + size - 1) / size;
  const int64_t scratch_size =
      tiled ? problem.classes * kLanes<A> : rows_in_unit<T>(problem.classes) * padded(problem.classes, kPair<A>);
  std::vector<W> sums(problem.reduction == Reduction::none ? 0 : problem.groups * units, W(0));

  const int64_t grain = std::max<int64_t>(1, kGrain / (size * problem.classes));
  at::parallel_for(0, problem.groups * units, grain, [&](int64_t begin, int64_t end) {
    Scratch& memory = Scratch::of_this_thread();
    A* scratch = static_cast<A*>(memory.get(scratch_size * sizeof(A)));
    Unit<T> unit;
    unit.used = tiled ? Unit<T>::lanes : kWidth<double>;
    for (int64_t u = begin; u < end; ++u) {
      const int64_t offset = u % units * size;
      unit.first = u / units * in_group + offset;
      unit.count = std::min(size, in_group - offset);
      set_up(unit, problem, mean ? denominator.data() : nullptr);
      if (tiled) {
        solve_tile(unit, problem, scratch);
      } else {
        solve_rows(unit, problem, scratch);
      }
      if (problem.loss == nullptr) {
        continue;
      }
      if (problem.reduction == Reduction::none) {
        for (int64_t lane = 0; lane < unit.count; ++lane) {
          store_loss(problem, unit.first + lane, unit.value[lane]);
        }
      } else {
        for (int64_t lane = 0; lane < unit.count; ++lane) {
          sums[u] += unit.value[lane];
        }
      }
    }
    memory.trim();
  });

  if (problem.loss != nullptr && problem.reduction != Reduction::none) {
    for (int64_t g = 0; g < problem.groups; ++g) {
      W sum = 0;
      for (int64_t u = g * units; u < (g + 1) * units; ++u) {
        sum += sums[u];
      }
      store_loss(problem, g, mean ? sum / denominator[g] : sum);
    }
  }
}

} // namespace polyref

// The operators polyref_native::forward and ::backward_, which the two functions of polyref/nn/_kernel.py call.
#include <cstdint>
#include <tuple>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "problem.h"

namespace polyref {
namespace {

using at::Tensor;
using c10::ScalarType;

// The tables of polyref/nn/_response.py, one after the other, and their lengths.
Response response_of(
    at::ArrayRef<double> coefficients, at::IntArrayRef lengths, double crossover, double bend, double gamma) {
  TORCH_CHECK(lengths.size() == 6, "polyref_native: six tables are expected, not ", lengths.size());
  Coefficients tables[6];
  int64_t begin = 0;
  for (int i = 0; i < 6; ++i) {
    TORCH_CHECK(lengths[i] >= (i == 4 || lengths[0] > 0 ? 1 : 0), "polyref_native: a table is empty");
    tables[i] = {coefficients.data() + begin, lengths[i]};
    begin += lengths[i];
  }
  TORCH_CHECK(
      begin == static_cast<int64_t>(coefficients.size()), "polyref_native: the lengths of the tables do not add up");
  return {tables[0], tables[1], tables[2], tables[3], tables[4], tables[5], crossover, bend, gamma};
}

Problem problem_of(
    const Tensor& logits, const Tensor& target, int64_t ignore_index, int64_t reduction, int64_t groups) {
  TORCH_CHECK(logits.dim() == 2 || logits.dim() == 3, "polyref_native: logits are (N, C) or (N, C, D)");
  Problem problem{};
  problem.batch = logits.size(0);
  problem.classes = logits.size(1);
  problem.inner = logits.dim() == 3 ? logits.size(2) : 1;
  problem.groups = std::max<int64_t>(groups, 1);
  problem.ignore_index = ignore_index;
  problem.reduction = static_cast<Reduction>(reduction);
  TORCH_CHECK(problem.classes > 0, "polyref_native: there are no classes");
  TORCH_CHECK(reduction >= 0 && reduction <= 2, "polyref_native: no reduction has the number ", reduction);
  TORCH_CHECK(logits.is_contiguous() && target.is_contiguous(), "polyref_native: a tensor is not contiguous");
  TORCH_CHECK(
      target.scalar_type() == ScalarType::Long && target.numel() == problem.rows(),
      "polyref_native: one int64 target a row is expected");
  TORCH_CHECK(
      groups >= 0 && problem.batch % problem.groups == 0,
      "polyref_native: ", problem.batch, " rows do not divide into ", groups, " groups");
  if (problem.reduction == Reduction::none) {
    problem.groups = 1;
  }
  problem.logits = logits.const_data_ptr();
  problem.target = target.const_data_ptr<int64_t>();
  return problem;
}

// The class weights in binary64, which holds every other format's.
Tensor weights_of(const std::optional<Tensor>& weight, Problem& problem) {
  if (!weight.has_value() || !weight->defined()) {
    return {};
  }
  TORCH_CHECK(
      weight->dim() == 1 && weight->size(0) == problem.classes, "polyref_native: one weight a class is expected");
  Tensor result = weight->to(ScalarType::Double).contiguous();
  problem.weight = result.const_data_ptr<double>();
  return result;
}

void solve_for(ScalarType dtype, const Problem& problem) {
  switch (dtype) {
    case ScalarType::Float:
      return solve<float>(problem);
    case ScalarType::Double:
      return solve<double>(problem);
    case ScalarType::Half:
      return solve<c10::Half>(problem);
    case ScalarType::BFloat16:
      return solve<c10::BFloat16>(problem);
    default:
      TORCH_CHECK_NOT_IMPLEMENTED(false, "polyref_native: no implementation for logits of ", dtype);
  }
}

// Memory that is about to be written for the first time, which costs a fault for each of its pages: asks for large
// pages. It is advice, to whole large pages within the tensor alone; where the system does not follow it, nothing
// changes. A gradient of 128 MiB is written at less than half the cost.
void advise_large_pages(const Tensor& fresh) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t page = std::uintptr_t{1} << 21;
  const auto address = reinterpret_cast<std::uintptr_t>(fresh.const_data_ptr());
  const std::uintptr_t begin = (address + page - 1) / page * page;
  const std::uintptr_t end = (address + fresh.nbytes()) / page * page;
  if (end > begin) {
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }
#endif
}

std::tuple<Tensor, Tensor> forward(
    const Tensor& logits,
    const Tensor& target,
    const std::optional<Tensor>& weight,
    at::ArrayRef<double> coefficients,
    at::IntArrayRef lengths,
    double crossover,
    double bend,
    double gamma,
    int64_t ignore_index,
    int64_t reduction,
    int64_t groups,
    bool gradient,
    ScalarType dtype) {
  Problem problem = problem_of(logits, target, ignore_index, reduction, groups);
  problem.response = response_of(coefficients, lengths, crossover, bend, gamma);
  const Tensor weights = weights_of(weight, problem);
  TORCH_CHECK(is_known(dtype), "polyref_native: the loss cannot be of ", dtype);

  Tensor loss;
  if (problem.reduction == Reduction::none) {
    loss = at::empty(target.sizes(), logits.options().dtype(dtype));
  } else if (groups == 0) {
    loss = at::empty({}, logits.options().dtype(dtype));
  } else {
    loss = at::empty({groups}, logits.options().dtype(dtype));
  }
  problem.loss = loss.mutable_data_ptr();
  problem.loss_dtype = dtype;
  Tensor result;
  if (gradient && problem.reduction != Reduction::none) {
    result = at::empty(logits.sizes(), logits.options());
    advise_large_pages(result);
    problem.out = result.mutable_data_ptr();
  } else {
    result = at::empty({0}, logits.options());
  }
  solve_for(logits.scalar_type(), problem);
  return {loss, result};
}

void backward_(
    Tensor& out,
    const Tensor& grad,
    const Tensor& logits,
    const Tensor& target,
    const std::optional<Tensor>& weight,
    at::ArrayRef<double> coefficients,
    at::IntArrayRef lengths,
    double crossover,
    double bend,
    double gamma,
    int64_t ignore_index,
    int64_t reduction,
    int64_t groups) {
  Problem problem = problem_of(logits, target, ignore_index, reduction, groups);
  const bool each = problem.reduction == Reduction::none;
  TORCH_CHECK(
      each ? grad.sizes() == target.sizes() : grad.dim() <= 1 && grad.numel() == problem.groups,
      "polyref_native: the incoming gradient has not the loss's shape");
  TORCH_CHECK(is_known(grad.scalar_type()), "polyref_native: no incoming gradient can be of ", grad.scalar_type());
  problem.incoming = {
      grad.const_data_ptr(),
      grad.scalar_type(),
      grad.dim() > 0 ? grad.stride(0) : 0,
      grad.dim() > 1 ? grad.stride(1) : 0};
  problem.response = response_of(coefficients, lengths, crossover, bend, gamma);
  const Tensor weights = weights_of(weight, problem);
  TORCH_CHECK(
      out.is_contiguous() && out.sizes() == logits.sizes() && out.scalar_type() == logits.scalar_type(),
      "polyref_native: out is not like the logits");
  problem.out = out.mutable_data_ptr();
  solve_for(logits.scalar_type(), problem);
}

} // namespace
} // namespace polyref

TORCH_LIBRARY(polyref_native, m) {
  m.def(
      "forward(Tensor logits, Tensor target, Tensor? weight, float[] coefficients, int[] lengths, float crossover, "
      "float bend, float gamma, int ignore_index, int reduction, int groups, bool gradient, ScalarType dtype) "
      "-> (Tensor, Tensor)");
  m.def(
      "backward_(Tensor(a!) out, Tensor grad, Tensor logits, Tensor target, Tensor? weight, float[] coefficients, "
      "int[] lengths, float crossover, float bend, float gamma, int ignore_index, int reduction, int groups) "
      "-> ()");
}

TORCH_LIBRARY_IMPL(polyref_native, CPU, m) {
  m.impl("forward", &polyref::forward);
  m.impl("backward_", &polyref::backward_);
}

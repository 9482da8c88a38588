// Vectors of torch's own types: the few operations on them that torch does not have, or has with other rules for NaN.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <ATen/cpu/vec/vec.h>

namespace polyref {

using at::vec::Vectorized;

// The type of the exponentials: 16-bit logits are computed in binary32 and rounded once, at the end.
template <typename T>
using compute_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

// The type of what there is once a row. For binary64 the widest format of the machine (64 bits of significand and 15 of
// exponent on x86), so that only the exponentials' own errors are left, and nothing between them and the result
// overflows.
template <typename A>
using wide_t = std::conditional_t<std::is_same_v<A, double>, long double, double>;

template <typename A>
inline constexpr int64_t kWidth = Vectorized<A>::size();

// Vectors are handled in pairs: a full vector of a 16-bit format is two of binary32.
template <typename A>
inline constexpr int64_t kPair = 2 * kWidth<A>;

template <typename A>
inline constexpr A kInfinity = std::numeric_limits<A>::infinity();

// a > b ? a : b, and so b where either is NaN.
inline Vectorized<float> greater_or_second(const Vectorized<float>& a, const Vectorized<float>& b) {
#if defined(CPU_CAPABILITY_AVX512)
  return _mm512_max_ps(a, b);
#elif defined(CPU_CAPABILITY_AVX2)
  return _mm256_max_ps(a, b);
#else
  return Vectorized<float>::blendv(b, a, a > b);
#endif
}

inline Vectorized<double> greater_or_second(const Vectorized<double>& a, const Vectorized<double>& b) {
#if defined(CPU_CAPABILITY_AVX512)
  return _mm512_max_pd(a, b);
#elif defined(CPU_CAPABILITY_AVX2)
  return _mm256_max_pd(a, b);
#else
  return Vectorized<double>::blendv(b, a, a > b);
#endif
}

#if !defined(CPU_CAPABILITY_AVX512)
// p 2^n for integral n, rounded once where the product is subnormal. n is at least twice the smallest exponent.
// Two steps, the first of them exact. The integer is read off n + 1.5 2^23; of NaN it is some integer, and p is NaN.
inline Vectorized<float> scale_by_power(const Vectorized<float>& p, const Vectorized<float>& n) {
  constexpr int64_t width = kWidth<float>;
  float shifted[width], first[width], second[width];
  (n + Vectorized<float>(12582912.0f)).store(shifted);
  for (int64_t i = 0; i < width; ++i) {
    int32_t k;
    std::memcpy(&k, shifted + i, sizeof k);
    k = static_cast<int32_t>(static_cast<uint32_t>(k) - 0x4B400000u);
    const int32_t half = k >> 1;
    const uint32_t a = static_cast<uint32_t>(half + 127) << 23;
    const uint32_t b = static_cast<uint32_t>(k - half + 127) << 23;
    std::memcpy(first + i, &a, sizeof a);
    std::memcpy(second + i, &b, sizeof b);
  }
  return (p * Vectorized<float>::loadu(first)) * Vectorized<float>::loadu(second);
}

inline Vectorized<double> scale_by_power(const Vectorized<double>& p, const Vectorized<double>& n) {
  constexpr int64_t width = kWidth<double>;
  double shifted[width], first[width], second[width];
  (n + Vectorized<double>(6755399441055744.0)).store(shifted);
  for (int64_t i = 0; i < width; ++i) {
    int64_t k;
    std::memcpy(&k, shifted + i, sizeof k);
    k = static_cast<int64_t>(static_cast<uint64_t>(k) - 0x4338000000000000u);
    const int64_t half = k >> 1;
    const uint64_t a = static_cast<uint64_t>(half + 1023) << 52;
    const uint64_t b = static_cast<uint64_t>(k - half + 1023) << 52;
    std::memcpy(first + i, &a, sizeof a);
    std::memcpy(second + i, &b, sizeof b);
  }
  return (p * Vectorized<double>::loadu(first)) * Vectorized<double>::loadu(second);
}
#endif

// Where d is above a bound, or NaN. A product that would be 0 is not computed at all, but put to 0: Intel's processors
// take a hundred cycles and more for a vector in which one lane underflows.
template <typename A>
class Above {
 public:
  Above(const Vectorized<A>& d, A bound);

  // d itself where it is above the bound, and anything that is safe to compute with elsewhere.
  Vectorized<A> safe(const Vectorized<A>& d) const;

  // p 2^n where d is above the bound, 0 elsewhere.
  Vectorized<A> scaled(const Vectorized<A>& p, const Vectorized<A>& n) const;

 private:
#if defined(CPU_CAPABILITY_AVX512)
  std::conditional_t<std::is_same_v<A, double>, __mmask8, __mmask16> mask_;
#else
  Vectorized<A> not_;
#endif
};

#if defined(CPU_CAPABILITY_AVX512)
template <>
inline Above<float>::Above(const Vectorized<float>& d, float bound)
    : mask_(_mm512_cmp_ps_mask(d, _mm512_set1_ps(bound), _CMP_NLE_UQ)) {}
template <>
inline Above<double>::Above(const Vectorized<double>& d, double bound)
    : mask_(_mm512_cmp_pd_mask(d, _mm512_set1_pd(bound), _CMP_NLE_UQ)) {}
template <typename A>
inline Vectorized<A> Above<A>::safe(const Vectorized<A>& d) const {
  return d;
}
template <>
inline Vectorized<float> Above<float>::scaled(const Vectorized<float>& p, const Vectorized<float>& n) const {
  return _mm512_maskz_scalef_ps(mask_, p, n);
}
template <>
inline Vectorized<double> Above<double>::scaled(const Vectorized<double>& p, const Vectorized<double>& n) const {
  return _mm512_maskz_scalef_pd(mask_, p, n);
}
#else
template <typename A>
inline Above<A>::Above(const Vectorized<A>& d, A bound) : not_(d <= Vectorized<A>(bound)) {}
template <typename A>
inline Vectorized<A> Above<A>::safe(const Vectorized<A>& d) const {
  return Vectorized<A>::blendv(d, Vectorized<A>(0), not_);
}
template <typename A>
inline Vectorized<A> Above<A>::scaled(const Vectorized<A>& p, const Vectorized<A>& n) const {
  return Vectorized<A>::blendv(scale_by_power(p, n), Vectorized<A>(0), not_);
}
#endif

// v = mantissa 2^n, with the mantissa in [3/4, 3/2) and integral n; for positive normal v, or NaN.
inline void split_power(const Vectorized<double>& v, Vectorized<double>& mantissa, Vectorized<double>& n) {
  using V = Vectorized<double>;
#if defined(CPU_CAPABILITY_AVX512)
  const V exponent = _mm512_getexp_pd(v);
  mantissa = _mm512_getmant_pd(v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
#else
  constexpr int64_t width = kWidth<double>;
  double parts[width];
  v.store(parts);
  for (int64_t i = 0; i < width; ++i) {
    int64_t bits;
    std::memcpy(&bits, parts + i, sizeof bits);
    parts[i] = static_cast<double>((bits >> 52 & 0x7FF) - 1023);
  }
  const V exponent = V::loadu(parts);
  mantissa = scale_by_power(v, V(0.0) - exponent);
#endif
  const V upper = mantissa >= V(1.5);
  mantissa = V::blendv(mantissa, mantissa * V(0.5), upper);
  n = V::blendv(exponent, exponent + V(1.0), upper);
}

// A vector of binary32 as two of binary64, exactly.
inline void widen(const Vectorized<float>& v, Vectorized<double>& low, Vectorized<double>& high) {
#if defined(CPU_CAPABILITY_AVX512)
  low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
  high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
#elif defined(CPU_CAPABILITY_AVX2)
  low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
  high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
#else
  constexpr int64_t width = kWidth<double>;
  float narrow[2 * width];
  double wide[2 * width];
  v.store(narrow);
  for (int64_t i = 0; i < 2 * width; ++i) {
    wide[i] = narrow[i];
  }
  low = Vectorized<double>::loadu(wide);
  high = Vectorized<double>::loadu(wide + width);
#endif
}

// kPair elements of T in the compute type.
template <typename T>
inline void load_pair(const T* from, Vectorized<compute_t<T>>& a, Vectorized<compute_t<T>>& b) {
  if constexpr (std::is_same_v<T, compute_t<T>>) {
    a = Vectorized<T>::loadu(from);
    b = Vectorized<T>::loadu(from + kWidth<T>);
  } else if constexpr (std::is_same_v<T, c10::Half>) {
    at::vec::load_fp32_from_fp16(from, a, b);
  } else {
    at::vec::load_fp32_from_bf16(from, a, b);
  }
}

template <typename T>
inline void store_pair(T* to, const Vectorized<compute_t<T>>& a, const Vectorized<compute_t<T>>& b) {
  if constexpr (std::is_same_v<T, compute_t<T>>) {
    a.store(to);
    b.store(to + kWidth<T>);
  } else if constexpr (std::is_same_v<T, c10::Half>) {
    at::vec::convert_float_half(a, b).store(to);
  } else {
    at::vec::convert_float_bfloat16(a, b).store(to);
  }
}

// Announces that kPair elements of T will be read, or written, soon: into the second level of cache, so as not to drive
// the data at hand out of the first. The address need not exist.
template <typename T, bool write>
inline void announce(const T* at) {
  for (int64_t byte = 0; byte < kPair<compute_t<T>> * static_cast<int64_t>(sizeof(T)); byte += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(at) + byte, write ? 1 : 0, 2);
  }
}

// The same for `count` elements, fewer than kPair; the others are read as `filler`.
template <typename T>
inline void load_part(
    const T* from, int64_t count, T filler, Vectorized<compute_t<T>>& a, Vectorized<compute_t<T>>& b) {
  T buffer[kPair<compute_t<T>>];
  for (int64_t i = 0; i < kPair<compute_t<T>>; ++i) {
    buffer[i] = filler;
  }
  std::memcpy(buffer, from, count * sizeof(T));
  load_pair(buffer, a, b);
}

template <typename T>
inline void store_part(
    T* to, int64_t count, const Vectorized<compute_t<T>>& a, const Vectorized<compute_t<T>>& b) {
  T buffer[kPair<compute_t<T>>];
  store_pair(buffer, a, b);
  std::memcpy(to, buffer, count * sizeof(T));
}

// One rounding to T, by way of binary32 for the 16-bit formats.
template <typename T, typename W>
inline T narrow(W value) {
  return static_cast<T>(static_cast<compute_t<T>>(value));
}

} // namespace polyref

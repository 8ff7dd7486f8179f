// What a CUDA kernel finds on the device, for g++: keywords, indices, collectives, atomics.
// The functions that wait are in runtime.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <math.h>  // the functions without std::, as kernels call them

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __grid_constant__

namespace cuda_host {

struct Index {
    unsigned x, y, z;
};

extern Index thread_index, block_index, block_size, grid_size;

enum class Collective { shuffle, ballot, sync };

// Each returns when the other threads have arrived, in an order drawn at random.
int sync_block(const char *where, int predicate);  // how many threads' predicates hold
std::uint64_t collective(Collective kind, unsigned mask, int width, const char *where, int source,
                         std::uint64_t value);
void preempt();  // perhaps another thread runs first
[[noreturn]] void trap();
// As cp.async: the bytes are there after the wait; until then `to` holds what nobody should read.
void copy_async(void *to, const void *from, std::size_t bytes);
void wait_for_copies();
void *shared(const void *key, std::size_t bytes, std::size_t alignment);
void *dynamic_shared();

inline int lane() {
    return (thread_index.x + block_size.x * (thread_index.y + block_size.y * thread_index.z)) % 32;
}

template <class T>
std::uint64_t to_bits(T value) {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "shuffles move numbers of 8 bytes at most");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
}

template <class T>
T from_bits(std::uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

template <class T>
T exchange(const char *where, unsigned mask, T value, int source, int width) {
    return from_bits<T>(collective(Collective::shuffle, mask, width, where, source, to_bits(value)));
}

template <class T>
T shuffle(const char *where, unsigned mask, T value, int source, int width = 32) {
    return exchange(where, mask, value, (lane() & ~(width - 1)) + (source & (width - 1)), width);
}

template <class T>
T shuffle_up(const char *where, unsigned mask, T value, unsigned delta, int width = 32) {
    const int source = lane() - static_cast<int>(delta);
    return exchange(where, mask, value, source < (lane() & ~(width - 1)) ? lane() : source, width);
}

template <class T>
T shuffle_down(const char *where, unsigned mask, T value, unsigned delta, int width = 32) {
    const int source = lane() + static_cast<int>(delta);
    return exchange(where, mask, value, source > (lane() | (width - 1)) ? lane() : source, width);
}

template <class T>
T shuffle_xor(const char *where, unsigned mask, T value, int bits, int width = 32) {
    const int source = lane() ^ bits;
    return exchange(where, mask, value, source > (lane() | (width - 1)) ? lane() : source, width);
}

inline unsigned ballot(const char *where, unsigned mask, int predicate) {
    return static_cast<unsigned>(
        collective(Collective::ballot, mask, 32, where, lane(), predicate != 0));
}

inline void sync_warp(const char *where, unsigned mask = 0xffffffffu) {
    collective(Collective::sync, mask, 32, where, lane(), 0);
}

template <class T, class F>
T update(T *address, F change) {
    preempt();
    const T old = *address;
    *address = change(old);
    return old;
}

template <class T>
using same = std::common_type_t<T>;  // not deduced

// How the launcher sees a kernel: what it takes, and how to call it.
struct Parameter {
    char kind;  // p pointer, i signed, u unsigned, f floating, s anything else
    unsigned size;
    unsigned pointee;  // bytes of what a pointer points to; 0 for void and bytes
};

template <class T>
constexpr Parameter parameter() {
    if constexpr (std::is_pointer_v<T>) {
        using To = std::remove_cv_t<std::remove_pointer_t<T>>;
        if constexpr (std::is_void_v<To>)
            return {'p', sizeof(T), 0};
        else
            return {'p', sizeof(T), sizeof(To) == 1 ? 0 : sizeof(To)};
    } else if constexpr (std::is_floating_point_v<T>) {
        return {'f', sizeof(T), 0};
    } else if constexpr (std::is_enum_v<T>) {
        return parameter<std::underlying_type_t<T>>();
    } else if constexpr (std::is_integral_v<T>) {
        return {std::is_signed_v<T> ? 'i' : 'u', sizeof(T), 0};
    } else {
        static_assert(std::is_trivially_copyable_v<T>, "a kernel's parameters are copied as bytes");
        return {'s', sizeof(T), 0};
    }
}

struct Kernel {
    void (*function)();
    void (*call)(void (*function)(), void **arguments);
    unsigned n_parameters;
    const Parameter *parameters;
};

template <class... P>
struct Caller {
    static constexpr Parameter parameters[sizeof...(P) + 1] = {parameter<P>()..., {'s', 0, 0}};

    template <std::size_t... I>
    static void expand(void (*function)(), void **arguments, std::index_sequence<I...>) {
        (void)arguments;
        reinterpret_cast<void (*)(P...)>(function)(*static_cast<P *>(arguments[I])...);
    }
    static void call(void (*function)(), void **arguments) {
        expand(function, arguments, std::index_sequence_for<P...>{});
    }
};

template <class... P>
Kernel describe(void (*kernel)(P...)) {
    return {reinterpret_cast<void (*)()>(kernel), &Caller<P...>::call, sizeof...(P),
            Caller<P...>::parameters};
}

}  // namespace cuda_host

#define threadIdx (cuda_host::thread_index)
#define blockIdx (cuda_host::block_index)
#define blockDim (cuda_host::block_size)
#define gridDim (cuda_host::grid_size)
constexpr int warpSize = 32;

#define CUDA_HOST_TEXT(x) #x
#define CUDA_HOST_TEXT_OF(x) CUDA_HOST_TEXT(x)
#define CUDA_HOST_HERE (__FILE__ ":" CUDA_HOST_TEXT_OF(__LINE__))

#define __syncthreads() cuda_host::sync_block(CUDA_HOST_HERE, 0)
#define __syncthreads_count(predicate) cuda_host::sync_block(CUDA_HOST_HERE, predicate)
#define __syncthreads_or(predicate) (cuda_host::sync_block(CUDA_HOST_HERE, predicate) != 0)
#define __syncthreads_and(predicate) (cuda_host::sync_block(CUDA_HOST_HERE, !(predicate)) == 0)
#define __syncwarp(...) cuda_host::sync_warp(CUDA_HOST_HERE __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_sync(...) cuda_host::shuffle(CUDA_HOST_HERE, __VA_ARGS__)
#define __shfl_up_sync(...) cuda_host::shuffle_up(CUDA_HOST_HERE, __VA_ARGS__)
#define __shfl_down_sync(...) cuda_host::shuffle_down(CUDA_HOST_HERE, __VA_ARGS__)
#define __shfl_xor_sync(...) cuda_host::shuffle_xor(CUDA_HOST_HERE, __VA_ARGS__)
#define __ballot_sync(mask, predicate) cuda_host::ballot(CUDA_HOST_HERE, mask, predicate)
#define __any_sync(mask, predicate) (cuda_host::ballot(CUDA_HOST_HERE, mask, predicate) != 0)
#define __all_sync(mask, predicate) (cuda_host::ballot(CUDA_HOST_HERE, mask, !(predicate)) == 0)
#define __trap() cuda_host::trap()

inline void __threadfence() { cuda_host::preempt(); }
inline void __threadfence_block() { cuda_host::preempt(); }
inline void __threadfence_system() { cuda_host::preempt(); }
inline void __nanosleep(unsigned) { cuda_host::preempt(); }

// clang-format off
template <class T> T atomicAdd(T *a, cuda_host::same<T> v) { return cuda_host::update(a, [&](T o) { return T(o + v); }); }
template <class T> T atomicSub(T *a, cuda_host::same<T> v) { return cuda_host::update(a, [&](T o) { return T(o - v); }); }
template <class T> T atomicMin(T *a, cuda_host::same<T> v) { return cuda_host::update(a, [&](T o) { return v < o ? v : o; }); }
template <class T> T atomicMax(T *a, cuda_host::same<T> v) { return cuda_host::update(a, [&](T o) { return v > o ? v : o; }); }
template <class T> T atomicAnd(T *a, cuda_host::same<T> v) { return cuda_host::update(a, [&](T o) { return T(o & v); }); }
template <class T> T atomicOr(T *a, cuda_host::same<T> v) { return cuda_host::update(a, [&](T o) { return T(o | v); }); }
template <class T> T atomicXor(T *a, cuda_host::same<T> v) { return cuda_host::update(a, [&](T o) { return T(o ^ v); }); }
template <class T> T atomicExch(T *a, cuda_host::same<T> v) { return cuda_host::update(a, [&](T) { return v; }); }
template <class T> T atomicCAS(T *a, cuda_host::same<T> expected, cuda_host::same<T> v) { return cuda_host::update(a, [&](T o) { return o == expected ? v : o; }); }

template <class T> T __ldg(const T *a) { return *a; }
template <class T> T __ldcs(const T *a) { return *a; }
template <class T> T __ldca(const T *a) { return *a; }
template <class T> T __ldcg(const T *a) { cuda_host::preempt(); return *a; }
template <class T> T __ldcv(const T *a) { cuda_host::preempt(); return *a; }
template <class T> void __stcs(T *a, cuda_host::same<T> v) { *a = v; }
template <class T> void __stwb(T *a, cuda_host::same<T> v) { *a = v; }
template <class T> void __stcg(T *a, cuda_host::same<T> v) { *a = v; cuda_host::preempt(); }
template <class T> void __stwt(T *a, cuda_host::same<T> v) { *a = v; cuda_host::preempt(); }

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz(static_cast<unsigned>(v)) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll(static_cast<unsigned long long>(v)) : 64; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline unsigned __brev(unsigned v) { unsigned r = 0; for (int i = 0; i < 32; ++i) r |= (v >> i & 1u) << (31 - i); return r; }
inline int __float_as_int(float v) { return cuda_host::from_bits<int>(cuda_host::to_bits(v)); }
inline unsigned __float_as_uint(float v) { return cuda_host::from_bits<unsigned>(cuda_host::to_bits(v)); }
inline float __int_as_float(int v) { return cuda_host::from_bits<float>(cuda_host::to_bits(v)); }
inline float __uint_as_float(unsigned v) { return cuda_host::from_bits<float>(cuda_host::to_bits(v)); }
inline long long __double_as_longlong(double v) { return cuda_host::from_bits<long long>(cuda_host::to_bits(v)); }
inline double __longlong_as_double(long long v) { return cuda_host::from_bits<double>(cuda_host::to_bits(v)); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float rsqrtf(float v) { return 1 / std::sqrt(v); }
inline double rsqrt(double v) { return 1 / std::sqrt(v); }
inline double rhypot(double a, double b) { return 1 / std::hypot(a, b); }

// As in CUDA: of two kinds of integers the wider one, of numbers the floating one.
template <class A, class B> constexpr std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return std::fmin(T(a), T(b));
    else return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B> constexpr std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return std::fmax(T(a), T(b));
    else return T(a) < T(b) ? T(b) : T(a);
}

#define CUDA_HOST_VECTORS(T, name, align2, align4)                                                   \
    struct name##1 { T x; };                                                                         \
    struct alignas(align2) name##2 { T x, y; };                                                      \
    struct name##3 { T x, y, z; };                                                                   \
    struct alignas(align4) name##4 { T x, y, z, w; };                                                \
    inline name##1 make_##name##1(T x) { return {x}; }                                               \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                       \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                               \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_HOST_VECTORS(signed char, char, 2, 4)
CUDA_HOST_VECTORS(unsigned char, uchar, 2, 4)
CUDA_HOST_VECTORS(short, short, 4, 8)
CUDA_HOST_VECTORS(unsigned short, ushort, 4, 8)
CUDA_HOST_VECTORS(int, int, 8, 16)
CUDA_HOST_VECTORS(unsigned, uint, 8, 16)
CUDA_HOST_VECTORS(long long, longlong, 16, 16)
CUDA_HOST_VECTORS(unsigned long long, ulonglong, 16, 16)
CUDA_HOST_VECTORS(float, float, 8, 16)
CUDA_HOST_VECTORS(double, double, 16, 16)
#undef CUDA_HOST_VECTORS
// clang-format on

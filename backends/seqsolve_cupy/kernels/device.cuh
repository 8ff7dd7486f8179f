// What differs between a device and the host on which the kernels are emulated.
#ifndef SEQSOLVE_DEVICE_CUH
#define SEQSOLVE_DEVICE_CUH

namespace seqsolve {

[[maybe_unused]] constexpr unsigned full_warp = 0xffffffffu;
constexpr int warp_size = 32;

// Sets a flag after everything that this thread wrote, or knows to be written.
__device__ inline void store_release(int* flag, int value) {
#ifdef __CUDA_ARCH__
    asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
#else
    __threadfence();
    *static_cast<volatile int*>(flag) = value;
#endif
}

__device__ inline int load_acquire(const int* flag) {
#ifdef __CUDA_ARCH__
    int value;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    return value;
#else
    const int value = *static_cast<const volatile int*>(flag);
    __threadfence();
    return value;
#endif
}

__device__ inline void wait_for(const int* flag, int value) {
    while (load_acquire(flag) < value) {
#ifdef __CUDA_ARCH__
        __nanosleep(20);
#endif
    }
}

// Begins to copy 4, 8 or 16 bytes from global to shared memory; `wait_for_copies` ends all of the
// thread's copies.
template <int bytes>
__device__ inline void copy_async(void* to, const void* from) {
#ifndef __CUDA_ARCH__
    cuda_host::copy_async(to, from, bytes);
#elif __CUDA_ARCH__ >= 800
    const unsigned place = unsigned(__cvta_generic_to_shared(to));
    const auto source = __cvta_generic_to_global(from);
    if constexpr (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(place), "l"(source) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(place), "l"(source), "n"(bytes)
                     : "memory");
#else
    struct alignas(bytes) Item {
        unsigned word[bytes / 4];
    };
    *static_cast<Item*>(to) = *static_cast<const Item*>(from);
#endif
}

__device__ inline void wait_for_copies() {
#ifndef __CUDA_ARCH__
    cuda_host::wait_for_copies();
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace seqsolve

#endif

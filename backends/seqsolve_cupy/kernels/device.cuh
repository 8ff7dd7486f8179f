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

}  // namespace seqsolve

#endif

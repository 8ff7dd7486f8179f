// Strided arrays of one sequence, and loads and stores of runs of memory.
#ifndef SEQSOLVE_ACCESS_CUH
#define SEQSOLVE_ACCESS_CUH

#include "scalar.cuh"

namespace seqsolve {

// What one load or store can move.
struct alignas(16) Sixteen {
    unsigned word[4];
};

template <typename T>
union Pack {
    static constexpr int size = sizeof(Sixteen) / sizeof(T);
    Sixteen whole;
    T item[size];

    __device__ Pack() {}
};

__device__ inline bool is_aligned(const void* address) {
    return reinterpret_cast<unsigned long long>(address) % sizeof(Sixteen) == 0;
}

// The first `count` of the items at `data`, `stride` apart, into registers; the others are left as
// they are. Whole runs of adjacent items, in either direction, move 16 bytes at a time.
template <int length, typename T>
__device__ inline void load_run(const T* data, int64 stride, int count, T (&items)[length]) {
    constexpr int size = Pack<T>::size;
    if constexpr (size > 1 && length % size == 0) {
        if (count == length && stride == 1 && is_aligned(data)) {
#pragma unroll
            for (int k = 0; k < length; k += size) {
                Pack<T> pack;
                pack.whole = *reinterpret_cast<const Sixteen*>(data + k);
#pragma unroll
                for (int j = 0; j < size; ++j) items[k + j] = pack.item[j];
            }
            return;
        }
        if (count == length && stride == -1 && is_aligned(data - length + 1)) {
#pragma unroll
            for (int k = 0; k < length; k += size) {
                Pack<T> pack;
                pack.whole = *reinterpret_cast<const Sixteen*>(data - k - size + 1);
#pragma unroll
                for (int j = 0; j < size; ++j) items[k + j] = pack.item[size - 1 - j];
            }
            return;
        }
    }
#pragma unroll
    for (int k = 0; k < length; ++k)
        if (k < count) items[k] = data[k * stride];
}

template <int length, typename T>
__device__ inline void store_run(T* data, int64 stride, int count,
                                 const T (&items)[length]) {
    constexpr int size = Pack<T>::size;
    if constexpr (size > 1 && length % size == 0) {
        if (count == length && stride == 1 && is_aligned(data)) {
#pragma unroll
            for (int k = 0; k < length; k += size) {
                Pack<T> pack;
#pragma unroll
                for (int j = 0; j < size; ++j) pack.item[j] = items[k + j];
                *reinterpret_cast<Sixteen*>(data + k) = pack.whole;
            }
            return;
        }
        if (count == length && stride == -1 && is_aligned(data - length + 1)) {
#pragma unroll
            for (int k = 0; k < length; k += size) {
                Pack<T> pack;
#pragma unroll
                for (int j = 0; j < size; ++j) pack.item[size - 1 - j] = items[k + j];
                *reinterpret_cast<Sixteen*>(data - k - size + 1) = pack.whole;
            }
            return;
        }
    }
#pragma unroll
    for (int k = 0; k < length; ++k)
        if (k < count) data[k * stride] = items[k];
}

__device__ constexpr int root_of(int square) {
    int n = 1;
    while (n * n < square) ++n;
    return n;
}

// Lanes are sequences, or states of diagonal recurrences: `outer` counts the batch, `inner` the
// states of one.
struct Lane {
    int64 outer, inner;
};

template <typename T>
struct Vectors {
    T* data;
    int64 step, outer, inner, row;

    __device__ Vectors of(Lane lane) const {
        return {data + lane.outer * outer + lane.inner * inner, step, outer, inner, row};
    }
    __device__ T* at(int64 t) const { return data + t * step; }

    // Item i of the m of a step, and whether these are adjacent.
    template <int m>
    __device__ T* item(int64 t, int i) const {
        return at(t) + (m == 1 ? 0 : i * row);
    }
    template <int m>
    __device__ bool are_adjacent() const {
        return m == 1 || row == 1;
    }
};

template <typename T>
struct Matrices {
    const T* data;
    int64 step, outer, inner, row, column;

    __device__ Matrices of(Lane lane) const {
        return {data + lane.outer * outer + lane.inner * inner, step, outer, inner, row, column};
    }
    __device__ const T* at(int64 t) const { return data + t * step; }

    template <int m>
    __device__ const T* item(int64 t, int i) const {
        constexpr int n = root_of(m);
        return at(t) + (m == 1 ? 0 : i / n * row + i % n * column);
    }
    template <int m>
    __device__ bool are_adjacent() const {
        constexpr int n = root_of(m);
        return m == 1 || (column == 1 && row == n);
    }

    template <int n>
    __device__ void load(int64 t, T (&A)[n * n]) const {
        if (column == 1 && row == n) {
            load_run(at(t), 1, n * n, A);
            return;
        }
        if (column == n && row == 1) {
            T transposed[n * n];
            load_run(at(t), 1, n * n, transposed);
#pragma unroll
            for (int i = 0; i < n; ++i)
#pragma unroll
                for (int k = 0; k < n; ++k) A[i * n + k] = transposed[k * n + i];
            return;
        }
#pragma unroll
        for (int i = 0; i < n; ++i)
#pragma unroll
            for (int k = 0; k < n; ++k) A[i * n + k] = at(t)[i * row + k * column];
    }
};

}  // namespace seqsolve

#endif

// A tile's numbers in shared memory: each thread's run of steps, brought there by all together.
//
// Copies are made by whichever thread makes adjacent threads read adjacent addresses, and need no
// registers while they are under way. Runs lie an odd number of 16 bytes apart, so threads that
// read or write theirs, 16 bytes at a time, do not meet in a bank.
#ifndef SEQSOLVE_STAGING_CUH
#define SEQSOLVE_STAGING_CUH

#include "affine.cuh"
#include "tasks.cuh"

namespace seqsolve {

__device__ constexpr int gcd(int a, int b) { return b == 0 ? a : gcd(b, a % b); }

template <int count, typename T>
__device__ inline void read_packs(const T* from, T (&items)[count]) {
    constexpr int size = Pack<T>::size;
#pragma unroll
    for (int first = 0; first < count; first += size) {
        Pack<T> pack;
        pack.whole = *reinterpret_cast<const Sixteen*>(from + first);
#pragma unroll
        for (int j = 0; j < size; ++j) items[first + j] = pack.item[j];
    }
}

template <int count, typename T>
__device__ inline void write_packs(T* to, const T (&items)[count]) {
    constexpr int size = Pack<T>::size;
#pragma unroll
    for (int first = 0; first < count; first += size) {
        Pack<T> pack;
#pragma unroll
        for (int j = 0; j < size; ++j) pack.item[j] = items[first + j];
        *reinterpret_cast<Sixteen*>(to + first) = pack.whole;
    }
}

// The m items of each step of one operand. `length` steps are a thread's run.
template <typename T, int m, int length, int lanes, int threads>
struct Staged {
    static constexpr unsigned size = Pack<T>::size, runs = threads / lanes;
    // Steps whose items are whole packs.
    static constexpr unsigned group = size / gcd(size, m);
    static constexpr unsigned packs = length * m / size, pitch = (packs | 1) * size;
    static constexpr int bytes = threads * pitch * int(sizeof(T));
    static_assert(length % group == 0, "a run is whole packs");

    T* items;

    __device__ T* own() const { return items + threadIdx.x * pitch; }
    __device__ T* place(unsigned step, unsigned item) const {
        const unsigned owner = step / length * lanes + threadIdx.x % lanes;
        return items + owner * pitch + step % length * m + item;
    }

    // Begins to copy the lane's tile from step t on, as far as there are steps.
    template <typename Array>
    __device__ void fetch(const Array& array, int64 t, int64 n_steps) const {
        transfer<true>(array, t, n_steps);
    }
    template <typename Array>
    __device__ void store(const Array& array, int64 t, int64 n_steps) const {
        transfer<false>(array, t, n_steps);
    }

private:
    // Between shared memory and `array`; the threads of a lane take items in turn.
    template <bool fetches, typename Array>
    __device__ void transfer(const Array& array, int64 t, int64 n_steps) const {
        constexpr unsigned steps = runs * length;
        const unsigned run = threadIdx.x / lanes;
        const unsigned count = n_steps - t < steps ? unsigned(n_steps - t) : steps;
        const bool in_packs = count == steps && array.template are_adjacent<m>() &&
                              (group == 1 ? array.step % size == 0 : array.step == m) &&
                              is_aligned(array.at(t));
        if (in_packs) {
#pragma unroll 8
            for (unsigned k = 0; k < packs; ++k) {
                const unsigned first = (run + k * runs) * size;
                const unsigned step = first / (group * m) * group, item = first % (group * m);
                move<fetches, Sixteen>(place(step, item), array.at(t + step) + item);
            }
        } else if constexpr (runs % m == 0) {
            const unsigned item = run % m;
            auto* at = array.template item<m>(t + run / m, item);
            const int64 advance = runs / m * array.step;
#pragma unroll 4
            for (unsigned step = run / m; step < count; step += runs / m, at += advance)
                move<fetches, T>(place(step, item), at);
        } else {
            for (unsigned k = run; k < count * m; k += runs)
                move<fetches, T>(place(k / m, k % m), array.template item<m>(t + k / m, k % m));
        }
    }

    template <bool fetches, typename Unit, typename Memory>
    __device__ static void move(T* staged, Memory* memory) {
        if constexpr (fetches)
            copy_async<int(sizeof(Unit))>(staged, memory);
        else
            *reinterpret_cast<Unit*>(memory) = *reinterpret_cast<const Unit*>(staged);
    }
};

// Steps of a run: the matrices are 256 bytes or little more, of single numbers 128.
template <typename T, int n>
__device__ constexpr int staged_length() {
    const int bytes = n * n * int(sizeof(T));
    int length = 1;
    while (length * bytes < (n == 1 ? 128 : 256)) length *= 2;
    return length;
}

// One tile of a task.
template <typename Task, int n, int lanes, int threads>
struct Stage {
    using T = typename Task::T;
    using Row = typename Task::Row;
    static constexpr int length = staged_length<T, n>(), n_vectors = Task::n_vectors;
    using OfMatrices = Staged<T, n * n, length, lanes, threads>;
    using OfVectors = Staged<T, n, length, lanes, threads>;
    static constexpr int bytes = OfMatrices::bytes + n_vectors * OfVectors::bytes;

    struct Step {
        T A[n * n];
        Row rows[n];
        T result[n];
    };

    unsigned char* memory;

    __device__ OfMatrices matrices() const { return {reinterpret_cast<T*>(memory)}; }
    __device__ OfVectors vectors(int which) const {
        return {reinterpret_cast<T*>(memory + OfMatrices::bytes + which * OfVectors::bytes)};
    }

    __device__ void fetch(const Task& task, int64 t, int64 n_steps) const {
        matrices().fetch(task.A, t, n_steps);
        vectors(0).fetch(task.template vectors<0>(), t, n_steps);
        if constexpr (n_vectors > 1) vectors(1).fetch(task.template vectors<1>(), t, n_steps);
    }

    // Results take the place of the last vectors.
    __device__ void store(const Task& task, int64 t, int64 n_steps) const {
        vectors(n_vectors - 1).store(task.y, t, n_steps);
    }

    // Calls visit(k, step) for the first `count` steps of the thread's run; with `writes`, keeps
    // their results.
    template <bool writes, typename Visit>
    __device__ void each_step(int count, const Visit& visit) const {
        T* own[n_vectors];
#pragma unroll
        for (int which = 0; which < n_vectors; ++which) own[which] = vectors(which).own();
        if (count == length) {
            constexpr int group = int(OfVectors::group);
            // With more, the compiler converts whole runs before it uses their first numbers, and
            // spills.
#pragma unroll(fits_unrolled<Affine<Wide<T>, n>> ? 4 : 1)
            for (int first = 0; first < length; first += group) {
                T A[group * n * n], items[n_vectors][group * n];
                read_packs(matrices().own() + first * n * n, A);
#pragma unroll
                for (int which = 0; which < n_vectors; ++which)
                    read_packs(own[which] + first * n, items[which]);
#pragma unroll
                for (int k = 0; k < group; ++k) {
                    Step step;
                    take(A + k * n * n, items[0] + k * n, items[n_vectors - 1] + k * n, step);
                    visit(first + k, step);
#pragma unroll
                    for (int row = 0; row < n; ++row)
                        items[n_vectors - 1][k * n + row] = step.result[row];
                }
                if constexpr (writes) write_packs(own[n_vectors - 1] + first * n, items[n_vectors - 1]);
            }
        } else {
#pragma unroll 1
            for (int k = 0; k < count; ++k) {
                Step step;
                take(matrices().own() + k * n * n, own[0] + k * n, own[n_vectors - 1] + k * n, step);
                visit(k, step);
                if constexpr (writes) {
#pragma unroll
                    for (int row = 0; row < n; ++row)
                        own[n_vectors - 1][k * n + row] = step.result[row];
                }
            }
        }
    }

private:
    __device__ static void take(const T* A, const T* first, const T* last, Step& step) {
#pragma unroll
        for (int i = 0; i < n * n; ++i) step.A[i] = A[i];
#pragma unroll
        for (int row = 0; row < n; ++row) {
            Task::template set<0>(step.rows[row], first[row]);
            if constexpr (n_vectors > 1) Task::template set<1>(step.rows[row], last[row]);
        }
    }
};

}  // namespace seqsolve

#endif

// What is kept of each sequence while its windows are solved.
#ifndef SEQSOLVE_CONTROL_CUH
#define SEQSOLVE_CONTROL_CUH

#include "access.cuh"

namespace seqsolve {

// States of a sequence within a window.
enum Stage { running = 0, finished = 1, gave_up = 2 };

// What is known of each sequence, and gathered of it in one iteration: rows of numbers.
struct Control {
    int64* rows;
    int64 n_batch;

    __device__ int64& base(int64 k) const { return rows[k]; }             // steps that are solved
    __device__ int64& exact(int64 k) const { return rows[n_batch + k]; }  // that must pass
    __device__ int64& stage(int64 k) const { return rows[2 * n_batch + k]; }
    // Maxima: steps from the first that fails on; bits of residuals, of all steps and of those that
    // are solved, in this iteration and before.
    __device__ unsigned long long* left(int64 k) const { return word(3, k); }
    __device__ unsigned long long* peak(int64 k) const { return word(4, k); }
    __device__ unsigned long long* solved_peak(int64 k) const { return word(5, k); }
    __device__ unsigned long long* old_peak(int64 k) const { return word(6, k); }

    // Of sweeps: what `exact` and `solved_peak` stand for. Positions from here on became exact
    // together, and those at the end of the window are `n_unverified`.
    __device__ int64& n_unverified(int64 k) const { return exact(k); }
    __device__ int64& is_verifying(int64 k) const { return rows[5 * n_batch + k]; }

   private:
    __device__ unsigned long long* word(int row, int64 k) const {
        return reinterpret_cast<unsigned long long*>(rows + row * n_batch + k);
    }
};

}  // namespace seqsolve

#endif

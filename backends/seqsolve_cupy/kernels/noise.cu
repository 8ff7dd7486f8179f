// Random numbers, added to preactivations or weighed and summed where they are generated: none is
// stored. Their bits are those of seqsolve.random: Philox4x64 with ten rounds, then arithmetic that
// is rounded operation by operation, so products and sums are intrinsics, which are never fused.
//
// A block of the generator is four words of 64 bits, for so many units: as many threads form a group.
// Each owns a unit, and generates the words of another copy for the whole group, in shared memory.
#include "access.cuh"

namespace seqsolve {

using uint64 = unsigned long long;

__device__ inline float sum(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double sum(double a, double b) { return __dadd_rn(a, b); }
__device__ inline float product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double product(double a, double b) { return __dmul_rn(a, b); }

__device__ inline uint64 high_product(uint64 a, uint64 b) {
#ifdef __CUDA_ARCH__
    return __umul64hi(a, b);
#else
    return uint64((unsigned __int128)(a) * b >> 64);
#endif
}

// Which numbers: key, step, and the first copy, which is that of all copies unless they differ.
struct Stream {
    uint64 key0, key1, step, first_copy;
    bool differ;

    __device__ void generate(uint64 block, int64 copy, uint64 datum, uint64* words) const {
        uint64 c0 = block, c1 = differ ? first_copy + uint64(copy) : first_copy, c2 = datum, c3 = step;
        uint64 k0 = key0, k1 = key1;
#pragma unroll
        for (int round = 0; round < 10; ++round) {
            const uint64 high0 = high_product(c0, 0xD2E7470EE14C6C93u), low0 = c0 * 0xD2E7470EE14C6C93u;
            const uint64 high1 = high_product(c2, 0xCA5A826395121157u), low1 = c2 * 0xCA5A826395121157u;
            c0 = high1 ^ c1 ^ k0;
            c2 = high0 ^ c3 ^ k1;
            c1 = low1;
            c3 = low0;
            k0 += 0x9E3779B97F4A7C15u;
            k1 += 0xBB67AE8584CAA73Bu;
        }
        words[0] = c0;
        words[1] = c1;
        words[2] = c2;
        words[3] = c3;
    }
};

// A polynomial by Horner's rule.
template <int n>
__device__ inline float polynomial(float x, const double (&coefficients)[n]) {
    float total = float(coefficients[n - 1]);
#pragma unroll
    for (int i = n - 2; i >= 0; --i) total = sum(product(total, x), float(coefficients[i]));
    return total;
}

// Numbers of the normal distribution, each from 32 bits: the quantile of (bits + 1/2) / 2**32.
struct Normal {
    using Flips = unsigned;
    static constexpr int n_units = 8, padding = 4;  // the groups of a warp use other banks

    __device__ static float number(const uint64* words, int unit, unsigned flips) {
        const int word = int(unsigned(words[unit / 2] >> (unit % 2 * 32)) ^ flips);
        const int flipped = word ^ (word >> 31);
        const int scaled = __float_as_int(sum(float(flipped), 0.5f));
        const int exponent = (scaled - 0x3F3504F3) >> 23;  // of mantissas from sqrt(1/2) to sqrt(2)
        const float m = __int_as_float(scaled - exponent * (1 << 23));
        const float s = sum(m, -1.0f) / sum(m, 1.0f);
        const double series[] = {2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0};
        const float log = product(s, polynomial(product(s, s), series));
        const float below = product(float(2 * 0.6931471805599453), float(32 - exponent));
        const float t = sqrtf(sum(below, -sum(log, log)));
        const double p[] = {3.220579284046531, 9.327121738898636, 2.6316877270029986,
                            0.09690829074375473};
        const double q[] = {1.0, 5.630493872224596, 4.656175722419199, 0.7234251917742274,
                            0.015775644341758682};
        const float x = sum(t, -(polynomial(t, p) / polynomial(t, q)));
        return __int_as_float(__float_as_int(x) ^ (~word & int(0x80000000u)));
    }
};

// -1 or 1, each from a bit.
struct Sign {
    using Flips = unsigned char;
    static constexpr int n_units = 256, padding = 0;

    __device__ static float number(const uint64* words, int unit, unsigned flips) {
        const int bit = int(words[unit / 64] >> (unit % 64) & 1) ^ int(flips);
        return float(bit + bit - 1);
    }
};

template <typename T>
struct Strided {
    T* data;
    int64 copy, datum, unit;

    __device__ T& at(int64 k, int64 n, int64 j) const {
        return data[k * copy + n * datum + j * unit];
    }
};

// Calls `use` with every copy from `begin` to `end`, in their order, and the number that this thread's
// unit has there.
template <typename Kind, bool has_flips, int threads, typename Use>
__device__ inline void for_each_copy(Stream stream, Strided<const typename Kind::Flips> flips,
                                     int64 begin, int64 end, int64 n_data, int64 n_units, Use use) {
    constexpr int group_units = Kind::n_units, group_words = 4 * group_units + Kind::padding;
    __shared__ uint64 words[threads / group_units * group_words];
    const int place = threadIdx.x % group_units, group = threadIdx.x / group_units;
    const int64 row_groups = (n_units + group_units - 1) / group_units;
    const int64 number = int64(blockIdx.x) * (threads / group_units) + group;
    const int64 datum = number / row_groups, block = number % row_groups;
    const int64 unit = block * group_units + place;
    uint64* const own = words + group * group_words;
    const auto wait = [] {
        if constexpr (group_units <= 32) {
            __syncwarp();
        } else {
            __syncthreads();
        }
    };
    for (int64 k = begin; k < end; k += group_units) {
        if (datum < n_data && k + place < end) stream.generate(block, k + place, datum, own + 4 * place);
        wait();
        if (datum < n_data && unit < n_units) {
            const int count = end - k < group_units ? int(end - k) : group_units;
            for (int i = 0; i < count; ++i) {
                const unsigned flip = has_flips ? flips.at(k + i, datum, unit) : 0;
                use(k + i, datum, unit, Kind::number(own + 4 * i, place, flip));
            }
        }
        wait();
    }
}

// out = z + scale eps, for `share` copies each row of the grid.
template <typename T, typename Kind, bool has_flips, int threads>
__global__ void __launch_bounds__(threads, 4) add_noise(
    uint64 key0, uint64 key1, uint64 step, uint64 first_copy, int differ,
    const typename Kind::Flips* flips, int64 flips_copy, int64 flips_datum, int64 flips_unit,
    int64 n_copies, int64 n_data, int64 n_units,
    const T* z_data, int64 z_copy, int64 z_datum, int64 z_unit, T scale, int64 share, T* out) {
    const Strided<const T> z{z_data, z_copy, z_datum, z_unit};
    const int64 begin = blockIdx.y * share, end = begin + share < n_copies ? begin + share : n_copies;
    for_each_copy<Kind, has_flips, threads>(
        {key0, key1, step, first_copy, differ != 0}, {flips, flips_copy, flips_datum, flips_unit},
        begin, end, n_data, n_units, [=](int64 k, int64 n, int64 j, float eps) {
            out[(k * n_data + n) * n_units + j] = sum(z.at(k, n, j), product(scale, T(eps)));
        });
}

// out += sum over copies of w eps, in their order.
template <typename T, typename Kind, bool has_flips, int threads>
__global__ void __launch_bounds__(threads, 4) weigh_noise(
    uint64 key0, uint64 key1, uint64 step, uint64 first_copy, int differ,
    const typename Kind::Flips* flips, int64 flips_copy, int64 flips_datum, int64 flips_unit,
    int64 n_copies, int64 n_data, int64 n_units,
    const T* w, int64 w_copy, int64 w_datum, T* out, int64 out_datum, int64 out_unit) {
    T total = 0;
    T* target = nullptr;
    for_each_copy<Kind, has_flips, threads>(
        {key0, key1, step, first_copy, differ != 0}, {flips, flips_copy, flips_datum, flips_unit},
        0, n_copies, n_data, n_units, [&](int64 k, int64 n, int64 j, float eps) {
            if (k == 0) {
                target = out + n * out_datum + j * out_unit;
                total = *target;
            }
            total = sum(total, product(w[k * w_copy + n * w_datum], T(eps)));
        });
    if (target) *target = total;
}

}  // namespace seqsolve

// Runs a grid of threads on one thread of the host.
//
// Every CUDA thread is a fiber. It runs until it waits for others, or comes to a place where the
// device might well run another one; then the next fiber is drawn at random. Only some blocks are
// resident, and some of those are slow.

#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#include "cuda_host.h"  // last: it defines CUDA's keywords

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

namespace cuda_host {

Index thread_index, block_index, block_size, grid_size;

namespace {

constexpr std::size_t stack_bytes = SANITIZED ? 512 << 10 : 128 << 10;
constexpr std::size_t page = 4096;
constexpr std::size_t guard_bytes = 128;  // on both sides of an allocation
constexpr std::size_t shared_static_limit = 48 << 10;
constexpr long spin_limit = 200000;  // switches without progress: far more than a wait takes

enum class State { done, ready, at_barrier, in_collective };

struct Block;

struct Copy {
    void *to;
    const void *from;
    std::size_t bytes;
};

struct Fiber {
    std::jmp_buf position;
    ucontext_t entry;
    char *stack = nullptr;
    std::size_t stack_size;
    bool started = false;
    void *fake_stack = nullptr;

    Block *block;
    unsigned number;
    Index index;
    State state;
    const char *where;
    Collective kind;
    unsigned mask;
    int width;
    int source;
    std::uint64_t value;
    std::vector<Copy> copies;  // under way
};

// Memory of one block, filled with ones: NaN, or -1. What lies around it is watched.
class Allocation {
public:
    const void *key;
    std::size_t bytes;

    Allocation(const void *key, std::size_t bytes, std::size_t alignment)
        : key(key), bytes(bytes), space_(new unsigned char[bytes + 2 * guard_bytes + 512]) {
        auto at = reinterpret_cast<std::uintptr_t>(space_.get()) + guard_bytes + 255;
        at -= at % 256;
        data_ = reinterpret_cast<unsigned char *>(at) + alignment % 256;  // aligned no better
        std::memset(data_, 0xff, bytes);
        std::memset(data_ - guard_bytes, 0xa5, guard_bytes);
        std::memset(data_ + bytes, 0xa5, guard_bytes);
#if SANITIZED
        __asan_poison_memory_region(data_ - guard_bytes, guard_bytes);
        __asan_poison_memory_region(data_ + bytes, guard_bytes);
#endif
    }
#if SANITIZED
    ~Allocation() {
        __asan_unpoison_memory_region(data_ - guard_bytes, bytes + 2 * guard_bytes);
    }
#endif
    void *data() const { return data_; }

    bool intact() const {
#if SANITIZED
        return true;
#else
        for (std::size_t i = 0; i < guard_bytes; ++i)
            if ((data_ - guard_bytes)[i] != 0xa5 || (data_ + bytes)[i] != 0xa5) return false;
        return true;
#endif
    }

private:
    std::unique_ptr<unsigned char[]> space_;
    unsigned char *data_;
};

struct Warp {
    Fiber *fibers[32];
    unsigned lanes = 0, waiting = 0, ended = 0;  // masks
};

struct Block {
    Index index;
    std::vector<Fiber *> fibers;
    std::vector<Warp> warps;
    std::vector<Fiber *> ready;
    std::size_t alive = 0;
    std::size_t arrived = 0;  // at the barrier
    const char *barrier = nullptr;
    int predicates = 0, barrier_result = 0;
    unsigned slowness = 0;  // a mask: it runs if a random number has none of these bits
    std::vector<std::unique_ptr<Allocation>> memory;
};

struct Grid {
    Kernel kernel;
    void **arguments;
    std::size_t dynamic_bytes;
    std::uint64_t random;
    long spins = 0;
    std::size_t shared_bytes = 0;  // the most that a block used
    std::string error;

    std::uint64_t draw() {  // xorshift64*
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        return (random * 2685821657736338717ull) >> 32;
    }
};

Grid *grid = nullptr;
Fiber *current = nullptr;
std::jmp_buf scheduler;
std::vector<std::unique_ptr<Fiber>> idle_fibers;

#if SANITIZED
void *scheduler_fake_stack;
const void *scheduler_stack;
std::size_t scheduler_stack_bytes;
#endif

std::string format(const char *pattern, ...) {
    char text[1000];
    va_list values;
    va_start(values, pattern);
    std::vsnprintf(text, sizeof text, pattern, values);
    va_end(values);
    return text;
}

std::string place(const Fiber &fiber) {
    const Index &b = fiber.block->index, &t = fiber.index;
    return format("block (%u, %u, %u), thread (%u, %u, %u)", b.x, b.y, b.z, t.x, t.y, t.z);
}

void to_scheduler() {
    Fiber *self = current;
    if (_setjmp(self->position) == 0) {
#if SANITIZED
        __sanitizer_start_switch_fiber(&self->fake_stack, scheduler_stack, scheduler_stack_bytes);
#endif
        _longjmp(scheduler, 1);
    }
#if SANITIZED
    __sanitizer_finish_switch_fiber(self->fake_stack, nullptr, nullptr);
#endif
}

template <class... T>
[[noreturn]] void fail(const char *pattern, T... values);

[[noreturn]] void fiber_main() {
#if SANITIZED
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
    for (;;) {  // one CUDA thread after the other
        grid->kernel.call(grid->kernel.function, grid->arguments);
        if (!current->copies.empty()) fail("it ends while it copies");
        current->state = State::done;
        to_scheduler();
    }
}

void resume(Fiber *fiber) {
    current = fiber;
    thread_index = fiber->index;
    block_index = fiber->block->index;
    if (_setjmp(scheduler) == 0) {
#if SANITIZED
        __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber->stack, fiber->stack_size);
#endif
        if (fiber->started) _longjmp(fiber->position, 1);
        fiber->started = true;
        getcontext(&fiber->entry);
        fiber->entry.uc_stack.ss_sp = fiber->stack;
        fiber->entry.uc_stack.ss_size = fiber->stack_size;
        fiber->entry.uc_link = nullptr;
        makecontext(&fiber->entry, fiber_main, 0);
        setcontext(&fiber->entry);
    }
#if SANITIZED
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#endif
}

Fiber *new_fiber() {
    if (!idle_fibers.empty()) {
        Fiber *fiber = idle_fibers.back().release();
        idle_fibers.pop_back();
        return fiber;
    }
    auto *memory = static_cast<char *>(mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory == MAP_FAILED) {
        std::perror("no memory for the stack of a thread");
        std::abort();
    }
    mprotect(memory, page, PROT_NONE);  // a stack that overflows ends in a fault
    auto *fiber = new Fiber;
    fiber->stack = memory + page;
    // Stacks at equal distances would compete for the same lines of the cache.
    static std::size_t made = 0;
    fiber->stack_size = stack_bytes - 64 * (17 * made++ % 128);
    return fiber;
}

void abandon(Fiber *fiber) {
    fiber->started = false;
    fiber->copies.clear();
#if SANITIZED
    __asan_unpoison_memory_region(fiber->stack, fiber->stack_size);
#endif
}

void set_ready(Fiber *fiber) {
    fiber->state = State::ready;
    fiber->block->ready.push_back(fiber);
}

std::unique_ptr<Block> start_block(Index index) {
    auto block = std::make_unique<Block>();
    block->index = index;
    const std::size_t n = std::size_t(block_size.x) * block_size.y * block_size.z;
    block->alive = n;
    block->warps.resize((n + 31) / 32);
    static constexpr unsigned slowness[] = {0, 0, 0, 0, 3, 3, 15, 63};
    block->slowness = slowness[grid->draw() % 8];
    for (unsigned i = 0; i < n; ++i) {
        Fiber *fiber = new_fiber();
        fiber->block = block.get();
        fiber->number = i;
        fiber->index = {i % block_size.x, i / block_size.x % block_size.y,
                        i / block_size.x / block_size.y};
        block->fibers.push_back(fiber);
        Warp &warp = block->warps[i / 32];
        warp.fibers[i % 32] = fiber;
        warp.lanes |= 1u << i % 32;
        set_ready(fiber);
    }
    return block;
}

void end_block(Block &block) {
    std::size_t fixed = 0, all = 0;
    for (const auto &allocation : block.memory) {
        all += allocation->bytes;
        if (allocation->key) fixed += allocation->bytes;
        if (!allocation->intact() && grid->error.empty())
            grid->error = format("block (%u, %u, %u) wrote outside of its shared memory, around "
                                 "a variable of %zu bytes",
                                 block.index.x, block.index.y, block.index.z, allocation->bytes);
    }
    if (fixed > shared_static_limit && grid->error.empty())
        grid->error = format("a block declares %zu bytes of shared memory; the most is %zu", fixed,
                             shared_static_limit);
    if (all > grid->shared_bytes) grid->shared_bytes = all;
    for (Fiber *fiber : block.fibers) {
        if (fiber->state != State::done) abandon(fiber);
        idle_fibers.emplace_back(fiber);
    }
}

constexpr const char *collective_names[] = {"a shuffle", "a vote", "__syncwarp"};

std::string describe(const Fiber &fiber) {
    const std::string text = place(fiber);
    switch (fiber.state) {
    case State::ready: return text + " spins";
    case State::done: return text + " has ended";
    case State::at_barrier: return text + " waits in __syncthreads at " + fiber.where;
    default: break;
    }
    return text + format(" waits in %s at %s with mask 0x%08x", collective_names[int(fiber.kind)],
                         fiber.where, fiber.mask);
}

// One thread for each way in which the threads of the first stuck block stand.
std::string stuck(const std::vector<std::unique_ptr<Block>> &resident, const char *reason) {
    std::string text = reason;
    for (const auto &block : resident) {
        std::string seen;
        for (const Fiber *fiber : block->fibers) {
            const bool waits = fiber->state > State::ready;
            const std::string kind =
                format("%d %s;", int(fiber->state), waits ? fiber->where : "");
            if (seen.find(kind) != std::string::npos) continue;
            seen += kind;
            text += "\n  " + describe(*fiber);
        }
        if (text.size() > 2000) break;
    }
    return text;
}

Block *draw_block(const std::vector<std::unique_ptr<Block>> &resident) {
    bool any = false;
    for (const auto &block : resident) any |= !block->ready.empty();
    if (!any) return nullptr;
    for (;;) {
        const std::uint64_t r = grid->draw();
        Block *block = resident[(r >> 8) % resident.size()].get();
        if (!block->ready.empty() && (r & block->slowness) == 0) return block;
    }
}

void run_grid(std::size_t n_resident, bool shuffle) {
    const std::size_t n_blocks = std::size_t(grid_size.x) * grid_size.y * grid_size.z;
    std::vector<std::size_t> order(n_blocks);
    for (std::size_t i = 0; i < n_blocks; ++i) {
        order[i] = i;
        if (shuffle) std::swap(order[i], order[grid->draw() % (i + 1)]);
    }
    std::vector<std::unique_ptr<Block>> resident;
    std::size_t started = 0;
    while (grid->error.empty()) {
        while (resident.size() < n_resident && started < n_blocks) {
            const std::size_t i = order[started++];
            resident.push_back(start_block({unsigned(i % grid_size.x),
                                            unsigned(i / grid_size.x % grid_size.y),
                                            unsigned(i / grid_size.x / grid_size.y)}));
        }
        if (resident.empty()) break;
        Block *block = draw_block(resident);
        if (!block) {
            grid->error = stuck(resident, "threads wait for others that never arrive:");
            break;
        }
        const std::size_t i = grid->draw() % block->ready.size();
        Fiber *fiber = block->ready[i];
        block->ready[i] = block->ready.back();
        block->ready.pop_back();
        resume(fiber);
        if (fiber->state == State::ready && ++grid->spins > spin_limit)
            grid->error = stuck(resident, "threads spin for ever:");
        if (fiber->state != State::ready) grid->spins = 0;
        if (fiber->state != State::done) continue;
        block->warps[fiber->number / 32].ended |= 1u << fiber->number % 32;
        if (--block->alive == 0) {
            end_block(*block);
            for (auto &entry : resident)
                if (entry.get() == block) {
                    std::swap(entry, resident.back());
                    break;
                }
            resident.pop_back();
        }
    }
    for (auto &block : resident) end_block(*block);
}

// Ends the run: no thread runs again.
template <class... T>
[[noreturn]] void fail(const char *pattern, T... values) {
    grid->error = place(*current) + ": " + format(pattern, values...);
    current->state = State::ready;
    to_scheduler();
    std::abort();
}

}  // namespace

void trap() { fail("the kernel trapped"); }

void preempt() {
    if (grid->draw() & 1) return;
    set_ready(current);
    to_scheduler();
}

int sync_block(const char *where, int predicate) {
    Fiber *self = current;
    Block &block = *self->block;
    if (block.alive != block.fibers.size())
        fail("__syncthreads at %s, but threads of the block have ended", where);
    if (block.arrived == 0) block.barrier = where;
    if (std::strcmp(block.barrier, where) != 0)
        fail("__syncthreads at %s, but other threads wait in __syncthreads at %s", where,
             block.barrier);
    self->where = where;
    self->state = State::at_barrier;
    block.predicates += predicate != 0;
    if (++block.arrived == block.fibers.size()) {
        block.barrier_result = block.predicates;
        block.predicates = 0;
        block.arrived = 0;
        for (Fiber *fiber : block.fibers) set_ready(fiber);
    }
    to_scheduler();
    // The next barrier needs this thread, so the result still stands.
    return block.barrier_result;
}

std::uint64_t collective(Collective kind, unsigned mask, int width, const char *where, int source,
                         std::uint64_t value) {
    Fiber *self = current;
    Warp &warp = self->block->warps[self->number / 32];
    const unsigned lane = self->number % 32;
    const char *name = collective_names[int(kind)];
    if (!(mask >> lane & 1u))
        fail("%s at %s: mask 0x%08x lacks the caller, lane %u", name, where, mask, lane);
    if (mask & ~warp.lanes)
        fail("%s at %s: mask 0x%08x names lanes that the block does not have", name, where, mask);
    if (mask & warp.ended)
        fail("%s at %s: mask 0x%08x names lanes that have ended", name, where, mask);
    if (kind == Collective::shuffle && !(mask >> source & 1u))
        fail("%s at %s reads lane %d, which mask 0x%08x lacks", name, where, source, mask);
    self->where = where;
    self->kind = kind;
    self->mask = mask;
    self->width = width;
    self->source = source;
    self->value = value;
    self->state = State::in_collective;
    warp.waiting |= 1u << lane;
    if ((warp.waiting & mask) == mask) {
        std::uint64_t values[32] = {}, votes = 0;
        bool complete = true;
        for (unsigned i = 0; i < 32; ++i) {
            if (!(mask >> i & 1u)) continue;
            const Fiber &other = *warp.fibers[i];
            if (!(other.mask >> lane & 1u)) {
                complete = false;  // it comes here later
            } else if (other.kind != kind || other.mask != mask || other.width != width) {
                fail("%s at %s with mask 0x%08x and width %d, but %s and width %d", name, where,
                     mask, width, describe(other).c_str(), other.width);
            }
            values[i] = other.value;
            votes |= (values[i] & 1u) << i;
        }
        for (unsigned i = 0; complete && i < 32; ++i) {
            if (!(mask >> i & 1u)) continue;
            Fiber *fiber = warp.fibers[i];
            fiber->value = kind == Collective::shuffle ? values[fiber->source] : votes;
            set_ready(fiber);
        }
        if (complete) warp.waiting &= ~mask;
    }
    to_scheduler();
    return self->value;
}

void copy_async(void *to, const void *from, std::size_t bytes) {
    const auto addresses = reinterpret_cast<std::uintptr_t>(to) |
                           reinterpret_cast<std::uintptr_t>(from);
    if ((bytes != 4 && bytes != 8 && bytes != 16) || addresses % bytes)
        fail("it copies %zu bytes from %p to %p, which is not aligned", bytes, from, to);
    std::memset(to, 0xff, bytes);
    current->copies.push_back({to, from, bytes});
}

void wait_for_copies() {
    for (const Copy &copy : current->copies) std::memcpy(copy.to, copy.from, copy.bytes);
    current->copies.clear();
}

void *shared(const void *key, std::size_t bytes, std::size_t alignment) {
    Block &block = *current->block;
    for (const auto &allocation : block.memory)
        if (allocation->key == key) return allocation->data();
    block.memory.push_back(std::make_unique<Allocation>(key, bytes, alignment));
    return block.memory.back()->data();
}

void *dynamic_shared() { return shared(nullptr, grid->dynamic_bytes, 16); }

}  // namespace cuda_host

// Runs a kernel; returns 0, or 1 with the reason in `message`.
extern "C" int cuda_host_run(const char *name, const cuda_host::Kernel *kernel, void **arguments,
                             const unsigned *launch, std::size_t dynamic_bytes,
                             std::uint64_t seed, std::size_t n_resident, int shuffle,
                             std::size_t *shared_bytes, char *message, std::size_t message_bytes) {
    using namespace cuda_host;
    Grid running{*kernel, arguments, dynamic_bytes, seed * 2654435769u + 88172645463325252u};
    grid = &running;
    grid_size = {launch[0], launch[1], launch[2]};
    block_size = {launch[3], launch[4], launch[5]};
    run_grid(n_resident, shuffle != 0);
    grid = nullptr;
    *shared_bytes = running.shared_bytes;
    std::snprintf(message, message_bytes, "%s: %s", name, running.error.c_str());
    return !running.error.empty();
}

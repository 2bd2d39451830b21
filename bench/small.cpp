// small.cpp - what small blocks cost: `small PHASE,PHASE,...`. Each phase prints a line: its name, nanoseconds a malloc and free (map:
// bytes a node), how many, seconds.
//
//   pair      a block is freed at once
//   cfrac     a stack of blocks of up to 64 bytes grows and shrinks, as in a program of large numbers
//   batches   4,000 blocks of up to 128 bytes are had, and freed in another order: as sh8bench
//   larson:N  N threads replace blocks of up to 512 bytes at random, and pass all of them to each other now and then
//   xmalloc:N N threads free what others have had
//   map       200,000 nodes of std::map<int, std::string>: RAM of the process
//
// The memory of the phases themselves is not from malloc.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <unistd.h>

namespace {

constexpr std::size_t N_PAIRS = 10'000'000;
constexpr std::size_t N_BATCH = 4000;
constexpr std::size_t N_LIVE = 2000;
constexpr std::size_t N_SLOTS = 256;
constexpr int N_NODES = 200'000;
constexpr unsigned MAX_THREADS = 8;

void *volatile sink; // the compiler shall drop no pair

class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
    std::uint64_t next()
    {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return state_ >> 33;
    }

private:
    std::uint64_t state_;
};

void *get(std::size_t bytes)
{
    void *p = std::malloc(bytes);

    if (p == nullptr)
        std::exit(3);
    *static_cast<volatile char *>(p) = 1;
    return p;
}

void pair(unsigned, unsigned)
{
    for (std::size_t i = 0; i < N_PAIRS; i++) {
        sink = get(72);
        std::free(sink);
    }
}

void cfrac(unsigned, unsigned)
{
    static void *stack[512];
    std::size_t depth = 0;
    Random random(1);

    for (std::size_t i = 0; i < N_PAIRS;) {
        std::size_t up = random.next() % 24;
        std::size_t down = random.next() % 24;

        for (; up > 0 && depth < 512; up--, i++)
            stack[depth++] = get(16 + random.next() % 48);
        for (; down > 0 && depth > 0; down--)
            std::free(stack[--depth]);
    }
    while (depth > 0)
        std::free(stack[--depth]);
}

void batches(unsigned, unsigned)
{
    static void *blocks[N_BATCH];

    for (std::size_t i = 0; i < N_PAIRS / N_BATCH; i++) {
        for (std::size_t k = 0; k < N_BATCH; k++)
            blocks[k] = get(8 + (k * 7 + i) % 120);
        for (std::size_t k = 0; k < N_BATCH; k++)
            std::free(blocks[k * 7 % N_BATCH]); // 7 divides no power of 10
    }
}

std::atomic<void *> shared[MAX_THREADS][N_LIVE];

void larson(unsigned self, unsigned n)
{
    Random random(self + 1);

    for (std::size_t i = 0; i < N_PAIRS / n; i++) {
        // Another thread's blocks for every eighth part of the time.
        std::size_t whose = (self + i * 8 * n / N_PAIRS) % n;

        std::free(shared[whose][random.next() % N_LIVE].exchange(get(10 + random.next() % 502)));
    }
}

std::atomic<void **> slots[N_SLOTS];

void xmalloc(unsigned self, unsigned n)
{
    constexpr std::size_t N_EACH = 64;
    Random random(self + 1);

    for (std::size_t i = 0; i < N_PAIRS / n / N_EACH; i++) {
        void **batch = static_cast<void **>(get(N_EACH * sizeof(void *)));

        for (std::size_t k = 0; k < N_EACH; k++)
            batch[k] = get(16 + random.next() % 112);
        batch = slots[random.next() % N_SLOTS].exchange(batch);
        for (std::size_t k = 0; batch != nullptr && k < N_EACH; k++)
            std::free(batch[k]);
        std::free(batch);
    }
}

double seconds_of(const std::function<void(unsigned, unsigned)> &phase, unsigned n_threads)
{
    std::thread threads[MAX_THREADS];
    const auto start = std::chrono::steady_clock::now();

    for (unsigned i = 1; i < n_threads; i++)
        threads[i] = std::thread(phase, i, n_threads);
    phase(0, n_threads);
    for (unsigned i = 1; i < n_threads; i++)
        threads[i].join();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double resident_bytes()
{
    std::FILE *file = std::fopen("/proc/self/statm", "r");
    unsigned long all = 0;
    unsigned long resident = 0;

    if (file == nullptr || std::fscanf(file, "%lu %lu", &all, &resident) != 2)
        std::exit(3);
    std::fclose(file);
    return static_cast<double>(resident) * 4096;
}

void map(const char *name)
{
    const auto start = std::chrono::steady_clock::now();
    std::map<int, std::string> nodes;
    const double before = resident_bytes();

    for (int i = 0; i < N_NODES; i++)
        nodes[static_cast<int>(static_cast<unsigned>(i) * 2654435761u >> 4)] = std::to_string(i);
    std::printf("%s %.1f %zu %.6f\n", name, (resident_bytes() - before) / static_cast<double>(nodes.size()), nodes.size(),
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

void run(const char *name)
{
    static const struct {
        const char *name;
        void (*run)(unsigned, unsigned);
    } phases[] = {{"pair", pair}, {"cfrac", cfrac}, {"batches", batches}, {"larson", larson}, {"xmalloc", xmalloc}};
    const char *colon = std::strchr(name, ':');
    const std::string base(name, colon != nullptr ? static_cast<std::size_t>(colon - name) : std::strlen(name));
    const unsigned n = colon != nullptr ? static_cast<unsigned>(std::atoi(colon + 1)) : 1;

    if (base == "map")
        return map(name);
    for (const auto &phase : phases) {
        if (base != phase.name || n < 1 || n > MAX_THREADS)
            continue;
        const double seconds = seconds_of(phase.run, n);
        std::printf("%s %.2f %zu %.6f\n", name, seconds * 1e9 / N_PAIRS, N_PAIRS, seconds);
        return;
    }
    std::exit(2);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    for (char *name = std::strtok(argv[1], ","); name != nullptr; name = std::strtok(nullptr, ","))
        run(name);
    return 0;
}

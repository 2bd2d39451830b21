// use.cpp - a program that is written for GhostMem, in C++: `use CASE`. Exit: 0, or 1 and the line that is not so.
//
// First what ghostmem.hpp has, then the examples of the specification, by its names.
#include <ghostmem.hpp>
#include <ghostmem/GhostAllocator.h>
#include <ghostmem/GhostMemoryManager.h>
#include <ghostmem/Version.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <scoped_allocator>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            std::fprintf(stderr, "use.cpp:%d: not so: %s\n", __LINE__, #condition); \
            std::exit(1);                                                      \
        }                                                                      \
    } while (0)

namespace {

// ---- the allocator, by the standard's requirements ----

template <class T> using ours = ghostmem::allocator<T>;
using traits = std::allocator_traits<ours<int>>;

static_assert(traits::is_always_equal::value && traits::propagate_on_container_move_assignment::value);
static_assert(std::is_same_v<traits::rebind_alloc<double>, ours<double>> && std::is_same_v<traits::pointer, int *>);
static_assert(std::is_nothrow_default_constructible_v<ours<int>> && std::is_nothrow_copy_constructible_v<ours<int>>);
static_assert(std::is_convertible_v<ours<int>, ours<std::string>>);

struct node; // incomplete, as the standard allows for vector, list and forward_list
struct node {
    std::vector<node, ours<node>> children;
    int value = 0;
};

struct alignas(256) aligned {
    unsigned char bytes[256];
};

std::uint64_t faults()
{
    return ghostmem::statistics().faults;
}

template <class Container> void numbers(Container &container, int n)
{
    for (int i = 0; i < n; i++)
        container.insert(container.end(), i);
    int i = 0;
    for (int value : container)
        CHECK(value == i++);
    CHECK(i == n);
}

void containers()
{
    ghostmem::configuration().max_memory_pages(64).setting("RECLAIM=direct").apply();

    std::vector<int, ours<int>> vector;
    std::deque<int, ours<int>> deque;
    std::list<int, ours<int>> list;
    std::set<int, std::less<>, ours<int>> set;
    std::map<int, std::string, std::less<>, ours<std::pair<const int, std::string>>> map;
    std::unordered_map<int, int, std::hash<int>, std::equal_to<>, ours<std::pair<const int, int>>> table;
    std::basic_string<char, std::char_traits<char>, ours<char>> text;

    numbers(vector, 300000);
    numbers(deque, 20000);
    numbers(list, 500);
    numbers(set, 500);
    for (int i = 0; i < 500; i++) {
        map[i] = "a string that has to be allocated, of number " + std::to_string(i);
        table[i] = -i;
        text += "some text";
    }
    for (int i = 0; i < 500; i++)
        CHECK(map.at(i) == "a string that has to be allocated, of number " + std::to_string(i) && table.at(i) == -i);
    CHECK(text.size() == 4500 && ghostmem_owns(text.data()) && ghostmem_owns(vector.data()));
    CHECK(ghostmem::statistics().engaged == 1 && faults() > 0);

    auto moved = std::move(vector);
    auto copy = moved;
    CHECK(copy == moved && copy.size() == 300000);

    node root;
    root.children.resize(10);
    root.children[3].children.resize(4);
    std::vector<aligned, ours<aligned>> wide(50);
    CHECK(reinterpret_cast<std::uintptr_t>(wide.data()) % 256 == 0);

    bool thrown = false;
    try {
        (void)ours<int>().allocate(SIZE_MAX / 8);
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
    thrown = false;
    try {
        (void)ours<int>().allocate(SIZE_MAX / 2);
    } catch (const std::bad_array_new_length &) {
        thrown = true;
    }
    CHECK(thrown);

    std::shared_ptr<aligned> shared = std::allocate_shared<aligned>(ours<aligned>());
    CHECK(ghostmem_owns(shared.get()));
    std::thread([copy = std::move(copy)] { CHECK(copy[1000] == 1000); }).join();
}

void resources()
{
    ghostmem::configuration().max_memory_pages(64).apply();

    std::pmr::map<int, std::pmr::string> map(ghostmem::resource());
    for (int i = 0; i < 300; i++)
        map[i] = std::pmr::string(100, static_cast<char>('a' + i % 26));
    for (int i = 0; i < 300; i++)
        CHECK(map.at(i) == std::pmr::string(100, static_cast<char>('a' + i % 26)) && ghostmem_owns(map.at(i).data()));
    ghostmem::memory_resource other;
    CHECK(other == *ghostmem::resource() && other != *std::pmr::new_delete_resource());
    void *p = other.allocate(10000, 8192);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % 8192 == 0);
    ghostmem::resource()->deallocate(p, 10000, 8192);
}

void scopes()
{
    ghostmem::configuration().max_memory_pages(128).apply();

    bool thrown = false;
    try {
        ghostmem::configuration().max_memory_pages(64).apply();
    } catch (const std::system_error &error) {
        thrown = error.code().value() == EBUSY;
    }
    CHECK(thrown);

    std::vector<unsigned char, ours<unsigned char>> data(512 * 4096, 1);
    {
        ghostmem::pin pinned(data.data(), 40 * 4096);
        ghostmem::pin other = std::move(pinned);
        for (std::size_t i = 0; i < data.size(); i += 4096)
            CHECK(data[i] == 1);
        std::uint64_t before = faults();
        for (std::size_t i = 0; i < 40 * 4096; i += 4096)
            CHECK(data[i] == 1);
        CHECK(faults() == before);
    }
    {
        ghostmem::limit_scope wider(1024);
        CHECK(ghostmem::statistics().limit_pages == 1024);
    }
    CHECK(ghostmem::statistics().limit_pages == 128 && ghostmem::statistics().resident_pages <= 128);
    thrown = false;
    try {
        ghostmem::pin pinned(&thrown, 1);
    } catch (const std::system_error &) {
        thrown = true;
    }
    CHECK(thrown);
}

// ---- by the specification's names ----

void manager()
{
    auto &manager = GhostMemoryManager::Instance();
    GhostConfig config;
    CHECK(!config.use_disk_backing && config.disk_file_path == "ghostmem.swap" && config.max_memory_pages == 0);
    CHECK(config.compress_before_disk && !config.enable_verbose_logging && !config.encrypt_disk_pages);
    config.max_memory_pages = 256;
    CHECK(manager.Initialize(config));
    CHECK(!manager.Initialize(config));
    CHECK(&manager == &GhostMemoryManager::Instance());

    void *ptr = GhostMemoryManager::Instance().AllocateGhost(8192);
    if (ptr == nullptr)
        throw std::bad_alloc();
    int *data = static_cast<int *>(ptr);
    CHECK(data[0] == 0 && data[2047] == 0);
    data[0] = 42;
    CHECK(data[0] == 42);
    manager.DeallocateGhost(ptr, 8192);
    manager.DeallocateGhost(nullptr, 1);
    CHECK(manager.AllocateGhost(SIZE_MAX) == nullptr);
    manager.DeallocateGhost(manager.AllocateGhost(100));
}

void manager_alone()
{
    CHECK(PAGE_SIZE == 4096 && MAX_PHYSICAL_PAGES == 5);
    void *ptr = GhostMemoryManager::Instance().AllocateGhost(64 * PAGE_SIZE);
    for (std::size_t i = 0; i < 64; i++)
        std::memset(static_cast<char *>(ptr) + i * PAGE_SIZE, static_cast<int>(i), PAGE_SIZE);
    for (std::size_t i = 0; i < 64; i++)
        CHECK(static_cast<unsigned char *>(ptr)[i * PAGE_SIZE + 9] == i);
    CHECK(ghostmem::statistics().limit_pages == MAX_PHYSICAL_PAGES && ghostmem::statistics().resident_pages <= MAX_PHYSICAL_PAGES);
    GhostMemoryManager::Instance().DeallocateGhost(ptr, 64 * PAGE_SIZE);
}

void manager_with_disk()
{
    GhostConfig config;
    config.use_disk_backing = true;
    config.max_memory_pages = 64;
    config.encrypt_disk_pages = true;
    CHECK(GhostMemoryManager::Instance().Initialize(config)); // in the working directory
    std::vector<std::uint32_t, GhostAllocator<std::uint32_t>> numbers;
    for (std::uint32_t i = 0; i < 2000000; i++)
        numbers.push_back(i * 2654435761u);
    for (std::uint32_t i = 0; i < 2000000; i++)
        CHECK(numbers[i] == i * 2654435761u);
}

void allocator_examples()
{
    GhostAllocator<int> alloc1;
    GhostAllocator<double> alloc2(alloc1);
    CHECK(alloc1 == alloc2 && !(alloc1 != alloc2));
    static_assert(std::is_same_v<GhostAllocator<int>::rebind<double>::other, GhostAllocator<double>>);
    static_assert(std::is_same_v<GhostAllocator<int>::const_reference, const int &>);
    int *ptr = alloc1.allocate(100);
    ptr[99] = 1;
    alloc1.deallocate(ptr, 100);

    std::vector<int, GhostAllocator<int>> vec;
    vec.push_back(42);
    CHECK(vec[0] == 42);

    using GhostString = std::basic_string<char, std::char_traits<char>, GhostAllocator<char>>;
    GhostString str = "Hello, GhostMem!";
    CHECK(str == "Hello, GhostMem!");

    using GhostMap = std::map<int, std::string, std::less<int>, GhostAllocator<std::pair<const int, std::string>>>;
    GhostMap map;
    map[1] = "one";
    CHECK(map.at(1) == "one");

    std::list<double, GhostAllocator<double>> list;
    list.push_back(3.14);
    CHECK(list.front() > 3 && list.size() == 1);
    std::vector<aligned, GhostAllocator<aligned>> wide(3);
    CHECK(reinterpret_cast<std::uintptr_t>(wide.data()) % 256 == 0);
}

void version()
{
    CHECK(GhostMem::GetVersionMajor() == GHOSTMEM_VERSION_MAJOR && GhostMem::GetVersionMinor() == GHOSTMEM_VERSION_MINOR);
    CHECK(GhostMem::GetVersionPatch() == GHOSTMEM_VERSION_PATCH && std::string(GhostMem::GetVersionString()) == GHOSTMEM_VERSION_STRING);
    CHECK(GhostMem::GetVersion() == GHOSTMEM_VERSION_NUMBER && GhostMem::GetVersionNumber() == GHOSTMEM_VERSION);
}

} // namespace

int main(int argc, char **argv)
{
    const std::map<std::string, void (*)()> cases = {
        {"containers", containers},       {"resources", resources},
        {"scopes", scopes},               {"manager", manager},
        {"manager_alone", manager_alone}, {"manager_with_disk", manager_with_disk},
        {"allocator", allocator_examples}, {"version", version},
    };

    CHECK(argc == 2 && cases.count(argv[1]) == 1);
    cases.at(argv[1])();
    return 0;
}

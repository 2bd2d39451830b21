// pmr_map.cpp - a std::pmr container in ghost memory, with small nodes: `pmr_map`.
//
// Each block of ghost memory has whole pages of its own, so nodes of some bytes come from a pool of the standard library, which takes
// large blocks from ghost memory.
//
//     c++ -std=c++17 pmr_map.cpp $(pkg-config --cflags --libs ghostmem) && ./a.out
#include <ghostmem.hpp>

#include <cstdio>
#include <memory_resource>
#include <string>
#include <unordered_map>

int main()
{
    ghostmem::configuration().max_memory_pages(1024).apply();

    std::pmr::monotonic_buffer_resource large(1 << 20, ghostmem::resource());
    std::pmr::unsynchronized_pool_resource pool(&large);
    std::pmr::unordered_map<int, std::pmr::string> names(&pool);

    for (int i = 0; i < 100000; i++)
        names.emplace(i, "the name of number " + std::to_string(i));
    for (int i = 0; i < 100000; i += 7)
        if (names.at(i) != ("the name of number " + std::to_string(i)).c_str())
            return 1;

    const ghostmem_statistics now = ghostmem::statistics();
    std::printf("%zu names, %zu MiB, in %zu MiB\n", names.size(), static_cast<std::size_t>(now.live_bytes >> 20),
                static_cast<std::size_t>(now.limit_pages >> 8));
}

// pmr_map.cpp - a std::pmr container in ghost memory, with small nodes: `pmr_map`.
//
// Blocks below a page share pages, so the nodes come from ghost memory as they are.
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

    std::pmr::unordered_map<int, std::pmr::string> names(ghostmem::resource());

    for (int i = 0; i < 100000; i++)
        names.emplace(i, "the name of number " + std::to_string(i));
    for (int i = 0; i < 100000; i += 7)
        if (names.at(i) != ("the name of number " + std::to_string(i)).c_str())
            return 1;

    const ghostmem_statistics now = ghostmem::statistics();
    std::printf("%zu names, %zu MiB, in %zu MiB\n", names.size(), static_cast<std::size_t>(now.live_bytes >> 20),
                static_cast<std::size_t>(now.limit_pages >> 8));
}

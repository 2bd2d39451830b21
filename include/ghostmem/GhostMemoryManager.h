/*
 * GhostMemoryManager.h - the manager, by the names of the specification. Thin: ghostmem.h does the work and describes it.
 */
#ifndef GHOSTMEM_GHOST_MEMORY_MANAGER_H
#define GHOSTMEM_GHOST_MEMORY_MANAGER_H

#include <ghostmem.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#ifndef PAGE_SIZE /* <sys/user.h> has it as a macro */
inline constexpr std::size_t PAGE_SIZE = GHOSTMEM_PAGE_BYTES;
#endif

/* The limit of a program that sets none, where the environment does not set one either. */
#ifndef MAX_PHYSICAL_PAGES
inline constexpr std::size_t MAX_PHYSICAL_PAGES = 5;
#endif

struct GhostConfig {
    bool use_disk_backing = false;
    std::string disk_file_path = "ghostmem.swap"; /* removed at the end; one that exists and is not empty is refused */
    std::size_t max_memory_pages = 0;             /* 0: MAX_PHYSICAL_PAGES */
    bool compress_before_disk = true;
    bool enable_verbose_logging = false;
    bool encrypt_disk_pages = false;
};

class GhostMemoryManager {
public:
    static GhostMemoryManager &Instance()
    {
        static GhostMemoryManager manager;

        return manager;
    }

    GhostMemoryManager(const GhostMemoryManager &) = delete;
    GhostMemoryManager &operator=(const GhostMemoryManager &) = delete;

    /* Before the first allocation. False: the disk file cannot be had, a value is wrong, or there is ghost memory already. */
    bool Initialize(const GhostConfig &config)
    {
        ghostmem_config ours = GHOSTMEM_CONFIG_INIT;

        ours.use_disk_backing = config.use_disk_backing;
        ours.disk_file_path = config.disk_file_path.c_str();
        ours.max_memory_pages = config.max_memory_pages != 0 ? config.max_memory_pages : DefaultPages();
        ours.compress_before_disk = config.compress_before_disk;
        ours.enable_verbose_logging = config.enable_verbose_logging;
        ours.encrypt_disk_pages = config.encrypt_disk_pages;
        return ghostmem_initialize(&ours);
    }

    /* Zero-filled when it is touched first. nullptr: none is to be had. */
    void *AllocateGhost(std::size_t size)
    {
        static const bool begun = Begin();

        (void)begun;
        return ghostmem_allocate(size);
    }

    /* For types that ask for more than a page's or max_align_t's alignment: a power of two. */
    void *AllocateGhostAligned(std::size_t size, std::size_t alignment)
    {
        static const bool begun = Begin();

        (void)begun;
        return ghostmem_allocate_aligned(alignment, size);
    }

    /* nullptr is fine; a pointer that is no live block's is said in one line, and nothing else is done. */
    void DeallocateGhost(void *ptr)
    {
        ghostmem_free(ptr);
    }

    void DeallocateGhost(void *ptr, std::size_t size)
    {
        ghostmem_deallocate(ptr, size);
    }

private:
    GhostMemoryManager() = default;

    /* Who runs the program may know better than this header. */
    static std::size_t DefaultPages()
    {
        return std::getenv("GHOSTMEM_MAX_PAGES") != nullptr || std::getenv("GHOSTMEM_MAX_MEMORY") != nullptr ? 0 : MAX_PHYSICAL_PAGES;
    }

    /* Without Initialize(): RAM alone. Refused, and no harm done, where there is ghost memory. */
    static bool Begin()
    {
        ghostmem_config ours = GHOSTMEM_CONFIG_INIT;

        ours.max_memory_pages = DefaultPages();
        return ghostmem_initialize(&ours);
    }
};

#endif

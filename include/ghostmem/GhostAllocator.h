/* GhostAllocator.h - the allocator, by the names of the specification. ghostmem.hpp has a smaller one for C++17 and later. */
#ifndef GHOSTMEM_GHOST_ALLOCATOR_H
#define GHOSTMEM_GHOST_ALLOCATOR_H

#include <ghostmem/GhostMemoryManager.h>

#include <cstddef>
#include <limits>
#include <new>
#include <type_traits>

template <typename T> class GhostAllocator {
public:
    using value_type = T;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using pointer = T *;
    using const_pointer = const T *;
    using reference = T &;
    using const_reference = const T &;
    using is_always_equal = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;

    template <typename U> struct rebind {
        using other = GhostAllocator<U>;
    };

    GhostAllocator() noexcept = default;
    template <typename U> GhostAllocator(const GhostAllocator<U> &) noexcept {}

    /* Room for @n objects. Throws std::bad_alloc. */
    T *allocate(size_type n)
    {
        void *p = nullptr;

        if (n > std::numeric_limits<size_type>::max() / sizeof(T))
            throw std::bad_alloc();
        if (alignof(T) <= alignof(std::max_align_t))
            p = GhostMemoryManager::Instance().AllocateGhost(n * sizeof(T));
        else
            p = GhostMemoryManager::Instance().AllocateGhostAligned(n * sizeof(T), alignof(T));
        if (p == nullptr)
            throw std::bad_alloc();
        return static_cast<T *>(p);
    }

    void deallocate(T *p, size_type n) noexcept
    {
        GhostMemoryManager::Instance().DeallocateGhost(p, n * sizeof(T));
    }

    template <typename U> friend bool operator==(const GhostAllocator &, const GhostAllocator<U> &) noexcept
    {
        return true;
    }

    template <typename U> friend bool operator!=(const GhostAllocator &, const GhostAllocator<U> &) noexcept
    {
        return false;
    }
};

#endif

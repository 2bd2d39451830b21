/*
 * ghostmem.hpp - ghost memory for C++17 and later: an allocator, a memory resource, and what ends with its scope.
 *
 * Header only, on ghostmem.h, which says what ghost memory is. Everything here may be used by several threads at once, but one object
 * of pin, limit_scope or block by one thread at a time, as with any object of the standard library.
 */
#ifndef GHOSTMEM_HPP
#define GHOSTMEM_HPP

#include <ghostmem.h>

#include <cerrno>
#include <cstddef>
#include <limits>
#include <memory_resource>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace ghostmem {

namespace detail {

/* @alignment: a power of two. Throws std::bad_alloc. */
inline void *allocate(std::size_t bytes, std::size_t alignment)
{
    void *p = alignment <= alignof(std::max_align_t) ? ghostmem_allocate(bytes) : ghostmem_allocate_aligned(alignment, bytes);

    if (p == nullptr)
        throw std::bad_alloc();
    return p;
}

[[noreturn]] inline void fail(const char *what)
{
    throw std::system_error(errno, std::generic_category(), what);
}

} // namespace detail

/* For the containers of the standard library. All instances are equal: what one allocates any other deallocates. */
template <class T> class allocator {
public:
    using value_type = T;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using is_always_equal = std::true_type;
    using propagate_on_container_copy_assignment = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;

    constexpr allocator() noexcept = default;
    template <class U> constexpr allocator(const allocator<U> &) noexcept {}

    /* Room for @n objects, which do not live yet. Throws std::bad_alloc; std::bad_array_new_length: that is more than there can be. */
    [[nodiscard]] T *allocate(std::size_t n)
    {
        if (n > std::numeric_limits<std::size_t>::max() / sizeof(T))
            throw std::bad_array_new_length();
        return static_cast<T *>(detail::allocate(n * sizeof(T), alignof(T)));
    }

    void deallocate(T *p, std::size_t n) noexcept
    {
        ghostmem_deallocate(p, n * sizeof(T));
    }

    template <class U> friend constexpr bool operator==(const allocator &, const allocator<U> &) noexcept
    {
        return true;
    }

    template <class U> friend constexpr bool operator!=(const allocator &, const allocator<U> &) noexcept
    {
        return false;
    }
};

/* For std::pmr. All of them are equal. */
class memory_resource : public std::pmr::memory_resource {
    void *do_allocate(std::size_t bytes, std::size_t alignment) override
    {
        return detail::allocate(bytes, alignment);
    }

    void do_deallocate(void *p, std::size_t bytes, std::size_t) override
    {
        ghostmem_deallocate(p, bytes);
    }

    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
        return dynamic_cast<const memory_resource *>(&other) != nullptr;
    }
};

/* One that lasts as long as the process: std::pmr::vector<int> v(ghostmem::resource()). */
inline memory_resource *resource() noexcept
{
    alignas(memory_resource) static unsigned char room[sizeof(memory_resource)];
    static memory_resource *const it = ::new (static_cast<void *>(room)) memory_resource; /* never destroyed */

    return it;
}

/* Settings, gathered and then applied: ghostmem::configuration().max_memory_pages(1000).disk("/var/tmp").apply(). */
class configuration {
public:
    configuration &max_memory_pages(std::size_t pages) { config_.max_memory_pages = pages; return *this; }
    configuration &disk(std::string path) { path_ = std::move(path); config_.use_disk_backing = true; return *this; }
    configuration &compress_before_disk(bool on) { config_.compress_before_disk = on; return *this; }
    configuration &encrypt_disk_pages(bool on) { config_.encrypt_disk_pages = on; return *this; }
    configuration &verbose_logging(bool on) { config_.enable_verbose_logging = on; return *this; }
    configuration &abort_on_misuse(bool on) { config_.abort_on_misuse = on; return *this; }
    configuration &setting(std::string text) { settings_.push_back(std::move(text)); return *this; }

    /* As ghostmem_initialize(); throws std::system_error. */
    void apply()
    {
        std::vector<const char *> settings;

        for (const std::string &setting : settings_)
            settings.push_back(setting.c_str());
        settings.push_back(nullptr);
        config_.settings = settings.data();
        config_.disk_file_path = path_.empty() ? nullptr : path_.c_str();
        if (!ghostmem_initialize(&config_))
            detail::fail("ghostmem_initialize");
    }

private:
    ghostmem_config config_ = GHOSTMEM_CONFIG_INIT;
    std::string path_;
    std::vector<std::string> settings_;
};

/* The statistics now. */
inline ghostmem_statistics statistics() noexcept
{
    ghostmem_statistics now = {};

    ghostmem_get_statistics(&now, sizeof now);
    return now;
}

/* Memory that stays in RAM as long as this lives. Throws std::system_error: not ghost memory, or no memory for the pin. */
class pin {
public:
    pin(const void *p, std::size_t bytes) : p_(p), bytes_(bytes)
    {
        if (ghostmem_pin(p, bytes) != 0)
            detail::fail("ghostmem_pin");
    }
    pin(pin &&other) noexcept : p_(std::exchange(other.p_, nullptr)), bytes_(other.bytes_) {}
    pin &operator=(pin &&other) noexcept
    {
        std::swap(p_, other.p_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    pin(const pin &) = delete;
    pin &operator=(const pin &) = delete;
    ~pin()
    {
        if (p_ != nullptr)
            (void)ghostmem_unpin(p_, bytes_);
    }

private:
    const void *p_;
    std::size_t bytes_;
};

/* Another limit as long as this lives; then the one of before. There must be ghost memory already. Throws std::system_error. */
class limit_scope {
public:
    explicit limit_scope(std::size_t pages) : before_(static_cast<std::size_t>(statistics().limit_pages))
    {
        if (ghostmem_set_limit(pages) != 0 && errno != EBUSY)
            detail::fail("ghostmem_set_limit");
    }
    limit_scope(const limit_scope &) = delete;
    limit_scope &operator=(const limit_scope &) = delete;
    ~limit_scope()
    {
        (void)ghostmem_set_limit(before_);
    }

private:
    std::size_t before_;
};

} // namespace ghostmem

#endif

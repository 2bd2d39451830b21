/* use_dlopen.c - a program that loads the library when it runs: `use_dlopen LIBRARY`. It has a handler for SIGSEGV, and forks. */
#include <ghostmem.h>

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT 64
#define BYTES ((size_t)4 * LIMIT * GHOSTMEM_PAGE_BYTES)

static void on_fault(int number)
{
    (void)number;
    _exit(7);
}

static void *look_up(void *library, const char *name)
{
    void *symbol = dlsym(library, name);

    if (symbol == NULL)
        _exit(1);
    return symbol;
}

static int is_whole(const unsigned char *p, size_t from)
{
    for (size_t i = from; i < BYTES; i++)
        if (p[i] != (unsigned char)(i / 100))
            return 0;
    return 1;
}

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    int (*set_limit)(size_t);
    void *(*allocate)(size_t);
    unsigned char *p;
    int status;
    pid_t child;

    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&set_limit = look_up(library, "ghostmem_set_limit");
    *(void **)&allocate = look_up(library, "ghostmem_allocate");
    signal(SIGSEGV, on_fault);
    if (set_limit(LIMIT) != 0 || (p = allocate(BYTES)) == NULL)
        return 2;
    for (size_t i = 0; i < BYTES; i++)
        p[i] = (unsigned char)(i / 100);
    child = fork();
    memset(p, child == 0, 1000);
    if (!is_whole(p, 1000))
        return 3;
    if (child == 0)
        _exit(0);
    if (waitpid(child, &status, 0) != child || status != 0)
        return 4;
    if (write(STDOUT_FILENO, p + BYTES / 2, 1) != 1)
        return 5;
    *(volatile int *)8 = 1; /* the program's own fault: its handler */
    return 6;
}

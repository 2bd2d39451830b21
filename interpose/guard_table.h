/*
 * guard_table.h - what is known of each system call: one row a call.
 *
 * A row says what memory of the program the kernel reads or writes for the call, who sees to the call before it is made, whether it may
 * be made in parts, and which argument is a signal that it sends. The trap (guard.c), the holds (guard_call.c), the large calls
 * (guard_large.c), the tracing (guard_trace.c) and the tests work from this table alone.
 *
 * To add a call: its number in platform/abi.h where headers lack it, its row in guard_table.c, a case in tests/preload.
 *
 * Calls: nothing.  Locks: none.  Memory: constant.
 */
#ifndef GHOSTMEM_INTERPOSE_GUARD_TABLE_H
#define GHOSTMEM_INTERPOSE_GUARD_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/* What an argument leads to. `arg`, `by`: indices of arguments. */
enum guard_kind {
    GUARD_NO_MORE,
    GUARD_STRUCT, /* `size` bytes */
    GUARD_SIZED,  /* `size` bytes at the most: it ends with its block */
    GUARD_STRING, /* up to and with its zero, `size` bytes at the most */
    GUARD_BYTES,  /* as many bytes as args[by] says, and `size` more */
    GUARD_ITEMS,  /* args[by] items of `size` bytes */
    GUARD_ROOM,   /* the same at the most */
    GUARD_PAGES,  /* a byte for each page of args[by] bytes */
    GUARD_BITS,   /* args[by] bits, in whole words */
    GUARD_ANSWER, /* as many bytes as the 32-bit word at args[by] says, and that word */
    GUARD_SELF,   /* a structure whose 32-bit word at offset `size` says how long it is */
    GUARD_VECTOR, /* args[by] struct iovec, and what they lead to */
    GUARD_MESSAGE,  /* a struct msghdr, and what it leads to */
    GUARD_MESSAGES, /* args[by] struct mmsghdr */
    GUARD_STRINGS,  /* pointers to strings, ended by NULL */
    GUARD_WAITERS,  /* args[by] struct futex_waitv, or `size` of them, and the words that they lead to */
    GUARD_LASTING,  /* `size` bytes that the kernel uses at any time while the thread lives */
    GUARD_SPECIAL,  /* `size`: an enum guard_special */
};

/* What depends on a command, or has a form of its own: guard_call.c, guard_ioctl.c, guard_rings.c. */
enum guard_special {
    GUARD_IOCTL,
    GUARD_BPF,
    GUARD_KEYCTL,
    GUARD_PRCTL,
    GUARD_SECCOMP,
    GUARD_PTRACE,
    GUARD_SEMAPHORES,
    GUARD_SET_OPTION,
    GUARD_GET_OPTION,
    GUARD_FILESYSTEM,
    GUARD_ATTRIBUTE,
    GUARD_FILE_HANDLE,
    GUARD_NOTIFY,
    GUARD_SEGMENTS,
    GUARD_OTHER_PROCESS,
    GUARD_CLONE3,
    GUARD_FRAME,
    GUARD_ROBUST,
    GUARD_STACK,
    GUARD_AIO_SUBMIT,
    GUARD_AIO_MASK,
    GUARD_RING_ENTER,
    GUARD_RING_REGISTER,
    GUARD_ANYTHING, /* all arguments are pointers to what may be long */
};

struct guard_rule {
    uint8_t kind;
    uint8_t arg;
    uint8_t by;
    uint16_t size;
};

#define GUARD_MAX_RULES 5

/* Who sees to the call before its memory is brought in: guard.c, see_to(). */
enum guard_handler {
    GUARD_BY_NOBODY,
    GUARD_BY_SIGACTION,
    GUARD_BY_SIGPROCMASK,
    GUARD_BY_SIGPENDING,
    GUARD_BY_SIGALTSTACK,
    GUARD_BY_SIGRETURN,
    GUARD_BY_MASK, /* args[handler_arg] leads to a mask for the length of the call */
    GUARD_BY_SELECT_MASK,
    GUARD_BY_CLONE,
    GUARD_BY_EXIT,
    GUARD_BY_DESCRIPTOR, /* the first argument is a descriptor, and ours are not there */
    GUARD_BY_IOCTL,
    GUARD_BY_DUP2,
    GUARD_BY_UNSHARE,
    GUARD_BY_CLOSE_RANGE,
    GUARD_BY_BRK,
    GUARD_BY_MLOCK,
    GUARD_BY_MUNLOCK,
    GUARD_BY_MLOCKALL,
    GUARD_BY_MUNLOCKALL,
    GUARD_BY_MADVISE,
    GUARD_BY_PROCESS_MADVISE,
    GUARD_BY_MPROTECT,
    GUARD_BY_MMAP,
    GUARD_BY_MUNMAP,
    GUARD_BY_MREMAP,
    GUARD_BY_PKEY_MPROTECT,
    GUARD_BY_SETSOCKOPT,
    GUARD_BY_SECCOMP,
    GUARD_BY_PRCTL,
    GUARD_BY_REFUSAL, /* ENOSYS */
};

/* May a call whose buffer is too large be made in parts? Its descriptor, buffer and length are the first three arguments. */
enum guard_cut {
    GUARD_WHOLE,
    GUARD_READS,      /* at the file's position */
    GUARD_WRITES,
    GUARD_READS_AT,   /* at args[3] */
    GUARD_WRITES_AT,
    GUARD_RECEIVES,   /* args[3]: flags */
};

struct guard_row {
    const char *name; /* NULL: no such call is known */
    struct guard_rule rules[GUARD_MAX_RULES];
    uint8_t handler;
    uint8_t handler_arg;
    uint8_t cut;
    uint8_t sends; /* the argument that is a signal; 0: it sends none */
};

/* Never NULL: numbers that are not in the table have a row of their own, without a name. */
const struct guard_row *guard_row_of(long number);

/* Numbers from here on are not in the table. */
extern const long guard_table_end;

#endif

# gdb -x ghostmem.gdb: a program whose faults are served in signal handlers (GHOSTMEM_FAULTS=signal, segv) runs as without.
# A true SIGSEGV or SIGBUS still ends it, and gdb says so then; `handle SIGSEGV stop print` stops at each.
handle SIGBUS SIGSEGV SIGSYS nostop noprint pass

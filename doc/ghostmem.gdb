# gdb -x ghostmem.gdb PROGRAM, or -p PID: a program that runs with GhostMem.
#
# With GHOSTMEM_FAULTS=signal and segv faults are served in handlers of SIGBUS and SIGSEGV, and system calls come as SIGSYS. From the
# moment when paging begins these signals pass quietly, and a true crash stops at ghostmem_crash(): `where` shows the program's
# frames above <signal handler called>. Before, and with thread, gdb stops at a crash as always.
#
# Frozen memory cannot be read from outside: x and print say "Cannot access memory", with segv they show zeros.
# ghostmem-thaw brings it in first.

define ghostmem-quiet
    handle SIGBUS SIGSEGV SIGSYS nostop noprint pass
end
document ghostmem-quiet
Pass the signals by which GhostMem serves faults quietly. Done by itself when paging begins in a program that gdb has started.
end

define ghostmem-thaw
    if $argc < 1 || $argc > 2
        echo usage: ghostmem-thaw ADDRESS [BYTES]\n
    else
        set $ghostmem_bytes = 1
        if $argc == 2
            set $ghostmem_bytes = (unsigned long) ($arg1)
        end
        ghostmem-quiet
        call (void) memcmp((void *) ($arg0), (void *) ($arg0), $ghostmem_bytes)
    end
end
document ghostmem-thaw
ghostmem-thaw ADDRESS [BYTES]: bring frozen memory in, so that x and print can read it.
The program does it, all of its threads running meanwhile (not with scheduler-locking on): the thread must be stopped in
code of its own or in a system call. What is more than the limit of GHOSTMEM_MAX_PAGES leaves again.
end

set breakpoint pending on
if $_thread != 0
    ghostmem-quiet
else
    break guard_take_signals
    commands
        silent
        ghostmem-quiet
        continue
    end
end
break ghostmem_crash

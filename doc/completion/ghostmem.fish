# ghostmem.fish - completion of ghostmem(1) for fish. tests/docs.sh compares its options with the settings.

# Takes ghostmem's own words off $words; what is left is the program's. Fails when -- has come before it.
function __ghostmem_skip --no-scope-shadowing
    set words (commandline -opc)
    set -e words[1]
    contains -- "$words[1]" run; and set -e words[1]
    while set -q words[1]
        switch $words[1]
            case --
                set -e words[1]
                return 1
            case -m --max-memory --max-pages --scope --threshold --swap --swap-max --cold --pool --faults --reclaim --programs --log
                set -e words[1]
            case '-*'
            case '*'
                return 0
        end
        set -e words[1]
    end
    return 0
end

function __ghostmem_before_program
    set -l words
    __ghostmem_skip; and not set -q words[1]
end

# The program, or its own completion.
function __ghostmem_program
    set -l words
    __ghostmem_skip
    not set -q words[1]; and string match -q -- '-*' (commandline -ct); and return
    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
end

function __ghostmem_no_command
    test (count (commandline -opc)) -eq 1
end

complete -c ghostmem -n __ghostmem_no_command -f -a run -d 'Run a program in less RAM'
complete -c ghostmem -n __ghostmem_no_command -f -a doctor -d 'Say what is possible here'
complete -c ghostmem -n __ghostmem_no_command -f -a report -d 'Make a page of the statistics of a run'
complete -c ghostmem -n __ghostmem_no_command -f -a set -d 'Set the limit of a running process'

complete -c ghostmem -n '__fish_seen_subcommand_from doctor' -f -l json -d 'For programs'
complete -c ghostmem -n '__fish_seen_subcommand_from doctor' -r -l swap -d 'Where a swap file is to be'

complete -c ghostmem -n '__fish_seen_subcommand_from report' -r -s o -l output -d 'The page'

complete -c ghostmem -n __ghostmem_no_command -f -a top -d 'Show all processes under GhostMem'
complete -c ghostmem -n '__fish_seen_subcommand_from top' -f -l once -d 'A table, then the end'
complete -c ghostmem -n '__fish_seen_subcommand_from top' -f -l json -d 'For programs'
complete -c ghostmem -n '__fish_seen_subcommand_from top' -x -l sort -a 'process memory faults wait images limit' -d 'By what'
complete -c ghostmem -n '__fish_seen_subcommand_from top' -x -l delay -d 'Seconds between two looks'

complete -c ghostmem -n '__fish_seen_subcommand_from set' -x -a '(__fish_complete_pids) max-memory= max-pages= swap-max= reclaim= verbose='
complete -c ghostmem -n '__fish_seen_subcommand_from set' -x -l timeout -d 'How long to wait'

complete -c ghostmem -n __ghostmem_before_program -x -s m -l max-memory -a '25% 50% 512M 1G 2G' -d 'Most RAM for big allocations'
complete -c ghostmem -n __ghostmem_before_program -x -l max-pages -d 'The same in pages'
complete -c ghostmem -n __ghostmem_before_program -x -l scope -a 'blocks process' -d 'What the limit is on'
complete -c ghostmem -n __ghostmem_before_program -x -l threshold -d 'Smallest allocation that is limited'
complete -c ghostmem -n __ghostmem_before_program -r -l swap -d 'A swap file, or a directory for one'
complete -c ghostmem -n __ghostmem_before_program -x -l swap-max -d 'Largest size of the swap file'
complete -c ghostmem -n __ghostmem_before_program -f -l swap-encrypt -d 'Encrypt the swap file'
complete -c ghostmem -n __ghostmem_before_program -x -l compress -a '0 1' -d '0: plain pages in the swap file'
complete -c ghostmem -n __ghostmem_before_program -x -l cold -a 'zstd lz4 off' -d 'How compressed pages that stay cold are squeezed'
complete -c ghostmem -n __ghostmem_before_program -x -l pool -d 'Most RAM for compressed pages'
complete -c ghostmem -n __ghostmem_before_program -x -l faults -a 'auto signal thread segv' -d 'Who serves a fault'
complete -c ghostmem -n __ghostmem_before_program -x -l reclaim -a 'auto direct background' -d 'Who evicts'
complete -c ghostmem -n __ghostmem_before_program -x -l programs -a '(__fish_complete_command)' -d 'Programs that run with GhostMem'
complete -c ghostmem -n __ghostmem_before_program -l stats -d 'Statistics at exit'
complete -c ghostmem -n __ghostmem_before_program -f -s v -l verbose -d 'Say what is chosen'
complete -c ghostmem -n __ghostmem_before_program -r -l log -d 'Where messages go'
complete -c ghostmem -n __ghostmem_before_program -f -l interpose -d 'Limit blocks of malloc'
complete -c ghostmem -n __ghostmem_before_program -x -l misuse -a 'warn abort' -d 'What is done about wrong pointers'
complete -c ghostmem -n __ghostmem_before_program -f -l strict -d 'A bad setting ends the program'
complete -c ghostmem -n __ghostmem_before_program -f -l disable -d 'Run without GhostMem'
complete -c ghostmem -n __ghostmem_before_program -f -l force -d 'Run it also where GhostMem does nothing'
complete -c ghostmem -n __ghostmem_before_program -f -l help -d 'Show the options'
complete -c ghostmem -n __ghostmem_before_program -f -l version -d 'Show the version'
complete -c ghostmem -n 'not __ghostmem_no_command; and not __fish_seen_subcommand_from doctor report set top' -x -a '(__ghostmem_program)'

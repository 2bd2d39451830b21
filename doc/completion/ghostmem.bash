# ghostmem.bash - completion of ghostmem(1) for bash. tests/docs.sh compares its options with the settings.

_ghostmem_values() { # OPTION: what may stand behind it
    case $1 in
    -m | --max-memory) compgen -W "25% 50% 512M 1G 2G" -- "$cur" ;;
    --faults) compgen -W "auto signal thread segv" -- "$cur" ;;
    --scope) compgen -W "blocks process" -- "$cur" ;;
    --sort) compgen -W "process memory faults wait images limit" -- "$cur" ;;
    --cold) compgen -W "zstd lz4 off" -- "$cur" ;;
    --reclaim) compgen -W "auto direct background" -- "$cur" ;;
    --misuse) compgen -W "warn abort" -- "$cur" ;;
    --verbose) compgen -W "0 1 2" -- "$cur" ;;
    --swap-encrypt | --compress | --interpose | --strict | --disable) compgen -W "0 1" -- "$cur" ;;
    --swap | --stats | --log | --output) compgen -f -- "$cur" ;;
    --programs) compgen -c -- "$cur" ;;
    esac
}

_ghostmem_processes() { # that run under GhostMem, as far as we may see
    local maps
    for maps in /proc/[0-9]*/maps; do
        grep -qs /libghostmem "$maps" && maps=${maps#/proc/} && compgen -W "${maps%/maps}" -- "$cur"
    done
}

_ghostmem() {
    local cur=${COMP_WORDS[COMP_CWORD]} command=run i=1 word
    local options="-m -v --max-memory= --max-pages= --scope= --threshold= --swap= --swap-max= --swap-encrypt --compress= --cold= --pool= --faults=
        --reclaim= --programs= --stats --verbose --log= --interpose --misuse= --strict --disable --force --help --version"

    case ${COMP_WORDS[1]-} in
    run | doctor | report | set | top)
        if [ "$COMP_CWORD" -gt 1 ]; then
            command=${COMP_WORDS[1]}
            i=2
        fi
        ;;
    esac
    COMPREPLY=()
    # `--faults=si` is three words here. At its end: i is the program's place, or where one is typed.
    while [ "$command" = run ] && [ "$i" -lt "$COMP_CWORD" ]; do
        word=${COMP_WORDS[i]}
        case $word in
        --) i=$((i + 1)) && break ;;
        -m) i=$((i + 2)) ;;
        -*)
            i=$((i + 1))
            if [ "${COMP_WORDS[i]-}" = "=" ]; then
                i=$((i + 2))
            else
                case $word in
                --*=* | --swap-encrypt | --compress | --stats | --verbose | --interpose | --strict | --disable | --force | --help | --version) ;;
                --*) i=$((i + 1)) ;;
                esac
            fi
            ;;
        *) break ;;
        esac
    done
    if [ "$command" = run ] && [ "$i" -lt "$COMP_CWORD" ]; then
        if declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        fi
        return
    fi

    if [ "$cur" = "=" ]; then
        cur=
        mapfile -t COMPREPLY < <(_ghostmem_values "${COMP_WORDS[COMP_CWORD - 1]}")
    elif [ "${COMP_WORDS[COMP_CWORD - 1]}" = "=" ]; then
        mapfile -t COMPREPLY < <(_ghostmem_values "${COMP_WORDS[COMP_CWORD - 2]}")
    elif [ "$command" = run ] && [ "$i" -gt "$COMP_CWORD" ]; then
        mapfile -t COMPREPLY < <(_ghostmem_values "${COMP_WORDS[COMP_CWORD - 1]}")
    elif [ "$command" = doctor ]; then
        mapfile -t COMPREPLY < <(compgen -W "--json --swap= --help --version" -- "$cur")
    elif [ "$command" = report ]; then
        mapfile -t COMPREPLY < <(compgen -W "-o --output= --help --version" -- "$cur"; compgen -f -- "$cur")
    elif [ "$command" = top ]; then
        mapfile -t COMPREPLY < <(compgen -W "--once --json --sort= --delay= --help --version" -- "$cur")
    elif [ "$command" = set ] && [ "$COMP_CWORD" -eq 2 ]; then
        mapfile -t COMPREPLY < <(compgen -W "--timeout= --help --version" -- "$cur"; _ghostmem_processes)
    elif [ "$command" = set ]; then
        mapfile -t COMPREPLY < <(compgen -W "max-memory= max-pages= swap-max= reclaim= verbose=" -- "$cur")
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "run doctor report set top" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -c -- "$cur")
    fi
    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace 2>/dev/null
}

complete -F _ghostmem ghostmem

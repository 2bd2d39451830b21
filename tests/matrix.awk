# matrix.awk - a row a test, a column a backend and limit, from the lines of tests/programs/results.c. Called by check.sh.
#
# A cell with several trials shows the worst of them. What is no parameter's and names no limit has no row. Failures and
# skips, with a row or without, are lines below, with their reasons.
BEGIN {
    FS = "\t"
    mark["passed"] = "+"
    mark["failed"] = "F"
    mark["skipped"] = "s"
    mark["left out"] = "."
    worse = ".+sF"
}

# "trial@limit", or a name that ends in _at_64_pages; the sizes in front differ from limit to limit.
{
    row = limit = ""
    if (split($4, trial, "@") == 2) {
        row = trial[1]
        limit = trial[2]
    } else if (match($3, /_at_[0-9]+_pages$/)) {
        limit = substr($3, RSTART + 4, RLENGTH - 10)
        row = $2
        if ($3 ~ /^d_/)
            row = row " -d"
        else if ($3 ~ /^test_/)
            row = row " " substr($3, 1, index($3, "_ends") - 1)
        else if ($2 == "stress")
            row = row " " substr($3, 1, RSTART - 1)
    }
    m = $5 in mark ? mark[$5] : "F"
    if (m == ".")
        next
    if (m != "+") {
        head = m " " $1 ", " ($4 == "" ? $2 "::" $3 : trial[1])
        if (!((head, $6) in where))
            notes[++n_notes] = head SUBSEP $6
        where[head, $6] = where[head, $6] ($4 == "" ? "" : " " limit)
    }
    if (row == "")
        next
    if (!(row in is_row)) {
        is_row[row] = 1
        rows[++n_rows] = row
        if (length(row) > width)
            width = length(row)
    }
    if (!($1 in is_group)) {
        is_group[$1] = 1
        groups[++n_groups] = $1
    }
    limits[$1, limit] = 1
    is_limit[limit] = 1
    if (index(worse, m) > index(worse, cell[row, $1, limit]))
        cell[row, $1, limit] = m
}

function before(a, b) { # numbers by size, words behind them
    if (a ~ /^[0-9]+$/ && b ~ /^[0-9]+$/)
        return a + 0 < b + 0
    return a ~ /^[0-9]+$/
}

END {
    for (limit in is_limit) {
        for (i = ++n_limits; i > 1 && before(limit, order[i - 1]); i--)
            order[i] = order[i - 1]
        order[i] = limit
    }
    heads = heads2 = sprintf("%-" width "s", "")
    for (g = 1; g <= n_groups; g++) {
        part = ""
        for (i = 1; i <= n_limits; i++)
            if ((groups[g], order[i]) in limits)
                part = part " " order[i]
        heads = heads " |" sprintf("%-" length(part) "s", " " groups[g])
        heads2 = heads2 " |" sprintf("%-" length(groups[g]) + 1 "s", part)
        pad[g] = length(groups[g]) + 1 - length(part)
    }
    if (n_rows > 0)
        print "\n" heads "\n" heads2
    for (r = 1; r <= n_rows; r++) {
        line = sprintf("%-" width "s", rows[r])
        for (g = 1; g <= n_groups; g++) {
            line = line " |"
            for (i = 1; i <= n_limits; i++)
                if ((groups[g], order[i]) in limits) {
                    m = cell[rows[r], groups[g], order[i]]
                    line = line " " sprintf("%-" length(order[i]) "s", m == "" ? "." : m)
                }
            line = line sprintf("%" (pad[g] > 0 ? pad[g] : 0) "s", "")
        }
        print line
    }
    if (n_rows > 0)
        print "+ passed, F failed, s skipped, . left out; limits in pages, swap: 64 pages and a swap file"
    for (i = 1; i <= n_notes; i++) {
        split(notes[i], note, SUBSEP)
        print note[1] (where[notes[i]] == "" ? "" : " at" where[notes[i]]) ": " note[2]
    }
}

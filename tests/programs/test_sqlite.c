/*
 * test_sqlite.c - sqlite3 with a database in memory, an index, and a copy of it in a file.
 *
 * SQLite allocates each of its pages of 4096 bytes with a header, so each is a ghost block of two pages.
 */
#include "trial.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(sqlite, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

static const char script[] =
    "PRAGMA temp_store = MEMORY;\n"
    "CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, name TEXT, body TEXT);\n"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %zu)\n"
    "INSERT INTO t SELECT i, (i * 2654435761) %% 1000003, printf('name%%08x', (i * 40503) %% 1048573),\n"
    "    replace(hex(zeroblob(i %% 20 + 10)), '00', 'row ' || (i %% 977) || ' ') FROM n;\n"
    "CREATE INDEX t_name ON t (name, k);\n"
    "UPDATE t SET body = body || ' again' WHERE k %% 10 = 3;\n"
    "DELETE FROM t WHERE k %% 7 = 2;\n"
    "SELECT count(*), sum(k), sum(length(body)), min(name), max(name) FROM t;\n"
    "SELECT sum(k) FROM t INDEXED BY t_name WHERE name BETWEEN 'name00020000' AND 'name00028000';\n"
    "PRAGMA integrity_check;\n"
    "VACUUM INTO 'copy.db';\n";

static void compare_sqlite(size_t limit_pages, size_t n_rows)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command work = {.argv = {"sqlite3", "-batch", ":memory:", NULL}, .input = "../work.sql"};
    char text[sizeof(script) + 32];

    trial_need("sqlite3");
/* The format is the constant above, which the compiler cannot see through. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(text, sizeof(text), script, n_rows);
#pragma GCC diagnostic pop
    trial_write(trial, "work.sql", text);
    trial_compare(trial, &work);
}

Test(sqlite, in_memory_with_1500_rows_gives_the_same_copy_at_5_pages)
{
    compare_sqlite(5, 1500);
}

Test(sqlite, in_memory_with_3000_rows_gives_the_same_copy_at_64_pages)
{
    compare_sqlite(64, 3000);
}

Test(sqlite, in_memory_with_50000_rows_gives_the_same_copy_at_1024_pages)
{
    compare_sqlite(1024, 50 * 1000);
}

Test(sqlite, in_memory_with_180000_rows_gives_the_same_copy_at_16384_pages)
{
    compare_sqlite(16384, 180 * 1000);
}

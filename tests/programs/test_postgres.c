/*
 * test_postgres.c - PostgreSQL's own benchmark: four clients at a time update a database, then it is sorted and summed up, with the
 * memory of the server's and the clients' processes over the limit. What pgbench keeps must add up, and a sort must come out
 * the same.
 *
 * The server will not run as root: then its script becomes nobody.
 */
#include "trial.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define SERVER_DIR "/usr/lib/postgresql/15/bin"

TestSuite(postgres, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

/* What both scripts begin with. The sockets' directory needs a short name. */
static const char head[] =
    "set -eu\n"
    "if [ \"$(id -u)\" -eq 0 ]; then\n"
    "    chmod 755 ..; chmod 777 . ../stats ../tmp\n"
    "    exec setpriv --reuid=65534 --regid=65534 --clear-groups --pdeathsig=KILL sh \"$0\"\n"
    "fi\n"
    "PATH=" SERVER_DIR ":$PATH\n"
    "export PGUSER=nobody PGDATABASE=postgres\n"
    "data=$(mktemp -d)\n"
    "export PGHOST=$data\n"
    "log=$data.log\n"
    "trap 'pg_ctl -D $data -m immediate stop >>$log 2>&1 || true; rm -rf $data $log' EXIT\n"
    "start() {\n"
    "    pg_ctl -D $data -w -t 300 -l $log -o \"-c listen_addresses= -c unix_socket_directories=$data -c fsync=off"
    " -c shared_buffers=4MB -c work_mem=16MB -c jit=off -c autovacuum=off\" start >>$log\n"
    "}\n"
    "stop() { pg_ctl -D $data -m fast -w -t 300 stop >>$log; }\n";

static const char prepare[] =
    "initdb -D $data -A trust -U nobody -N --locale=C >$log\n"
    "start\n"
    "pgbench -i -q -s 1 >>$log 2>&1\n"
    "stop\n"
    "tar -cf ../tmp/db.tar -C $data .\n";

static const char work[] =
    "tar -xf ../tmp/db.tar -C $data\n"
    "start\n"
    "pgbench -n -c 4 -j 2 -t 25 >>$log 2>&1\n"
    "psql -X -q -A -t -v ON_ERROR_STOP=1 <<'END'\n"
    "SELECT count(*) FROM pgbench_history;\n"
    "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history);\n"
    "SELECT (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches);\n"
    "SELECT md5(string_agg(md5(i::text), '' ORDER BY md5(i::text))) FROM generate_series(1, 20000) i;\n"
    "END\n"
    "stop\n";

static void write_script(const struct trial *trial, const char *name, const char *body)
{
    char text[sizeof head + sizeof work + sizeof prepare];

    (void)snprintf(text, sizeof text, "%s%s", head, body);
    trial_write(trial, name, text);
}

static void compare_pgbench(size_t limit_pages)
{
    struct trial *trial = trial_begin(limit_pages);
    const struct command make = {.argv = {"/bin/sh", "../prepare.sh", NULL}};
    const struct command run = {.argv = {"/bin/sh", "../work.sh", NULL}};

    trial_need(SERVER_DIR "/postgres");
    write_script(trial, "prepare.sh", prepare);
    write_script(trial, "work.sh", work);
    trial_prepare(trial, "home", &make);
    trial_compare(trial, &run);
}

Test(postgres, pgbench_adds_up_and_a_sort_is_the_same_at_64_pages)
{
    compare_pgbench(64);
}

Test(postgres, pgbench_adds_up_and_a_sort_is_the_same_at_1024_pages)
{
    compare_pgbench(1024);
}

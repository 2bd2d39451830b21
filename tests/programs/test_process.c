/*
 * test_process.c - GHOSTMEM_SCOPE=process: programs whose memory is in small blocks, mappings of a runtime's own and static arrays.
 *
 * Each limit is a quarter to a half of what its program takes without GhostMem, so that paging starts and goes on.
 */
#include "trial.h"

#include <criterion/criterion.h>

TestSuite(process, .fini = trial_end, .timeout = TRIAL_SUITE_TIMEOUT_S);

static void compare_within(size_t limit_mib, const struct command *work)
{
    struct trial *trial = trial_begin(limit_mib * MIB / PAGE);

    trial_need(work->argv[0]);
    trial->is_whole = true;
    trial_compare(trial, work);
}

Test(process, python_with_dicts_at_12_mib)
{
    compare_within(12, &(struct command){.argv = {"/usr/bin/python3", "-c",
        "d = {i: str(i) * 3 for i in range(120000)}\n"
        "print(sum(len(v) for v in d.values()))\n"
        "for i in range(0, 120000, 7): d[i] = d[i][::-1]\n"
        "e = {k: [v] for k, v in d.items() if k % 3}\n"
        "del d\n"
        "print(len(e), sum(len(v[0]) for v in e.values()))\n", NULL}});
}

Test(process, python_with_json_and_threads_at_20_mib)
{
    compare_within(20, &(struct command){.argv = {"/usr/bin/python3", "-c",
        "import json, threading\n"
        "rows = [{'id': i, 'name': 'n%d' % i, 'tags': [i, i * 2]} for i in range(60000)]\n"
        "text = json.dumps(rows)\n"
        "out = [0] * 4\n"
        "def work(k): out[k] = sum(r['tags'][1] for r in json.loads(text)[k::4])\n"
        "ts = [threading.Thread(target=work, args=(k,)) for k in range(2)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
        "print(len(text), out)\n", NULL}});
}

Test(process, python_that_forks_at_12_mib)
{
    compare_within(12, &(struct command){.argv = {"/usr/bin/python3", "-c",
        "import os, sys\n"
        "d = {i: str(i) * 4 for i in range(100000)}\n"
        "for n in range(3):\n"
        "    sys.stdout.flush()\n"
        "    if os.fork() == 0:\n"
        "        for i in range(n, 100000, 3): d[i] += 'x'\n"
        "        os._exit(sum(len(v) for v in d.values()) % 251)\n"
        "    print(os.wait()[1] >> 8)\n"
        "print(sum(len(v) for v in d.values()))\n", NULL}});
}

Test(process, perl_with_a_hash_at_32_mib)
{
    compare_within(32, &(struct command){.argv = {"perl", "-e",
        "my %h; $h{\"k$_\"} = \"v$_\" x 3 for 1 .. 150000; my $s = 0; $s += length $h{$_} for keys %h; print \"$s\\n\";"
        "delete $h{\"k\" . 3 * $_} for 1 .. 50000; $s = 0; $s += length for values %h; print \"$s\\n\"", NULL}});
}

Test(process, gawk_with_an_array_at_24_mib)
{
    compare_within(24, &(struct command){.argv = {"gawk",
        "BEGIN { for (i = 0; i < 150000; i++) a[\"k\" i] = \"v\" i; n = 0; for (k in a) n += length(a[k]); print n\n"
        "for (i = 0; i < 150000; i += 7) a[\"k\" i] = a[\"k\" i] \"x\"; n = 0; for (k in a) n += length(a[k]); print n }", NULL}});
}

Test(process, sqlite_in_memory_at_16_mib)
{
    compare_within(16, &(struct command){.argv = {"sqlite3", ":memory:",
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);"
        "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 150000)"
        "INSERT INTO t SELECT x, printf('%08x', x * 2654435761 % 4294967296) || 'abcdefgh' FROM c;"
        "CREATE INDEX i ON t (b); SELECT count(*), sum(length(b)) FROM t;"
        "SELECT a FROM t ORDER BY b LIMIT 5; UPDATE t SET b = b || 'z' WHERE a % 3 = 0; SELECT sum(length(b)) FROM t;"
        "PRAGMA integrity_check;", NULL}});
}

Test(process, static_arrays_at_16_mib)
{
    compare_within(16, &(struct command){.argv = {trial_helper("helper_static"), NULL}});
}

Test(process, memory_of_each_kind_is_counted_as_what_it_is)
{
    struct trial *trial = trial_begin(8 * MIB / PAGE);
    const struct command work = {.argv = {trial_helper("helper_kinds"), NULL}};
    struct run_result result;
    struct stats stats;

    trial->is_whole = true;
    trial_run(trial, &work, &result, NULL);
    trial_run(trial, &work, &result, &stats);
    cr_expect_geq(stats.managed_pages_blocks, 8 * MIB / PAGE);
    cr_expect_geq(stats.managed_pages_heap, 8 * MIB / PAGE);
    cr_expect_geq(stats.managed_pages_mappings, 16 * MIB / PAGE);
    cr_expect_geq(stats.managed_pages_static, 7 * MIB / PAGE); /* the kernel may have joined its ends to what is in a file */
    cr_expect_eq(stats.mappings_refused, 0);
    cr_expect_geq(stats.unmanaged_executable_bytes, 2 * MIB, "%zu", stats.unmanaged_executable_bytes);
    cr_expect_leq(stats.unmanaged_executable_bytes, 2 * MIB + 4 * PAGE, "%zu", stats.unmanaged_executable_bytes); /* and the vDSO */
    cr_expect_eq(stats.unmanaged_shared_bytes, 3 * MIB, "%zu", stats.unmanaged_shared_bytes);
    cr_expect_eq(stats.unmanaged_locked_bytes, MIB, "%zu", stats.unmanaged_locked_bytes);
    cr_expect_gt(stats.unmanaged_stack_bytes, 0);
    cr_expect_lt(stats.unmanaged_small_bytes, MIB, "%zu", stats.unmanaged_small_bytes);
    cr_expect_eq(stats.unmanaged_bytes,
                 stats.unmanaged_stack_bytes + stats.unmanaged_executable_bytes + stats.unmanaged_shared_bytes +
                     stats.unmanaged_locked_bytes + stats.unmanaged_file_bytes + stats.unmanaged_small_bytes);
    trial_compare(trial, &work);
}

Test(process, coroutines_on_stacks_of_their_own_at_3_mib)
{
    compare_within(3, &(struct command){.argv = {trial_helper("helper_coroutines"), NULL}, .may_yield = true});
}

Test(process, large_thread_local_variables_at_6_mib)
{
    compare_within(6, &(struct command){.argv = {trial_helper("helper_tls"), NULL}});
}

Test(process, jq_with_objects_at_24_mib)
{
    compare_within(24, &(struct command){.argv = {"jq", "-n",
        "[range(60000) | {k: \"k\\(.)\", v: [., . * 2]}] | group_by(.v[0] % 10) | map(length) | add", NULL}});
}

Test(process, php_with_an_array_at_16_mib)
{
    compare_within(16, &(struct command){.argv = {"php", "-r",
        "$a = []; for ($i = 0; $i < 300000; $i++) $a[\"k$i\"] = \"v$i\"; $n = 0; foreach ($a as $v) $n += strlen($v); echo $n, \"\\n\";"
        "for ($i = 0; $i < 300000; $i += 5) unset($a[\"k$i\"]); echo count($a), \"\\n\";", NULL}});
}

Test(process, ruby_with_a_hash_at_16_mib)
{
    compare_within(16, &(struct command){.argv = {"ruby", "-e",
        "h = {}; 150000.times { |i| h[\"k#{i}\"] = \"v#{i}\" * 3 }; p h.values.sum(&:size); GC.start; "
        "h.each { |k, v| h[k] = v.reverse }; p h.values.sum(&:size)", NULL}});
}

Test(process, node_with_a_map_at_48_mib)
{
    compare_within(48, &(struct command){.argv = {"node", "-e",
        "const m = new Map(); for (let i = 0; i < 200000; i++) m.set('k' + i, {a: i, b: 'v' + i});"
        "let s = 0; for (const [k, v] of m) s += v.a + v.b.length; console.log(s);"
        "for (let i = 0; i < 200000; i += 3) m.delete('k' + i); console.log(m.size)", NULL}});
}

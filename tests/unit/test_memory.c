/* What control groups leave a process, read from folders made to look like /proc and /sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/memory.h"
#include "support/scratch.h"

static char root[64]; /* of the running test */

static int new_root(void **state)
{
    static int count;
    (void)state;
    snprintf(root, sizeof root, "%d", count++);
    return 0;
}

/* Writes a file below the root, and the folders that it is in. */
static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(scratch_path(path), 0777);
        *slash = '/';
    }
    file_write(scratch_path(path), text, strlen(text));
}

static void leaves(size_t expected)
{
    assert_int_equal(sp_memory_of_groups(scratch_path(root)), expected);
}

static void without_groups_there_is_no_limit(void **state)
{
    (void)state;
    leaves(SIZE_MAX);
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.current", "400\n");
    leaves(SIZE_MAX);
}

/* A job's limit holds for the step within it, and files that are cached give way. */
static void the_groups_around_count(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "1:name=systemd:/else\n0::/job/step\n");
    put("/sys/fs/cgroup/job/step/memory.max", "max\n");
    put("/sys/fs/cgroup/job/step/memory.current", "300\n");
    put("/sys/fs/cgroup/job/memory.max", "1000\n");
    put("/sys/fs/cgroup/job/memory.current", "400\n");
    leaves(600);
    put("/sys/fs/cgroup/job/memory.stat", "anon 250\ninactive_file 100\nactive_file 50\n");
    leaves(750);
    put("/sys/fs/cgroup/job/step/memory.high", "500\n");
    leaves(200);
    put("/sys/fs/cgroup/job/step/memory.current", "501\n");
    leaves(0);
}

static void version_1_likewise(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "4:memory:/job\n3:cpuset:/other\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1000\n");
    put("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "900\n");
    put("/sys/fs/cgroup/memory/job/memory.stat",
        "inactive_file 1\ntotal_inactive_file 200\ntotal_active_file 100\n");
    leaves(400);
}

/* A container names its group as the host does, but sees it as the root. */
static void a_container_sees_its_own_as_the_root(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/docker/1234\n");
    put("/sys/fs/cgroup/memory.max", "1000\n");
    put("/sys/fs/cgroup/memory.current", "250\n");
    leaves(750);
    put("/proc/self/cgroup", "0::/\n");
    leaves(750);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup(without_groups_there_is_no_limit, new_root),
        cmocka_unit_test_setup(the_groups_around_count, new_root),
        cmocka_unit_test_setup(version_1_likewise, new_root),
        cmocka_unit_test_setup(a_container_sees_its_own_as_the_root, new_root),
    };
    return cmocka_run_group_tests_name("memory", cases, scratch_make, scratch_remove);
}

/* Files that appear whole. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "output/atomic.h"
#include "support/scratch.h"

static void a_commit_replaces_the_target(void **state)
{
    (void)state;
    const char *path = scratch_path("a.txt");
    SpAtomicFile file;
    const mode_t before = umask(027);
    file_write(path, "old", 3);
    assert_ok(sp_atomic_open(path, "-o", &file));
    assert_true(fputs("new", file.stream) >= 0);
    assert_text(path, "old");
    assert_non_null(strstr(file.temporary, "/.a.txt."));
    assert_ok(sp_atomic_commit(&file));
    umask(before);
    assert_text(path, "new");
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_ok(sp_atomic_commit(&file));
    sp_atomic_abandon(&file);
    assert_int_equal(scratch_empty(), 1);
}

static void an_abandoned_file_leaves_the_target(void **state)
{
    (void)state;
    const char *path = scratch_path("a.txt");
    SpAtomicFile file;
    file_write(path, "old", 3);
    assert_ok(sp_atomic_open(path, "-o", &file));
    assert_true(fputs("new", file.stream) >= 0);
    sp_atomic_abandon(&file);
    sp_atomic_abandon(&file);
    assert_text(path, "old");
    assert_int_equal(scratch_empty(), 1);
}

static void a_settled_file_waits_for_its_commit(void **state)
{
    (void)state;
    const char *path = scratch_path("a.txt");
    SpAtomicFile file;
    file_write(path, "old", 3);
    for (int commit = 0; commit < 2; commit++) {
        assert_ok(sp_atomic_open(path, "-o", &file));
        assert_true(fputs("new", file.stream) >= 0);
        assert_ok(sp_atomic_settle(&file));
        assert_ok(sp_atomic_settle(&file));
        assert_null(file.stream);
        assert_text(path, "old");
        if (commit)
            assert_ok(sp_atomic_commit(&file));
        sp_atomic_abandon(&file);
    }
    assert_text(path, "new");
    assert_int_equal(scratch_empty(), 1);
}

static void the_last_of_two_runs_wins_whole(void **state)
{
    (void)state;
    const char *path = scratch_path("a.txt");
    SpAtomicFile first, second;
    assert_ok(sp_atomic_open(path, "-o", &first));
    assert_ok(sp_atomic_open(path, "-o", &second));
    assert_true(fputs("longer first", first.stream) >= 0 && fputs("second", second.stream) >= 0);
    assert_ok(sp_atomic_commit(&second));
    assert_ok(sp_atomic_commit(&first));
    assert_text(path, "longer first");
    assert_int_equal(scratch_empty(), 1);
}

static void a_failed_rename_leaves_nothing(void **state)
{
    (void)state;
    const char *path = scratch_path("a.txt");
    SpAtomicFile file;
    assert_ok(sp_atomic_open(path, "-o", &file));
    assert_int_equal(mkdir(path, 0777), 0);
    assert_error(sp_atomic_commit(&file), SP_OUTPUT, "cannot write ");
    assert_int_equal(scratch_empty(), 1);
}

/* A stream whose writes fail, in the place of a full disk. */
static void a_failed_write_leaves_the_target(void **state)
{
    (void)state;
    const char *path = scratch_path("a.txt");
    SpAtomicFile file;
    file_write(path, "old", 3);
    assert_ok(sp_atomic_open(path, "-o", &file));
    fclose(file.stream);
    file.stream = fopen("/dev/full", "w");
    assert_non_null(file.stream);
    assert_true(fputs("new", file.stream) >= 0);
    assert_error(sp_atomic_commit(&file), SP_OUTPUT, "a.txt: No space left on device");
    assert_text(path, "old");
    assert_int_equal(scratch_empty(), 1);
}

static void symbolic_links_are_followed(void **state)
{
    (void)state;
    const char *real = scratch_path("real.txt"), *link = scratch_path("link.txt");
    SpAtomicFile file;
    assert_int_equal(symlink("real.txt", link), 0);
    for (int existing = 0; existing < 2; existing++) {
        assert_ok(sp_atomic_open(link, "-o", &file));
        assert_true(fprintf(file.stream, "%d", existing) > 0);
        assert_ok(sp_atomic_commit(&file));
        assert_text(real, existing ? "1" : "0");
    }
    struct stat info;
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(scratch_empty(), 2);

    assert_int_equal(symlink("loop.txt", scratch_path("loop.txt")), 0);
    assert_error(sp_atomic_open(scratch_path("loop.txt"), "-o", &file), SP_OUTPUT, strerror(ELOOP));
    assert_int_equal(scratch_empty(), 1);
}

static void devices_and_pipes_are_written_directly(void **state)
{
    (void)state;
    SpAtomicFile file;
    assert_ok(sp_atomic_open("/dev/null", "-o", &file));
    assert_null(file.temporary);
    assert_true(fputs("gone", file.stream) >= 0);
    assert_ok(sp_atomic_commit(&file));

    const char *pipe = scratch_path("pipe");
    assert_int_equal(mkfifo(pipe, 0666), 0);
    const int reader = open(pipe, O_RDONLY | O_NONBLOCK);
    char text[8] = "";
    assert_ok(sp_atomic_open(pipe, "-o", &file));
    assert_true(fputs("through", file.stream) >= 0);
    assert_ok(sp_atomic_commit(&file));
    assert_int_equal(read(reader, text, sizeof text), 7);
    assert_memory_equal(text, "through", 7);
    close(reader);
    struct stat info;
    assert_int_equal(lstat(pipe, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_int_equal(scratch_empty(), 1);

    assert_ok(sp_atomic_open("/dev/full", "-o", &file));
    assert_true(fputs("new", file.stream) >= 0);
    assert_error(sp_atomic_commit(&file), SP_OUTPUT, "/dev/full: No space left on device");
}

static void a_probe_keeps_only_a_pipe_with_a_reader(void **state)
{
    (void)state;
    SpAtomicFile file;
    const char *pipe = scratch_path("pipe");
    char text[8] = "";
    assert_ok(sp_atomic_probe(scratch_path("new"), "-o", &file));
    assert_null(file.stream);
    assert_false(sp_atomic_replaces(scratch_path("new")));
    assert_true(sp_atomic_seeks(scratch_path("new")));
    assert_int_equal(scratch_empty(), 0);
    assert_int_equal(mkfifo(pipe, 0666), 0);
    assert_false(sp_atomic_replaces(pipe));
    assert_false(sp_atomic_seeks(pipe));
    assert_ok(sp_atomic_probe(pipe, "-o", &file));
    assert_null(file.stream);
    const int reader = open(pipe, O_RDONLY | O_NONBLOCK);
    assert_ok(sp_atomic_probe(pipe, "-o", &file));
    assert_non_null(file.stream);
    assert_true(fputs("through", file.stream) >= 0);
    assert_ok(sp_atomic_commit(&file));
    assert_int_equal(read(reader, text, sizeof text), 7);
    close(reader);
    assert_int_equal(scratch_empty(), 1);
}

static void what_a_descriptor_leads_to_is_not_replaced(void **state)
{
    (void)state;
    SpAtomicFile file;
    const char *path = scratch_path("a.txt"), *link = scratch_path("link.txt");
    char name[32];
    file_write(path, "old, ", 5);
    const int fd = open(path, O_WRONLY | O_APPEND);
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    assert_int_equal(symlink(name, link), 0);
    assert_false(sp_atomic_replaces(link));
    assert_ok(sp_atomic_open(link, "-o", &file));
    assert_null(file.temporary);
    assert_true(fputs("new", file.stream) >= 0);
    assert_ok(sp_atomic_commit(&file));
    close(fd);
    assert_text(path, "old, new");
    assert_error(sp_atomic_open(link, "-o", &file), SP_OUTPUT, "cannot write ");
    assert_int_equal(scratch_empty(), 2);
}

static void impossible_targets_are_named(void **state)
{
    (void)state;
    SpAtomicFile file;
    file_write(scratch_path("file"), "", 0);
    assert_error(sp_atomic_open("", "-o", &file), SP_OUTPUT, "not a file name");
    assert_error(sp_atomic_open(scratch_folder(), "-o", &file), SP_OUTPUT, "not a file name");
    assert_error(sp_atomic_open(scratch_path("new/"), "-o", &file), SP_OUTPUT, "not a file name");
    assert_error(sp_atomic_open(scratch_path("missing/a"), "-o", &file), SP_OUTPUT,
                 "/missing: No such file or directory; choose another -o");
    assert_error(sp_atomic_open(scratch_path("file/a"), "-o", &file), SP_OUTPUT,
                 "/file: Not a directory; choose another -o");
    assert_error(sp_atomic_open(scratch_path("missing/a"), "--report", &file), SP_OUTPUT,
                 "choose another --report");
    assert_null(file.stream);
    assert_int_equal(scratch_empty(), 1);
}

static void a_folder_without_permission_is_named(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip();
    SpAtomicFile file;
    assert_int_equal(mkdir(scratch_path("locked"), 0555), 0);
    assert_error(sp_atomic_open(scratch_path("locked/a"), "-o", &file), SP_OUTPUT,
                 "/locked: Permission denied; choose another -o");
    assert_int_equal(scratch_empty(), 1);
}

static void names_up_to_the_limit_work(void **state)
{
    (void)state;
    char name[NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[NAME_MAX] = 0;
    SpAtomicFile file;
    assert_ok(sp_atomic_open(scratch_path(name), "-o", &file));
    assert_ok(sp_atomic_commit(&file));
    assert_int_equal(scratch_empty(), 1);

    char *path = calloc(1, 2 * PATH_MAX);
    assert_non_null(path);
    memset(path, 'p', 2 * PATH_MAX - 1);
    assert_error(sp_atomic_open(path, "-o", &file), SP_OUTPUT, strerror(ENAMETOOLONG));
    free(path);
}

static void more_than_sixteen_files_are_refused(void **state)
{
    (void)state;
    SpAtomicFile file[17];
    for (int i = 0; i < 16; i++)
        assert_ok(sp_atomic_open(scratch_path("a.txt"), "-o", &file[i]));
    assert_error(sp_atomic_open(scratch_path("a.txt"), "-o", &file[16]), SP_OUTPUT, "16 files");
    for (int i = 0; i < 17; i++)
        sp_atomic_abandon(&file[i]);
    assert_int_equal(scratch_empty(), 0);
    assert_ok(sp_atomic_open(scratch_path("a.txt"), "-o", &file[0]));
    sp_atomic_abandon(&file[0]);
}

static void pending_files_are_removed_at_once(void **state)
{
    (void)state;
    SpAtomicFile done, pending[2];
    assert_ok(sp_atomic_open(scratch_path("done.txt"), "-o", &done));
    for (int i = 0; i < 2; i++)
        assert_ok(sp_atomic_open(scratch_path("a.txt"), "-o", &pending[i]));
    assert_ok(sp_atomic_commit(&done));
    errno = E2BIG;
    sp_atomic_remove_pending();
    assert_int_equal(errno, E2BIG);
    assert_text(scratch_path("done.txt"), "");
    assert_int_equal(scratch_empty(), 1);
    assert_error(sp_atomic_commit(&pending[0]), SP_OUTPUT, "cannot write ");
    sp_atomic_abandon(&pending[1]);
}

static void end_cleanly(int number)
{
    sp_atomic_remove_pending();
    _exit(number);
}

static void a_signal_leaves_no_temporary(void **state)
{
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        SpAtomicFile file;
        signal(SIGTERM, end_cleanly);
        if (sp_atomic_open(scratch_path("a.txt"), "-o", &file).code == SP_OK)
            raise(SIGTERM);
        _exit(1);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), SIGTERM);
    assert_int_equal(scratch_empty(), 0);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_commit_replaces_the_target),
        cmocka_unit_test(an_abandoned_file_leaves_the_target),
        cmocka_unit_test(a_settled_file_waits_for_its_commit),
        cmocka_unit_test(the_last_of_two_runs_wins_whole),
        cmocka_unit_test(a_failed_rename_leaves_nothing),
        cmocka_unit_test(a_failed_write_leaves_the_target),
        cmocka_unit_test(symbolic_links_are_followed),
        cmocka_unit_test(devices_and_pipes_are_written_directly),
        cmocka_unit_test(a_probe_keeps_only_a_pipe_with_a_reader),
        cmocka_unit_test(what_a_descriptor_leads_to_is_not_replaced),
        cmocka_unit_test(impossible_targets_are_named),
        cmocka_unit_test(a_folder_without_permission_is_named),
        cmocka_unit_test(names_up_to_the_limit_work),
        cmocka_unit_test(more_than_sixteen_files_are_refused),
        cmocka_unit_test(pending_files_are_removed_at_once),
        cmocka_unit_test(a_signal_leaves_no_temporary),
    };
    return cmocka_run_group_tests_name("atomic", cases, scratch_make, scratch_remove);
}

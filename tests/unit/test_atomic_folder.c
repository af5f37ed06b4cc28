/* Folders of files that appear whole. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "output/atomic_folder.h"
#include "support/scratch.h"

static void add(const SpAtomicFolder *folder, const char *name, const char *text)
{
    SpAtomicFile file;
    assert_ok(sp_atomic_folder_add(folder, name, &file));
    assert_true(fputs(text, file.stream) >= 0);
    assert_ok(sp_atomic_commit(&file));
}

static bool exists(const char *name)
{
    return access(scratch_path(name), F_OK) == 0;
}

static void open_set(SpAtomicFolder *folder)
{
    assert_ok(sp_atomic_folder_open(scratch_path("set"), "--depth", folder));
    add(folder, "a.txt", "new");
    add(folder, "sub/b.txt", "new");
}

/* Removes what the folder "set" holds, and that; how many files there were. */
static int empty_set(void)
{
    int count = 0;
    for (const char *const *name =
             (const char *const[]){"a.txt", "sub/b.txt", "c.txt", "sub/d.txt", NULL};
         *name; name++) {
        char path[64];
        snprintf(path, sizeof path, "set/%s", *name);
        count += unlink(scratch_path(path)) == 0;
    }
    rmdir(scratch_path("set/sub"));
    assert_int_equal(rmdir(scratch_path("set")), 0);
    assert_int_equal(scratch_empty(), 0);
    return count;
}

static void a_new_folder_appears_at_once(void **state)
{
    (void)state;
    SpAtomicFolder folder;
    struct stat info;
    const mode_t before = umask(027);
    open_set(&folder);
    assert_non_null(strstr(folder.temporary, "/.set."));
    assert_false(exists("set"));
    assert_ok(sp_atomic_folder_settle(&folder));
    assert_false(exists("set"));
    assert_ok(sp_atomic_folder_commit(&folder));
    umask(before);
    assert_text(scratch_path("set/a.txt"), "new");
    assert_text(scratch_path("set/sub/b.txt"), "new");
    assert_int_equal(stat(scratch_path("set"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0750);
    assert_ok(sp_atomic_folder_commit(&folder));
    sp_atomic_folder_abandon(&folder);
    assert_int_equal(empty_set(), 2);
}

static void files_of_other_names_stay(void **state)
{
    (void)state;
    SpAtomicFolder folder;
    assert_int_equal(mkdir(scratch_path("set"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("set/sub"), 0700), 0);
    file_write(scratch_path("set/a.txt"), "old", 3);
    file_write(scratch_path("set/c.txt"), "other", 5);
    file_write(scratch_path("set/sub/d.txt"), "other", 5);
    open_set(&folder);
    assert_text(scratch_path("set/a.txt"), "old");
    assert_ok(sp_atomic_folder_commit(&folder));
    assert_text(scratch_path("set/a.txt"), "new");
    assert_text(scratch_path("set/sub/b.txt"), "new");
    assert_text(scratch_path("set/c.txt"), "other");
    assert_text(scratch_path("set/sub/d.txt"), "other");
    assert_int_equal(empty_set(), 4);
}

static void an_abandoned_folder_leaves_nothing(void **state)
{
    (void)state;
    SpAtomicFolder folder;
    open_set(&folder);
    sp_atomic_folder_abandon(&folder);
    sp_atomic_folder_abandon(&folder);
    assert_int_equal(scratch_empty(), 0);

    assert_int_equal(mkdir(scratch_path("set"), 0700), 0);
    file_write(scratch_path("set/a.txt"), "old", 3);
    open_set(&folder);
    sp_atomic_folder_abandon(&folder);
    assert_text(scratch_path("set/a.txt"), "old");
    assert_int_equal(empty_set(), 1);
}

/* A link in the place of a file is replaced, not what it leads to. */
static void links_are_followed_to_folders_alone(void **state)
{
    (void)state;
    SpAtomicFolder folder;
    assert_int_equal(symlink("set", scratch_path("link")), 0);
    assert_int_equal(mkdir(scratch_path("set"), 0700), 0);
    file_write(scratch_path("set/c.txt"), "other", 5);
    assert_int_equal(symlink("c.txt", scratch_path("set/a.txt")), 0);
    assert_ok(sp_atomic_folder_open(scratch_path("link/"), "--depth", &folder));
    add(&folder, "a.txt", "new");
    assert_ok(sp_atomic_folder_commit(&folder));
    assert_text(scratch_path("set/a.txt"), "new");
    assert_text(scratch_path("set/c.txt"), "other");
    assert_int_equal(unlink(scratch_path("link")), 0);
    assert_int_equal(empty_set(), 2);
}

static void what_is_in_the_way_is_named(void **state)
{
    (void)state;
    SpAtomicFolder folder;
    file_write(scratch_path("set"), "", 0);
    assert_error(sp_atomic_folder_open(scratch_path("set"), "--depth", &folder), SP_OUTPUT,
                 "/set: not a folder; choose another --depth");
    assert_error(sp_atomic_folder_open(scratch_path("none/set"), "--depth", &folder), SP_OUTPUT,
                 "/none/set: No such file or directory; choose another --depth");
    assert_int_equal(scratch_empty(), 1);

    assert_int_equal(mkdir(scratch_path("set"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("set/a.txt"), 0700), 0);
    open_set(&folder);
    assert_error(sp_atomic_folder_commit(&folder), SP_OUTPUT, "/set/a.txt: Is a directory");
    assert_int_equal(rmdir(scratch_path("set/a.txt")), 0);
    file_write(scratch_path("set/sub"), "", 0);
    open_set(&folder);
    assert_error(sp_atomic_folder_settle(&folder), SP_OUTPUT, "/set/sub: Not a directory");
    assert_int_equal(unlink(scratch_path("set/sub")), 0);
    assert_int_equal(empty_set(), 0);
}

static void a_folder_without_permission_is_named(void **state)
{
    (void)state;
    SpAtomicFolder folder;
    if (geteuid() == 0)
        skip();
    assert_int_equal(mkdir(scratch_path("set"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("set/sub"), 0500), 0);
    open_set(&folder);
    assert_error(sp_atomic_folder_settle(&folder), SP_OUTPUT, "/set/sub: Permission denied");
    assert_int_equal(chmod(scratch_path("set"), 0500), 0);
    assert_error(sp_atomic_folder_open(scratch_path("set"), "--depth", &folder), SP_OUTPUT,
                 "/set: Permission denied");
    assert_int_equal(chmod(scratch_path("set"), 0700), 0);
    assert_int_equal(empty_set(), 0);
}

static void names_are_checked(void **state)
{
    (void)state;
    SpAtomicFolder folder;
    SpAtomicFile file;
    char longer[32] = "%09999d";
    open_set(&folder);
    assert_ok(sp_atomic_folder_add_frame(&folder, "c.txt", 0, &file));
    assert_ok(sp_atomic_commit(&file));
    assert_error(sp_atomic_folder_add_frame(&folder, longer, 0, &file), SP_OUTPUT, "too long");
    assert_error(sp_atomic_folder_add(&folder, "a.txt", &file), SP_OUTPUT,
                 "/set/a.txt: File exists");
    assert_ok(sp_atomic_folder_commit(&folder));
    assert_int_equal(empty_set(), 3);
}

static void end_cleanly(int number)
{
    sp_atomic_remove_pending();
    _exit(number);
}

static void a_signal_leaves_no_temporary(void **state)
{
    (void)state;
    for (int made = 0; made < 2; made++) {
        if (made)
            assert_int_equal(mkdir(scratch_path("set"), 0700), 0);
        const pid_t child = fork();
        if (child == 0) {
            SpAtomicFolder folder;
            signal(SIGTERM, end_cleanly);
            open_set(&folder);
            raise(SIGTERM);
            _exit(1);
        }
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), SIGTERM);
        assert_int_equal(rmdir(scratch_path("set")) == 0, made); /* empty */
        assert_int_equal(scratch_empty(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_new_folder_appears_at_once),
        cmocka_unit_test(files_of_other_names_stay),
        cmocka_unit_test(an_abandoned_folder_leaves_nothing),
        cmocka_unit_test(links_are_followed_to_folders_alone),
        cmocka_unit_test(what_is_in_the_way_is_named),
        cmocka_unit_test(a_folder_without_permission_is_named),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(a_signal_leaves_no_temporary),
    };
    return cmocka_run_group_tests_name("atomic folder", cases, scratch_make, scratch_remove);
}

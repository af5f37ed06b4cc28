/* The spatrack program: arguments, signals, one job, one line of error. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/console.h"
#include "cli/compact_weights.h"
#include "cli/completions.h"
#include "cli/info.h"
#include "cli/options.h"
#include "compare/compare.h"
#include "output/atomic.h"
#include "pipeline/batch.h"
#include "pipeline/workers.h"

/* libgomp's threads spin while they wait, which on a busy machine takes the time of those that
 * work: a run of 0.4 s took 11 s beside one other process. It reads its setting when it is loaded,
 * so the program starts itself again with a spin of microseconds: by its own path, since the kernel
 * names a process after the path that it starts; not every place can read that, and the file may be
 * gone. */
static void restrain_spinning(char **argv)
{
    static const char self[] = "/proc/self/exe";
    char path[PATH_MAX];
    const ssize_t length = readlink(self, path, sizeof path);
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") ||
        setenv("GOMP_SPINCOUNT", "300", 1) != 0)
        return;
    if (length > 0 && length < (ssize_t)sizeof path) {
        path[length] = 0;
        execv(path, argv);
    }
    execv(self, argv); /* where that fails, it only waits worse */
}

/* A file opened later must not become standard output: those of the three that are closed are
 * opened, the wrong way round, so that using them still fails. */
static void open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static void interrupted(int signal)
{
    (void)signal;
    sp_workers_kill();
    sp_atomic_remove_pending();
    _exit(SP_INTERRUPTED);
}

/* All by which somebody ends a program; what was ignored at the start, as under nohup, stays so. */
static void catch_signals(void)
{
    static const int ends[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,   SIGXCPU,
                               SIGALRM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGPROF};
    struct sigaction action = {.sa_handler = interrupted}, before;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(ends[i], &action, NULL);
    action.sa_handler = SIG_IGN; /* a full or closed pipe is a write error with its own message */
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}

static SpStatus run(const SpOptions *options, char **argv, SpConsole *console)
{
    const SpJob *job = &options->job;
    if (options->help)
        sp_options_help(stdout);
    else if (options->version)
        sp_version_print(stdout);
    else if (options->prepare)
        return sp_compact_weights(job->weights, console);
    else if (options->info && job->json)
        return sp_info_print_json(stdout, job->weights);
    else if (options->info)
        sp_info_print(stdout, job->weights);
    else if (options->completions >= 0)
        sp_completions_print(stdout, options->completions);
    else if (options->expected)
        return sp_compare(options->expected, options->video[0], &options->tolerance, job->json,
                          stdout);
    else {
        restrain_spinning(argv);
        return sp_batch_run(job, options->video, options->videos, console);
    }
    return sp_ok();
}

int main(int argc, char **argv)
{
    SpOptions options;
    SpConsole console;
    open_standard_streams();
    prctl(PR_SET_NAME, "spatrack"); /* also when it was started through a descriptor */
    catch_signals();
    SpStatus status = sp_options_parse(argc, argv, &options);
    sp_console_open(&console, stderr, options.quiet, options.verbose, options.progress);
    if (status.code == SP_OK)
        status = run(&options, argv, &console);
    if (status.code <= SP_DIFFERENT && fflush(stdout) != 0)
        status = sp_error(SP_OUTPUT, "cannot write to standard output");
    if (status.code != SP_OK)
        sp_console_error(&console, &status);
    sp_options_free(&options);
    return (int)status.code;
}

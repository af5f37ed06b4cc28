/* The spatrack program: arguments, signals, one job, one line of error. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/console.h"
#include "cli/compact_weights.h"
#include "cli/info.h"
#include "cli/options.h"
#include "cli/version.h"
#include "output/atomic.h"
#include "pipeline/batch.h"

static void interrupted(int signal)
{
    (void)signal;
    sp_atomic_remove_pending();
    _exit(SP_INTERRUPTED);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = interrupted};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN; /* a full or closed pipe is a write error with its own message */
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}

/* libgomp's threads spin while they wait, which on a busy machine takes the time of those that
 * work: a run of 0.4 s took 11 s beside one other process. It reads its setting when it is loaded,
 * before main, so the program starts itself again with a short spin (5 % slower on an idle
 * machine). */
static void restrain_spinning(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
        return;
    if (setenv("GOMP_SPINCOUNT", "2000", 1) == 0)
        execv("/proc/self/exe", argv); /* where that fails, it only waits worse */
}

static SpStatus run(SpOptions *options)
{
    SpConsole console;
    sp_console_open(&console, stderr, options->quiet, options->verbose);
    char *settings = sp_options_settings(options);
    if (!settings)
        return sp_no_memory("the settings");
    options->job.settings = settings;
    const SpStatus status = sp_batch_run(&options->job, options->video, options->videos, &console);
    free(settings);
    return status;
}

int main(int argc, char **argv)
{
    SpOptions options;
    SpConsole console;
    catch_signals();
    SpStatus status = sp_options_parse(argc, argv, &options);
    if (status.code == SP_OK && options.help) {
        sp_options_help(stdout);
    } else if (status.code == SP_OK && options.version) {
        sp_version_print(stdout);
    } else if (status.code == SP_OK && options.prepare) {
        sp_console_open(&console, stderr, options.quiet, options.verbose);
        status = sp_compact_weights(options.job.weights, &console);
    } else if (status.code == SP_OK && options.info) {
        sp_info_print(stdout, options.job.weights);
    } else if (status.code == SP_OK) {
        restrain_spinning(argv);
        status = run(&options);
    }
    if (status.code == SP_OK && fflush(stdout) != 0)
        status = sp_error(SP_OUTPUT, "cannot write to standard output");
    if (status.code != SP_OK)
        fprintf(stderr, "spatrack: %s\n", status.text);
    sp_options_free(&options);
    return (int)status.code;
}

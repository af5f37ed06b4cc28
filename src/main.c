/* The spatrack program: arguments, signals, one job, one line of error. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "console.h"
#include "job.h"
#include "options.h"
#include "output/atomic.h"
#include "version.h"

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

static SpStatus run(SpOptions *options)
{
    SpConsole console;
    sp_console_open(&console, stderr, options->quiet, options->verbose);
    char *settings = sp_options_settings(options);
    if (!settings)
        return sp_no_memory("the settings");
    options->job.settings = settings;
    const SpStatus status = sp_job_run(&options->job, &console);
    free(settings);
    return status;
}

int main(int argc, char **argv)
{
    SpOptions options;
    catch_signals();
    SpStatus status = sp_options_parse(argc, argv, &options);
    if (status.code == SP_OK && options.help)
        sp_options_help(stdout);
    else if (status.code == SP_OK && options.version)
        sp_version_print(stdout);
    else if (status.code == SP_OK)
        status = run(&options);
    if (status.code == SP_OK && fflush(stdout) != 0)
        status = sp_error(SP_OUTPUT, "cannot write to standard output");
    if (status.code != SP_OK)
        fprintf(stderr, "spatrack: %s\n", status.text);
    return (int)status.code;
}

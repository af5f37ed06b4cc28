/*
 * --plan: what the stages would take, as a table on standard output, or with --json as
 * an object on one line, in bytes and seconds.
 */
#ifndef SP_PIPELINE_PLAN_TABLE_H
#define SP_PIPELINE_PLAN_TABLE_H

#include "pipeline/run.h"

/* Plans the run for `queries` points and prints it; SAM, where the run has it, is planned already.
 * SP_MEMORY when the clip does not fit. */
SpStatus sp_plan_table_print(SpRun *run, int64_t queries);

#endif

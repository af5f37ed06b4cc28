/* What opening a finished result and reading its large arrays share. */
#ifndef SP_OUTPUT_RESULT_FILE_INTERNAL_H
#define SP_OUTPUT_RESULT_FILE_INTERNAL_H

#include "output/result_file.h"

/* Whether the file has an array. */
static inline bool sp_result_file_has(const SpResultFile *file, SpArrayId id)
{
    return sp_result_arrays_have(&file->arrays, id);
}

/* SP_INPUT: "PATH: array NAME WHAT". */
SpStatus sp_result_file_bad_array(const SpResultFile *file, SpArrayId id, const char *what);

/* Reads an array into file->value, if it is there and not read yet. As sp_result_arrays_read. */
SpStatus sp_result_file_value(SpResultFile *file, SpArrayId id);

#endif

/*
 * numpy's .npz: a ZIP archive (PKWARE APPNOTE 6.3) whose members are .npy arrays
 * (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), little endian, C order.
 */
#ifndef SP_OUTPUT_NPZ_H
#define SP_OUTPUT_NPZ_H

#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"
#include "base/tensor.h"

/* Writing. The archive is written front to back, so that the stream may be a pipe: sizes and
 * checksums follow each member (data descriptors) and stand in the directory at the end. Members
 * and archives of 4 GiB and more get ZIP64 records. The same arrays give the same bytes.
 *
 * Errors of every function here: SP_OUTPUT "cannot write LABEL: No space left on device" or what
 * is wrong with the array; SP_MEMORY. After a failure each further call gives the same error. */
typedef struct SpNpzWriter SpNpzWriter;

/* Starts an archive at the beginning of `stream`, which stays the caller's and must outlive the
 * writer; `label` is what messages call it (copied). `compress`: deflate instead of stored.
 * *out is owned by the caller: sp_npz_discard. */
SpStatus sp_npz_create(FILE *stream, const char *label, bool compress, SpNpzWriter **out);

/* Arrays that are not to stand in the archive, "video,depths": beginning and writing them does
 * nothing. `names` must outlive the writer; NULL: all stand in it. */
void sp_npz_omit(SpNpzWriter *writer, const char *names);

/* Whether "a,b" holds `name`; NULL holds none. */
bool sp_npz_names_hold(const char *names, const char *name);

/* Starts array `name`, of `rank` (0: a scalar, at most SP_MAX_RANK) and dims[rank], any of which
 * may be 0. SP_BF16 is refused: numpy has no such type. The array before must be complete. */
SpStatus sp_npz_begin(SpNpzWriter *writer, const char *name, SpDtype dtype, int rank,
                      const int64_t *dims);

/* The next `bytes` bytes of the array begun, row-major; in any number of pieces, which need not
 * end between elements. The array ends with its last byte. */
SpStatus sp_npz_write(SpNpzWriter *writer, const void *data, size_t bytes);

/* A whole array: begin and write. */
SpStatus sp_npz_array(SpNpzWriter *writer, const char *name, SpDtype dtype, int rank,
                      const int64_t *dims, const void *data);

/* A scalar of numpy's dtype <U{length}; bytes that are no UTF-8 become U+FFFD. */
SpStatus sp_npz_text(SpNpzWriter *writer, const char *name, const char *utf8);

/* An array of `count` texts, each `stride` bytes behind the one before it, likewise. */
SpStatus sp_npz_texts(SpNpzWriter *writer, const char *name, int64_t count, const char *utf8,
                      size_t stride);

/* Arrays that grow side by side, before their first extents are known: what is written of each
 * waits in a nameless file of its own, until the array takes its place in the archive. The bytes
 * are those of an array that is written there at once. `beside`: where those files may stand, as
 * for sp_scratch_open. */
typedef struct SpNpzGrowing SpNpzGrowing;

/* Starts one; dims as for sp_npz_begin, but for the first, which is not looked at. *out is owned by
 * the caller: sp_npz_growing_discard (NULL allowed). It is NULL where the array is left out of the
 * archive; writing to it then does nothing, as does adding it. */
SpStatus sp_npz_grow(SpNpzWriter *writer, const char *beside, const char *name, SpDtype dtype,
                     int rank, const int64_t *dims, SpNpzGrowing **out);

/* Before anything is written: rows of float32 get longer on the way, along the second extent. In
 * the archive all are as long as the last one, and `pad` stands where they end earlier. */
void sp_npz_growing_widens(SpNpzGrowing *array, float pad);

/* The next bytes; of an array that widens, a whole row. */
SpStatus sp_npz_growing_write(SpNpzGrowing *array, const void *data, size_t bytes);
SpStatus sp_npz_growing_add(SpNpzWriter *writer, SpNpzGrowing *array);
void sp_npz_growing_discard(SpNpzGrowing *array);

/* Writes the directory that ends the archive and flushes the stream. */
SpStatus sp_npz_finish(SpNpzWriter *writer);

/* Frees the writer, finished or not; NULL is allowed. The stream stays open. */
void sp_npz_discard(SpNpzWriter *writer);

/* Reading: archives written here, by numpy.savez or numpy.savez_compressed. */
typedef struct SpNpz SpNpz;

/* Opens `path` and reads its directory. Errors: SP_INPUT naming the file; SP_MEMORY. *out is owned
 * by the caller: sp_npz_close. */
SpStatus sp_npz_open(const char *path, SpNpz **out);

/* Whether there is an array `name`. */
bool sp_npz_has(const SpNpz *npz, const char *name);

/* The name of the i-th array of the directory, from 0, cut at `capacity` bytes; false behind the
 * last. Members that are no arrays have an empty name. */
bool sp_npz_name(const SpNpz *npz, size_t i, char *name, size_t capacity);

/* The rank and extents of array `name`. Errors: SP_INPUT as below. */
SpStatus sp_npz_shape(SpNpz *npz, const char *name, int *rank, int64_t dims[SP_MAX_RANK]);

/* Whether a regular file begins as a ZIP archive does. */
bool sp_npz_begins(const char *path);

/* As sp_npz_shape, and the type: 'f', 'u', 'i' or 'b'. Nothing but the header is read, yet what
 * sp_npz_read_f32 says of type, size and shape is an error here, too. */
SpStatus sp_npz_inspect(SpNpz *npz, const char *name, char *type, int *rank,
                        int64_t dims[SP_MAX_RANK]);

/* Whether array `name` is there, a text (numpy's <U), and begins with `ascii`. SP_INPUT: it is
 * damaged. */
SpStatus sp_npz_text_begins(const SpNpz *npz, const char *name, const char *ascii, bool *begins);

/* Reads array `name` as float32, row-major, from numpy's floats of 2, 4 and 8 bytes, integers of 1
 * to 8 and booleans (true is 1), of either byte order, in C or Fortran order.
 * dims[rank]: in, the extent each axis must have, -1 for any; out, the extents found.
 * *out is malloc'ed and the caller's (never NULL on success, even for an empty array).
 * Errors: SP_INPUT naming file and array: missing; another rank or shape ("expected shape 24,*,*,
 * found 3,4"); objects and other types; damaged or truncated; more than 16 GiB. SP_MEMORY, before
 * any is taken, for more than there is. */
SpStatus sp_npz_read_f32(SpNpz *npz, const char *name, int rank, int64_t *dims, float **out);

/* As sp_npz_read_f32, as float64 into out [count], which is the caller's, and of any shape with so
 * many elements. */
SpStatus sp_npz_read_f64(SpNpz *npz, const char *name, int64_t count, double *out);

/* Reads array `name` of texts (numpy's <U), a scalar or a list, as UTF-8: *count texts, each
 * *stride bytes behind the one before it, at most 16 MiB. *out is malloc'ed and the caller's.
 * Errors as of sp_npz_read_f32. */
SpStatus sp_npz_read_texts(SpNpz *npz, const char *name, int64_t *count, size_t *stride,
                           char **out);

/* NULL is allowed. */
void sp_npz_close(SpNpz *npz);

#endif

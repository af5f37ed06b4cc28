/*
 * Named tensors in a folder (--dump): tensor "a/b/name" is FOLDER/a/b/name.safetensors, which holds
 * it as "name"; FOLDER/order.txt lists the names in the order in which they came.
 */
#ifndef SP_OUTPUT_TENSORS_H
#define SP_OUTPUT_TENSORS_H

#include <stdint.h>

#include "base/status.h"

typedef struct SpTensorFolder SpTensorFolder;

/* Makes the folder where it is missing. SP_USAGE when its name is too long; SP_OUTPUT naming it;
 * SP_MEMORY. *out is the caller's, also after a failure: sp_tensor_folder_close. */
SpStatus sp_tensor_folder_open(const char *folder, SpTensorFolder **out);

/* Adds float32 data of the shape dims [rank], rank at most 7. A name that comes again, with the
 * same shape, is stacked: its tensor has one axis more in front. Data go straight to NAME.part. The
 * first failure stays until sp_tensor_folder_finish. */
void sp_tensor_folder_add(SpTensorFolder *folder, const char *name, int rank, const int64_t *dims,
                          const float *data);

/* Completes the files and gives them their names. SP_OUTPUT; SP_MEMORY. */
SpStatus sp_tensor_folder_finish(SpTensorFolder *folder);

/* Removes what is not finished. NULL is allowed. */
void sp_tensor_folder_close(SpTensorFolder *folder);

#endif

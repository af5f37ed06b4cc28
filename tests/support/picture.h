/*
 * Images to draw on, and where something is in them.
 */
#ifndef SP_TESTS_PICTURE_H
#define SP_TESTS_PICTURE_H

#include <stddef.h>

#include "output/draw.h"

/* Zeroed memory, to be freed; fails the test when there is none. */
void *allocate(size_t bytes);

/* A black image, whose rgb is to be freed. */
SpImage black(int64_t height, int64_t width);

/* Weight and centre of an image's brightness. */
typedef struct Spot {
    double weight, x, y;
} Spot;

Spot centre_of(const SpImage *image, int (*weight_of)(const uint8_t *pixel));

int brightness(const uint8_t *pixel);

/* How red a pixel is; 0 for what an encoder makes of gray. */
int redness(const uint8_t *pixel);

#endif

#include "support/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

void *allocate(size_t bytes)
{
    void *memory = calloc(bytes, 1);
    assert_non_null(memory);
    return memory;
}

SpImage black(int64_t height, int64_t width)
{
    return (SpImage){height, width, allocate((size_t)(3 * height * width))};
}

Spot centre_of(const SpImage *image, int (*weight_of)(const uint8_t *pixel))
{
    Spot spot = {0};
    for (int64_t i = 0; i < image->height * image->width; i++) {
        const double weight = weight_of(image->rgb + 3 * i);
        spot.weight += weight;
        spot.x += weight * (double)(i % image->width);
        spot.y += weight * (double)(i / image->width);
    }
    spot.x /= spot.weight;
    spot.y /= spot.weight;
    return spot;
}

int brightness(const uint8_t *pixel)
{
    return pixel[0] + pixel[1] + pixel[2];
}

int redness(const uint8_t *pixel)
{
    const int red = 2 * pixel[0] - pixel[1] - pixel[2];
    return red > 60 ? red : 0;
}

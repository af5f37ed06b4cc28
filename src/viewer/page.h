/*
 * The page that shows a result, linked into the program as it is written in this folder
 * (src/viewer/README.md).
 */
#ifndef SP_VIEWER_PAGE_H
#define SP_VIEWER_PAGE_H

#include <stddef.h>

/* How every page begins, to tell one by. */
#define SP_VIEWER_BEGINNING "<!doctype html>\n<!-- spatrack viewer:"

/* The page up to where the result stands in base64, and the text that ends it. The bytes live as
 * long as the program; *size: their number. */
const char *sp_viewer_page(size_t *size);
#define SP_VIEWER_END "</script>\n"

#endif

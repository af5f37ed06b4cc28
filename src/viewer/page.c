#include "viewer/page.h"

/* The assembler puts the files together. A list of text and files, in the page's order. */
#define TEXT(text)  ".ascii \"" text "\"\n"
#define PART(name)  ".incbin \"" SP_VIEWER_DIR "/" name "\"\n"
#define STYLE(name) TEXT("<style>\\n") PART(name) TEXT("</style>\\n")
#define SHADER(name)                                                                               \
    TEXT("<script type='text/plain' id='" name "'>\\n") PART(name) TEXT("</script>\\n")
#define SCRIPT(name) TEXT("<script>\\n") PART(name) TEXT("</script>\\n")

/* clang-format off */
__asm__(".section .rodata\n"
        ".globl sp_viewer_begin\n"
        ".globl sp_viewer_end\n"
        "sp_viewer_begin:\n"
        PART("head.html") STYLE("style.css") PART("body.html")
        SHADER("cloud.glsl") SHADER("lines.glsl") SHADER("dots.glsl")
        SCRIPT("math.js") SCRIPT("npz.js") SCRIPT("clip.js") SCRIPT("draw.js") SCRIPT("settings.js")
        SCRIPT("view.js") SCRIPT("panel.js") SCRIPT("main.js")
        TEXT("<script type='text/plain' id='result'>\\n")
        "sp_viewer_end:\n"
        ".byte 0\n"
        ".previous\n");
/* clang-format on */
extern const char sp_viewer_begin[], sp_viewer_end[];

const char *sp_viewer_page(size_t *size)
{
    *size = (size_t)(sp_viewer_end - sp_viewer_begin);
    return sp_viewer_begin;
}

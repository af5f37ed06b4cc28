#include "output/text.h"

#include <errno.h>
#include <locale.h>
#include <string.h>

#include "base/utf8.h"
#include "output/atomic.h"

SpStatus sp_text_print(FILE *stream, const char *label,
                       void (*print)(FILE *stream, const void *what), const void *what)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return sp_no_memory(label);
    const locale_t before = uselocale(c);
    errno = 0;
    print(stream, what);
    const SpStatus status =
        !ferror(stream) && fflush(stream) == 0 ? sp_ok() : sp_cannot_write(label);
    uselocale(before);
    freelocale(c);
    return status;
}

void sp_text_quote(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (const char *next = text; *text; text = next) {
        const uint32_t code = sp_utf8_next(&next);
        if (code == SP_UTF8_REPLACEMENT)
            fputs("\xef\xbf\xbd", stream);
        else if (code < ' ' || code == 0x7f)
            fputc(' ', stream);
        else
            fprintf(stream, "%s%.*s", code == '"' || code == '\\' ? "\\" : "", (int)(next - text),
                    text);
    }
    fputc('"', stream);
}

bool sp_text_begins(const char *path, const char *text)
{
    char start[128];
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    const size_t length = strlen(text), got = fread(start, 1, length, file);
    fclose(file);
    return got == length && memcmp(start, text, length) == 0;
}

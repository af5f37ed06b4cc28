#include "cli/completions.h"

#include <stdbool.h>
#include <string.h>

#include "cli/options.h"

/* What stands behind a flag, as its value in --help says. */
typedef enum Value { NOTHING, TEXT, WORDS, FILES, FOLDER } Value;

static Value value_of(const SpFlag *flag)
{
    const char *value = flag->value;
    if (!value)
        return NOTHING;
    if (strchr(value, '|'))
        return WORDS;
    if (strcmp(value, "DIR") == 0)
        return FOLDER;
    return strncmp(value, "FILE", 4) == 0 ? FILES : TEXT;
}

/* The ending of "FILE.npz" with its dot; "" of "FILE". */
static const char *ending_of(const SpFlag *flag)
{
    return flag->value + 4;
}

/* The words of "crop|fit" with spaces between them. */
static void print_words(FILE *stream, const SpFlag *flag)
{
    for (const char *at = flag->value; *at; at++)
        fputc(*at == '|' ? ' ' : *at, stream);
}

/* `text` with a backslash before each character of `special`. */
static void print_escaped(FILE *stream, const char *text, const char *special)
{
    for (; *text; text++) {
        if (strchr(special, *text))
            fputc('\\', stream);
        fputc(*text, stream);
    }
}

/* "--name", after "-n|" where it has a letter and `separator` is '|'. */
static void print_names(FILE *stream, const SpFlag *flag, char separator)
{
    if (flag->letter)
        fprintf(stream, "-%c%c", flag->letter, separator);
    fprintf(stream, "--%s", flag->name);
}

static void print_bash_value(FILE *stream, const SpFlag *flag)
{
    const Value value = value_of(flag);
    if (value == NOTHING)
        return;
    fputs("    ", stream);
    print_names(stream, flag, '|');
    fputs(") ", stream);
    if (value == WORDS) {
        fputs("_spatrack_words '", stream);
        print_words(stream, flag);
        fputs("' ;;\n", stream);
    } else if (value == FILES)
        fprintf(stream, "_spatrack_files '%s' ;;\n", ending_of(flag));
    else
        fprintf(stream, "%s ;;\n", value == FOLDER ? "_spatrack_folders" : ":");
}

/* bash splits "--flag=value" into three words. */
static void print_bash(FILE *stream)
{
    SpFlag flag;
    fputs(
        "# bash completion for spatrack, written by spatrack --completions bash\n\n"
        "_spatrack_words()\n"
        "{\n"
        "    mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n"
        "}\n\n"
        "_spatrack_folders()\n"
        "{\n"
        "    compopt -o filenames 2>/dev/null\n"
        "    mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
        "}\n\n"
        "# Files with an ending, and folders that may hold some.\n"
        "_spatrack_files()\n"
        "{\n"
        "    compopt -o filenames 2>/dev/null\n"
        "    mapfile -t COMPREPLY < <(compgen -f -X \"!*$1\" -- \"$cur\"; compgen -d -- \"$cur\")\n"
        "}\n\n"
        "_spatrack()\n"
        "{\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} i\n"
        "    COMPREPLY=()\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        if [[ ${COMP_WORDS[i]} == -- ]]; then\n"
        "            _spatrack_files ''\n"
        "            return\n"
        "        fi\n"
        "    done\n"
        "    if [[ $cur == = ]]; then\n"
        "        cur=\n"
        "    elif [[ $before == = ]]; then\n"
        "        before=${COMP_WORDS[COMP_CWORD-2]}\n"
        "    fi\n"
        "    case $before in\n",
        stream);
    for (int i = 0; sp_options_flag(i, &flag); i++)
        print_bash_value(stream, &flag);
    fputs("    *)\n"
          "        if [[ $cur == -* ]]; then\n"
          "            _spatrack_words '",
          stream);
    for (int i = 0; sp_options_flag(i, &flag); i++) {
        fputs(i ? " " : "", stream);
        print_names(stream, &flag, ' ');
    }
    fputs("'\n"
          "        else\n"
          "            _spatrack_files ''\n"
          "        fi ;;\n"
          "    esac\n"
          "}\n\n"
          "complete -F _spatrack spatrack\n",
          stream);
}

/* Within single quotes: a quote ends them, and is one of its own. */
static void print_zsh_text(FILE *stream, const char *text)
{
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stream);
        else
            print_escaped(stream, (const char[]){*text, 0}, "[]:\\");
}

/* A line of _arguments, "(-o --output)"{-o+,--output=}"[help]:FILE:_files". */
static void print_zsh_flag(FILE *stream, const SpFlag *flag)
{
    const Value value = value_of(flag);
    const char *more = value == NOTHING ? "" : "=";
    fputs("    ", stream);
    if (flag->letter)
        fprintf(stream, "'(-%c --%s)'{-%c%s,--%s%s}'", flag->letter, flag->name, flag->letter,
                value == NOTHING ? "" : "+", flag->name, more);
    else
        fprintf(stream, "'%s--%s%s", flag->repeats ? "*" : "", flag->name, more);
    fputc('[', stream);
    print_zsh_text(stream, flag->help);
    fputc(']', stream);
    if (value != NOTHING) {
        fputc(':', stream);
        print_zsh_text(stream, flag->value);
        fputc(':', stream);
    }
    if (value == WORDS) {
        fputc('(', stream);
        print_words(stream, flag);
        fputc(')', stream);
    } else if (value == FOLDER)
        fputs("_files -/", stream);
    else if (value == FILES && *ending_of(flag))
        fprintf(stream, "_files -g \"*%s\"", ending_of(flag));
    else if (value == FILES)
        fputs("_files", stream);
    fputs("' \\\n", stream);
}

static void print_zsh(FILE *stream)
{
    SpFlag flag;
    fputs("#compdef spatrack\n"
          "# zsh completion for spatrack, written by spatrack --completions zsh\n\n"
          "_arguments -s -S \\\n",
          stream);
    for (int i = 0; sp_options_flag(i, &flag); i++)
        print_zsh_flag(stream, &flag);
    fputs("    '*:video:_files'\n", stream);
}

static void print_fish_flag(FILE *stream, const SpFlag *flag)
{
    const Value value = value_of(flag);
    fputs("complete -c spatrack", stream);
    if (flag->letter)
        fprintf(stream, " -s %c", flag->letter);
    fprintf(stream, " -l %s", flag->name);
    if (value == WORDS) {
        fputs(" -x -a '", stream);
        print_words(stream, flag);
        fputc('\'', stream);
    } else if (value == FOLDER)
        fputs(" -x -a '(__fish_complete_directories)'", stream);
    else if (value == FILES && *ending_of(flag))
        fprintf(stream, " -k -x -a '(__fish_complete_suffix %s)'", ending_of(flag));
    else if (value != NOTHING)
        fputs(value == FILES ? " -r -F" : " -x", stream);
    fputs(" -d '", stream);
    print_escaped(stream, flag->help, "'\\");
    fputs("'\n", stream);
}

static void print_fish(FILE *stream)
{
    SpFlag flag;
    fputs("# fish completion for spatrack, written by spatrack --completions fish\n", stream);
    for (int i = 0; sp_options_flag(i, &flag); i++)
        print_fish_flag(stream, &flag);
}

void sp_completions_print(FILE *stream, int shell)
{
    static void (*const print[])(FILE *) = {print_bash, print_zsh, print_fish};
    print[shell](stream);
}

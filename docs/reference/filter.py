#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Shows a header to Doxygen as people read it. Doxygen calls it with the name of a file and takes the output.

The comment at the head becomes the file's description, with code and terms. Each field of a contract, `/// Returns:`,
becomes a paragraph; `@field` is an alias in the Doxyfile. The forms of one call that follow a comment without an empty
line, as `recv_until` and `recv_until` with a token, become a group that shares it. Lines keep their numbers.
"""

import re
import sys

FIELD = re.compile(r"(?:^|(?<=[.;]))(<?) *\b(Threads|Returns|Lifetime|Blocks|Cost|Errors|Ordering):(?: +|$)")
INCLUDE = re.compile(r"<(bus/[\w/]+\.hpp)>")
TERM = re.compile(r"^([A-Z]\w*(?: \w+)*?)(?: {2,}|$)")  # in front of a column, or alone
WORD = re.compile(r"^([A-Z]\w*) +")
FUNCTION = re.compile(r"(?:[\w:<>,&*\[\]][\w:<>,&*\[\] ]* )?[&*]*([a-z]\w*)\(")
FORMS = re.compile(r"^try_|^async_|^wait_|_until$|_batch(?=_until|$)")


def show_block(block):
    """A paragraph of the comment at a file's head; not one of code."""
    if len(block) == 1 and TERM.fullmatch(block[0]):
        return [f"**{block[0]}**"]
    if any(TERM.match(line) for line in block):
        block = [(TERM if TERM.match(line) else WORD).sub(r"@field{\1} ", line) for line in block]
    return [INCLUDE.sub(r"\\<\1\\>", line.strip()) for line in block]


def show_head(lines):
    """The comment at the head of a file, as a comment for Doxygen, and the rest."""
    end = next(i for i, line in enumerate(lines) if not line.startswith("//"))
    if end == 1:
        return lines
    text = [line[3:] for line in lines[1:end]] + [""]
    shown = ["/** @file"]
    while text:
        stop = text.index("")
        block, text = text[:stop], text[stop + 1:]
        if block and all(line.startswith("  ") for line in block):
            is_code = any(line.endswith(";") for line in block)
            shown[-1] += " @code{.cpp}" if is_code else " @verbatim"
            shown += block + ["@endcode" if is_code else "@endverbatim"]
        else:
            shown += show_block(block) + [""]
    return shown[:end - 1] + [f"{shown[end - 1]} {shown[end]}*/"] + lines[end:]


def stem(line, indent):
    """Of a line with a function: what the names of one call's forms have in common."""
    found = FUNCTION.match(line, len(indent)) if line.startswith(indent) and "= delete" not in line else None
    return found and FORMS.sub("", found[1])


def group_forms(lines):
    """Marks the forms of one call that share a comment as a group."""
    begin = None
    for i, line in enumerate(lines):
        is_comment = re.match(" */// ", line)
        if line.strip() and not (is_comment and not re.match(" */// ", lines[i - 1])):
            continue
        if begin is not None:
            indent = re.match(" *", lines[begin])[0]
            stems = [name for one in lines[begin:i] if (name := stem(one, indent))]
            if len(stems) > 1 and len(set(stems)) == 1:
                lines[begin] = "/** @{ */" + lines[begin]
                lines[i] = "/** @} */" + line
        begin = i if is_comment else None


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = show_head(file.read().splitlines())
    sys.stdout.reconfigure(encoding="utf-8")
    group_forms(lines)
    end = max(i for i, line in enumerate(lines) if line.startswith("}  // namespace bus"))
    for line in lines[:end + 1]:  # behind it stands a specialisation for Boost
        code, slashes, comment = line.partition("///")
        print(code + slashes + FIELD.sub(r"\1 @field{\2} ", INCLUDE.sub(r"\\<\1\\>", comment)))


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The public interface as a list, from what Doxygen made of the headers.

    api.py XML          prints every public type, function, enumerator, field, constant, alias and macro, by header
    api.py XML LIST     compares that with a list
    api.py XML --bare   prints what has no comment and needs one, and fails if there is anything
"""

import difflib
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

# What needs no comment: its name is one that every C++ programmer knows.
KNOWN = {"begin", "end", "size", "empty", "get", "options", "value_type", "reference", "pointer", "difference_type",
         "iterator_category"}
CHOICES = re.compile(r"(Options|Config|Limit|Filter)$")  # structs of which each field is somebody's choice


def text_of(element, path):
    found = element.find(path)
    return "" if found is None else " ".join("".join(found.itertext()).split())


def spelled(code):
    """Code as in the headers, which Doxygen spaces in its own way."""
    code = re.sub(r"< (?!<)", "<", code)
    code = re.sub(r" (>+)", r"\1", code)
    code = re.sub(r" ([&*]+) ?(?=[\w:,)>]|\.\.\.|$)", r"\1 ", code)
    code = re.sub(r"(\)|noexcept|const) ?=(default|delete|0)$", r"\1 = \2", code)
    return re.sub(r" +(?=[,)>])|(?<=[&*]) (?=\.\.\.)| $", "", code)


def template_of(element):
    if element.find("templateparamlist") is None:
        return ""
    params = []
    for param in element.iterfind("templateparamlist/param"):
        name, value = text_of(param, "declname"), text_of(param, "defval")
        params.append(text_of(param, "type") + (f" {name}" if name else "") + (f" = {value}" if value else ""))
    return spelled(f"template <{', '.join(params)}>") + " "


def requirement_of(element):
    requirement = text_of(element, "requiresclause")
    return f" requires {requirement}" if requirement else ""


def flags_of(member):
    return "".join(f"{flag} " for flag in ("static", "explicit") if member.get(flag) == "yes") + (
        "virtual " if member.get("virt") in ("virtual", "pure-virtual") else "")


class Entry:
    """One line of the list."""

    def __init__(self, element, name, line, needs_comment):
        place = element.find("location")
        self.header = place.get("declfile") or place.get("file")
        self.line_number = place.get("declline") or place.get("line")
        self.name = name
        self.line = line
        commented = text_of(element, "briefdescription") or text_of(element, "detaileddescription")
        self.is_bare = needs_comment and not commented


def enumerators(member, name):
    value = -1
    for one in member.iterfind("enumvalue"):
        given = text_of(one, "initializer").removeprefix("=").strip()
        value = int(given, 0) if given else value + 1
        yield f"{name}::{text_of(one, 'name')} = {value}"


def entries_of_member(member, scope):
    is_befriended = member.get("kind") == "friend" and not text_of(member, "argsstring")
    if member.get("prot") != "public" or is_befriended:
        return
    own = text_of(member, "name")
    name = f"{scope}::{own}" if scope else own
    sort = member.get("kind")
    if sort in ("function", "friend"):
        owner = scope.rsplit("::", 1)[-1]
        arguments = text_of(member, "argsstring")
        is_special = own.strip("~") == owner and re.match(rf"\((const )?({owner} &+\w*)?\)", arguments)
        needs = not (is_special or own.startswith("operator") or own in KNOWN or "=delete" in arguments)
        result = text_of(member, "type")
        line = flags_of(member) + spelled(f"{result} {name}{arguments}".strip())
        yield Entry(member, name, template_of(member) + line + requirement_of(member), needs)
    elif sort == "variable":
        line = flags_of(member) + spelled(f"{text_of(member, 'type')} {name}{text_of(member, 'argsstring')}")
        value = text_of(member, "initializer").removeprefix("=").strip()
        needs = bool(CHOICES.search(scope)) and member.get("static") == "no" and own not in KNOWN
        yield Entry(member, name, template_of(member) + line + (f" = {value}" if value else ""), needs)
    elif sort == "enum":
        strong = "enum class" if member.get("strong") == "yes" else "enum"
        base = text_of(member, "type")
        yield Entry(member, name, f"{strong} {name}" + (f" : {base}" if base else ""), True)
        for line in enumerators(member, name if member.get("strong") == "yes" else scope):
            yield Entry(member, line.split(" = ")[0], line, False)
    elif sort == "typedef":
        line = f"using {name} = {spelled(text_of(member, 'type'))}"
        yield Entry(member, name, template_of(member) + line, own not in KNOWN)
    elif sort == "define":
        value = text_of(member, "initializer")
        yield Entry(member, own, f"#define {own}{text_of(member, 'argsstring')} {value}".strip(), True)
    else:
        sys.exit(f"api.py: does not know the {sort} {name}")


def entries_of_compound(compound):
    kind, name = compound.get("kind"), text_of(compound, "compoundname")
    if compound.get("prot", "public") != "public":
        return
    if kind in ("class", "struct"):
        bases = ", ".join(text_of(base, ".") for base in compound.iterfind("basecompoundref"))
        final = " final" if compound.get("final") == "yes" else ""
        line = template_of(compound) + f"{kind} {name}{final}" + (f" : {bases}" if bases else "")
        yield Entry(compound, name, line + requirement_of(compound), True)
    elif kind == "concept":
        definition = text_of(compound, "initializer").split("= ", 1)[1]
        yield Entry(compound, name, f"{template_of(compound)}concept {name} = {definition}", True)
    elif kind not in ("namespace", "file"):
        return
    for member in compound.iter("memberdef"):
        if kind != "file" or member.get("kind") == "define":  # a file repeats the members of its namespaces
            yield from entries_of_member(member, name if kind != "file" else "")


def read(directory):
    """All entries, by header and name."""
    entries = []
    index = ElementTree.parse(directory / "index.xml")
    for compound in index.iterfind("compound"):
        tree = ElementTree.parse(directory / f"{compound.get('refid')}.xml")
        for definition in tree.iterfind("compounddef"):
            entries += entries_of_compound(definition)
    return sorted(entries, key=lambda entry: (entry.header, entry.name, entry.line))


def listed(entries):
    lines = []
    header = None
    for entry in entries:
        if entry.header != header:
            header = entry.header
            lines += [""] * bool(lines) + [header]
        lines.append(f"  {entry.line}")
    return lines


def main():
    entries = read(pathlib.Path(sys.argv[1]))
    if not any(entry.name == "bus::Bus" for entry in entries):
        sys.exit(f"api.py: there is no bus::Bus in {sys.argv[1]}")
    if len(sys.argv) == 2:
        print("\n".join(listed(entries)))
    elif sys.argv[2] == "--bare":
        bare = [f"include/{entry.header}:{entry.line_number}: needs a comment: {entry.line}" for entry in entries
                if entry.is_bare]
        print("\n".join(bare), end="\n" if bare else "")
        sys.exit(1 if bare else 0)
    else:
        kept = pathlib.Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
        difference = list(difflib.unified_diff(kept, listed(entries), sys.argv[2], "the headers", lineterm="", n=1))
        if difference:
            print("\n".join(difference))
            sys.exit("The public interface has changed. docs/compatibility.md says what may; if it may, run\n"
                     "    scripts/docs --update-api")


main()

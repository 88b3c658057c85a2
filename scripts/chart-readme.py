#!/usr/bin/env python3
"""Writes the table of values in the chart's README.md: chart-readme.py [--check]

Names, defaults and descriptions come from values.yaml (the comment that begins with `--` above each value), types from
values.schema.json. Fails when the three do not agree: a value without a description or without a type, or a type
without a value. With --check nothing is written, and a stale README.md is a failure.
"""

import json
import re
import sys
from pathlib import Path

CHART = Path(__file__).resolve().parent.parent / "charts/scim-operator"
BEGIN, END = "<!-- values: written by `make generate` -->\n", "<!-- /values -->\n"


def values(text: str) -> list[tuple[str, str, str]]:
    """Name, default and description of each value, in the order of the file.

    Reads the YAML that values.yaml is written in: block mappings, indented by two. A described value's own block is its
    default.
    """
    found, path, description, lines = [], [], [], text.splitlines()
    at = 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if comment := re.match(r" *# ?(.*)", line):
            if comment[1].startswith("-- "):
                description = [comment[1][3:]]
            elif description:
                description.append(comment[1])
            continue
        entry = re.match(r"( *)([A-Za-z]+):(?: (.+))?$", line)
        if not entry:
            assert not line.strip(), f"values.yaml:{at}: not understood: {line}"
            description = []
            continue
        depth = len(entry[1]) // 2
        path = path[:depth] + [entry[2]]
        if not description:
            assert not entry[3], f"values.yaml:{at}: {'.'.join(path)} has no description (a comment `# -- …` above it)"
            continue
        block = []
        while at < len(lines) and lines[at].startswith(entry[1] + "  "):
            block.append(lines[at].strip())
            at += 1
        default = entry[3] or "see `values.yaml`"
        found.append((".".join(path), f"`{default}`" if entry[3] else default, " ".join(description)))
        description = []
    return found


def types(schema: dict, definitions: dict, path: str = "") -> dict[str, str]:
    """The type of each value, in words; of a block as a whole and of what is in it."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
    found = {}
    if path:
        choices = schema.get("enum") or [types(one, definitions, "x").get("x") for one in schema.get("anyOf", [])]
        if "const" in schema:
            found[path] = "string"
        elif "enum" in schema:
            found[path] = ", ".join(f"`{choice}`" for choice in choices)
        elif choices:
            found[path] = " or ".join(dict.fromkeys(choices))
        else:
            found[path] = schema["type"]
    for name, inner in schema.get("properties", {}).items():
        found |= types(inner, definitions, f"{path}.{name}".lstrip("."))
    return found


def table() -> str:
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = types(schema, schema["$defs"])
    rows = values((CHART / "values.yaml").read_text())
    names = [name for name, _, _ in rows]
    for name in names:
        assert name in known, f"values.schema.json does not have {name}"
    # Helm puts `global` there when the chart is part of another.
    for name in known.keys() - {"global"}:
        near = [other for other in names if f"{other}.".startswith(f"{name}.") or f"{name}.".startswith(f"{other}.")]
        assert near, f"values.yaml does not have {name}"
    lines = ["| value | type | default | |\n", "|---|---|---|---|\n"]
    lines += [f"| `{name}` | {known[name]} | {default} | {about} |\n" for name, default, about in rows]
    return "".join(lines)


def main() -> None:
    readme = CHART / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    fresh = f"{before}{BEGIN}{table()}{END}{after}"
    if "--check" not in sys.argv:
        readme.write_text(fresh)
    elif fresh != text:
        sys.exit(f"{readme.relative_to(CHART.parent.parent)} is stale: run `make generate`")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"scripts/chart-readme.py: {error}")

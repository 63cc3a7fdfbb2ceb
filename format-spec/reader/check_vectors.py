"""Runs the vectors of column and sorted pages through the independent reader: check_vectors.py PARSERS.

Good ones must give the values that stand in them; of the bad ones every one must be refused, by the description, by
the reader's own checks, or by running out of bytes.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import pages  # noqa: E402
from stoa_reader import parse  # noqa: E402

VECTORS = Path(__file__).parent.parent / "vectors"


def from_hex(text):
    out = b""
    for word in text.split():
        digits, _, count = word.partition("*")
        out += bytes.fromhex(digits) * int(count or 1)
    return out


def plain(value):
    return value.hex() if isinstance(value, bytes) else value


def column_page(data):
    return [[ordinal, plain(value)] for ordinal, value in pages.cells(parse("column_page", data), {})]


def sorted_page(data):
    return [[key.hex(), plain(value)] for key, value in pages.entries(parse("sorted_page", data))]


def vectors():
    """What kind of page, its name, its bytes, and what it holds; None if it must be refused."""
    for name in ("column-page.jsonl", "sorted-page.jsonl"):
        for line in (VECTORS / name).read_text().splitlines():
            vector = json.loads(line)
            holds = None if vector["error"] is not None else vector["value"]
            yield vector["structure"], vector["name"], from_hex(vector["hex"]), holds
    for line in (VECTORS / "pages.jsonl").read_text().splitlines():
        vector = json.loads(line)
        yield vector["what"], vector["note"], bytes.fromhex(vector["hex"]), vector.get("cells", vector.get("entries"))


def main():
    readers = {"column page": column_page, "sorted page": sorted_page}
    faults, count = [], 0
    for structure, name, data, holds in vectors():
        read = readers.get(structure)
        if not read:
            continue
        count += 1
        try:
            said = read(data)
        except Exception as fault:  # whatever refuses it
            said = fault
        if holds is not None and said != holds:
            faults.append(f"{structure}: {name}: {said!r}")
        if holds is None and not isinstance(said, Exception):
            faults.append(f"{structure}: {name}: is read as {said!r}")
    print("\n".join(faults) or f"{count} vectors hold")
    raise SystemExit(bool(faults))


main()

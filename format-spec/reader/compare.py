"""Compares the value lines of two readers: compare.py OURS THEIRS."""
import collections
import json
import sys


def values(path):
    found = collections.Counter()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            fact = json.loads(line)
            if "value" in fact:
                found[json.dumps(fact, sort_keys=True, ensure_ascii=False)] += 1
    return found


def main():
    ours, theirs = values(sys.argv[1]), values(sys.argv[2])
    if not ours:
        raise SystemExit("the independent reader found no value at all")
    for what, lines in (("only the independent reader", ours - theirs), ("only stoa inspect", theirs - ours)):
        for line in list(lines.elements())[:10]:
            print(f"{what}: {line}")
    if ours != theirs:
        raise SystemExit(f"{(ours - theirs).total()} and {(theirs - ours).total()} values differ")
    print(f"{ours.total()} values, read alike by both")


main()

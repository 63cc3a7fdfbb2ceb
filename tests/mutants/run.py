#!/usr/bin/env python3
"""Applies each mutant of mutants.toml to a copy of the tree, one at a time, and runs the test that is
to catch it. Reports those that survive, and ends with 1 if one does.

    tests/mutants/run.py              all of them
    tests/mutants/run.py NAME ...     those
    tests/mutants/run.py --list       their names

The copy stands in target/mutants/tree; what cargo makes goes to target/mutants/target, or to the
directory that STOA_MUTANTS_TARGET_DIR names.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ROOT / "target/mutants/tree"
TARGET = os.environ.get("STOA_MUTANTS_TARGET_DIR", str(ROOT / "target/mutants/target"))
# What a caught mutant may do is wait for ever.
TIMEOUT_S = 900
PACKAGES = {"engine": ["-p", "stoa-format", "-p", "stoa-engine"], "server": ["--workspace"], "loom": ["-p", "stoa-loom"]}
# A mutant is built once and run once: building it fast is worth more than running it fast.
UNOPTIMISED = [
    argument
    for crate in ("stoa-format", "stoa-engine")
    for argument in ("--config", f"profile.dev.package.{crate}.opt-level=0")
]


def copy_tree():
    """Brings the copy up to date; what has not changed keeps its time, so that cargo builds it once."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for name in names:
        source, copy = ROOT / name, TREE / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            shutil.copymode(source, copy)
    for copy in list(TREE.rglob("*")):
        if copy.is_file() and str(copy.relative_to(TREE)) not in names:
            copy.unlink()


def cargo_test(on, target, names):
    """Runs these tests; answers how many passed, whether they were run at all, and what was printed."""
    environment = {**os.environ, "CARGO_TARGET_DIR": TARGET, "PROPTEST_CASES": os.environ.get("PROPTEST_CASES", "256")}
    if on == "loom":
        environment |= {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": TARGET + "-loom"}
    command = ["cargo", "test", *UNOPTIMISED, *PACKAGES[on], *target.split(), "--", "--exact", *names]
    # In a group of its own, so that a server that a test has started ends with it.
    process = subprocess.Popen(
        command, cwd=TREE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        printed = process.communicate(timeout=TIMEOUT_S)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        printed = process.communicate()[0].decode(errors="replace") + "\n(timed out)"
    passed = sum(int(count) for count in re.findall(r"test result: \w+\. (\d+) passed", printed))
    return passed, "running " in printed, process.returncode == 0, printed


def baseline(mutants):
    """Without a mutant, every test that is named is there and passes."""
    groups = {}
    for mutant in mutants:
        groups.setdefault((mutant["on"], mutant["target"]), set()).add(mutant["test"])
    for (on, target), names in sorted(groups.items()):
        passed, _, well, printed = cargo_test(on, target, sorted(names))
        if not well or passed != len(names):
            print(printed[-4000:])
            sys.exit(f"without any mutant: {passed} of {len(names)} tests of {on} {target} pass")


def try_one(mutant):
    """Answers 'caught', 'SURVIVED' or 'DOES NOT BUILD'."""
    path = TREE / mutant["file"]
    text = path.read_text()
    if text.count(mutant["find"]) != 1:
        return "DOES NOT APPLY", ""
    path.write_text(text.replace(mutant["find"], mutant["replace"]))
    try:
        _, ran, well, printed = cargo_test(mutant["on"], mutant["target"], [mutant["test"]])
    finally:
        path.write_text(text)
    if well:
        return "SURVIVED", printed
    return ("caught", "") if ran else ("DOES NOT BUILD", printed)


def main():
    mutants = tomllib.loads((ROOT / "tests/mutants/mutants.toml").read_text())["mutant"]
    if sys.argv[1:] == ["--list"]:
        print("\n".join(mutant["name"] for mutant in mutants))
        return
    chosen = [mutant for mutant in mutants if not sys.argv[1:] or mutant["name"] in sys.argv[1:]]
    if len(chosen) < len(set(sys.argv[1:])) or not chosen:
        sys.exit("no mutant of that name: see --list")
    copy_tree()
    if not os.environ.get("STOA_MUTANTS_NO_BASELINE"):
        baseline(chosen)
    bad = []
    for at, mutant in enumerate(chosen, 1):
        started = time.monotonic()
        outcome, printed = try_one(mutant)
        print(f"{at}/{len(chosen)} {outcome}: {mutant['name']} ({time.monotonic() - started:.0f} s)", flush=True)
        if outcome != "caught":
            bad.append(mutant["name"])
            print(printed[-3000:], flush=True)
    print(f"{len(chosen) - len(bad)} of {len(chosen)} mutants are caught" + (": not " + ", ".join(bad) if bad else ""))
    sys.exit(1 if bad else 0)


main()

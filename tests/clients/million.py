"""A million users by the real clients: import, counts, listings, a group of all, deletes. Prints what each
took; a wrong listing, member or delete is an error, what is slow is not.

    million.py STOA DIR [USERS] [PEOPLE.ldif]      make million
"""

import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

import redis

POOL = "million"
PAGE = 100
FILTERS = [
    'locale eq "en-US"',
    'given_name eq "Ana"',
    'family_name sw "Mu"',
    'name co "ann"',
    'email ew ".com"',
    'created_at gt "2020-01-01T00:00:00Z"',
]


def as_map(reply):
    """RESP2's flat maps."""
    return dict(zip(reply[::2], reply[1::2]))


def milliseconds(run):
    started = time.perf_counter()
    result = run()
    return (time.perf_counter() - started) * 1000, result


def import_people(stoa, people, data, users):
    """Imports the file into a new store; answers how many users there are."""
    command = [stoa, "import", "--pool", POOL, "--format", "ldif", people, "--data", data]
    took_ms, done = milliseconds(lambda: subprocess.run(command, capture_output=True, text=True))
    printed = done.stdout + done.stderr
    created = int(re.search(r"(\d+) created", printed).group(1))
    assert done.returncode in (0, 1) and created > users * 0.99, printed
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"import: {created} users, {created / took_ms * 1000:.0f} a second, {memory} MiB at most")
    return created


def count_filters(server):
    for text in FILTERS:
        samples = [milliseconds(lambda: server.execute_command("USER.COUNT", POOL, "FILTER", text)) for _ in range(7)]
        print(f"USER.COUNT {text}: {statistics.median(took for took, _ in samples):.1f} ms, {samples[0][1]} users")


def list_all(server, words, key):
    """Walks a listing; answers the subs."""
    subs, times, cursor = [], [], None
    while True:
        more = ["CURSOR", cursor] if cursor else []
        took_ms, page = milliseconds(lambda: as_map(server.execute_command(*words, "LIMIT", PAGE, *more)))
        times.append(took_ms)
        subs += [as_map(user)["sub"] for user in page[key]]
        cursor = page["cursor"]
        if not cursor:
            break
    first, last = statistics.median(times[:50]), statistics.median(times[-51:-1])
    print(f"{words[0]}: {len(times)} pages of {PAGE}; one of the first 50 {first:.2f} ms, of the last 50 {last:.2f} ms")
    return subs


def group_of_all(server, subs):
    server.execute_command("GROUP.CREATE", POOL, "all-of-them")
    started = time.perf_counter()
    for at in range(0, len(subs), 1000):
        server.execute_command("GROUP.ADD", POOL, "all-of-them", *subs[at : at + 1000])
    print(f"GROUP.ADD: all of them in {time.perf_counter() - started:.1f} s")
    assert set(list_all(server, ["GROUP.MEMBERS", POOL, "all-of-them"], "users")) == set(subs)


def delete_all(server, port, subs, path):
    with open(path, "w") as out:
        for sub in subs:
            out.write(f"*3\r\n$11\r\nUSER.DELETE\r\n${len(POOL)}\r\n{POOL}\r\n${len(sub)}\r\n{sub}\r\n")
    with open(path) as commands:
        pipe = ["redis-cli", "-p", str(port), "--pipe"]
        took_ms, done = milliseconds(lambda: subprocess.run(pipe, stdin=commands, capture_output=True, text=True))
    assert f"errors: 0, replies: {len(subs)}" in done.stdout, done.stdout
    assert server.execute_command("USER.COUNT", POOL) == 0
    print(f"USER.DELETE: {len(subs)} pipelined in {took_ms / 1000:.1f} s")


def main():
    stoa, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    users = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    people = sys.argv[4] if len(sys.argv) > 4 else str(directory / "people.ldif")
    if len(sys.argv) <= 4:
        subprocess.run([stoa, "sample", "--users", str(users), "--out", people], check=True)
    created = import_people(stoa, people, str(directory / "DATA"), users)
    serve = [stoa, "serve", "--dev", "--log", "error", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data"]
    process = subprocess.Popen([*serve, str(directory / "DATA")], stdout=subprocess.PIPE, text=True)
    try:
        port = int(next(line for line in process.stdout if "is ready on" in line).rsplit(":", 1)[1])
        server = redis.Redis(port=port, protocol=2, decode_responses=True)
        count_filters(server)
        subs = list_all(server, ["USER.LIST", POOL], "users")
        assert len(set(subs)) == created
        group_of_all(server, subs)
        delete_all(server, port, subs, directory / "deletes.resp")
    finally:
        process.terminate()
        process.wait()
    shutil.rmtree(directory)


main()

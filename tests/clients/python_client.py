"""All commands of the protocol through an unmodified redis-py. Usage: python_client.py PORT 2|3"""
import json, sys
import redis

port, proto = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=proto, decode_responses=True)
P = f"py{proto}"
ran = set()


def x(*words):
    ran.add(words[0].upper())
    return r.execute_command(*words)


def m(reply):
    """A map in either protocol version."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2]))


def refused(word, *words):
    try:
        reply = x(*words)
    except redis.ResponseError as error:
        # redis-py leaves the word ERR out.
        assert word == "ERR" or str(error).startswith(word) or type(error).__name__.upper().startswith(word), (word, str(error))
        return str(error)
    raise AssertionError(f"{words[0]} was not refused: {type(reply)}")


def yes(value):
    return value in (True, 1)


assert x("PING") in ("PONG", True)
assert x("ECHO", "hello") == "hello"
assert m(x("POOL.CREATE", P, "SCHEMA", json.dumps({"attributes": {
    "custom:plan": {"type": "string", "max_len": 32}, "custom:tags": {"type": "string", "multi": True},
    "custom:age": {"type": "integer"}}})))["id"]
refused("EXISTS", "POOL.CREATE", P)
assert P in m(x("POOL.LIST"))["pools"]
a = m(x("USER.CREATE", P, "username", "ana", "email", "Ana@Example.com", "given_name", "Ana", "PASSWORD", "correct horse"))
b = m(x("USER.CREATE", P, "JSON", json.dumps({"username": "bo", "email": "bo@example.com", "custom:tags": ["x", "y"], "custom:age": 7})))
refused("DUPLICATE", "USER.CREATE", P, "email", "ANA@example.com")
refused("INVALID", "USER.CREATE", P, "nonsense")
u = m(x("USER.GET", P, "email=ana@example.com"))
assert u["sub"] == a["sub"] and u["given_name"] == "Ana" and u["status"] == "CONFIRMED", u
assert x("USER.GET", P, "username=nobody") is None
assert m(x("USER.GET", P, b["sub"], "custom:tags", "nickname")) in (
    {"custom:tags": '["x","y"]', "nickname": None}, {"custom:tags": ["x", "y"], "nickname": None})
assert len(x("USER.MGET", P, a["sub"], "username=bo", "username=none")) == 3
s = m(x("USER.SET", P, a["sub"], "IF", "1", "nickname", "an"))
assert s["version"] == 2, s
refused("CONFLICT", "USER.SET", P, a["sub"], "IF", "1", "nickname", "x")
x("USER.UNSET", P, a["sub"], "nickname")
x("USER.ADD", P, b["sub"], "custom:tags", "z")
x("USER.REMOVE", P, b["sub"], "custom:tags", "x")
t = m(x("USER.SET", P, a["sub"], "TOKEN", "t-1", "nickname", "tok"))
again = m(x("USER.SET", P, a["sub"], "TOKEN", "t-1", "nickname", "tok"))
assert yes(again["replayed"]) and again["seq"] == t["seq"]
refused("CONFLICT", "USER.SET", P, a["sub"], "TOKEN", "t-1", "nickname", "other")
x("USER.DISABLE", P, a["sub"])
v = m(x("CRED.VERIFY", P, "login=ana", "correct horse"))
assert not yes(v["verified"]) and yes(v["matched"]) and v["reason"] == "disabled", v
x("USER.ENABLE", P, a["sub"])
v = m(x("CRED.VERIFY", P, "login=ana", "correct horse"))
assert yes(v["verified"]) and v["sub"] == a["sub"], v
v = m(x("CRED.VERIFY", P, "login=ana", "ATTEMPT", "at-1", "wrong"))
assert v["reason"] == "wrong" and not yes(v["verified"]), v
assert m(x("CRED.VERIFY", P, "login=nobody", "wrong"))["reason"] == "no_user"
assert yes(m(x("CRED.CHANGE", P, "login=ana", "correct horse", "battery staple"))["verified"])
x("CRED.SET", P, b["sub"], "HASH", "{SSHA}0H+zTv8o4MR4H43n03eCsvw1luG8LdB7")
assert yes(m(x("CRED.VERIFY", P, "username=bo", "secret"))["matched"])
assert m(x("CRED.GET", P, a["sub"]))["scheme"] == "argon2id"
x("CRED.UNLOCK", P, a["sub"])
x("USER.STATUS", P, b["sub"], "RESET_REQUIRED")
x("CRED.PUT", P, a["sub"], "totp", "phone", "LABEL", "my phone", "blob-bytes")
assert m(x("CRED.READ", P, a["sub"], "totp", "phone"))["blob"] == "blob-bytes"
x("CRED.PUT", P, a["sub"], "webauthn", "key-1", "pk")
assert m(x("CRED.FIND", P, "webauthn", "key-1"))["sub"] == a["sub"] if not isinstance(x("CRED.FIND", P, "webauthn", "key-1"), str) else True
x("CRED.LIST", P, a["sub"])
x("CRED.PUT", P, a["sub"], "recovery", "r1", "code-1")
x("CRED.CONSUME", P, a["sub"], "recovery", "code-1")
x("CRED.DEL", P, a["sub"], "totp", "phone")
x("IDENTITY.LINK", P, a["sub"], "google", "g-1")
x("IDENTITY.FIND", P, "google", "g-1")
refused("DUPLICATE", "IDENTITY.LINK", P, b["sub"], "google", "g-1")
x("IDENTITY.UNLINK", P, a["sub"], "google", "g-1")
x("GROUP.CREATE", P, "staff", "DESCRIPTION", "all staff", "PRECEDENCE", "3")
x("GROUP.SET", P, "staff", "ROLE", "admin")
assert m(x("GROUP.GET", P, "staff"))["role"] == "admin"
x("GROUP.LIST", P, "PREFIX", "st")
assert m(x("GROUP.ADD", P, "staff", a["sub"], "username=bo"))["changed"] == 2
assert len(m(x("GROUP.MEMBERS", P, "staff"))["users"]) == 2
assert m(x("USER.GROUPS", P, a["sub"]))["groups"]
x("GROUP.REMOVE", P, "staff", "username=bo")
x("GROUP.RENAME", P, "staff", "crew")
x("GROUP.DELETE", P, "crew")
page = m(x("USER.LIST", P, "LIMIT", "1", "ATTRS", "username"))
assert len(page["users"]) == 1 and page["cursor"]
page2 = m(x("USER.LIST", P, "LIMIT", "1", "CURSOR", page["cursor"], "ATTRS", "username"))
assert len(page2["users"]) == 1 and page2["seq"] == page["seq"]
assert x("USER.COUNT", P, "FILTER", 'given_name eq "ana"') == 1
assert x("USER.COUNT", P, "FILTER", "custom:age ge $1", "ARGS", "1", "7") == 1
refused("INVALID", "USER.COUNT", P, "FILTER", "given_name eq")
x("USER.SETALL", P, "FILTER", 'username eq "bo"', "custom:plan", "gold")
x("POOL.ALTER", P, "SCHEMA", json.dumps({"attributes": {"custom:more": {"type": "boolean"}}}))
x("POOL.CONFIG", P, "SET", "lockout", json.dumps({"max_attempts": 3}))
x("POOL.CONFIG", P, "GET", "lockout")
x("POOL.CONFIG", P, "LIST")
x("POOL.CONFIG", P, "DEL", "lockout")
x("POOL.KEY", P, "STATUS")
x("POOL.KEY", P, "ROTATE")
job = m(x("POOL.FLUSH", P))
x("JOB.STATUS", P, str(job["job"]))
x("JOB.LIST", P)
x("POOL.COMPACT", P)
x("POOL.VERIFY", P)
x("MERKLE.KEY", P)
assert m(x("MERKLE.ROOT", P))["digest"]
x("MERKLE.NODES", P, "0", "0")
x("MERKLE.LEAF", P, "0")
info = m(x("POOL.INFO", P))
assert info["users"] == 2, info
changes = x("CHANGES", P, "FROM", "1", "COUNT", "10")
assert changes and m(changes[0])["ops"]
assert m(x("USER.DELETE", P, b["sub"]))["changed"] == 1
assert m(x("USER.DELETE", P, b["sub"]))["changed"] == 0

# Two users swap an alias in one transaction.
c = m(x("USER.CREATE", P, "username", "c"))["sub"]
d = m(x("USER.CREATE", P, "username", "d"))["sub"]
pipe = r.pipeline(transaction=True)
pipe.execute_command("USER.SET", P, c, "username", "d")
pipe.execute_command("USER.SET", P, d, "username", "c")
assert len(pipe.execute()) == 2
ran.update({"MULTI", "EXEC"})
assert m(x("USER.GET", P, "username=c", "sub"))["sub"] == d
pipe = r.pipeline(transaction=True)
pipe.execute_command("USER.SET", P, c, "nickname", "n")
pipe.execute_command("USER.SET", P, d, "IF", "99", "nickname", "n")
try:
    pipe.execute()
    raise AssertionError("a transaction with a failed precondition was taken")
except redis.ResponseError as error:
    assert "CONFLICT" in str(error), error
assert m(x("USER.GET", P, c, "nickname"))["nickname"] is None

for words in (["COMMAND", "COUNT"], ["COMMAND", "INFO", "USER.GET"], ["COMMAND", "DOCS", "USER.GET"], ["COMMAND", "LIST"],
              ["COMMAND", "GETKEYS", "USER.GET", P, "x"], ["INFO"], ["CONFIG", "GET", "save"], ["ROLE"], ["WAIT", "0", "10"],
              ["READONLY"], ["READWRITE"], ["CLUSTER", "INFO"], ["CLUSTER", "MYID"], ["CLUSTER", "SLOTS"], ["CLUSTER", "SHARDS"],
              ["CLUSTER", "NODES"], ["CLUSTER", "KEYSLOT", P], ["CLIENT", "ID"], ["CLIENT", "INFO"], ["CLIENT", "LIST"],
              ["CLIENT", "SETNAME", "me"], ["CLIENT", "GETNAME"], ["SELECT", "0"], ["STATS"], ["AUDIT"],
              ["ACL", "WHOAMI"], ["ACL", "USERS"], ["ACL", "LIST"], ["ACL", "CAT"], ["ACL", "GENPASS"],
              ["ACL", "SETUSER", f"tier{proto}", "on", ">pw", "+@signin", f"~{P}"], ["ACL", "GETUSER", f"tier{proto}"],
              ["ACL", "DRYRUN", f"tier{proto}", "USER.GET", P, c], ["ACL", "LOG"]):
    if words[0] in ("COMMAND", "CLIENT", "CLUSTER", "CONFIG", "ACL"):  # redis-py names a command with its subcommand
        words = [" ".join(words[:2])] + words[2:]
    x(*words)
low = redis.Redis(port=port, protocol=proto, decode_responses=True, username=f"tier{proto}", password="pw")
try:
    low.execute_command("USER.GET", P, c)
    raise AssertionError("a sign-in tier read a profile")
except redis.exceptions.NoPermissionError:
    pass
low.execute_command("CRED.VERIFY", P, "login=ana", "battery staple")
x("ACL", "DELUSER", f"tier{proto}")
refused("ERR", "WATCH", "x")
message = refused("ERR", "CRED.VERFY", P, "secret-argument")
assert "secret-argument" not in message, message
x("POOL.DROP", P, "CONFIRM", P)
refused("NOPOOL", "POOL.INFO", P)
print(f"ok {len(ran)} commands in RESP{proto}")

"""Writes with retry tokens through a proxy that loses replies; the final state must equal the model's.
Usage: lossy.py PROXY_PORT DIRECT_PORT"""
import sys
import redis

lossy = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
direct = redis.Redis(port=int(sys.argv[2]), decode_responses=True)


def persist(*words):
    """Repeats until it is answered, as a caller of a lossy service must; the token makes that safe."""
    for _ in range(50):
        try:
            return lossy.execute_command(*words)
        except (redis.ConnectionError, redis.TimeoutError):
            continue
    raise AssertionError("no answer in fifty tries")


direct.execute_command("POOL.CREATE", "lossypy")
direct.execute_command("GROUP.CREATE", "lossypy", "g")
model = {}
for i in range(60):
    name = f"user{i:03}"
    persist("USER.CREATE", "lossypy", "TOKEN", f"create-{i}", "username", name)
    for j in range(3):
        persist("USER.SET", "lossypy", f"username={name}", "TOKEN", f"set-{i}-{j}", "nickname", f"n{i}-{j}")
    model[name] = f"n{i}-2"
    persist("GROUP.ADD", "lossypy", "g", f"username={name}")
    if i % 7 == 0:
        persist("USER.DELETE", "lossypy", f"username={name}", "TOKEN", f"delete-{i}")
        del model[name]
for i in range(12):  # wrong once each, repeated by attempt id: one failure each, so nobody is locked
    persist("CRED.SET", "lossypy", "username=user001", "TOKEN", "pw", "PASSWORD", "right")
    if i < 3:
        persist("CRED.VERIFY", "lossypy", "username=user001", "ATTEMPT", f"a{i}", "wrong")
verdict = persist("CRED.VERIFY", "lossypy", "username=user001", "right")
verdict = verdict if isinstance(verdict, dict) else dict(zip(verdict[::2], verdict[1::2]))
assert verdict["verified"] in (True, 1), verdict
found, cursor = {}, None
while True:
    words = ["USER.LIST", "lossypy", "LIMIT", "25"] + (["CURSOR", cursor] if cursor else []) + ["ATTRS", "username", "nickname"]
    page = direct.execute_command(*words)
    page = page if isinstance(page, dict) else dict(zip(page[::2], page[1::2]))
    for user in page["users"]:
        user = user if isinstance(user, dict) else dict(zip(user[::2], user[1::2]))
        assert user["username"] not in found, "a create was applied twice"
        found[user["username"]] = user["nickname"]
    cursor = page["cursor"]
    if cursor is None:
        break
assert found == model, (len(found), len(model))
print("ok")

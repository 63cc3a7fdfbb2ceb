// The commands of the protocol through unmodified node-redis and ioredis. Usage: node_client.mjs PORT PROTO
import { createRequire } from "node:module";
const require = createRequire(process.env.STOA_NODE_ENV + "/");
const { createClient } = require("redis");
const Redis = require("ioredis").default ?? require("ioredis");
const assert = require("node:assert");

const [port, proto] = [Number(process.argv[2]), Number(process.argv[3])];
const map = (r) => {
  if (r instanceof Map) return Object.fromEntries(r);
  if (!Array.isArray(r)) return r;
  const out = {};
  for (let i = 0; i < r.length; i += 2) out[r[i]] = r[i + 1];
  return out;
};

async function drive(name, call, multi) {
  const pool = name + proto;
  assert.ok(map(await call("POOL.CREATE", pool)).id);
  const ana = map(await call("USER.CREATE", pool, "username", "ana", "email", "Ana@Example.com", "PASSWORD", "correct horse"));
  const user = map(await call("USER.GET", pool, "email=ana@example.com"));
  assert.equal(user.sub, ana.sub);
  assert.equal(await call("USER.GET", pool, "username=nobody"), null);
  assert.equal(map(await call("USER.SET", pool, ana.sub, "IF", "1", "nickname", "an")).version, 2);
  await assert.rejects(call("USER.SET", pool, ana.sub, "IF", "1", "nickname", "an"), /CONFLICT/);
  const verdict = map(await call("CRED.VERIFY", pool, "login=ana", "correct horse"));
  assert.ok(verdict.verified === true || verdict.verified === 1);
  await call("GROUP.CREATE", pool, "staff");
  assert.equal(map(await call("GROUP.ADD", pool, "staff", ana.sub)).changed, 1);
  assert.equal(map(await call("GROUP.MEMBERS", pool, "staff")).users.length, 1);
  assert.equal(await call("USER.COUNT", pool, "FILTER", 'nickname eq "an"'), 1);
  assert.equal(map(await call("USER.LIST", pool, "LIMIT", "10")).cursor, null);
  await multi(pool, ana.sub);
  assert.equal(map(await call("USER.GET", pool, ana.sub, "nickname")).nickname, "two");
  assert.equal(map(await call("USER.DELETE", pool, ana.sub)).changed, 1);
  await call("POOL.DROP", pool, "CONFIRM", pool);
}

const node = createClient({ url: `redis://127.0.0.1:${port}`, RESP: proto });
node.on("error", (error) => { throw error; });
await node.connect();
await drive("nr", (...words) => node.sendCommand(words), (pool, sub) =>
  node.multi().addCommand(["USER.SET", pool, sub, "nickname", "one"]).addCommand(["USER.SET", pool, sub, "nickname", "two"]).exec());
await node.close();

if (proto === 2) {
  const io = new Redis({ port });
  await drive("io", (...words) => io.call(...words), (pool, sub) =>
    io.multi().call("USER.SET", pool, sub, "nickname", "one").call("USER.SET", pool, sub, "nickname", "two").exec());
  io.disconnect();
}
console.log(`ok node-redis RESP${proto}${proto === 2 ? " and ioredis" : ""}`);

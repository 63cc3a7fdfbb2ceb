// The same with node-redis and ioredis. Usage: lossy.mjs PROXY_PORT DIRECT_PORT
import { createRequire } from "node:module";
const require = createRequire(process.env.STOA_NODE_ENV + "/");
const { createClient } = require("redis");
const Redis = require("ioredis").default ?? require("ioredis");
const assert = require("node:assert");
const [lossy, direct] = process.argv.slice(2).map(Number);

async function drive(pool, call, straight) {
  const persist = async (...words) => {
    for (let i = 0; i < 50; i++) {
      try { return await call(...words); } catch (error) {
        if (/^[A-Z]+ /.test(error.message) && !/closed|ECONN|Socket/i.test(error.message)) throw error;
        await new Promise((done) => setTimeout(done, 20));
      }
    }
    throw new Error("no answer in fifty tries");
  };
  await straight("POOL.CREATE", pool);
  for (let i = 0; i < 40; i++) {
    await persist("USER.CREATE", pool, "TOKEN", `c${i}`, "username", `user${i}`);
    await persist("USER.SET", pool, `username=user${i}`, "TOKEN", `s${i}`, "nickname", `n${i}`);
    if (i % 5 === 0) await persist("USER.DELETE", pool, `username=user${i}`, "TOKEN", `d${i}`);
  }
  assert.equal(Number(await straight("USER.COUNT", pool)), 32);
  assert.equal(Number(await straight("USER.COUNT", pool, "FILTER", 'nickname sw "n"')), 32);
}

const plain = new Redis({ port: direct });
const straight = (...words) => plain.call(...words);
const node = createClient({ url: `redis://127.0.0.1:${lossy}` });
node.on("error", () => {});
await node.connect();
await drive("lossynode", (...words) => node.sendCommand(words), straight);
node.destroy();
const io = new Redis({ port: lossy });
io.on("error", () => {});
await drive("lossyio", (...words) => io.call(...words), straight);
io.disconnect();
plain.disconnect();
console.log("ok");

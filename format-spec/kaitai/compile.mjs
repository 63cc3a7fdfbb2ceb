// Compiles every .ksy file beside this script to Python: node compile.mjs MODULES OUT
// MODULES is a directory in which `npm install` of package.json was run; OUT gets the Python modules.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const [modules, out] = process.argv.slice(2);
if (!modules || !out) {
  console.error("usage: node compile.mjs MODULES OUT");
  process.exit(2);
}
const require = createRequire(join(resolve(modules), "package.json"));
const compiler = require("kaitai-struct-compiler");
const yaml = require("js-yaml");

const here = dirname(fileURLToPath(import.meta.url));
const read = (name) => yaml.load(readFileSync(join(here, `${name}.ksy`), "utf8"));
const importer = { importYaml: async (name) => read(name) };

mkdirSync(out, { recursive: true });
const names = readdirSync(here).filter((name) => name.endsWith(".ksy")).map((name) => name.slice(0, -4));
for (const name of names) {
  try {
    const files = await compiler.compile("python", read(name), importer, false);
    for (const [file, text] of Object.entries(files)) writeFileSync(join(out, file), text);
  } catch (error) {
    console.error(`${name}.ksy: ${error.message ?? error}`);
    process.exit(1);
  }
}
console.log(`${names.length} descriptions compiled`);

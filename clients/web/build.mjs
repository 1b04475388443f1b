// `npm run build`: type check, build the pages and the SDK, put them where the engine ships them.
//
//   --check       compare with what is there instead; status 1 and the names if something differs
//   --only=ops    build these of viewer, host, ops, sdk (a comma between), leave the rest as it is

import { spawnSync } from "node:child_process";
import {
  cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const SHIPPED = fileURLToPath(new URL("../../engine/liveroom/web/static", import.meta.url));

const { values } = parseArgs({
  options: { check: { type: "boolean", default: false }, only: { type: "string" } },
});

/** Run a tool of node_modules. */
function run(tool, ...args) {
  const { status } = spawnSync("npx", ["--no-install", tool, ...args], {
    cwd: HERE,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0) throw new Error(`${tool} failed`);
}

/** All files below a folder, by their path in it. */
function filesOf(folder) {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => relative(folder, join(entry.parentPath, entry.name))).sort();
}

/** Say what differs between what was built and what is there. */
function differences(built) {
  const [made, kept] = [filesOf(built), existsSync(SHIPPED) ? filesOf(SHIPPED) : []];
  const same = (name) => readFileSync(join(built, name)).equals(readFileSync(join(SHIPPED, name)));
  return [
    ...made.filter((name) => !kept.includes(name)).map((name) => `  missing:   ${name}`),
    ...kept.filter((name) => !made.includes(name)).map((name) => `  left over: ${name}`),
    ...made.filter((name) => kept.includes(name) && !same(name)).map((name) => `  differs:   ${name}`),
  ];
}

function check(built) {
  const found = differences(built);
  if (!found.length) {
    console.log(`assets: ${filesOf(built).length} files are what the sources give`);
    return 0;
  }
  console.error("assets: engine/liveroom/web/static is not what the sources in clients/ give:");
  console.error(found.join("\n"));
  console.error("assets: run `make assets` and commit the result");
  return 1;
}

/** Whether a shipped file goes when the new ones come: all do, with --only those of its pages. */
function isReplaced(name) {
  const page = /^(\w+)-[\w-]{8}\.(js|css)$/.exec(name)?.[1];
  return !values.only || (page !== undefined && values.only.split(",").includes(page));
}

function ship(built) {
  mkdirSync(SHIPPED, { recursive: true });
  for (const name of filesOf(SHIPPED).filter(isReplaced)) rmSync(join(SHIPPED, name));
  cpSync(built, SHIPPED, { recursive: true });
  for (const name of filesOf(built)) {
    const body = readFileSync(join(built, name));
    const [size, packed] = [body.length, gzipSync(body, { level: 9 }).length];
    console.log(`  ${name.padEnd(32)} ${String(size).padStart(8)} B ${String(packed).padStart(8)} B gzip`);
  }
  return 0;
}

function build(out) {
  const pages = (values.only ?? "viewer,host,ops,sdk").split(",").filter((page) => page !== "sdk");
  if (!values.only) run("tsc", "--noEmit");
  if (pages.length) {
    process.env.LIVEROOM_PAGES = pages.join(",");
    run("vite", "build", "--outDir", out, "--emptyOutDir", "--logLevel", "warn");
  }
  if (pages.length !== values.only?.split(",").length) {
    const sdk = join(out, "sdk");
    run("vite", "build", "-c", "vite.sdk.config.ts", "--outDir", sdk, "--emptyOutDir", "--logLevel", "warn");
  }
}

const out = mkdtempSync(join(tmpdir(), "liveroom-assets-"));
try {
  build(out);
  process.exitCode = values.check ? check(out) : ship(out);
} catch (error) {
  console.error(`assets: ${error.message}; nothing was changed`);
  process.exitCode = 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}

// Builds the page into built/: two scripts, two style sheets, the pages and the maps' geometry.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { maps } from "./geometry.mjs";
import { methodPage } from "./method.mjs";

// What is in the scripts and maps; each licence asks to be passed on with them.
const BUNDLED = ["echarts", "zrender", "tslib", "topojson-client", "world-atlas", "us-atlas", "echarts-4"];

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const out = here(process.argv[2] ?? "built");

rmSync(out, { recursive: true, force: true });
mkdirSync(out);
await build({
  absWorkingDir: here("."),
  entryPoints: ["src/main.ts", "src/docs.js", "src/style.css", "src/docs.css"],
  outdir: out,
  bundle: true,
  splitting: true,
  chunkNames: "[name]",
  minify: true,
  format: "esm",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});
for (const name of ["index.html", "docs.html", "icon.svg"]) copyFileSync(here(`src/${name}`), `${out}/${name}`);
writeFileSync(`${out}/notices.txt`, BUNDLED.map(notice).join("\n\n"));
writeFileSync(`${out}/method.html`, methodPage(here("../../docs")));
for (const [name, topology] of Object.entries(maps())) {
  writeFileSync(`${out}/map-${name.toLowerCase()}.json`, `${JSON.stringify(topology)}\n`);
}

function notice(name) {
  const read = (file) => readFileSync(here(`node_modules/${name}/${file}`), "utf8");
  const { version, name: named } = JSON.parse(read("package.json"));
  const file = ["LICENSE", "LICENSE.txt"].find((one) => existsSync(here(`node_modules/${name}/${one}`)));
  const notices = existsSync(here(`node_modules/${name}/NOTICE`)) ? `\n\n${read("NOTICE")}` : "";
  return `${named} ${version}\n${"=".repeat(72)}\n\n${read(file)}${notices}`;
}

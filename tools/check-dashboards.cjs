// Check dashboards against the type at the end of a file: check-dashboards.cjs TYPES FILE...
// JSON is an expression of TypeScript, so each dashboard is compiled as the value of that type.
"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const ts = require("typescript");

const OPTIONS = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  types: [],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022,
};

function check(types, paths) {
  const head = readFileSync(types, "utf8").trimEnd() + "\n";
  const headLines = head.split("\n").length - 1;
  // They stand beside node_modules, where their imports are found.
  const folder = join(require.resolve("typescript/package.json"), "../../..");
  const files = new Map(paths.map((path, n) => [join(folder, `${n}.ts`), path]));

  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.getSourceFile = (name, version, ...rest) => {
    if (!files.has(name)) return getSourceFile(name, version, ...rest);
    return ts.createSourceFile(name, head + readFileSync(files.get(name), "utf8"), version);
  };

  const program = ts.createProgram([...files.keys()], OPTIONS, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file.getLineAndCharacterOfPosition(start).line + 1 - headLines;
    const text = ts.flattenDiagnosticMessageText(messageText, "\n  ");
    return `${files.get(file.fileName) ?? file.fileName}:${line}: ${text}`;
  });
}

const [types, ...paths] = process.argv.slice(2);
const errors = check(types, paths);
errors.forEach((error) => console.error(error));
process.exit(errors.length === 0 ? 0 : 1);

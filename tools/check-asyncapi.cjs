// Parses an AsyncAPI document by the AsyncAPI project's own parser, and tells what is wrong with it.
"use strict";

const { readFileSync } = require("node:fs");
const { DiagnosticSeverity, Parser } = require("@asyncapi/parser");

// What the parser only recommends: ids and tags for each operation, a contact, a newer version.
const WORST = DiagnosticSeverity.Warning;

async function check(path) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
  const faults = diagnostics.filter(({ severity }) => severity <= WORST);
  for (const { range, message, path: where } of faults) {
    console.error(`${path}:${range.start.line + 1}: ${message} (${where.join(".")})`);
  }
  return document !== undefined && faults.length === 0;
}

check(process.argv[2]).then((fine) => process.exit(fine ? 0 : 1));

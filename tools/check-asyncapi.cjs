// Check an AsyncAPI document with the AsyncAPI project's own parser, and print its errors.
"use strict";

const { readFileSync } = require("node:fs");
const { DiagnosticSeverity, Parser } = require("@asyncapi/parser");

// Below a warning are recommendations: ids and tags of operations, a contact, a newer version.
const WORST = DiagnosticSeverity.Warning;

async function check(path) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
  const errors = diagnostics.filter(({ severity }) => severity <= WORST);
  for (const { range, message, path: where } of errors) {
    console.error(`${path}:${range.start.line + 1}: ${message} (${where.join(".")})`);
  }
  return document !== undefined && errors.length === 0;
}

check(process.argv[2]).then((fine) => process.exit(fine ? 0 : 1));

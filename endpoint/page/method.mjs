// Makes the page of the method from docs/method.md and docs/glossary.md, so that a word on the map can
// link to what it means, also where there is no repository.
import { readFileSync } from "node:fs";
import { Marked } from "marked";

const escaped = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

// The anchors that the pages' own links expect.
const anchorOf = (text) =>
  text.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-");

const PAGES = { "method.md": "", "glossary.md": "#glossary" };

function target(href) {
  if (/^(https?:|#)/.test(href)) return href;
  const [file, anchor] = href.split("#");
  return file in PAGES ? (anchor ? `#${anchor}` : PAGES[file] || "#") : null;
}

const marked = new Marked({
  renderer: {
    heading({ tokens, depth, text }) {
      return `<h${depth} id="${anchorOf(text)}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
    },
    link({ href, tokens }) {
      const text = this.parser.parseInline(tokens);
      const to = target(href);
      // Other documents of the repository are not served.
      return to === null ? text : `<a href="${escaped(to)}" rel="noopener noreferrer">${text}</a>`;
    },
    table({ header, rows }) {
      const cells = (tag, line) => line.map((one) => `<${tag}>${this.parser.parseInline(one.tokens)}</${tag}>`).join("");
      const body = rows.map((line) => `<tr>${cells("td", line)}</tr>`).join("\n");
      return `<div class="scroll" tabindex="0"><table><thead><tr>${cells("th", header)}</tr></thead>\n<tbody>${body}</tbody></table></div>\n`;
    },
    html({ text }) {
      return escaped(text);
    },
  },
});

export function methodPage(docs) {
  const method = marked.parse(readFileSync(`${docs}/method.md`, "utf8"));
  const glossary = marked.parse(readFileSync(`${docs}/glossary.md`, "utf8"));
  return `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="description" content="What every number of the mining map means.">
  <meta name="color-scheme" content="light dark">
  <title>The method of the mining map</title>
  <link rel="icon" href="page/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="page/style.css">
  <link rel="stylesheet" href="page/docs.css">
</head>
<body class="text">
  <header><p><a href="./">The map</a> · <a href="docs">The API</a></p></header>
  <main>
${method}
<div id="glossary"></div>
${glossary.replace("<h1 ", "<h2 ").replace("</h1>", "</h2>")}
  </main>
</body>
</html>
`;
}

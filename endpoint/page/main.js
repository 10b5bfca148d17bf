// The page: asks the API every few seconds and shows the answer. All text goes in as text, never as
// HTML: names of pools and places are other people's words.

import { age, hashrate, percent, range } from "./format.js";

const REFRESH_MS = 5_000;
const PATIENCE_MS = 10_000;
const STALE_S = 60;
// The API's words for how a place is known, and the page's, from best to worst.
const KINDS = { measured: "measured", estimated: "inferred", prior: "assumed" };
const FLAGS = { proxy_suspected: "proxy suspected" };
const REASONS = { thin: "too few minutes", stale: "no report in this window" };

const byId = (id) => document.getElementById(id);
const form = byId("windows");

let current = null; // the answer on show
let round = 0; // tells late answers to an earlier choice from the one that is waited for
let timer = 0;

function element(name, { text, className, title, label } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  if (title) made.title = title;
  if (label) {
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", label);
  }
  made.append(...children);
  return made;
}

function cell(label, options, ...children) {
  const made = element("td", options, ...children);
  made.dataset.label = label;
  return made;
}

function say(text, problem = false) {
  const status = byId("status");
  if (status.textContent !== text) status.textContent = text; // said aloud only when it changes
  status.classList.toggle("problem", problem);
}

// --- the table -----------------------------------------------------------------------------------

function placeHeader({ code, name, flags }) {
  const header = element("th", { text: name }, element("small", { text: code }));
  header.scope = "row";
  for (const flag of flags) {
    header.append(element("small", { text: FLAGS[flag] ?? flag, className: "flag" }));
  }
  return header;
}

function span(className, from, to) {
  const made = element("span", { className });
  made.style.left = `${100 * from}%`;
  made.style.width = `${100 * (to - from)}%`;
  return made;
}

function rangeCell({ low, high, share }) {
  const text = range(low, high);
  if (low === null) return cell("Possible range", { text });
  const track = element("div", { className: "track" }, span("band", low, high));
  track.append(span("mark", share, share));
  track.setAttribute("aria-hidden", "true");
  return cell("Possible range", {}, track, element("small", { text }));
}

function kindsCell({ kinds, hashrate: whole }) {
  const parts = Object.entries(KINDS).filter(([kind]) => kinds[kind] > 0);
  const label = parts.map(([kind, word]) => `${percent(kinds[kind] / whole)} ${word}`).join(", ");
  const bar = element("div", { className: "kinds", title: label, label: label || "nothing" });
  for (const [kind] of parts) {
    const part = element("span", { className: kind });
    part.style.flexGrow = String(kinds[kind] / whole);
    bar.append(part);
  }
  return cell("How known", {}, bar);
}

function row(line) {
  const made = element("tr", {}, placeHeader(line));
  made.append(
    cell("Share", { text: percent(line.share), className: "number share" }),
    rangeCell(line),
    cell("Without one pool", { text: range(...(line.sensitivity ?? [null, null])) }),
    kindsCell(line),
    cell("Hashrate seen", { text: hashrate(line.hashrate), className: "number" }),
  );
  return made;
}

// --- the facts -----------------------------------------------------------------------------------

function showFacts(answer) {
  byId("simulated").hidden = !answer.simulated;
  byId("network").textContent = hashrate(answer.network?.hashrate ?? null);
  byId("network-source").textContent = answer.network
    ? `hashrate of all miners, by ${answer.network.source}`
    : "no source knows the network's hashrate";
  byId("coverage").textContent = percent(answer.coverage);
  byId("measured-coverage").textContent = percent(answer.measured_coverage);
  byId("located").textContent = percent(answer.located);
  byId("cohort-count").textContent = `Pools that count (${answer.cohort.length}):`;
  byId("cohort").textContent =
    answer.cohort.map(({ pool, source }) => `${pool} (by ${source})`).join(", ") || "none";
  showLine("excluded", answer.excluded.map((e) => `${e.pool} (${REASONS[e.reason] ?? e.reason})`));
  showLine("rules", answer.rules);
}

function showLine(id, items) {
  byId(`${id}-line`).hidden = items.length === 0;
  byId(id).textContent = items.join(", ");
}

function showAge() {
  if (!current) return;
  const at = new Date(current.as_of);
  const seconds = (Date.now() - at.getTime()) / 1000;
  const time = byId("as-of");
  time.dateTime = current.as_of;
  time.textContent = `${at.toISOString().slice(11, 19)} UTC`;
  byId("age").textContent = `${at.toISOString().slice(0, 10)}, ${age(seconds)}`;
  byId("age").classList.toggle("problem", seconds > STALE_S);
}

// --- asking --------------------------------------------------------------------------------------

function chosen() {
  const input = form.elements.window.value;
  const label = form.querySelector(":checked + span").textContent;
  return { name: input, label };
}

function show(answer) {
  const isNew = current?.as_of !== answer.as_of || current.window !== answer.window;
  current = answer;
  showAge();
  if (!isNew) return;
  showFacts(answer);
  byId("rows").replaceChildren(...answer.shares.map(row));
  byId("table").hidden = answer.shares.length === 0;
  byId("empty").hidden = answer.shares.length > 0;
}

async function ask(name) {
  const answer = await fetch(`api/v1/shares?window=${encodeURIComponent(name)}`, {
    cache: "no-cache", // ask each time; what is unchanged comes as a 304
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `status ${answer.status}`);
  return body;
}

async function refresh() {
  clearTimeout(timer);
  round += 1;
  const mine = round;
  const { name, label } = chosen();
  try {
    const answer = await ask(name);
    if (mine !== round) return;
    show(answer);
    say(`Mean over ${label}. New figures every ${REFRESH_MS / 1000} seconds.`);
  } catch (error) {
    if (mine !== round) return;
    const shown = current ? " What is shown is the last answer that came." : "";
    say(`No answer from the service: ${error.message}.${shown}`, true);
    showAge();
  }
  timer = setTimeout(refresh, REFRESH_MS);
}

function choose() {
  const { name } = chosen();
  history.replaceState(null, "", `#${name}`);
  byId("json").href = `api/v1/shares?window=${name}`;
  byId("csv").href = `api/v1/shares.csv?window=${name}`;
  refresh();
}

const wanted = location.hash.slice(1);
for (const input of form.elements.window) if (input.value === wanted) input.checked = true;
form.addEventListener("change", choose);
choose();

// The page: requests the API every few seconds and shows the response. All text is inserted as text,
// never as HTML, because names of pools and places come from other parties.

import { age, hashrate, percent, range } from "./format.js";

const REFRESH_MS = 5_000;
const TIMEOUT_MS = 10_000;
const STALE_S = 60;
// The API's kinds of evidence and the page's words for them, from best to worst.
const KINDS = {
  measured: "measured",
  declared: "declared",
  estimated: "inferred",
  prior: "assumed",
};
const FLAGS = { proxy_suspected: "proxy suspected" };
const REASONS = { thin: "too few minutes", stale: "no report in this window" };

const byId = (id) => document.getElementById(id);
const form = byId("windows");

let current = null; // the response that is shown
let round = 0; // the number of the newest request; responses to earlier ones are ignored
let timer = 0;

function element(name, { text, className, title, label } = {}, ...children) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  if (title) node.title = title;
  if (label) {
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", label);
  }
  node.append(...children);
  return node;
}

function cell(label, options, ...children) {
  const node = element("td", options, ...children);
  node.dataset.label = label;
  return node;
}

function showStatus(text, problem = false) {
  const status = byId("status");
  if (status.textContent !== text) status.textContent = text; // screen readers announce only changes
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
  const node = element("span", { className });
  node.style.left = `${100 * from}%`;
  node.style.width = `${100 * (to - from)}%`;
  return node;
}

function rangeCell({ low, high, share }) {
  const text = range(low, high);
  if (low === null) return cell("Possible range", { text });
  const track = element("div", { className: "track" }, span("band", low, high));
  track.append(span("mark", share, share));
  track.setAttribute("aria-hidden", "true");
  return cell("Possible range", {}, track, element("small", { text }));
}

function kindsCell({ kinds }) {
  const whole = Object.values(kinds).reduce((sum, part) => sum + part, 0);
  const parts = Object.entries(KINDS).filter(([kind]) => kinds[kind] > 0);
  const label = parts.map(([kind, word]) => `${percent(kinds[kind] / whole)} ${word}`).join(", ");
  const bar = element("div", { className: "kinds", title: label, label: label || "nothing" });
  for (const [kind] of parts) {
    const part = element("span", { className: kind });
    part.style.flexGrow = String(kinds[kind] / whole);
    bar.append(part);
  }
  return cell("Kinds", {}, bar);
}

function row(line) {
  const node = element("tr", {}, placeHeader(line));
  node.append(
    cell("Share", { text: percent(line.share), className: "number share" }),
    rangeCell(line),
    cell("Without one pool", { text: range(...(line.sensitivity ?? [null, null])) }),
    cell("Other priors", { text: range(...(line.belief ?? [null, null])) }),
    kindsCell(line),
    cell("Known hashrate", { text: hashrate(line.hashrate), className: "number" }),
  );
  return node;
}

// --- the facts -----------------------------------------------------------------------------------

function showFacts(answer) {
  byId("simulated").hidden = !answer.simulated;
  byId("network").textContent = hashrate(answer.network?.hashrate ?? null);
  byId("network-source").textContent = answer.network
    ? `hashrate of all miners, from ${answer.network.source}`
    : "unknown: no source reports it";
  byId("coverage").textContent = percent(answer.coverage);
  byId("measured-coverage").textContent = percent(answer.measured_coverage);
  byId("declared-coverage").textContent = percent(answer.declared_coverage);
  byId("evidence").textContent = percent(answer.evidence);
  byId("located").textContent = percent(answer.located);
  byId("cohort-count").textContent = `Included pools (${answer.cohort.length}):`;
  byId("cohort").textContent =
    answer.cohort.map(({ pool, source }) => `${pool} (from ${source})`).join(", ") || "none";
  showLine("excluded", answer.excluded.map((e) => `${e.pool} (${REASONS[e.reason] ?? e.reason})`));
  showLine("rules", answer.rules);
  showLine("beliefs", answer.beliefs.map((b) => `${b.id} (${hashrate(b.hashrate)})`));
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

// --- requests ------------------------------------------------------------------------------------

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

async function request(name) {
  const response = await fetch(`api/v1/shares?window=${encodeURIComponent(name)}`, {
    cache: "no-cache", // check each time for a change; without one the response is a 304
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? `status ${response.status}`);
  return body;
}

async function refresh() {
  clearTimeout(timer);
  round += 1;
  const own = round;
  const { name, label } = chosen();
  try {
    const answer = await request(name);
    if (own !== round) return;
    show(answer);
    showStatus(`Averaged over ${label}. Updated every ${REFRESH_MS / 1000} seconds.`);
  } catch (error) {
    if (own !== round) return;
    const shown = current ? " The figures shown are the last ones received." : "";
    showStatus(`The service does not respond: ${error.message}.${shown}`, true);
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

// The page: it reads what the view needs, follows the stream, and lets the time run.

import { address, ApiError } from "./api";
import type { Answer, SwingEvent } from "./api";
import { makeChoices, writeWords } from "./choices";
import { onThemeChange } from "./colours";
import { INNER_MAPS } from "./detail";
import { byId, isForMore } from "./dom";
import { poolsInWords } from "./facts";
import { Figures } from "./figures";
import { loadShapes } from "./shapes";
import { Page } from "./show";
import { chosen, mapOf, Store, toggled } from "./state";
import { stepFor } from "./swings";
import { makeDownloads } from "./take";
import { words } from "./words";

const POOLS_EVERY_MS = 15_000; // the list of pools changes slowly and is read with an event
const FRAME_MS = 700; // of playing
const SETTLED_MS = 150; // the slider passes over many times, of which only the last one is read
const PAINTED_MS = 1000; // a tab in the background paints nothing
const RETRY_MS = 5000;

const store = new Store();
const figures = new Figures();
const page = new Page(store, figures, { choose, enter, goTo: jump, poolsOf });

// --- what a visitor does -------------------------------------------------------------------------

/** Chooses a place, or, if it is to be compared, one more. */
function choose(code: string, compared = false): void {
  store.set((compared ? toggled : chosen)(store.view, code));
}

/** Chooses the place of a swing, on its map and by a step of the chart that shows when it was. */
function chooseSwing(code: string, started: string): void {
  const { view } = store;
  const map = mapOf(code);
  // Of a province without a map its country is shown.
  const place = map === "world" ? (code.split("-")[0] ?? code) : code;
  const step = stepFor(started, Date.now());
  store.set({ place, compare: [], map, step, at: step === view.step ? view.at : null });
}

function enter(code: string): void {
  const inner = INNER_MAPS.find((one) => one === code);
  if (inner) store.set({ map: inner, place: null, compare: [] });
}

/** Goes to a time without a step in the browser's history: the slider and the play pass over many. */
function goTo(window: string | null): void {
  if (window !== store.view.at) store.set({ at: window }, { history: false });
}

/** Goes to a time that was chosen on purpose, from which the browser's Back leads back. */
function jump(window: string | null): void {
  stopPlaying();
  store.set({ at: window });
}

async function poolsOf(code: string): Promise<string> {
  return poolsInWords(await figures.readPoolsOf(code, store.view), figures.pools, store.view.at === null);
}

let playing: ReturnType<typeof setTimeout> | null = null;

function stopPlaying(): void {
  if (playing !== null) clearTimeout(playing);
  playing = null;
  page.playing = false;
}

/** Stops at a time, of which all is read and shown then. */
function pause(): void {
  stopPlaying();
  page.show();
  void refresh();
}

function play(): void {
  const { frames } = figures;
  const found = store.view.at === null ? -1 : frames.findIndex(({ window }) => window === store.view.at);
  // Empty buckets are passed over; they are gaps in the chart.
  const next = frames.slice(found + 1).find(({ pools }) => pools.length > 0);
  if (!next) {
    pause();
    return;
  }
  page.playing = true;
  goTo(next.window);
  playing = setTimeout(play, FRAME_MS);
}

// --- reading -------------------------------------------------------------------------------------

let aborter = new AbortController();
let retrying: ReturnType<typeof setTimeout> | undefined;

function failed(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  const reason = error instanceof Error ? error.message : String(error);
  page.problem = error instanceof TypeError ? words().away : words().failed(reason);
  page.show();
  clearTimeout(retrying);
  if (error instanceof ApiError && error.isFinal) return;
  retrying = setTimeout(() => void refresh(), RETRY_MS);
}

/** Reads what the view needs, and shows each part as it comes. */
async function refresh(): Promise<void> {
  aborter.abort();
  aborter = new AbortController();
  const { view } = store;
  const { signal } = aborter;
  try {
    if (await figures.chooseWindow(view)) follow(); // at the start it could not be chosen
    const parts = [
      loadShapes(view.map),
      figures.readAnswer(view, signal),
      figures.readHistory(view, signal),
      figures.readWhy(view, signal),
      figures.readPoolsAndBeliefs(view),
      ...(figures.swings === null ? [figures.readSwings()] : []),
    ];
    await Promise.all(parts.map((part) => part.then(() => { page.show(); })));
    page.problem = null;
    page.show();
  } catch (error) {
    failed(error);
  }
}

// --- live ----------------------------------------------------------------------------------------

let stream: EventSource | null = null;
let following: ReturnType<typeof setTimeout> | undefined;
let poolsReadAt = Date.now();

function follow(): void {
  stream?.close();
  clearTimeout(following);
  stream = new EventSource(address("stream", { window: figures.window(store.view) }));
  stream.addEventListener("shares", (event: MessageEvent<string>) => {
    takeLive(JSON.parse(event.data) as Answer);
  });
  stream.addEventListener("swing", (event: MessageEvent<string>) => {
    void takeSwing(JSON.parse(event.data) as SwingEvent);
  });
  stream.addEventListener("gap", readSwings);
  stream.addEventListener("error", () => {
    page.away = words().away;
    page.showStatus();
    // After an answer that is no stream, as a proxy's 503, the browser does not ask again by itself.
    if (stream?.readyState === EventSource.CLOSED) following = setTimeout(follow, RETRY_MS);
  });
  stream.addEventListener("open", () => {
    // What happened while there was no stream is in the list.
    if (figures.swings !== null) readSwings();
    page.away = null;
    page.showStatus();
  });
}

function readSwings(): void {
  void figures.readSwings().then(() => { page.show(); }, failed);
}

async function takeSwing(event: SwingEvent): Promise<void> {
  try {
    const swing = await figures.takeSwing(event);
    if (!swing) return;
    page.show();
    page.saySwing(swing);
  } catch (error) {
    failed(error);
  }
}

function takeLive(answer: Answer): void {
  const { view } = store;
  page.away = null;
  if (playing !== null) return; // all is read again when it stops
  if (view.at === null) {
    // The stream has countries by the default prior and with the corrections; the rest is asked for.
    if (view.map === "world" && view.adjust === "published" && view.prior === "default") {
      figures.take(answer, view);
    } else {
      void figures.readAnswer(view, aborter.signal).then(() => { page.show(); }, failed);
    }
  }
  if (Date.now() - poolsReadAt > POOLS_EVERY_MS) {
    poolsReadAt = Date.now();
    const { signal } = aborter;
    const parts = [figures.readPoolsAndBeliefs(view, true), figures.readWhy(view, signal), figures.readHistory(view, signal)];
    void Promise.all(parts).then(() => { page.show(); }, failed);
  }
  page.show();
}

// --- the start -----------------------------------------------------------------------------------

let settling: ReturnType<typeof setTimeout> | undefined;

function listen(): void {
  store.listen((view, before) => {
    if (view.window !== before.window) follow();
    // Playing goes on while a place or another colour is chosen, and ends with the periods that it walks through.
    if (view.at === null || view.step !== before.step || view.map !== before.map) stopPlaying();
    // What is played has been read as a history; the rest is read where it stops.
    const isPlayed = page.playing && view.at !== before.at;
    if (!isPlayed && figures.needs(view) !== figures.needs(before)) {
      clearTimeout(settling);
      settling = setTimeout(() => void refresh(), view.at === before.at ? 0 : SETTLED_MS);
    }
    if (view.at === before.at) page.show();
    else page.step();
  });
  byId("slider").addEventListener("input", () => {
    stopPlaying();
    goTo(figures.frames[Number(byId("slider", HTMLInputElement).value)]?.window ?? null);
  });
  byId("play").addEventListener("click", () => {
    if (playing === null) play();
    else pause();
  });
  byId("go-live").addEventListener("click", () => {
    stopPlaying();
    byId("slider").focus(); // this button goes away
    goTo(null);
  });
  for (const [id, factor] of [["zoom-in", 2], ["zoom-out", 0.5], ["zoom-all", 0]] as const) {
    byId(id).addEventListener("click", () => { page.zoom(factor); });
  }
  for (const id of ["largest", "rows", "beside", "chart-legend"]) {
    byId(id).addEventListener("click", (event) => {
      const { place, compare } = (event.target as Element).closest<HTMLElement>("[data-place], [data-compare]")?.dataset ?? {};
      if (compare) choose(compare, true);
      else if (place) choose(place, isForMore(event));
    });
  }
  byId("swings").addEventListener("click", (event) => {
    const { place, started } = (event.target as Element).closest<HTMLElement>("[data-place]")?.dataset ?? {};
    if (place && started) chooseSwing(place, started);
  });
  byId("compare-none").addEventListener("click", () => {
    byId("detail").focus({ preventScroll: true }); // this button goes away
    store.set({ compare: [] });
  });
  byId("swings-all").addEventListener("click", () => {
    page.allSwings = !page.allSwings;
    page.show();
  });
  byId("choices").addEventListener("submit", (event) => { event.preventDefault(); });
  onThemeChange(() => { page.redraw(); });
  setInterval(() => { page.showStatus(); }, 1000);
}

/** Resolves when what was written is on the screen: the first figures do not wait for what draws. */
function painted(): Promise<void> {
  return new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
    setTimeout(resolve, PAINTED_MS);
  });
}

async function start(): Promise<void> {
  writeWords();
  makeChoices(store);
  makeDownloads((what, format) => { page.save(what, format); });
  listen();
  void loadShapes(store.view.map).then(() => { page.show(); }, failed);
  try {
    await figures.chooseWindow(store.view);
    page.show();
  } catch (error) {
    failed(error);
  }
  await painted();
  follow();
  void import("./drawing").then((drawing) => { page.draw(drawing); }, failed);
  await refresh();
}

void start();

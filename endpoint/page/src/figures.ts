// What has been read of the API, and what of it the view asks for.

import { address, choices, historyAddress, read, readBeliefs, readPlaces, readPools, readSwings, sharesAddress } from "./api";
import type { Answer, Belief, Contributions, Histories, PoolState, Swing, SwingEvent } from "./api";
import { frameOf, framesOf, nameOf } from "./frames";
import type { Frame } from "./frames";
import { timeOf } from "./lines";
import type { MapName, View, Window } from "./state";
import { eventsOf, isOfPlace, keyOf, withEvent } from "./swings";
import type { Known } from "./swings";
import { whyAddress } from "./why";
import { ownName } from "./words";

const HISTORY_EVERY_MS = 5 * 60_000; // a page that stays open follows the hours too

/** A frame of a whole answer, and the map that it is of. */
type LiveFrame = Frame & { map: MapName };

const liveFrameOf = (answer: Answer): LiveFrame => ({
  ...frameOf(answer),
  map: (answer.country ?? "world") as MapName,
});

export class Figures {
  /** The buckets of the history, from the first with a report on. */
  frames: Frame[] = [];
  pools: PoolState[] = [];
  beliefs = new Map<string, Belief>();
  /** The swings of the last 30 days, newest first; null until they are read. */
  swings: Swing[] | null = null;
  #annotations = new Map<string, Belief>();
  #placeNames = new Map<string, string>();
  #best: Window = "7d";
  #isChosen = false;
  #answer: LiveFrame | null = null;
  #answerFor = "";
  #framesFor = "";
  #why: Contributions | null = null;
  #whyFor: string | null = null;
  #historyReadAt = 0;
  #beliefsFor = "";

  /** The rolling window that a view shows while it is live. */
  window(view: View): Window {
    return view.window ?? this.#best;
  }

  /** The frame that a view asks for: that of a bucket, or the live one; null if it is not read yet. */
  frame(view: View): Frame | null {
    const answer = this.#answer;
    if (answer && this.#answerFor === this.#answerKey(view)) return answer;
    if (view.at !== null) {
      return this.#hasFrames(view) ? (this.frames.find(({ window }) => window === view.at) ?? null) : null;
    }
    return answer?.map === view.map ? answer : null;
  }

  /** The pools that make up the chosen place's share, if they are read. */
  why(view: View): Contributions | null {
    return this.#whyFor === whyAddress(view, this.window(view)) ? this.#why : null;
  }

  /** Whether the history that a view asks for is read. */
  get hasHistory(): boolean {
    return this.#framesFor !== "";
  }

  /** What a view needs to have read, as a text that differs if something else is needed. */
  needs(view: View): string {
    return JSON.stringify([this.#answerKey(view), framesKey(view), whyAddress(view, this.window(view))]);
  }

  /** Takes an answer that the stream has sent. */
  take(answer: Answer, view: View): void {
    this.#answer = liveFrameOf(answer);
    this.#answerFor = this.#answerKey(view);
  }

  /**
   * Chooses the window with most evidence, once: seven days, unless live rows make one hour better.
   * Returns whether it is another one than before.
   */
  async chooseWindow(view: View): Promise<boolean> {
    if (view.window !== null || this.#isChosen) return false;
    const before = this.#best;
    const windows = ["7d", "1h", "24h"] as const;
    const answers = await Promise.all(
      windows.map((window) => read<Answer>(address("shares", { window, ...choices(view) }))),
    );
    const best = answers.reduce((a, b) => (worth(b) > worth(a) ? b : a));
    this.#best = best.window as Window;
    this.#isChosen = true;
    if (view.at === null && view.map === "world") this.take(best, view);
    return this.#best !== before;
  }

  async readAnswer(view: View, signal: AbortSignal): Promise<void> {
    const path = this.#answerKey(view);
    this.#answer = liveFrameOf(await read<Answer>(path, signal));
    this.#answerFor = path;
  }

  async readHistory(view: View, signal: AbortSignal): Promise<void> {
    if (this.#hasFrames(view) && Date.now() - this.#historyReadAt < HISTORY_EVERY_MS) return;
    const frames = framesOf(await read<Histories>(historyAddress(view), signal));
    const first = frames.findIndex(({ pools }) => pools.length > 0);
    this.frames = first < 0 ? [] : frames.slice(first);
    this.#framesFor = framesKey(view);
    this.#historyReadAt = Date.now();
  }

  async readWhy(view: View, signal: AbortSignal): Promise<void> {
    const path = whyAddress(view, this.window(view));
    this.#why = path === null ? null : await read<Contributions>(path, signal);
    this.#whyFor = path;
  }

  /** The pools of any place in the shown period, for the map's tooltip. */
  async readPoolsOf(code: string, view: View): Promise<Contributions> {
    const path = whyAddress({ ...view, place: code }, this.window(view));
    if (path === null) throw new Error("a tooltip is of a place");
    return path === this.#whyFor && this.#why ? this.#why : read<Contributions>(path);
  }

  /** Reads the pools and the beliefs of the shown time, if they are of another time or old. */
  async readPoolsAndBeliefs(view: View, again = false): Promise<void> {
    const start = view.at === null ? "" : (timeOf(view.at)?.slice(0, 10) ?? "");
    if (!again && this.pools.length && this.#beliefsFor === start) return;
    const [{ pools }, { beliefs }] = await Promise.all([readPools(), readBeliefs(start || null)]);
    this.#beliefsFor = start;
    this.pools = pools;
    this.beliefs = new Map(beliefs.map((belief) => [belief.id, belief]));
  }

  async readSwings(): Promise<void> {
    const { swings } = await readSwings();
    this.swings = swings;
    await this.#readWhatSwingsName(swings);
  }

  /** Takes an event that the stream has sent. Returns its swing, or null if the event is known. */
  async takeSwing(event: SwingEvent): Promise<Swing | null> {
    if (this.swings === null) return null; // the list is about to be read, and has it
    const swings = withEvent(this.swings, event);
    if (swings === null) return null;
    // Before anything is waited for: several events come at once.
    this.swings = swings;
    await this.#readWhatSwingsName(swings);
    return swings.find((swing) => keyOf(swing) === keyOf(event)) ?? null;
  }

  /** The names and the calendars that swings refer to. */
  get known(): Known {
    const names = new Map(this.pools.map(({ pool, name }) => [pool, name]));
    return {
      placeName: (code) => nameOf(code, this.#placeNames.get(code) ?? code),
      poolName: (pool) => names.get(pool) ?? pool,
      annotations: this.#annotations,
    };
  }

  async #readWhatSwingsName(swings: readonly Swing[]): Promise<void> {
    const codes = swings.flatMap((swing) => (isOfPlace(swing) ? [swing.place] : swing.places.map(({ code }) => code)));
    if (this.#placeNames.size === 0 && codes.some((code) => code.includes("-") && ownName(code) === undefined)) {
      const { places } = await readPlaces();
      this.#placeNames = new Map(places.map(({ code, name }) => [code, name]));
    }
    // A calendar may no longer be in force, so it is asked for by the day of its swing.
    const noted = swings.flatMap(eventsOf).filter(({ annotations = [] }) => annotations.some((id) => !this.#annotations.has(id)));
    const days = new Set(noted.map(({ at }) => at.slice(0, 10)));
    for (const { beliefs } of await Promise.all([...days].map(readBeliefs))) {
      for (const belief of beliefs) this.#annotations.set(belief.id, belief);
    }
  }

  #answerKey(view: View): string {
    return sharesAddress(view, this.window(view));
  }

  #hasFrames(view: View): boolean {
    return this.#framesFor === framesKey(view);
  }
}

const framesKey = (view: View): string => JSON.stringify([view.map, view.step, choices(view)]);

/** How much a window shows: whether anything counts, and how much of the network has evidence. */
function worth({ cohort, evidence, coverage }: Answer): number {
  return cohort.length ? 1 + (evidence ?? 0) * (coverage ?? 1) : 0;
}

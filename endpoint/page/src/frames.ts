// A frame: what the map, the table and the facts show at one time. It is made from an answer of
// /api/v1/shares, or from one bucket of a history.

import type { Answer, Histories, Kinds, ShareRow } from "./api";
import { countryName } from "./format";
import { ownName } from "./words";

export interface Frame {
  /** The name of the window: a rolling one, or that of a bucket. */
  window: string;
  asOf: string;
  rows: ShareRow[];
  coverage: number | null;
  measuredCoverage: number | null;
  declaredCoverage: number | null;
  evidence: number | null;
  pools: string[];
  rules: string[];
  beliefs: string[];
  simulated: boolean;
  /** The whole answer, if the frame was made from one. */
  answer: Answer | null;
}

export function frameOf(answer: Answer): Frame {
  return {
    window: answer.window,
    asOf: answer.as_of,
    rows: answer.shares,
    coverage: answer.coverage,
    measuredCoverage: answer.measured_coverage,
    declaredCoverage: answer.declared_coverage,
    evidence: answer.evidence,
    pools: answer.cohort.map(({ pool }) => pool),
    rules: answer.rules,
    beliefs: answer.beliefs.map(({ id }) => id),
    simulated: answer.simulated,
    answer,
  };
}

/** Returns one frame for each bucket of a history, in the order of time. */
export function framesOf({ series, as_of: asOf }: Histories): Frame[] {
  const buckets = series[0]?.points ?? [];
  return buckets.map((about, n) => ({
    window: about.window,
    asOf: about.at < asOf ? about.at : asOf,
    rows: series.flatMap(({ code, name, points }) => {
      const point = points[n];
      return point?.share == null || point.kinds === null
        ? []
        : [{ ...point, code, name, share: point.share, hashrate: point.hashrate ?? 0, kinds: point.kinds, flags: [] }];
    }),
    coverage: about.coverage,
    measuredCoverage: about.measured_coverage,
    declaredCoverage: about.declared_coverage,
    evidence: about.overall_evidence,
    pools: about.pools,
    rules: about.rules,
    beliefs: about.beliefs,
    simulated: about.simulated,
    answer: null,
  }));
}

/** The name of a place in the chosen language. */
export function nameOf(code: string, given: string): string {
  return ownName(code) ?? countryName(code, given);
}

export function isAssumed({ evidence }: Pick<ShareRow, "evidence">): boolean {
  return evidence === null || evidence < 0.5;
}

export function total(kinds: Kinds): number {
  return kinds.measured + kinds.declared + kinds.estimated + kinds.prior;
}

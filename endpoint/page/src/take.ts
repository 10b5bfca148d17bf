// Take it along: tables, pictures, calls of the API, a citation, a frame for another page.

import { choices, historyAddress, sharesAddress } from "./api";
import { byId, element, rewrite } from "./dom";
import { moment } from "./format";
import type { Frame } from "./frames";
import type { View, Window } from "./state";
import { language, words } from "./words";

function python(view: View, window: Window, base: string): string {
  const given = Object.entries(choices(view)).flatMap(([name, value]) => (value ? [`${name}="${value}"`] : []));
  const inside = view.map === "world" ? [] : [`level="subdivision"`, `country="${view.map}"`];
  const parameters = [`window="${view.at ?? window}"`, ...inside, ...given].join(", ");
  return `from miningmap.client import Client\n\nwith Client("${base}") as client:\n    print(client.shares(${parameters}).to_pandas())`;
}

function item(name: string, id: string, text: string): HTMLElement[] {
  const code = element("code", { id: `take-${id}`, tabindex: 0 }, text);
  const copy = element("button", { type: "button", class: "copy", "data-copy": `take-${id}` }, words().copy);
  return [element("dt", {}, name, " ", copy), element("dd", {}, code)];
}

export function renderTake(view: View, window: Window, frame: Frame | null): void {
  const base = new URL("./", location.href).href.replace(/\/$/, "");
  const w = words();
  const call = `${base}/${sharesAddress(view, window)}`;
  const embed = new URL(location.href);
  embed.searchParams.set("embed", "1");
  embed.searchParams.set("lang", language());
  const cambridge = frame?.pools.includes("cbeci-sample") ? ` ${w.citationLicence}` : "";
  rewrite(
    byId("take"),
    ...item(w.apiCall, "api", `curl "${call}"`),
    ...item(w.python, "python", python(view, window, base)),
    ...item(w.cite, "cite", w.citation(moment(frame?.asOf ?? Date.now()), location.href) + cambridge),
    ...item(w.embed, "embed", `<iframe src="${embed.href}" width="720" height="640" title="${w.title}"></iframe>`),
  );
  byId("json", HTMLAnchorElement).href = sharesAddress(view, window);
  const links: [string, string][] = [
    [w.csv, sharesAddress(view, window, "shares.csv")],
    [w.historyCsv, historyAddress(view, "history.csv")],
  ];
  for (const [n, [text, href]] of links.entries()) {
    const link = byId("downloads").querySelectorAll("a")[n];
    if (link) {
      link.href = href;
      link.textContent = text;
    }
  }
}

/** Makes the links and buttons once; what they do depends on what is shown then. */
export function makeDownloads(save: (what: "map" | "chart", format: "png" | "svg") => void): void {
  const node = byId("downloads");
  const link = (id: string): HTMLElement => element("a", { id, class: "button", href: "api/v1/shares.csv" });
  const buttons = (["map", "chart"] as const).flatMap((what) =>
    (["png", "svg"] as const).map((format) => {
      const button = element("button", { type: "button", id: `${what}-${format}` }, words()[format](words()[what]));
      button.addEventListener("click", () => {
        save(what, format);
      });
      return button;
    }),
  );
  node.replaceChildren(link("csv"), link("history-csv"), ...buttons);
  byId("take").addEventListener("click", (event) => {
    const button = (event.target as Element).closest<HTMLElement>("[data-copy]");
    const code = button && document.getElementById(button.dataset.copy ?? "");
    if (!code) return;
    const select = (): void => getSelection()?.selectAllChildren(code);
    // Without HTTPS, as on a network of one's own, there is no clipboard; what is selected can be copied.
    if (!isSecureContext) {
      select();
      return;
    }
    navigator.clipboard.writeText(code.textContent).then(() => {
      button.textContent = words().copied;
    }, select);
  });
}

// Elements. All text is inserted as text, never as HTML: names of pools come from outside.

type Child = Node | string;
type Attributes = Record<string, string | number | boolean | null | undefined>;

/** Returns the element with this id, of this type; the page's HTML and its scripts are made for each other. */
export function byId(id: string): HTMLElement;
export function byId<T extends HTMLElement>(id: string, type: new () => T): T;
export function byId(id: string, type: new () => HTMLElement = HTMLElement): HTMLElement {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} "${id}"`);
  return found;
}

/** Makes an element; an attribute that is null, undefined or false is left out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(name);
  setAttributes(node, attributes);
  node.append(...children);
  return node;
}

function setAttributes(node: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) node.removeAttribute(name);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Sets the text of an element only if it differs: screen readers announce each change. */
export function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Places a bar from one fraction of its track to another (the policy allows no style attribute). */
export function span(className: string, from: number, to: number): HTMLElement {
  const node = element("span", { class: className });
  node.style.left = `${100 * from}%`;
  node.style.width = `${100 * Math.max(0, to - from)}%`;
  return node;
}

/** Whether a click is to choose one more, as in lists of files. */
export function isForMore(event: { ctrlKey: boolean; metaKey: boolean; shiftKey: boolean }): boolean {
  return event.ctrlKey || event.metaKey || event.shiftKey;
}

/** Returns the selector that finds an element again after its parent has been rewritten. */
function selectorOf(node: Element): string | null {
  if (node.id) return `#${CSS.escape(node.id)}`;
  for (const name of ["data-place", "data-compare", "data-copy", "class"]) {
    const value = node.getAttribute(name);
    if (value) return `[${name}="${CSS.escape(value)}"]`;
  }
  return null;
}

/**
 * Writes what is in an element, if it differs: figures come every few seconds, and neither the focus
 * nor a selected text may be lost by them. Returns whether anything was written.
 */
export function rewrite(node: HTMLElement, ...children: Child[]): boolean {
  const next = node.cloneNode(false) as HTMLElement;
  next.append(...children);
  if (next.isEqualNode(node)) return false;
  const focused = document.activeElement;
  const again = focused && focused !== node && node.contains(focused) ? selectorOf(focused) : null;
  node.replaceChildren(...next.childNodes);
  if (again !== null) {
    // If it is gone, the section around it has the focus, so that Tab goes on from there.
    const found = node.querySelector<HTMLElement>(again) ?? node.closest<HTMLElement>('[tabindex="-1"]');
    found?.focus({ preventScroll: true });
  }
  return true;
}

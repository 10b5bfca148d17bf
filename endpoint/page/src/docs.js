// The page of the API: shows openapi.json. All text is inserted as text, never as HTML.

const FEW = 12; // the number of values that are shown of a longer list

const byId = (id) => document.getElementById(id);

function element(name, text, ...children) {
  const node = document.createElement(name);
  if (text) node.append(...marked(text));
  node.append(...children);
  return node;
}

// Text between backticks is code.
function marked(text) {
  return text.split("`").map((part, index) => {
    if (index % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
}

function paragraphs(text) {
  return text.trim().split(/\n\s*\n/).map((part) => element("p", part.replace(/\s+/g, " ")));
}

function link(target, text) {
  const node = element("a", text);
  node.href = target;
  return node;
}

function table(caption, rows) {
  const body = element("tbody");
  for (const [title, ...cells] of rows) {
    const header = element("th", "", ...[title].flat());
    header.scope = "row";
    body.append(element("tr", "", header, ...cells.map((cell) => element("td", "", ...cell))));
  }
  return element("table", "", element("caption", caption), body);
}

// --- schemas -------------------------------------------------------------------------------------

const nameOf = (reference) => reference.split("/").at(-1);

function listed(values) {
  const codes = values.slice(0, FEW).flatMap((value, index) => {
    return [index ? ", " : "", element("code", String(value))];
  });
  const more = values.length - FEW;
  return more > 0 ? [...codes, `, and ${more} more`] : codes;
}

// Describes the values that a schema allows, as a list of nodes.
function words(schema) {
  if (schema.$ref) return [link(`#type-${nameOf(schema.$ref)}`, nameOf(schema.$ref))];
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.flatMap((one, index) => [index ? " or " : "", ...words(one)]);
  if (schema.enum) return listed(schema.enum);
  if ("const" in schema) return schema.const === "" ? ["empty"] : listed([schema.const]);
  if (schema.pattern && schema.description) return [schema.description];
  if (schema.prefixItems) {
    const items = schema.prefixItems.flatMap((one, index) => [index ? ", " : "", ...words(one)]);
    return ["[", ...items, "]"];
  }
  if (schema.type === "array") return ["list of ", ...words(schema.items)];
  return [schema.format ?? [schema.type].flat().join(" or ")];
}

// Finds the description of a field, which can be nested in its schema.
function descriptionOf(schema) {
  return schema.description ?? schema.anyOf?.map((one) => one.description).find(Boolean) ?? "";
}

function typeArticle(name, schema) {
  const article = element("article", "", element("h3", name), ...paragraphs(schema.description ?? ""));
  article.id = `type-${name}`;
  if (!schema.properties) {
    article.append(element("p", "One of ", ...words(schema), "."));
    return article;
  }
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([field, kind]) => [
    element("code", field),
    required.has(field) ? words(kind) : ["optional; ", ...words(kind)],
    marked(descriptionOf(kind)),
  ]);
  article.append(table(`Fields of ${name}`, fields));
  return article;
}

// --- paths ---------------------------------------------------------------------------------------

function parameterRow({ name, in: where, required, description, schema }) {
  const title = [element("code", name)];
  if (where !== "query") title.push(` (${where})`);
  if (required) {
    const mark = element("span", "required");
    mark.className = "needed";
    title.push(" ", mark);
  }
  const allowed = words(schema);
  if (schema.default !== undefined) {
    allowed.push("; default ", element("code", String(schema.default)));
  }
  const meant = marked(description);
  if (schema.examples) meant.push(" Examples: ", ...listed(schema.examples), ".");
  return [title, allowed, meant];
}

function responseRow([status, { description, content = {}, headers = {} }]) {
  const bodies = Object.entries(content).map(([media, { schema }]) => {
    const described = schema.type === "string" ? marked(schema.description ?? "") : words(schema);
    return element("div", "", element("code", media), " ", ...described);
  });
  const names = Object.keys(headers);
  const listedHeaders = names.length ? element("div", "Headers: ", ...listed(names)) : "";
  return [element("code", status), [...marked(description), listedHeaders], bodies];
}

function example(path, parameters) {
  const query = new URLSearchParams();
  for (const { name, in: where, required, schema } of parameters) {
    if (where === "query" && required) query.set(name, schema.examples[0]);
  }
  const text = query.size ? `${path}?${query}` : path;
  return element("p", "Try ", link(text.replace(/^\//, "./"), `\`${text}\``));
}

function pathArticle(path, item) {
  const { operationId, summary, parameters, responses } = item.get;
  const methods = Object.keys(item).map((method) => method.toUpperCase()).join(", ");
  const article = element(
    "article", "", element("h3", `\`${path}\``), element("p", summary), element("small", methods),
  );
  article.id = operationId;
  if (parameters.length) article.append(table("Parameters", parameters.map(parameterRow)));
  article.append(table("Responses", Object.entries(responses).map(responseRow)));
  if (!path.includes("{")) article.append(example(path, parameters));
  return article;
}

function show(api) {
  byId("version").textContent = api.info.version;
  byId("about").replaceChildren(...paragraphs(api.info.description));
  for (const { name, description } of api.tags) {
    byId("paths").append(element("h2", description));
    for (const [path, item] of Object.entries(api.paths)) {
      if (!item.get.tags.includes(name)) continue;
      byId("paths").append(pathArticle(path, item));
      byId("index").append(element("li", "", link(`#${item.get.operationId}`, `\`${path}\``)));
    }
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    byId("types").append(typeArticle(name, schema));
  }
}

const status = byId("status");
try {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`the service responded with status ${response.status}`);
  show(await response.json());
  status.hidden = true;
  // The browser looked for the anchor of the URL before the page had it.
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
} catch (error) {
  status.textContent = `The documentation cannot be shown: ${error.message}.`;
  status.classList.add("problem");
}

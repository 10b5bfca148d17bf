// The page of the API: shows openapi.json. All text goes in as text, never as HTML.

const FEW = 12; // of a longer list of values the first ones are shown

const byId = (id) => document.getElementById(id);

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.append(...marked(text));
  made.append(...children);
  return made;
}

// What stands between backticks is code.
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
  const made = element("a", text);
  made.href = target;
  return made;
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

// A schema in words: what may stand there, as nodes.
function words(schema) {
  if (schema.$ref) return [link(`#type-${nameOf(schema.$ref)}`, nameOf(schema.$ref))];
  if (schema.anyOf) {
    return schema.anyOf.flatMap((one, index) => [index ? " or " : "", ...words(one)]);
  }
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

// What a field says of itself, wherever in its schema that stands.
function said(schema) {
  return schema.description ?? schema.anyOf?.map((one) => one.description).find(Boolean) ?? "";
}

function typeArticle(name, schema) {
  const article = element("article", "", element("h3", name), ...paragraphs(schema.description ?? ""));
  article.id = `type-${name}`;
  if (!schema.properties) {
    article.append(element("p", "One of ", ...words(schema), "."));
    return article;
  }
  const needed = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([field, kind]) => [
    element("code", field),
    needed.has(field) ? words(kind) : ["may be missing; ", ...words(kind)],
    marked(said(kind)),
  ]);
  article.append(table(`Fields of ${name}`, fields));
  return article;
}

// --- paths ---------------------------------------------------------------------------------------

function parameterRow({ name, in: where, required, description, schema }) {
  const title = [element("code", name)];
  if (where !== "query") title.push(` (${where})`);
  if (required) {
    const mark = element("span", "needed");
    mark.className = "needed";
    title.push(" ", mark);
  }
  const allowed = words(schema);
  if (schema.default !== undefined) {
    allowed.push("; if left out ", element("code", String(schema.default)));
  }
  const meant = marked(description);
  if (schema.examples) meant.push(" Such as ", ...listed(schema.examples), ".");
  return [title, allowed, meant];
}

function answerRow([status, { description, content = {}, headers = {} }]) {
  const bodies = Object.entries(content).map(([media, { schema }]) => {
    const told = schema.type === "string" ? marked(schema.description ?? "") : words(schema);
    return element("div", "", element("code", media), " ", ...told);
  });
  const names = Object.keys(headers);
  const told = names.length ? element("div", "Headers: ", ...listed(names)) : "";
  return [element("code", status), [...marked(description), told], bodies];
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
  article.append(table("Answers", Object.entries(responses).map(answerRow)));
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
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  show(await answer.json());
  status.hidden = true;
  // The browser looked for the part that the address names before it was there.
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
} catch (error) {
  status.textContent = `The description cannot be shown: ${error.message}.`;
  status.classList.add("problem");
}

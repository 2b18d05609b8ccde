// The page's behaviour. Text from answers enters the document as text nodes only, never as markup.

const at = (id) => document.getElementById(id);
const KINDS = [["key", "API keys"], ["user", "SDK users"]];
const COLOURED = 200_000; // characters; a longer body stays plain, as colouring costs an element a token
const JSON_TOKENS = /("(?:\\.|[^"\\])*")(?=(\s*:)?)|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

const settings = await (await fetch("page.json")).json();

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function terms(list, entries) {
  list.replaceChildren(...entries.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

// ---------------------------------------------------------------- the form

function fillCredentials() {
  for (const [kind, label] of KINDS) {
    const group = document.createElement("optgroup");
    group.label = label;
    settings.credentials.forEach((shown, index) => {
      if (shown.kind === kind) group.append(new Option(shown.label, index));
    });
    if (group.children.length) at("credential").append(group);
  }
  at("credential").append(new Option("Nobody (no credential)", ""));
}

function callerOf(example) {
  if (!example.kind) return "";
  const fits = (shown) =>
    shown.kind === example.kind &&
    (!example.holds || shown.scopes.includes(example.holds)) &&
    !shown.scopes.includes(example.lacks);
  const index = settings.credentials.findIndex(fits);
  return index < 0 ? at("credential").value : String(index);
}

function show(example) {
  for (const name of ["query", "variables", "headers"]) at(name).value = example[name];
  at("credential").value = callerOf(example);
  for (const chip of at("examples").children) chip.setAttribute("aria-pressed", String(chip.textContent === example.label));
}

function fillExamples() {
  for (const example of settings.examples) {
    const chip = element("button", example.label);
    chip.type = "button";
    chip.addEventListener("click", () => {
      show(example);
      run();
    });
    at("examples").append(chip);
  }
  if (settings.examples.length) show(settings.examples[0]);
}

function variables() {
  const text = at("variables").value.trim();
  if (!text) return null;
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("an object is needed");
  return value;
}

function headers() {
  const lines = at("headers").value.split("\n").filter((line) => line.trim());
  return Object.fromEntries(lines.map((line) => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`no colon in "${line.trim()}"`);
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  }));
}

function read(id, reader, what) {
  at(id).removeAttribute("aria-invalid");
  try {
    return reader();
  } catch (fault) {
    at(id).setAttribute("aria-invalid", "true");
    at(id).focus();
    throw new Error(`${what}: ${fault.message}.`);
  }
}

function asked() {
  const chosen = at("credential").value;
  return {
    credential: chosen === "" ? null : Number(chosen),
    query: at("query").value,
    variables: read("variables", variables, "The variables are not a JSON object"),
    headers: read("headers", headers, "The extra headers do not read as Name: value"),
  };
}

async function post(path) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(asked()),
  });
  const said = await response.json().catch(() => ({ message: `This page's server answered ${response.status}.` }));
  if (!response.ok) throw new Error(said.message);
  return said;
}

function complain(fault) {
  const gone = fault instanceof TypeError;
  at("fault").textContent = gone ? "This page's server does not answer. Is the gateway still running?" : fault.message;
  at("fault").hidden = false;
}

// ---------------------------------------------------------------- the answer

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusals(value) {
  const errors = Array.isArray(value?.errors) ? value.errors : [];
  return errors.filter((error) => Object.hasOwn(settings.reasons, error?.extensions?.reason ?? ""));
}

function verdict(reply, refused) {
  if (!reply.status) return ["No answer", "bad"];
  if (refused.length) return reply.status >= 500 ? ["Failed on the way", "warn"] : ["Refused by the gateway", "bad"];
  if (reply.status >= 400) return ["The upstream failed", "warn"];
  return ["Allowed and forwarded", "good"];
}

function summarize(reply, refused) {
  const [words, tone] = verdict(reply, refused);
  const parts = [element("span", words, `verdict ${tone}`)];
  if (reply.status) parts.push(element("span", `${reply.status} ${reply.phrase}`, "status"));
  parts.push(element("span", `${reply.milliseconds.toFixed(1)} ms`));
  if (reply.status) parts.push(element("span", `${reply.bytes.toLocaleString("en")} bytes`));
  if (reply.note) parts.push(element("span", reply.note, "verdict warn"));
  at("summary").replaceChildren(...parts);
}

function explain(error) {
  const { reason, coordinate, required_scopes: scopes } = error.extensions;
  const item = element("li");
  item.append(element("h3", reason), element("p", settings.reasons[reason]));
  const entries = [];
  if (error.message !== settings.reasons[reason]) entries.push(["The gateway says", String(error.message)]);
  if (coordinate) entries.push(["Where", String(coordinate)]);
  if (scopes) entries.push(["Scopes that would do", scopesInWords(scopes)]);
  const list = element("dl");
  terms(list, entries);
  item.append(list);
  return item;
}

// Either a flat list, all of which are needed, or a list of such lists, any of which is enough.
function scopesInWords(scopes) {
  const sets = [scopes].flat().map((set) => [set].flat().join(" and "));
  return sets.join(Array.isArray(scopes[0]) ? ", or " : " and ");
}

function print(value, text) {
  const pretty = value === undefined ? text : JSON.stringify(value, null, 2);
  at("body").replaceChildren(...(value === undefined || pretty.length > COLOURED ? [pretty] : coloured(pretty)));
  at("body").hidden = !pretty;
}

function* coloured(pretty) {
  let end = 0;
  for (const token of pretty.matchAll(JSON_TOKENS)) {
    yield pretty.slice(end, token.index);
    const kind = token[2] ? "name" : token[1] ? "string" : /^[-\d]/.test(token[0]) ? "number" : "word";
    yield element("span", token[0], kind);
    end = token.index + token[0].length;
  }
  yield pretty.slice(end);
}

function present(reply) {
  const value = parsed(reply.body);
  const refused = refusals(value);
  summarize(reply, refused);
  at("empty").hidden = true;
  at("reasons").replaceChildren(...refused.map(explain));
  const identity = Object.entries(value?.extensions?.gateway ?? {});
  terms(at("identity"), identity.map(([name, told]) => [name, String(told)]));
  at("told").hidden = !identity.length;
  print(value, reply.body);
  terms(at("head-list"), reply.headers);
  at("head").hidden = !reply.headers.length;
  if (at("answer").getBoundingClientRect().top > innerHeight) at("answer").scrollIntoView(); // narrow: it is below
}

// ---------------------------------------------------------------- what can be done

let latest = 0;

async function run() {
  const mine = ++latest;
  at("fault").hidden = true;
  at("command").hidden = true;
  at("answer").setAttribute("aria-busy", "true");
  try {
    const reply = await post("graphql");
    if (mine === latest) present(reply);
  } catch (fault) {
    if (mine === latest) complain(fault);
  } finally {
    if (mine === latest) at("answer").setAttribute("aria-busy", "false");
  }
}

async function copyAsCurl() {
  at("fault").hidden = true;
  try {
    const { command } = await post("curl");
    at("command-text").textContent = command;
    at("command-title").textContent = await copied(command);
    at("command").hidden = false;
  } catch (fault) {
    complain(fault);
  }
}

async function copied(command) {
  try {
    await navigator.clipboard.writeText(command);
    return "Copied. Paste it into a terminal; it contains the token.";
  } catch {
    return "Copy this into a terminal; it contains the token.";
  }
}

at("target").textContent = settings.target;
fillCredentials();
fillExamples();
at("request").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
at("curl").addEventListener("click", copyAsCurl);
at("request").addEventListener("input", () => {
  at("command").hidden = true; // it tells of another request now
});
at("request").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});

"use strict";
// The page of cases. Every text comes from records, models or plugins: it is set as text, never as markup.
const cases = (() => {
  const PAGE = 50;
  const UNREAD = 1001, NONE = 1002;
  const state = { list: "0", method: null, condition: 0, subgroup: "", only: "all", order: "worst", find: "", shown: PAGE };
  const shards = new Map(), answersUnder = new Map(), waiting = new Map();
  let data = null;
  const content = document.getElementById("content"), status = document.getElementById("status");

  // Elements

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : String(value));
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
  }

  function drawn(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
    made.append(...children);
    return made;
  }

  // A long name may be broken where its parts meet.
  const breakable = (text) => text.split("_").flatMap((part, i) => (i ? ["_", element("wbr"), part] : [part]));
  const inUnit = (unit) => (unit === "1" ? "" : unit);
  const fixed = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
  const plain = (value) => String(Number(value.toPrecision(4))).replace("-", "−");

  function table(headings, rows, attributes) {
    const head = element("tr", {}, headings.map((h) => element("th", { scope: "col", class: h.wide ? "wide" : null }, breakable(h.text || h))));
    const body = rows.map((row) => element("tr", {}, row.map((cell, i) => {
      const wide = headings[i].wide ? "wide" : null;
      return i === 0 ? element("th", { scope: "row" }, cell) : element("td", { class: wide }, cell);
    })));
    return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": (attributes || {}).label || "table" },
      element("table", { class: (attributes || {}).class || "numeric" }, element("thead", {}, head), element("tbody", {}, body)));
  }

  // Data

  function load(name) {
    return new Promise((resolve, reject) => {
      const failed = () => reject(new Error(`cases/${name}.js can't be read: is the folder “cases” beside this page?`));
      if (waiting.has(name)) { waiting.get(name).push(resolve); return; }
      waiting.set(name, [resolve]);
      document.head.append(element("script", { src: `cases/${name}.js`, onerror: failed, onload: () => {
        const resolved = waiting.get(name);
        waiting.delete(name);
        resolved.forEach((go) => go());
      } }));
    });
  }

  async function details(kind, list, i) {
    const number = Math.floor(i / data.perShard), key = `${kind}-${list}-${number}`;
    if (!shards.has(key)) await load(key);
    const shard = shards.get(key);
    return { detail: shard.details[i - number * data.perShard], texts: shard.texts };
  }

  async function answersOf(condition) {
    if (condition === 0) return data.settings.map((setting) => setting.answers);
    if (!answersUnder.has(condition)) await load(`condition-${condition}`);
    return answersUnder.get(condition);
  }

  const code = (packed, i) => (packed === undefined ? NONE : parseInt(packed.slice(2 * i, 2 * i + 2), 36));
  const said = (number) => (number === UNREAD ? "unread" : number === NONE ? "–" : fixed(number / 1000));
  const isWrong = (number, label) => number <= 1000 && (number / 1000 >= data.threshold) !== (label === "1");

  // The list

  function choice(label, options, value, change) {
    const select = element("select", { onchange: (event) => change(event.target.value) },
      options.map(([key, text]) => element("option", { value: key, selected: String(key) === String(value) }, text)));
    return element("label", {}, label, select);
  }

  function changed(key) {
    return (value) => { state[key] = value; state.shown = PAGE; render(); };
  }

  function lists() {
    return [
      ...data.settings.map((setting, i) => [String(i), `evaluated: ${setting.title}`]),
      ...data.searches.map((search, i) => [`t${i}`, `training: ${search.title}`]),
    ];
  }

  function filters() {
    const form = element("form", { class: "filters", "aria-label": "Which cases", onsubmit: (event) => event.preventDefault() });
    form.append(choice("Cases", lists(), state.list, changed("list")));
    if (!state.list.startsWith("t")) {
      const setting = data.settings[Number(state.list)];
      const methods = Object.keys(setting.answers);
      form.append(choice("Method", methods.map((m) => [m, m]), state.method, changed("method")));
      form.append(choice("Condition", data.conditions.map((c, i) => [i, c]), state.condition, (value) => {
        state.order = Number(value) ? "change" : "worst";
        changed("condition")(Number(value));
      }));
      const groups = Object.keys(setting.subgroups);
      if (groups.length) form.append(choice("Subgroup", [["", "all"], ...groups.map((g) => [g, g])], state.subgroup, changed("subgroup")));
      form.append(choice("Answers", [["all", "all"], ["wrong", `wrong (beyond ${data.threshold})`], ["unread", "unread"]], state.only, changed("only")));
      form.append(choice("First", [["worst", "furthest from the label"], ["change", "changed most by the condition"], ["id", "by id"]], state.order, changed("order")));
    }
    const find = element("input", { type: "search", value: state.find, oninput: (event) => { state.find = event.target.value; state.shown = PAGE; rows(); } });
    form.append(element("label", {}, "Id contains", find));
    return form;
  }

  async function evaluatedRows() {
    const setting = data.settings[Number(state.list)];
    const under = (await answersOf(state.condition))[Number(state.list)] || {};
    const clean = setting.answers, packed = under[state.method], before = clean[state.method];
    const found = [];
    setting.ids.forEach((id, i) => {
      const label = setting.labels[i], now = code(packed, i), was = code(before, i);
      if (now === NONE || (state.find && !id.includes(state.find))) return;
      if (state.subgroup && setting.subgroups[state.subgroup][i] !== "1") return;
      if (state.only === "wrong" && !isWrong(now, label)) return;
      if (state.only === "unread" && now !== UNREAD) return;
      const error = now === UNREAD ? -1 : Math.abs(now / 1000 - Number(label));
      const moved = now <= 1000 && was <= 1000 ? (now - was) / 1000 : null;
      found.push({ id, i, label, now, error, moved });
    });
    if (state.order === "worst") found.sort((a, b) => b.error - a.error);
    if (state.order === "change") found.sort((a, b) => Math.abs(b.moved ?? 0) - Math.abs(a.moved ?? 0));
    const others = Object.keys(clean).filter((m) => m !== state.method);
    const headings = ["case", "label", state.method, ...(state.condition ? ["change"] : []), ...others.map((m) => ({ text: m, wide: true }))];
    const cells = found.slice(0, state.shown).map((row) => [
      element("a", { href: `#e/${state.list}/${encodeURIComponent(row.id)}` }, row.id),
      row.label,
      isWrong(row.now, row.label) ? element("span", { class: "wrong" }, said(row.now), " ", element("span", { class: "tag" }, "wrong")) : said(row.now),
      ...(state.condition ? [row.moved === null ? "–" : (row.moved > 0 ? "+" : "") + fixed(row.moved)] : []),
      ...others.map((m) => said(code(clean[m], row.i))),
    ]);
    const left = setting.n > setting.ids.length ? ` The page has ${setting.ids.length} of ${setting.n} cases: those that ${data.main} predicted worst.` : "";
    return { n: found.length, all: setting.ids.length, headings, cells, left };
  }

  function searchedRows() {
    const search = data.searches[Number(state.list.slice(1))];
    const found = search.ids.map((id, i) => ({ id, i })).filter((row) => !state.find || row.id.includes(state.find));
    found.sort((a, b) => (search.best[a.i] ?? -1e9) - (search.best[b.i] ?? -1e9));
    const cells = found.slice(0, state.shown).map(({ id, i }) => [
      element("a", { href: `#t/${state.list.slice(1)}/${encodeURIComponent(id)}` }, id),
      search.labels[i], fixed(search.best[i]), String(search.nodes[i]),
    ]);
    return { n: found.length, all: search.ids.length, headings: ["case", "label", "best reward", "nodes of its tree"], cells, left: " The lowest best reward comes first." };
  }

  let turn = 0;
  async function rows() {
    const mine = ++turn;
    const found = state.list.startsWith("t") ? searchedRows() : await evaluatedRows();
    if (mine !== turn) return; // the user chose something else meanwhile
    status.textContent = `${found.n} of ${found.all} cases.${found.left}`;
    const more = found.n > state.shown
      ? element("button", { type: "button", onclick: () => { state.shown += PAGE; rows(); } }, `Show ${Math.min(PAGE, found.n - state.shown)} more`)
      : null;
    const place = document.getElementById("rows");
    place.replaceChildren(table(found.headings, found.cells, { class: "numeric cases", label: "cases" }), element("div", { class: "buttons" }, more));
  }

  // A record

  function plot(feature, record, values, changes, span) {
    const [, label, unit, low, high] = feature;
    const [at, numbers] = values;
    const before = changes.filter((c) => c[2] !== null), after = changes.filter((c) => c[3] !== null);
    const all = [...numbers, ...after.map((c) => c[3])];
    const bottom = Math.min(...all), top = Math.max(...all), height = 64, width = 220, room = 8;
    const y = (v) => (top === bottom ? height / 2 : height - room - ((v - bottom) / (top - bottom)) * (height - 2 * room));
    const x = (t) => room + (t / span) * (width - 2 * room);
    const parts = [];
    if (low !== null || high !== null) {
      const upper = Math.max(0, high === null ? 0 : Math.min(height, y(high))), lower = low === null ? height : Math.min(height, Math.max(0, y(low)));
      if (top !== bottom && lower > upper) parts.push(drawn("rect", { class: "inside", x: 0, y: upper, width, height: lower - upper }));
    }
    parts.push(drawn("path", { class: "trend", d: "M" + at.map((t, i) => `${x(record.times[t]).toFixed(1)} ${y(numbers[i]).toFixed(1)}`).join(" L") }));
    let outsideLow = 0, outsideHigh = 0;
    at.forEach((t, i) => {
      const v = numbers[i], cx = x(record.times[t]), cy = y(v);
      const side = low !== null && v < low ? "low" : high !== null && v > high ? "high" : "normal";
      outsideLow += side === "low"; outsideHigh += side === "high";
      const tip = drawn("title", {}, document.createTextNode(`${plain(v)} at ${plain(record.times[t])} h${side === "normal" ? "" : `, ${side}`}`));
      if (side === "normal") parts.push(drawn("circle", { class: "normal", cx, cy, r: 2.4 }, tip));
      else {
        const d = side === "high" ? -1 : 1;
        parts.push(drawn("polygon", { class: side, points: `${cx - 3.6},${cy - 2.6 * d} ${cx + 3.6},${cy - 2.6 * d} ${cx},${cy + 4.2 * d}` }, tip));
      }
    });
    before.forEach((c) => parts.push(drawn("circle", { class: "before", cx: x(c[1]), cy: y(c[2]), r: 5 })));
    after.forEach((c) => parts.push(drawn("rect", { class: "after", x: x(c[1]) - 2.8, y: y(c[3]) - 2.8, width: 5.6, height: 5.6 })));
    const range = low === null && high === null ? "" : `reference ${low === null ? `up to ${plain(high)}` : high === null ? `${plain(low)} and more` : low === high ? plain(low) : `${plain(low)}–${plain(high)}`}`;
    const named = [inUnit(unit), range].filter(Boolean).join(", ");
    const marks = [outsideHigh ? `${outsideHigh} high` : "", outsideLow ? `${outsideLow} low` : ""].filter(Boolean).join(", ");
    const summary = `${label}: ${numbers.length} values from ${plain(bottom)} to ${plain(top)} ${inUnit(unit)}${marks ? `, ${marks}` : ""}`;
    return element("figure", {},
      element("figcaption", {}, element("b", {}, label), named ? ` (${named})` : ""),
      drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary }, ...parts),
      element("span", { class: "note" }, `${numbers.length === 1 ? plain(numbers[0]) : `${plain(numbers[0])} → ${plain(numbers[numbers.length - 1])}`}${marks ? " · " : ""}`, marks ? element("span", { class: "wrong" }, marks) : ""));
  }

  function record(features, found, changes) {
    if (!found) return [element("p", { class: "warning" }, "The record is not shown: the store lacks it (above).")];
    const facts = Object.entries(found.static).map(([name, value]) => (name === "sex" ? (value === 1 ? "male" : "female") : `${name} ${plain(value)}`)).join(", ");
    const span = Math.max(1, ...found.times);
    const plots = Object.entries(found.values).map(([f, values]) =>
      plot(features[Number(f)], found, values, changes.filter((c) => c[0] === Number(f)), span));
    const lines = Object.entries(found.values).map(([f, [at, numbers]]) => [
      features[Number(f)][1], at.map((t, i) => `${plain(numbers[i])} (${plain(found.times[t])} h)`).join(", ")]);
    return [
      element("p", {}, facts),
      element("p", { class: "key" }, "Triangles are values outside the reference range, the band is the range. Each plot spans the record's hours."),
      element("div", { class: "plots" }, plots),
      element("details", {}, element("summary", {}, "The values as a table"), table(["feature", "values (hours)"], lines, { class: "values", label: "values" })),
    ];
  }

  // A case

  const joined = (parts, texts) => parts.map((p) => texts[p]).join("");

  function bars(weights, attention, cited, top) {
    const names = [...new Set([...Object.keys(weights), ...Object.keys(attention || {}), ...(cited || [])])];
    names.sort((a, b) => (weights[b] || 0) - (weights[a] || 0) || ((attention || {})[b] || 0) - ((attention || {})[a] || 0));
    const most = Math.max(1e-9, ...Object.values(weights), ...Object.values(attention || {}));
    const bar = (value, second) => (value === undefined ? "–" : element("span", {}, `${fixed(value)} `,
      drawn("svg", { width: 60, height: 10, "aria-hidden": "true" }, drawn("rect", { class: second ? "second" : "first", x: 0, y: 0, width: (60 * value) / most, height: 10 }))));
    const headings = ["feature", ...(cited ? ["cited"] : []), ...(top ? ["expert's top"] : []), "expert's weight", ...(attention ? ["attention"] : [])];
    const lines = names.slice(0, 15).map((name) => [
      name, ...(cited ? [cited.includes(name) ? "yes" : ""] : []), ...(top ? [top.includes(name) ? "yes" : ""] : []),
      bar(weights[name], false), ...(attention ? [bar(attention[name], true)] : [])]);
    return table(headings, lines, { class: "numeric bars", label: "cited features beside the expert's" });
  }

  function written(text) {
    const steps = (text.steps || []).map(([question, answer]) => element("li", {}, element("b", {}, question), element("br"), answer));
    return [
      text.thought ? element("details", {}, element("summary", {}, "Its thought"), element("pre", { class: "text", tabindex: "0" }, text.thought)) : null,
      steps.length ? element("ol", { class: "steps" }, steps) : null,
      element("details", { open: !steps.length }, element("summary", {}, "What it wrote, verbatim"), element("pre", { class: "text", tabindex: "0" }, text.text || "(nothing)")),
    ];
  }

  function answered(method, detail, texts, command) {
    const answers = detail.answers[method] || [];
    const isText = data.textMethods.includes(method);
    const blocks = answers.map((answer) => {
      const expert = detail.expert[String(answer.seed)];
      const read = answer.parsed ? fixed(answer.probability) : `unread, scored as ${fixed(answer.probability)}`;
      return [
        element("h4", {}, `Seed ${answer.seed}: ${read} (${answer.answer_mode})`),
        ...(answer.texts || []).flatMap(written),
        answer.cited || answer.attention ? bars(expert ? expert.salience : {}, answer.attention, answer.cited, expert ? expert.top : null) : null,
      ];
    });
    const prompt = detail.prompts[method];
    return [
      ...blocks.flat(),
      isText ? element("h4", {}, "The exact prompt") : null,
      isText && prompt ? element("pre", { class: "text", tabindex: "0" }, joined(prompt, texts)) : null,
      isText && !prompt ? element("p", {}, "Not shown: the method asks the policy nothing about a case, or the store lacks what the prompt is made from.") : null,
      isText ? element("p", { class: "key" }, "Texts and prompt are of the unchanged record. Under a perturbation: ", element("code", {}, command)) : null,
    ];
  }

  async function evaluatedCase(list, id) {
    const setting = data.settings[list], i = setting.ids.indexOf(id);
    if (i < 0) return missingCase(id);
    state.list = String(list);
    const [{ detail, texts }, under] = await Promise.all([details("held_out", list, i), answersOf(state.condition)]);
    const label = setting.labels[i], name = data.conditions[state.condition];
    const groups = Object.keys(setting.subgroups).filter((g) => setting.subgroups[g][i] === "1");
    const now = under[list] || {};
    const methods = Object.keys(setting.answers);
    const lines = methods.map((m) => {
      const clean = code(setting.answers[m], i);
      return [m, isWrong(clean, label) ? element("span", { class: "wrong" }, said(clean), " ", element("span", { class: "tag" }, "wrong")) : said(clean),
        ...(state.condition ? [said(code(now[m], i))] : [])];
    });
    const change = detail.changes[state.condition];
    const command = `eagbench show RUN ${id} --method ${state.method} --condition '${name}'`;
    status.textContent = `Case ${id}, label ${label}.`;
    return [
      element("h2", { tabindex: "-1" }, `Case ${id}`),
      element("p", {}, `The label is ${label}${groups.length ? `; ${groups.join(", ")}` : ""}.`),
      element("form", { class: "filters", "aria-label": "What to show of this case", onsubmit: (event) => event.preventDefault() },
        choice("Answer of", methods.map((m) => [m, m]), state.method, (value) => { state.method = value; route(true); }),
        choice("Beside the unchanged record", data.conditions.map((c, k) => [k, c]), state.condition, (value) => { state.condition = Number(value); route(true); })),
      element("h3", {}, "Probabilities of all methods"),
      table(["method", "unchanged record", ...(state.condition ? [name] : [])], lines, { class: "numeric", label: "probabilities" }),
      element("h3", {}, "Record"),
      state.condition ? changesOf(change, name, setting.features) : null,
      ...record(setting.features, detail.record, change ? change[1] : []),
      element("h3", {}, `Answer of ${state.method}`),
      ...answered(state.method, detail, texts, command),
    ];
  }

  function changesOf(change, name, features) {
    if (!change) return element("p", { class: "warning" }, `What ${name} changes is not shown: the store lacks it.`);
    const [summary, values, n] = change;
    const more = n > values.length ? ` The first ${values.length} of ${n} are marked.` : "";
    const lines = values.map(([f, t, b, a]) => [features[f][1], `${plain(t)} h`, b === null ? "none" : plain(b), a === null ? "none" : plain(a)]);
    return element("div", {},
      element("p", {}, element("b", {}, `${name}: `), summary.length ? `${summary.join("; ")}.` : "it changed nothing in this record.", more),
      values.length ? element("p", { class: "key" }, "Circles are values that it took away or altered, squares what stands there instead.") : null,
      values.length ? element("details", {}, element("summary", {}, "The changed values as a table"), table(["feature", "time", "before", "after"], lines, { class: "numeric", label: "changed values" })) : null);
  }

  function treeNodes(tree) {
    const children = new Map();
    tree.forEach(([parent], i) => children.set(parent, [...(children.get(parent) || []), i]));
    const node = (i, depth) => {
      const [, text, visits, mean, best] = tree[i], below = children.get(i) || [];
      const line = [element("span", { class: "visits" }, `${visits} visits, mean ${fixed(mean, 2)}, best ${fixed(best, 2)}`), text.trim() || "(beginning)"];
      if (!below.length) return element("li", {}, line);
      return element("li", {}, element("details", { open: depth < 2 }, element("summary", {}, line), element("ul", { class: "tree" }, below.map((c) => node(c, depth + 1)))));
    };
    return element("ul", { class: "tree" }, (children.get(null) || []).map((i) => node(i, 0)));
  }

  async function searchedCase(list, id) {
    const search = data.searches[list], i = search.ids.indexOf(id);
    if (i < 0) return missingCase(id);
    state.list = `t${list}`;
    const { detail, texts } = await details("searched", list, i);
    status.textContent = `Training case ${id}, label ${search.labels[i]}.`;
    const parts = [...new Set(detail.trajectories.flatMap((t) => Object.keys(t.reward)))];
    const lines = detail.trajectories.map((t, n) => [String(n + 1), t.probability === null ? "unread" : fixed(t.probability), ...parts.map((p) => (p in t.reward ? fixed(t.reward[p]) : "–"))]);
    return [
      element("h2", { tabindex: "-1" }, `Training case ${id}`),
      element("p", {}, `The label is ${search.labels[i]}. ${detail.trajectories.length} trajectories were finished, best first.`),
      element("h3", {}, "Rewards"),
      table(["trajectory", "answer", ...parts], lines, { class: "numeric", label: "rewards" }),
      ...detail.trajectories.slice(0, 3).flatMap((t, n) => [element("h4", {}, `Trajectory ${n + 1}`), ...written(t),
        Object.keys(detail.salience).length && n === 0 ? bars(detail.salience, null, t.cited_features, null) : null]),
      element("h3", {}, "Search tree"),
      detail.tree.length ? treeNodes(detail.tree) : element("p", {}, "This search keeps no tree."),
      element("h3", {}, "Record"),
      ...record(search.features, detail.record, []),
      detail.prompt ? element("h3", {}, "The prompt") : null,
      detail.prompt ? element("pre", { class: "text", tabindex: "0" }, joined(detail.prompt, texts)) : null,
    ];
  }

  function missingCase(id) {
    status.textContent = "";
    return [element("h2", { tabindex: "-1" }, `The page has no case ${id}`)];
  }

  // What is shown

  function render() {
    if (!state.list.startsWith("t")) {
      const setting = data.settings[Number(state.list)];
      if (!(state.method in setting.answers)) state.method = data.main in setting.answers ? data.main : Object.keys(setting.answers)[0];
      if (state.subgroup && !(state.subgroup in setting.subgroups)) state.subgroup = "";
    }
    const active = document.activeElement, form = active ? active.closest("form") : null;
    const at = form ? [...form.elements].indexOf(active) : -1;
    content.replaceChildren(element("h2", { tabindex: "-1" }, "Which cases"), filters(), element("div", { id: "rows" }));
    if (at >= 0) content.querySelector("form").elements[at]?.focus();
    rows().catch(failed);
  }

  async function route(stays) {
    const [kind, list, id] = location.hash.slice(1).split("/");
    if (kind !== "e" && kind !== "t") { render(); return; }
    const known = kind === "e" ? data.settings : data.searches, n = Number(list);
    if (!(n in known)) { content.replaceChildren(...missingCase(list)); return; }
    if (kind === "e" && !(state.method in known[n].answers)) state.method = data.main in known[n].answers ? data.main : Object.keys(known[n].answers)[0];
    const active = document.activeElement, form = active ? active.closest("form") : null;
    const at = stays && form ? [...form.elements].indexOf(active) : -1;
    const blocks = await (kind === "e" ? evaluatedCase : searchedCase)(n, decodeURIComponent(id || ""));
    content.replaceChildren(element("p", {}, element("a", { href: "#list" }, "← all cases")), ...blocks.filter((b) => b !== null && b !== undefined));
    if (at >= 0) content.querySelector("form").elements[at]?.focus();
    else { content.querySelector("h2").focus(); window.scrollTo(0, 0); }
  }

  function failed(error) {
    status.textContent = error.message;
  }

  window.addEventListener("hashchange", () => { if (data && location.hash !== "#content") route(false).catch(failed); });

  return {
    index(found) {
      data = found;
      state.method = data.main;
      if (data.missing.length) {
        document.getElementById("missing").append(element("details", { class: "missing", open: true },
          element("summary", {}, "What this page lacks"), element("ul", {}, data.missing.map((text) => element("li", {}, text)))));
      }
      route(true).catch(failed);
    },
    condition(k, answers) { answersUnder.set(k, answers); },
    shard(key, details, texts) { shards.set(key, { details, texts }); },
  };
})();

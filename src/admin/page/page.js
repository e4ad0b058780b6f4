"use strict";
// Asks /status every two seconds and shows the difference to the answer before. Text is set as text, never as markup.
const EVERY_MS = 2000;
const HISTORY = 90;
// Without the name and the password an address may hold: a script may not ask with them.
const STATUS = new URL("status", `${location.origin}${location.pathname}`);
const by = (id) => document.getElementById(id);
const history = { rate: [], latency: [], open: [], shakes: [], cpu: [], sites: new Map() };
let before = null;

const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: 0 });
const rate = (value) => number(value, value < 10 ? 1 : 0);
const percent = (part, whole) => (whole > 0 ? `${number((100 * part) / whole, 1)} %` : "–");

function time(us) {
  if (us === null) return "–";
  if (us < 1000) return `${number(us)} µs`;
  if (us < 1e6) return `${number(us / 1000, us < 1e4 ? 1 : 0)} ms`;
  return `${number(us / 1e6, 1)} s`;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${number(bytes, bytes < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

function span(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

const subtract = (now, then) => ({
  count: now.count - (then ? then.count : 0),
  buckets: now.buckets.map((value, place) => value - (then ? then.buckets[place] : 0)),
});

// Of what is in the buckets, spread evenly inside each.
function quantile(durations, bounds, share) {
  if (durations.count <= 0) return null;
  let left = share * durations.count;
  for (let place = 0; place < durations.buckets.length; place += 1) {
    const inside = durations.buckets[place];
    if (inside > 0 && left <= inside) {
      const low = place > 0 ? bounds[place - 1] : 0;
      const high = place < bounds.length ? bounds[place] : low;
      return low + ((high - low) * left) / inside;
    }
    left -= inside;
  }
  return bounds[bounds.length - 1];
}

function push(list, value) {
  list.push(value);
  if (list.length > HISTORY) list.shift();
}

function spark(svg, values) {
  const known = values.map((value) => value ?? 0);
  const top = Math.max(...known, 1e-9) * 1.08;
  const step = 100 / (HISTORY - 1);
  const from = HISTORY - known.length;
  const points = known.map((value, place) => `${((from + place) * step).toFixed(2)},${(30 - (29 * value) / top).toFixed(2)}`);
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  const make = (name, text) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", name);
    shape.setAttribute("points", text);
    return shape;
  };
  const area = `${(from * step).toFixed(2)},30 ${points.join(" ")} 100,30`;
  svg.replaceChildren(make("polygon", area), make("polyline", points.join(" ")));
}

function cell(text, name = "td", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

function nothing(columns, text) {
  const made = cell(text, "td", "none");
  made.colSpan = columns;
  return row(made);
}

function titled(title, detail) {
  const made = cell(title, "th");
  made.scope = "row";
  if (detail) {
    const small = cell(detail, "small");
    small.title = detail;
    made.append(small);
  }
  return made;
}

function bar(element, share, label) {
  element.firstElementChild.style.width = `${Math.min(100, 100 * share)}%`;
  element.setAttribute("aria-label", label);
}

// Answers by class, as a bar; told in words to those who do not see it.
function split(requests) {
  const made = document.createElement("div");
  made.className = "split";
  made.setAttribute("role", "img");
  const total = Object.values(requests).reduce((sum, count) => sum + count, 0);
  const words = [];
  for (const [name, kind] of [["2xx", "c2"], ["1xx", "c2"], ["3xx", "c3"], ["4xx", "c4"], ["5xx", "c5"], ["none", "c0"]]) {
    const count = requests[name];
    if (count > 0) {
      const part = document.createElement("i");
      part.className = kind;
      part.style.width = `${(100 * count) / total}%`;
      made.append(part);
      words.push(`${name === "none" ? "left" : name}: ${number(count)}`);
    }
  }
  made.setAttribute("aria-label", words.join(", ") || "none yet");
  made.title = words.join(", ");
  return made;
}

function showSites(now, seconds) {
  const rows = now.sites.map((site) => {
    const then = before && before.sites.find((other) => other.name === site.name);
    const recent = subtract(site.durations, then && then.durations);
    const perSecond = then ? recent.count / seconds : 0;
    const list = history.sites.get(site.name) ?? [];
    history.sites.set(site.name, list);
    if (then) push(list, perSecond);
    const graph = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    graph.setAttribute("class", "spark");
    graph.setAttribute("role", "img");
    graph.setAttribute("aria-label", `Requests a second to ${site.name}`);
    spark(graph, list);
    const graphCell = document.createElement("td");
    graphCell.append(graph);
    const splitCell = document.createElement("td");
    splitCell.append(split(site.requests));
    const measured = recent.count > 0 && then ? recent : site.durations;
    return row(
      titled(site.name, site.hosts.join(", ")),
      cell(then ? rate(perSecond) : "–", "td", "n"),
      graphCell,
      splitCell,
      cell(time(quantile(measured, now.bounds_us, 0.5)), "td", "n"),
      cell(time(quantile(measured, now.bounds_us, 0.99)), "td", "n"),
      cell(then ? size((site.bytes_out - then.bytes_out) / seconds) : "–", "td", "n"),
      cell(number(site.durations.count), "td", "n"),
    );
  });
  by("sites").replaceChildren(...(rows.length ? rows : [nothing(8, "no site")]));
}

function showUpstreams(now) {
  const list = now.upstreams ?? [];
  by("upstreams-section").hidden = list.length === 0;
  const rows = list.map((upstream) => row(
    titled(upstream.address),
    cell(upstream.state, "td", upstream.state === "up" ? "ok" : "bad"),
    cell(upstream.sites.join(", ")),
    cell(number(upstream.in_use), "td", "n"),
    cell(number(upstream.idle), "td", "n"),
  ));
  by("upstreams").replaceChildren(...rows);
}

function showCertificates(now) {
  const sorted = [...now.certificates].sort((one, other) => one.not_after - other.not_after);
  const rows = sorted.map((certificate) => {
    const days = Math.floor((certificate.not_after - now.time) / 86400);
    const kind = days < 7 ? "bad" : days < 21 ? "warn" : "ok";
    const names = cell(certificate.name ?? certificate.names.slice(0, 2).join(", "));
    names.title = certificate.names.join(", ");
    if (!certificate.name && certificate.names.length > 2) names.append(cell(`and ${certificate.names.length - 2} more`, "small"));
    const left = cell(days < 0 ? `ended ${number(-days)} days ago` : number(days), "td", `n ${kind}`);
    left.title = new Date(certificate.not_after * 1000).toISOString();
    return row(titled(certificate.site), left, names, cell(certificate.key), cell(certificate.source.replaceAll("_", " ")));
  });
  by("certificates").replaceChildren(...(rows.length ? rows : [nothing(5, "no certificate is served")]));
  const cache = now.certificate_cache;
  const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);
  const words = [`${number(cache.changes_taken_up)} changes taken up, ${number(sum(cache.changes_refused))} refused`];
  if (cache.asked > 0) {
    words.push(`${number(cache.size)} of ${number(cache.size_max)} names remembered, ${percent(cache.hits, cache.hits + cache.misses)} found`);
    words.push(`${number(cache.asked)} questions to sources, ${number(sum(cache.failed))} failed`);
  }
  by("certificates-sub").textContent = words.join(" · ");
}

function showFailures(now, seconds) {
  const told = (list, then, prefix) => Object.entries(list).map(([reason, count]) => ({
    reason: prefix + reason.replaceAll("_", " "),
    count,
    perSecond: then ? (count - (then[reason] ?? 0)) / seconds : 0,
  }));
  const all = [
    ...told(now.failures, before && before.failures, ""),
    ...told(now.handshakes.failures, before && before.handshakes.failures, "handshake: "),
  ].sort((one, other) => other.perSecond - one.perSecond || other.count - one.count);
  const rows = all.slice(0, 20).map(({ reason, count, perSecond }) => row(
    titled(reason), cell(perSecond > 0 ? rate(perSecond) : "–", "td", "n"), cell(number(count), "td", "n"),
  ));
  by("failures").replaceChildren(...(rows.length ? rows : [nothing(3, "nothing")]));
}

function showTiles(now, seconds) {
  const change = (name) => now.totals[name] - before.totals[name];
  const all = (status) => status.sites.reduce(
    (sum, site) => ({ count: sum.count + site.durations.count, buckets: sum.buckets.map((value, place) => value + site.durations.buckets[place]) }),
    { count: 0, buckets: new Array(now.bounds_us.length + 1).fill(0) },
  );
  const requests = change("requests") / seconds;
  const recent = subtract(all(now), all(before));
  const median = quantile(recent, now.bounds_us, 0.5);
  const full = now.handshakes.full.count - before.handshakes.full.count;
  const resumed = now.handshakes.resumed.count - before.handshakes.resumed.count;
  const cpu = Math.max(0, now.process.cpu_seconds - before.process.cpu_seconds) / seconds;
  push(history.rate, requests);
  push(history.latency, median);
  push(history.open, now.totals.connections_open);
  push(history.shakes, (full + resumed) / seconds);
  push(history.cpu, cpu);
  for (const [id, list] of [["rate", history.rate], ["latency", history.latency], ["open", history.open], ["shakes", history.shakes], ["cpu", history.cpu]]) {
    spark(by(`${id}-spark`), list);
  }
  by("rate").textContent = rate(requests);
  by("rate-sub").textContent = `${number(now.totals.requests)} in all`;
  by("latency").textContent = time(median);
  by("latency-sub").textContent = `p99 ${time(quantile(recent, now.bounds_us, 0.99))}`;
  by("open").textContent = number(now.totals.connections_open);
  by("open-sub").textContent = `${rate(change("connections_accepted") / seconds)} new/s`;
  by("shakes").textContent = rate((full + resumed) / seconds);
  const shakes = now.handshakes.full.count + now.handshakes.resumed.count;
  by("shakes-sub").textContent = `${percent(now.handshakes.resumed.count, shakes)} resumed`;
  by("cpu").textContent = `${number(100 * cpu)} %`;
  by("process-sub").textContent = `${size(now.process.resident_bytes)}, ${number(now.process.descriptors)} descriptors`;
}

function showCache(now) {
  const cache = now.session_cache;
  if (cache.size === undefined) {
    by("hits").textContent = cache.mode;
    by("cache-sub").textContent = cache.mode === "off" ? "every handshake is a full one" : "clients keep their sessions";
    by("cache-bar").hidden = true;
    return;
  }
  by("hits").textContent = percent(cache.hits, cache.hits + cache.misses);
  by("cache-sub").textContent = `${number(cache.misses)} not found, ${number(cache.evictions)} evicted`;
  by("cache-bar").hidden = false;
  bar(by("cache-bar"), cache.size / cache.size_max, `${number(cache.size)} of ${number(cache.size_max)} sessions`);
  by("cache-fill").textContent = `${number(cache.size)} of ${number(cache.size_max)} sessions`;
}

function show(now) {
  const seconds = before ? Math.max(0.001, now.time - before.time) : 1;
  if (before && before.pid !== now.pid) before = null;
  by("phase").textContent = now.phase;
  by("phase").className = `pill ${now.phase}`;
  by("version").textContent = now.version;
  const listeners = now.listeners.map(({ scheme, address }) => `${scheme}://${address}`).join(", ");
  by("about").textContent = `generation ${now.generation.number} · up ${span(now.time - now.started)} · ${now.workers} worker${now.workers === 1 ? "" : "s"} · ${listeners}`;
  const failure = now.reloads.last_failure;
  by("notice").hidden = !failure;
  if (failure) by("notice").textContent = `The last reload changed nothing:\n${failure}`;
  if (before) showTiles(now, seconds);
  showCache(now);
  showSites(now, seconds);
  showUpstreams(now);
  showCertificates(now);
  showFailures(now, seconds);
  by("updated").textContent = `as of ${new Date(now.time * 1000).toLocaleTimeString()}`;
  before = now;
}

async function look() {
  try {
    const answer = await fetch(STATUS, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    show(await answer.json());
  } catch (error) {
    by("phase").textContent = "no answer";
    by("phase").className = "pill lost";
  }
  setTimeout(look, EVERY_MS);
}

look();

// What the page does beyond being read: it follows the daemon, searches while you type, and listens to keys.

const $ = (selector, from = document) => from.querySelector(selector);
const main = $("#main");
const live = $("#live");
// Where all addresses of this page begin, seen from static/HASH/page.js
const ROOT = new URL("../..", import.meta.url);
const AFTER_KEY = 300;
const AFTER_TIME = 1200;
const BETWEEN_LOOKS = 100;
const AFTER_TROUBLE = 1000;
const PATIENCE = 30000;
const OUTPUT_KEPT = 64 * 1024;
const OUTPUT_MOST = 4 * 1024 * 1024;
const ENTRIES_KEPT = 100;
const TIMES = { ago: "How long ago", local: "Local time", utc: "UTC" };

// What is remembered, here and in other tabs

const memory = {
  get(name) {
    try { return localStorage.getItem(name); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(name, value); } catch { /* it is forgotten with the tab */ }
  },
};

let isPaused = memory.get("paused") === "1";
const readTimes = (told) => (told in TIMES ? told : "ago");
let times = readTimes(memory.get("times"));
let isAway = false;
let awaySince = null;
let isStale = false;

addEventListener("storage", ({ key, newValue }) => {
  if (key === "paused") setPaused(newValue === "1");
  if (key === "times") setTimes(readTimes(newValue));
  if (key === "theme" && newValue) document.documentElement.dataset.theme = newValue;
});

// Looking again: one look at a time, however long the network takes, and one more if something has changed meanwhile

let looking = null;
let isMissed = false;

async function look(address, accept, onAnswer) {
  looking?.abort();
  const mine = (looking = new AbortController());
  const late = setTimeout(() => mine.abort(new DOMException("no answer", "TimeoutError")), PATIENCE);
  isMissed = false;
  try {
    await onAnswer(await fetch(address, { headers: { Accept: accept }, signal: mine.signal }));
  } catch (error) {
    if (error.name !== "AbortError") setAway("This page is not served any more. It goes on by itself once it is.");
  }
  clearTimeout(late);
  if (looking !== mine) return;
  looking = null;
  if (isMissed) onChange();
}

function load({ isOtherView = false, isLive = false } = {}) {
  return look(withSeen(location.href), "text/html", async (answer) => {
    if (answer.redirected) return location.assign(answer.url);
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.status === 503) return setAway(said(found), sinceIn(found));
    if (isLive && isBeingRead()) return void (isMissed = true);
    take(found, isOtherView);
    setAway(null);
  });
}

function sinceIn(page) { return Number($("[data-since]", page)?.dataset.since) || null; }

function said(found) {
  return `${$("main h1", found)?.textContent ?? "No answer"}. ${$("main p", found)?.textContent ?? ""}`;
}

function take(found, isOtherView) {
  document.title = found.title;
  const output = $(".output", main);
  const wasAtEnd = output && isAtEnd(output);
  const growing = whatGrows(found);
  Idiomorph.morph(main, $("#main", found).innerHTML, {
    morphStyle: "innerHTML",
    ignoreActiveValue: !isOtherView,
    callbacks: {
      beforeNodeMorphed: (node) => !growing.has(node) && !isHeld(node) && node.id !== "hold" &&
        (isOtherView || !node.matches?.("details.narrowing[open]")), // somebody fills it in
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.matches("details")),
    },
  });
  for (const grow of growing.values()) grow?.();
  if (!output || wasAtEnd) toEnd();
  retime();
  goOn();
}

// What grows below who reads: output and log of a job are asked for from where they end here, and are cut above only while
// somebody is at the end.

function withSeen(address) {
  const place = new URL(address);
  if ($("[data-job]", main)) {
    const { attempt = 0, end = 0 } = $("#output", main)?.dataset ?? {};
    const { last } = $(".entries", main).dataset;
    place.searchParams.set("seen", `${attempt}.${end}.${last}`);
  }
  return place;
}

function whatGrows(found) {
  const growing = new Map();
  const [output, more] = [$("#output", main), $("#output", found)];
  if (output && more && output.dataset.attempt === more.dataset.attempt && Number(more.dataset.begin) >= Number(output.dataset.end)) {
    growing.set(output, () => growOutput(output, more));
    growing.set($("#before", main), null);
  }
  const [entries, newer] = [$(".entries", main), $(".entries", found)];
  if (entries && newer && "after" in newer.dataset) {
    const added = [...newer.children];
    growing.set(entries, () => growEntries(entries, added, newer.dataset.last));
    growing.set($("#older", main), null);
  }
  return growing;
}

function growOutput(box, more) {
  if (isHeld(box)) return;
  const wasAtEnd = isAtEnd(box);
  const gap = more.dataset.begin - box.dataset.end;
  if (gap && wasAtEnd) box.replaceChildren();
  else if (gap) box.append(`\n[... ${gap} bytes left out ...]\n`);
  if (more.dataset.rewinds === "1") cutBackToLine(box);
  if (more.textContent) {
    const piece = new Text(more.textContent);
    piece.begin = Number(more.dataset.begin);
    box.append(piece);
  }
  box.dataset.end = more.dataset.end;
  const most = wasAtEnd ? OUTPUT_KEPT : OUTPUT_MOST;
  const before = box.scrollHeight;
  for (let size = box.textContent.length; box.firstChild && size - box.firstChild.length >= most;) {
    size -= box.firstChild.length;
    box.firstChild.remove();
  }
  if (!wasAtEnd) box.scrollTop -= before - box.scrollHeight;
  const begin = box.firstChild?.begin ?? Number(box.dataset.begin);
  $("#before").hidden = !begin;
  if (begin) $("#before b").textContent = `${Math.ceil(begin / 1024).toLocaleString("en")} KiB`;
}

// What is written over a line that stands there already, as a bar of progress is, takes its place.
function cutBackToLine(box) {
  while (box.lastChild) {
    const end = box.lastChild.textContent.lastIndexOf("\n");
    if (end >= 0) return void (box.lastChild.textContent = box.lastChild.textContent.slice(0, end + 1));
    box.lastChild.remove();
  }
}

function growEntries(list, added, last) {
  const wasAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 8;
  list.dataset.last = last;
  for (const { dataset: { progress } } of added) if (progress) $(`[data-progress="${progress}"]`, list)?.remove();
  list.append(...added.filter(({ id }) => !document.getElementById(id)));
  if (!wasAtEnd) return;
  while (list.children.length > ENTRIES_KEPT) {
    list.firstElementChild.remove();
    $("#older").hidden = false;
  }
  if (added.length && scrollY > 0) scrollTo(0, document.documentElement.scrollHeight);
}

// A search that was cut short goes on by itself while somebody looks, until the page is full or all has been looked through

let stoppedAt = null;
let searching = null;

async function goOn() {
  const link = $(".cut a", main);
  const here = location.href;
  if (!link || document.hidden || stoppedAt === here || searching === here) return;
  searching = here;
  showSearch(link.parentElement);
  const select = $(".tools select");
  const place = new URL(link.href);
  place.searchParams.set("per", Math.max(1, select.value - main.querySelectorAll("tbody tr").length));
  try {
    const answer = await fetch(place, { headers: { Accept: "text/html" } });
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) $(".cut button", main)?.click();
    else if (location.href === here && stoppedAt !== here && $(".cut a", main)) addFound(found, select);
  } catch { $(".cut button", main)?.click(); }
  searching = null;
  goOn();
}

function showSearch(note) {
  note.closest(".list").dataset.first = "0"; // what comes now is counted: it would begin again
  const [told, link] = [$(".told", note), $("a", note)];
  note.dataset.told ??= told.textContent;
  told.textContent = `Searching: ${note.dataset.share ? `the newest ${note.dataset.share} so far` : "not through yet"}. `;
  link.hidden = true;
  if ($("button", note)) return; // the same for all of a search: it is to be hit
  const stop = document.createElement("button");
  stop.type = "button";
  stop.textContent = "Stop";
  stop.onclick = () => {
    stoppedAt = location.href;
    stop.remove();
    told.textContent = note.dataset.told;
    link.hidden = false;
  };
  note.append(stop);
}

function addFound(found, select) {
  const list = $(".list", main);
  const note = $(".cut", list);
  const [body, more] = [$("tbody", list), $("tbody", found)];
  if (body && more) body.append(...more.children);
  else if (more) note.before(more.closest("table"));
  const ending = $(".list > p", found);
  if (ending?.matches(".cut")) {
    note.className = $("tbody", list) ? "note cut" : "empty cut";
    Object.assign(note.dataset, { share: ending.dataset.share ?? "", told: $(".told", ending).textContent });
    $("a", note).href = $("a", ending).href;
  } else if (ending && !$("tbody", list)) note.replaceWith(ending);
  else note.remove();
  const older = $(".pages [rel=next]", found);
  if (older) {
    const place = new URL(older.href);
    place.searchParams.set("page", Number($(".pages", main).dataset.page) + 1);
    if (select.value === select.dataset.usual) place.searchParams.delete("per");
    else place.searchParams.set("per", select.value);
    older.href = place;
  }
  $(".pages", main).lastElementChild.replaceWith(older ?? $(".pages", found).lastElementChild);
  if (!$(".cut", list)) $("#said").textContent = `${main.querySelectorAll("tbody tr").length} found`;
  retime();
}

function isAtEnd(box) { return box.scrollTop + box.clientHeight >= box.scrollHeight - 8; }

function toEnd() {
  const output = $(".output", main);
  if (output && !isHeld(output)) output.scrollTop = output.scrollHeight;
}

// A box that somebody has stopped, or selects text in, stays as it is.
function isHeld(node) {
  if (!node.matches?.("pre")) return false;
  const selection = getSelection();
  const isSelected = !selection.isCollapsed && selection.containsNode(node, true);
  return isSelected || (node.matches(".output") && $("#hold")?.getAttribute("aria-pressed") === "true");
}

function isReading() {
  return !getSelection().isCollapsed || scrollY > 40 || $("dialog[open]") !== null || focusedRow() !== null;
}

function focusedRow() { return document.activeElement?.closest(".rows tbody tr") ?? null; }

function isBeingRead() {
  const list = $(".list[data-top]", main);
  return list !== null && (list.dataset.first !== "1" || isReading());
}

function onChange() {
  isStale = document.hidden;
  if (looking) return void (isMissed = true);
  if ($("[data-broken]", main)) return load();
  if (isPaused || isStale) return;
  if (!isBeingRead()) return load({ isLive: true });
  const place = new URL(location.href);
  for (const name of ["page", "upto", "at", "until"]) place.searchParams.delete(name);
  place.searchParams.set("newer_than", $(".list[data-top]", main).dataset.top);
  look(place, "application/json", async (answer) => { if (answer.ok) showNewer(await answer.json()); });
}

function showNewer({ newer, is_all: isAll }) {
  const bar = $("#bar", main);
  if (!bar) return;
  const many = newer ? `${newer}${isAll ? "" : "+"} newer` : "";
  bar.hidden = !newer;
  bar.textContent = `${many} – go to the newest`;
  const said = $("#said");
  if (many || said.textContent.endsWith(" newer")) said.textContent = many; // else a search's end stands there
}

// Whoever has read on meets the newest again where they left it.
function onReadingEnded() {
  const bar = $("#bar", main);
  if (bar && !bar.hidden && !isBeingRead()) onChange();
}
document.addEventListener("selectionchange", onReadingEnded);
document.addEventListener("focusout", ({ relatedTarget }) => {
  if (!relatedTarget?.closest(".rows tbody tr")) setTimeout(onReadingEnded);
});
addEventListener("scrollend", onReadingEnded);
document.addEventListener("visibilitychange", () => { if (isStale) onChange(); goOn(); });

// Following: one tab holds the stream, and tells the others

const others = new BroadcastChannel(`bgjobd${ROOT.pathname}`);
others.onmessage = ({ data }) => onWord(data);
let pending = null;

function onWord(word) {
  if (word.startsWith("changed ") && !isAway && !concerns(word.slice(8))) return;
  if (word === "away") return void (isAway || ask());
  if (word.startsWith("away ")) return setAway(SILENT, Number(word.slice(5)));
  if (isAway) return setAway(null);
  const rest = Number($("[data-rest]", main)?.dataset.rest) || BETWEEN_LOOKS; // some views take the daemon longer
  pending ??= setTimeout(() => { pending = null; onChange(); }, rest);
}

// A job's page looks again only where its own job has changed; of many jobs at once a "*" is told.
function concerns(ids) {
  const own = $("[data-job]", main)?.dataset.job;
  return !own || ids === "*" || ids.split(",").includes(own);
}

function follow() {
  const spread = (word) => { others.postMessage(word); onWord(word); };
  const stream = new EventSource(new URL("events", ROOT));
  stream.onopen = () => spread("changed *");
  stream.onmessage = ({ data }) => spread(`changed ${data.split("\n")[1] ?? "*"}`);
  stream.addEventListener("away", ({ data }) => spread(`away ${data}`));
  stream.onerror = () => {
    spread("away");
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, AFTER_TROUBLE);
  };
  return new Promise(() => {});
}

// Whether it is over; until then again and again, on one timer.
let asking = null;
const SILENT = "The daemon does not answer. What stands here is from before; it goes on by itself.";

async function ask() {
  clearTimeout(asking);
  const trouble = await fetch(new URL("healthz", ROOT), { signal: AbortSignal.timeout(PATIENCE) }).then(
    ({ ok }) => (ok ? null : SILENT),
    () => "This page is not served any more. What stands here is from before; it goes on by itself.",
  );
  setAway(trouble);
}

function setAway(trouble, since = null) {
  const wasAway = isAway;
  isAway = trouble !== null;
  awaySince = isAway ? since ?? awaySince ?? Date.now() / 1000 : null;
  clearTimeout(asking);
  if (isAway) asking = setTimeout(ask, AFTER_TROUBLE);
  $("#away").hidden = !isAway || $("[data-broken]", main) !== null;
  if (isAway) $("#away").textContent = trouble;
  showLive();
  if (wasAway && !isAway) onChange();
}

// What moves without a line in the log, each so many seconds: output and progress of what runs, the hours of schedules.
let second = 0;
setInterval(() => {
  second += 1;
  const every = Number($("[data-moves]", main)?.dataset.moves);
  if (!isPaused && !isAway && every && second % every === 0) onChange();
}, 1000);

function setPaused(value) {
  isPaused = value;
  memory.set("paused", value ? "1" : "0");
  showLive();
  if (!value) onChange();
}

function showLive() {
  live.setAttribute("aria-pressed", String(!isPaused));
  live.classList.toggle("away", isAway && !isPaused);
  $(".word", live).textContent = isPaused ? "Paused" : isAway ? `No answer since ${clock(awaySince)}` : "Live";
}

// Searching: one request once nobody types any more

let typing = null;

function find(form) {
  clearTimeout(typing);
  const usual = form.elements.per?.dataset.usual;
  const isMoment = (name) => form.elements[name]?.type === "datetime-local";
  const all = [...new FormData(form)].map(([name, value]) => [name, isMoment(name) ? ofField(value) : value]);
  const told = all.filter(([name, value]) => value.trim() && !(name === "per" && value === usual));
  const query = new URLSearchParams(told).toString();
  const address = form.getAttribute("action") + (query ? `?${query}` : "");
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  load();
}

document.addEventListener("input", ({ target }) => {
  if (!target.matches(".tools input")) return;
  clearTimeout(typing);
  typing = setTimeout(() => find(target.form), target.type === "search" ? AFTER_KEY : AFTER_TIME);
});
document.addEventListener("change", ({ target }) => { if (target.matches(".tools select")) find(target.form); });
document.addEventListener("submit", (event) => {
  if (!event.target.matches(".tools, .narrowing form")) return;
  event.preventDefault();
  event.target.closest("details")?.removeAttribute("open");
  main.focus({ preventScroll: true }); // so that keys move through what is found, and a phone's keyboard goes
  find(event.target);
});
addEventListener("popstate", () => { clearTimeout(typing); load({ isOtherView: true }); });

// Time

function retime() {
  if (!getSelection().isCollapsed) return;
  for (const one of document.querySelectorAll("time")) {
    const moment = new Date(one.dateTime);
    if (one.dataset.cut) {
      one.textContent = (times === "utc" ? moment.toISOString().slice(0, -1).replace("T", " ") : stampMs(moment)).slice(...one.dataset.cut.split(","));
      continue;
    }
    const exact = times === "utc" ? `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC` : stamp(moment);
    const relative = ago((moment - Date.now()) / 1000);
    [one.textContent, one.title] = times !== "ago" || one.matches(".exact") ? [exact, relative] : [relative, exact];
  }
  for (const field of main.querySelectorAll("input[data-at]")) {
    if (field !== document.activeElement) field.value = field.dataset.at ? inField(new Date(field.dataset.at)) : "";
    $(".zone", field.parentElement).textContent = times === "utc" ? "UTC" : "";
  }
  for (const one of document.querySelectorAll(".zone:not(label > .zone)")) one.textContent = times === "utc" ? "UTC" : "local time";
  for (const one of document.querySelectorAll("[data-at]:not(input)")) one.textContent = clock(one.dataset.at).slice(0, 5);
}

function stampMs(moment) { return `${stamp(moment)}.${String(moment.getMilliseconds()).padStart(3, "0")}`; }
// A field for a time is in the zone in which times are shown; an address has it in UTC.

function inField(moment) {
  return times === "utc" ? moment.toISOString().slice(0, 19) : stamp(moment).replace(" ", "T");
}

function ofField(value) {
  const moment = new Date(times === "utc" ? `${value}Z` : value);
  return Number.isNaN(moment.getTime()) ? "" : moment.toISOString().replace(/\.\d+/, "");
}

function stamp(moment) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return `${day} ${[moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":")}`;
}

function clock(seconds) {
  const moment = new Date(seconds * 1000);
  return times === "utc" ? `${moment.toISOString().slice(11, 16)} UTC` : stamp(moment).slice(11, 16);
}

const UNITS = [[60, 1, "second"], [3600, 60, "minute"], [86400, 3600, "hour"], [604800, 86400, "day"], [Infinity, 604800, "week"]];

function ago(seconds) {
  if (Math.abs(seconds) < 2) return "just now";
  const count = (per) => Math.floor(Math.abs(seconds) / per + (seconds > 0 ? 0.5 : 0));
  const [, per, unit] = UNITS.find(([most, per]) => count(per) * per < most);
  const many = count(per);
  const told = `${many} ${unit}${many === 1 ? "" : "s"}`;
  return seconds > 0 ? `in ${told}` : `${told} ago`;
}

setInterval(() => { if (!document.hidden) retime(); }, 5000);
addEventListener("pageshow", retime);

// Switches and keys

function setTimes(value) {
  times = value;
  memory.set("times", value);
  showTimes();
}

function showTimes() {
  $("#zone").textContent = TIMES[times];
  document.documentElement.classList.toggle("exact", times !== "ago");
  showLive();
  retime();
}

$("#zone").onclick = () => {
  const all = Object.keys(TIMES);
  setTimes(all[(all.indexOf(times) + 1) % all.length]);
};
$("#theme").onclick = () => {
  const root = document.documentElement;
  root.dataset.theme = getComputedStyle(root).colorScheme === "dark" ? "light" : "dark";
  memory.set("theme", root.dataset.theme);
};
live.onclick = () => setPaused(!isPaused);
$("#help").onclick = () => $("#keys").showModal();

document.addEventListener("click", async ({ target }) => {
  if (target.matches("#hold")) {
    const isHolding = target.getAttribute("aria-pressed") !== "true";
    target.setAttribute("aria-pressed", String(isHolding));
    target.textContent = isHolding ? "Paused" : "Pause";
    if (!isHolding) { toEnd(); load(); }
  }
  if (target.matches(".copy")) {
    await navigator.clipboard.writeText($(target.dataset.of).textContent);
    target.textContent = "Copied";
  }
});

// Of a graph one sees the job that it is of, where the address names no other place in it

function showHere() {
  const box = $(".picture");
  const here = box && $(".here", box);
  if (!here || location.hash) return;
  const [around, own] = [box.getBoundingClientRect(), here.getBoundingClientRect()];
  box.scrollLeft += own.left - around.left - (around.width - own.width) / 2;
  box.scrollTop += own.top - around.top - (around.height - own.height) / 2;
}

function move(by) {
  const links = [...main.querySelectorAll(".goto a, tbody tr > .id a")];
  const at = links.indexOf(document.activeElement);
  const next = links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))];
  next?.focus({ preventScroll: true });
  next?.closest("tr, .goto").scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "/": () => $(".tools input[type=search]")?.focus(),
  p: () => setPaused(!isPaused),
  j: () => move(1),
  k: () => move(-1),
  Escape: () => document.activeElement.blur(),
  "?": () => $("#keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const act = KEYS[event.key];
  if (!act || $("dialog[open]")) return;
  event.preventDefault();
  act();
});

$(".switches").hidden = false;
if (!navigator.clipboard) document.documentElement.classList.add("no-clipboard");
showTimes();
toEnd();
showHere();
goOn();
if ($("[data-broken=away], [data-broken=storage]", main)) setAway("", sinceIn(main));
live.hidden = $("[data-login]", main) !== null;
if (!live.hidden) {
  if (navigator.locks) navigator.locks.request(`bgjobd-stream${ROOT.pathname}`, follow);
  else setInterval(() => onWord("changed"), 5000);
}

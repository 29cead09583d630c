// What the page does beyond being read: it follows the daemon, searches while you type, and listens to keys.

const $ = (selector, from = document) => from.querySelector(selector);
const main = $("#main");
const live = $("#live");
const AFTER_KEY = 300;
const BETWEEN_LOOKS = 100;
const AFTER_TROUBLE = 1000;

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
let isUtc = memory.get("utc") === "1";
let isAway = false;
let isStale = false;

addEventListener("storage", ({ key, newValue }) => {
  if (key === "paused") setPaused(newValue === "1");
  if (key === "utc") setUtc(newValue === "1");
  if (key === "theme" && newValue) document.documentElement.dataset.theme = newValue;
});

// Looking again

let loading = null;

async function load({ isOtherView = false } = {}) {
  loading?.abort();
  const { signal } = (loading = new AbortController());
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal });
    if (answer.redirected) return location.assign(answer.url);
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.status === 503) return setAway(said(found));
    take(found, isOtherView);
    setAway(null);
  } catch (error) {
    if (error.name !== "AbortError") setAway("This page is not served any more. It goes on by itself once it is.");
  }
}

function said(found) {
  return `${$("main h1", found)?.textContent ?? "No answer"}. ${$("main p", found)?.textContent ?? ""}`;
}

function take(found, isOtherView) {
  document.title = found.title;
  const output = $(".output", main);
  const wasAtEnd = output && isAtEnd(output);
  Idiomorph.morph(main, $("#main", found).innerHTML, {
    morphStyle: "innerHTML",
    ignoreActiveValue: !isOtherView,
    callbacks: {
      beforeNodeMorphed: (node) => !isHeld(node) && node.id !== "hold",
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.matches("details")),
    },
  });
  if (!output || wasAtEnd) toEnd();
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

function isReading() { return !getSelection().isCollapsed || scrollY > 40 || $("dialog[open]") !== null; }

async function onChange() {
  isStale = document.hidden;
  const list = $(".list[data-top]", main);
  if ($("[data-broken]", main)) return load();
  if (isPaused || isStale) return;
  if (!list || (list.dataset.first === "1" && !isReading())) return load();
  const place = new URL(location.href);
  place.searchParams.delete("page");
  place.searchParams.delete("upto");
  place.searchParams.set("newer_than", list.dataset.top);
  try {
    const answer = await fetch(place, { headers: { Accept: "application/json" } });
    if (answer.ok) showNewer(await answer.json());
  } catch { /* the stream tells that the page is away */ }
}

function showNewer({ newer, is_all: isAll }) {
  const bar = $("#bar", main);
  if (!bar) return;
  const many = newer ? `${newer}${isAll ? "" : "+"} newer` : "";
  bar.hidden = !newer;
  bar.textContent = `${many} – go to the newest`;
  $("#said").textContent = many;
}

// Whoever has read on meets the newest again where they left it.
function onReadingEnded() {
  const bar = $("#bar", main);
  if (bar && !bar.hidden && $(".list[data-first='1']", main) && !isReading()) onChange();
}
document.addEventListener("selectionchange", onReadingEnded);
addEventListener("scrollend", onReadingEnded);
document.addEventListener("visibilitychange", () => { if (isStale) onChange(); });

// Following: one tab holds the stream, and tells the others

const others = new BroadcastChannel("bgjobd");
others.onmessage = ({ data }) => onWord(data);
let pending = null;

function onWord(word) {
  if (word === "away") return void (isAway || ask());
  if (isAway) return setAway(null);
  pending ??= setTimeout(() => { pending = null; onChange(); }, BETWEEN_LOOKS);
}

function follow() {
  const spread = (word) => { others.postMessage(word); onWord(word); };
  const stream = new EventSource("/events");
  stream.onopen = stream.onmessage = () => spread("changed");
  stream.addEventListener("away", () => spread("away"));
  stream.onerror = () => {
    spread("away");
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, AFTER_TROUBLE);
  };
  return new Promise(() => {});
}

// Whether it is over; until then again and again, on one timer.
let asking = null;

async function ask() {
  clearTimeout(asking);
  const trouble = await fetch("/healthz").then(
    ({ ok }) => (ok ? null : "The daemon does not answer. What stands here is from before; it goes on by itself."),
    () => "This page is not served any more. What stands here is from before; it goes on by itself.",
  );
  setAway(trouble);
}

function setAway(trouble) {
  const wasAway = isAway;
  isAway = trouble !== null;
  clearTimeout(asking);
  if (isAway) asking = setTimeout(ask, AFTER_TROUBLE);
  $("#away").hidden = !isAway || $("[data-broken]", main) !== null;
  if (isAway) $("#away").textContent = trouble;
  showLive();
  if (wasAway && !isAway) onChange();
}

// What moves without a line in the log: output and progress of what runs.
setInterval(() => { if (!isPaused && !isAway && $("[data-moves='1']", main)) onChange(); }, 1000);

function setPaused(value) {
  isPaused = value;
  memory.set("paused", value ? "1" : "0");
  showLive();
  if (!value) onChange();
}

function showLive() {
  live.setAttribute("aria-pressed", String(!isPaused));
  live.classList.toggle("away", isAway && !isPaused);
  $(".word", live).textContent = isPaused ? "Paused" : isAway ? "No answer" : "Live";
}

// Searching: one request once nobody types any more

let typing = null;

function look(form) {
  clearTimeout(typing);
  const usual = form.elements.per.dataset.usual;
  const told = [...new FormData(form)].filter(([name, value]) => value.trim() && !(name === "per" && value === usual));
  const query = new URLSearchParams(told).toString();
  const address = form.getAttribute("action") + (query ? `?${query}` : "");
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  load();
}

document.addEventListener("input", ({ target }) => {
  if (!target.matches(".tools input[type=search]")) return;
  clearTimeout(typing);
  typing = setTimeout(() => look(target.form), AFTER_KEY);
});
document.addEventListener("change", ({ target }) => { if (target.matches(".tools select")) look(target.form); });
document.addEventListener("submit", (event) => {
  if (!event.target.matches(".tools")) return;
  event.preventDefault();
  main.focus({ preventScroll: true }); // so that keys move through what is found, and a phone's keyboard goes
  look(event.target);
});
addEventListener("popstate", () => { clearTimeout(typing); load({ isOtherView: true }); });

// Time

function retime() {
  if (!getSelection().isCollapsed) return;
  for (const one of document.querySelectorAll("time")) {
    const moment = new Date(one.dateTime);
    const exact = isUtc ? `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC` : stamp(moment);
    const relative = ago((moment - Date.now()) / 1000);
    [one.textContent, one.title] = one.matches(".exact") ? [exact, relative] : [relative, exact];
  }
}

function stamp(moment) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return `${day} ${[moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":")}`;
}

const UNITS = [[60, 1, "second"], [3600, 60, "minute"], [86400, 3600, "hour"], [604800, 86400, "day"], [Infinity, 604800, "week"]];

function ago(seconds) {
  const away = Math.floor(Math.abs(seconds));
  if (away < 2) return "just now";
  const [, per, unit] = UNITS.find(([most]) => away < most);
  const many = Math.floor(away / per);
  const told = `${many} ${unit}${many === 1 ? "" : "s"}`;
  return seconds > 0 ? `in ${told}` : `${told} ago`;
}

setInterval(() => { if (!document.hidden) retime(); }, 5000);
addEventListener("pageshow", retime);

// Switches and keys

function setUtc(value) {
  isUtc = value;
  memory.set("utc", value ? "1" : "0");
  showZone();
}

function showZone() {
  $("#zone").textContent = isUtc ? "UTC" : "Local time";
  retime();
}

$("#zone").onclick = () => setUtc(!isUtc);
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

function move(by) {
  const links = [...main.querySelectorAll("tbody tr > .id a")];
  const at = links.indexOf(document.activeElement);
  const next = links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))];
  next?.focus({ preventScroll: true });
  next?.closest("tr").scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "/": () => $(".tools input[type=search]")?.focus(),
  p: () => setPaused(!isPaused),
  j: () => move(1),
  k: () => move(-1),
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
showLive();
showZone();
toEnd();
if ($("[data-broken=away], [data-broken=storage]", main)) setAway("");
live.hidden = $("[data-login]", main) !== null;
if (!live.hidden) {
  if (navigator.locks) navigator.locks.request("bgjobd-stream", follow);
  else setInterval(() => onWord("changed"), 5000);
}

// What the page does beyond being read: it follows the daemon, searches while you type, and listens to keys.

const $ = (selector, from = document) => from.querySelector(selector);
const main = $("#main");
const live = $("#live");
const NEWER_PAUSE = 300;

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

// Looking again

let loading = null;

async function load(address, { push = false } = {}) {
  loading?.abort();
  const mine = (loading = new AbortController());
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, signal: mine.signal, redirect: "follow" });
    const text = await answer.text();
    if (mine.signal.aborted) return;
    if (push) history.replaceState(null, "", address);
    take(text);
    setAway(answer.status === 503);
  } catch (error) {
    if (error.name !== "AbortError") setAway(true);
  }
}

function take(text) {
  const found = new DOMParser().parseFromString(text, "text/html");
  const fresh = $("#main", found);
  if (!fresh) return;
  document.title = found.title;
  const open = new Set([...main.querySelectorAll("details[open]")].map((one) => one.querySelector("pre")?.textContent));
  const typing = document.activeElement?.matches("input[type=search]") ? document.activeElement : null;
  const typed = typing?.value;
  const place = $(".output", main);
  const isAtEnd = place && place.scrollTop + place.clientHeight >= place.scrollHeight - 8;
  Idiomorph.morph(main, fresh.innerHTML, { morphStyle: "innerHTML", ignoreActiveValue: true });
  if (typing && document.contains(typing)) typing.value = typed;
  for (const one of main.querySelectorAll("details")) {
    if (open.has(one.querySelector("pre")?.textContent)) one.open = true;
  }
  const output = $(".output", main);
  if (output && (isAtEnd || !place)) output.scrollTop = output.scrollHeight;
  tell();
}

function isReading() {
  const selection = getSelection();
  return (selection && !selection.isCollapsed) || scrollY > 200 || $("dialog[open]") !== null;
}

async function onChange() {
  if (isPaused) return;
  const list = $(".list[data-top]", main);
  if (!list) return load(location.href);
  if (list.dataset.first === "1" && !isReading()) return load(location.href);
  const place = new URL(location.href);
  place.searchParams.delete("page");
  place.searchParams.delete("upto");
  place.searchParams.set("newer_than", newestSeen(list));
  try {
    const answer = await fetch(place, { headers: { Accept: "application/json" } });
    if (answer.ok) showNewer(await answer.json());
  } catch { setAway(true); }
}

function newestSeen(list) {
  const kept = sessionStorage.getItem("newest") ?? "0";
  return list.dataset.first === "1" ? list.dataset.top : String(Math.max(Number(kept), Number(list.dataset.top)));
}

function showNewer({ newer, is_all: isAll }) {
  const bar = $("#bar", main);
  if (!bar) return;
  bar.hidden = newer === 0;
  bar.textContent = `${newer}${isAll ? "" : "+"} newer – go to the newest`;
  $("#said").textContent = newer ? `${newer} newer` : "";
}

function tell() {
  const list = $(".list[data-top]", main);
  if (list?.dataset.first === "1") sessionStorage.setItem("newest", list.dataset.top);
  for (const one of document.querySelectorAll("time")) retime(one);
}

// Following: one tab holds the stream, and tells the others

const others = new BroadcastChannel("bgjobd");
others.onmessage = ({ data }) => onWord(data);
let pending = null;

function onWord(word) {
  if (word === "pause" || word === "live") return setPaused(word === "pause", false);
  if (word === "away") return setAway(true);
  if (isAway) setAway(false);
  pending ??= setTimeout(() => { pending = null; onChange(); }, NEWER_PAUSE);
}

function follow() {
  return new Promise(() => {
    const stream = new EventSource("/events");
    const spread = (word) => { others.postMessage(word); onWord(word); };
    stream.onmessage = () => spread("changed");
    stream.addEventListener("away", () => spread("away"));
    stream.onerror = () => spread("away");
  });
}

if (navigator.locks) navigator.locks.request("bgjobd-stream", follow);
else setInterval(() => onWord("changed"), 5000);

function setAway(value) {
  if (isAway !== value && !value) onChange();
  isAway = value;
  showLive();
  if (value) setTimeout(() => { if (isAway && !isPaused) load(location.href); }, 2000);
}

function setPaused(value, isOwn = true) {
  isPaused = value;
  memory.set("paused", value ? "1" : "0");
  if (isOwn) others.postMessage(value ? "pause" : "live");
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

function addressOf(form) {
  const fields = [...new FormData(form)].filter(([name, value]) => value !== "" && !(name === "per" && isDefault(form)));
  const query = new URLSearchParams(fields).toString();
  return form.getAttribute("action") + (query ? `?${query}` : "");
}

function isDefault(form) {
  return form.elements.per.value === form.elements.per.dataset.usual;
}

document.addEventListener("input", (event) => {
  if (!event.target.matches(".tools input[type=search]")) return;
  clearTimeout(typing);
  const form = event.target.form;
  typing = setTimeout(() => load(addressOf(form), { push: true }), 300);
});
document.addEventListener("change", (event) => {
  if (event.target.matches(".tools select")) load(addressOf(event.target.form), { push: true });
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches(".tools")) return;
  event.preventDefault();
  clearTimeout(typing);
  load(addressOf(event.target), { push: true });
});

// Time

function retime(one) {
  const moment = new Date(one.dateTime);
  one.textContent = ago((moment - Date.now()) / 1000);
  one.title = isUtc ? `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC` : moment.toLocaleString();
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

setInterval(() => { if (document.visibilityState === "visible") tell(); }, 5000);

// Switches and keys

function showZone() { $("#zone").textContent = isUtc ? "UTC" : "Local time"; tell(); }

$("#zone").onclick = () => { isUtc = !isUtc; memory.set("utc", isUtc ? "1" : "0"); showZone(); };
$("#theme").onclick = () => {
  const root = document.documentElement;
  const isDark = getComputedStyle(root).colorScheme === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
  memory.set("theme", root.dataset.theme);
};
live.onclick = () => setPaused(!isPaused);
$("#help").onclick = () => $("#keys").showModal();

function move(by) {
  const rows = [...main.querySelectorAll("tbody tr")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("at"));
  const next = Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + by));
  rows.forEach((row, place) => row.classList.toggle("at", place === next));
  $("a", rows[next])?.focus({ preventScroll: true });
  rows[next].scrollIntoView({ block: "nearest" });
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
addEventListener("popstate", () => load(location.href));
addEventListener("pageshow", () => tell());

$(".switches").hidden = false;
showLive();
showZone();
const output = $(".output", main);
if (output) output.scrollTop = output.scrollHeight;

// Puts a new version of the page into the place of the old one when something has changed, and follows links and the form
// without loading all of it. Without this script all of that works too, by loading.
"use strict";

const live = document.getElementById("live");
const liveText = document.getElementById("live-text");
let waiting = null;

// Shows times as they are in the user's zone, with the date where that is another one.
function localTimes(root) {
  for (const it of root.querySelectorAll("time")) {
    const at = new Date(it.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const today = at.toDateString() === new Date().toDateString();
    it.textContent = today ? clock : at.toLocaleDateString([], { month: "short", day: "numeric" }) + " " + clock;
    it.title = at.toISOString();
  }
}

function show(state, text) {
  if (live.dataset.state !== state) live.dataset.state = state;
  if (liveText.textContent !== text) liveText.textContent = text;
}

function seen(response) {
  const looked = response.headers.get("ferrolb-looked");
  if (!looked) return show("still", "Looking");
  const at = new Date(looked);
  const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  // The API server may be away: then the page says so, and this is old.
  const fresh = Date.now() - at.getTime() < 45000;
  show(fresh ? "live" : "lost", (fresh ? "Live, " : "Last seen ") + clock);
}

// Makes one element like another. What is the same stays as it is, so that focus, selection and scrolling do.
function morph(old, now) {
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (old.getAttribute(name) !== value && !kept(old, name)) old.setAttribute(name, value);
  }
  if (old instanceof HTMLInputElement && old !== document.activeElement) old.value = now.value;
  const byKey = new Map();
  for (const child of old.children) {
    const key = keyOf(child);
    if (key) byKey.set(key, child);
  }
  let at = old.firstChild;
  for (const wanted of [...now.childNodes]) {
    const key = keyOf(wanted);
    const known = key ? byKey.get(key) : at && !keyOf(at) && alike(at, wanted) ? at : null;
    if (!known || !alike(known, wanted)) {
      old.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    if (known === at) at = at.nextSibling;
    else old.insertBefore(known, at);
    if (known.nodeType === Node.ELEMENT_NODE) {
      const before = known.dataset && "flash" in known.dataset ? known.textContent : null;
      morph(known, wanted);
      if (before !== null && known.textContent !== before) flash(known);
    } else if (known.nodeValue !== wanted.nodeValue) {
      known.nodeValue = wanted.nodeValue;
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || null : null;
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

// What the user has opened stays open, and what flashes goes on.
function kept(element, name) {
  return (element.nodeName === "DETAILS" && name === "open") || (name === "class" && element.classList.contains("flash"));
}

function flash(element) {
  element.classList.add("flash");
  element.addEventListener("animationend", () => element.classList.remove("flash"), { once: true });
}

async function load(query, signal) {
  const response = await fetch("live" + query, { signal, cache: "no-store", redirect: "error" });
  if (!response.ok) throw new Error("answered " + response.status);
  seen(response);
  if (response.status === 204) return;
  const text = await response.text();
  if (signal.aborted) return;
  const now = new DOMParser().parseFromString(text, "text/html").querySelector("main");
  if (!now) throw new Error("an answer without contents");
  localTimes(now);
  morph(document.getElementById("main"), now);
  if (document.title !== now.dataset.title) document.title = now.dataset.title;
}

function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

// A page that nobody sees asks once a minute, for its title's sake.
function seenAgain() {
  if (!document.hidden) return Promise.resolve();
  return Promise.race([
    pause(60000),
    new Promise((done) => document.addEventListener("visibilitychange", done, { once: true })),
  ]);
}

// Waits for news, for ever.
async function follow() {
  let failures = 0;
  for (;;) {
    await seenAgain();
    const query = new URLSearchParams(location.search);
    query.set("after", document.getElementById("main").dataset.version);
    const mine = new AbortController();
    waiting = mine;
    const late = setTimeout(() => mine.abort(), 40000);
    try {
      await load("?" + query, mine.signal);
      failures = 0;
    } catch (error) {
      if (!mine.signal.aborted) {
        failures += 1;
        show("lost", "Not connected: is kubectl ferrolb ui still running?");
        await pause(Math.min(1000 * failures, 10000));
      } else {
        await pause(100);
      }
    } finally {
      clearTimeout(late);
    }
  }
}

// Goes to another query of this page.
async function go(url, focus) {
  history.pushState(null, "", url);
  await refresh();
  const target = url.hash ? document.getElementById(decodeURIComponent(url.hash.slice(1))) : null;
  if (!target) return;
  target.scrollIntoView();
  if (focus && target.hasAttribute("tabindex")) target.focus({ preventScroll: true });
}

async function refresh() {
  if (waiting) waiting.abort();
  try {
    await load(location.search, new AbortController().signal);
  } catch {
    show("lost", "Not connected: is kubectl ferrolb ui still running?");
  }
}

function here(url) {
  return url.origin === location.origin && url.pathname === location.pathname;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  if (!here(url) || url.search === location.search) return;
  event.preventDefault();
  go(url, true);
});

function formUrl(form) {
  const query = new URLSearchParams(new FormData(form));
  if (!query.get("q")) query.delete("q");
  const url = new URL(location.href);
  url.search = query.toString();
  url.hash = "";
  return url;
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const url = formUrl(event.target);
  if (url.search !== location.search) go(url, false);
});

// Finds while somebody types.
let typed = 0;
document.addEventListener("input", (event) => {
  if (event.target.id !== "find") return;
  clearTimeout(typed);
  const form = event.target.form;
  typed = setTimeout(() => {
    history.replaceState(null, "", formUrl(form));
    refresh();
  }, 200);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input, textarea")) return;
  const find = document.getElementById("find");
  if (!find) return;
  event.preventDefault();
  find.focus();
});

window.addEventListener("popstate", refresh);

localTimes(document);
show("still", "Connecting");
follow();

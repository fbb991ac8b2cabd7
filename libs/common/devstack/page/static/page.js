// Keeps the page up to date: new lines of the timeline, new messages on phones, health.
"use strict";

const lang = document.body.dataset.lang;
const $ = (id) => document.getElementById(id);

const toElement = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild;
};

const replaced = (element) => {
  const old = $(element.id);
  if (old) old.replaceWith(element);
  return Boolean(old);
};

const entries = $("entries");
const MOST_ENTRIES = 400;

function addEntry({ at, html }) {
  const element = toElement(html);
  if (replaced(element)) return;
  let before = entries.firstElementChild;
  while (before && Number(before.dataset.at) > at) before = before.nextElementSibling;
  element.classList.add("is-new");
  entries.insertBefore(element, before);
  while (entries.childElementCount > MOST_ENTRIES) entries.lastElementChild.remove();
  hideEmpty(entries);
}

function addPhone({ html }) {
  const cards = $("phone-cards");
  const element = toElement(html);
  $(element.id)?.remove();
  cards.prepend(element);
  while (cards.childElementCount > Number(cards.dataset.most)) cards.lastElementChild.remove();
  hideEmpty(cards);
  refresh("invitation");
}

function hideEmpty(list) {
  const empty = list.parentElement.querySelector(".empty");
  if (empty) empty.hidden = list.childElementCount > 0;
}

function showHealth({ status }) {
  for (const [name, state] of Object.entries(status)) {
    const item = document.querySelector(`[data-service="${name}"]`);
    if (!item) continue;
    item.dataset.status = state;
    const text = item.querySelector(".status");
    text.textContent = text.dataset[state];
  }
}

// Parts that are made anew on the server, each at most once in two seconds.
const due = new Map();
function refresh(part) {
  if (due.has(part)) return;
  due.set(part, setTimeout(async () => {
    due.delete(part);
    const target = document.querySelector(`[data-part="${part}"]`);
    const answer = await fetch(`/parts/${part}?lang=${lang}`).catch(() => null);
    if (target && answer?.ok) target.innerHTML = await answer.text();
  }, 2000));
}

function listen() {
  const live = $("live");
  const after = encodeURIComponent(entries.dataset.position);
  const source = new EventSource(`/stream?lang=${lang}&after=${after}`);
  const on = (name, act) => source.addEventListener(name, (e) => act(JSON.parse(e.data)));
  source.onopen = () => { live.textContent = live.dataset.live; live.classList.add("on"); };
  source.onerror = () => { live.textContent = live.dataset.connecting; live.classList.remove("on"); };
  on("entry", (news) => { addEntry(news); refresh("traces"); refresh("invitation"); });
  on("phone", addPhone);
  on("health", showHealth);
  on("reload", () => location.reload());
}

if (entries?.dataset.position) listen();

const minor = $("minor");
if (minor) {
  const show = () => entries.classList.toggle("all", minor.checked);
  minor.addEventListener("change", show);
  show();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const before = button.textContent;
  button.textContent = document.body.dataset.copied;
  setTimeout(() => { button.textContent = before; }, 1500);
});

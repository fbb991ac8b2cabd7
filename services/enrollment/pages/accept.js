// What does the accept page do? It reads the token from the link's fragment, shows what the
// invitation asks, and sends the answer. The token is sent in bodies only.
"use strict";

const $ = (id) => document.getElementById(id);
const english = document.documentElement.lang === "en";
const KEY = "invitation-token";

function heldToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    // Out of the address bar and the history; a reload or another language keeps it.
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given || sessionStorage.getItem(KEY);
}

function say(word, form = false) {
  $("status").textContent = document.body.getAttribute("data-say-" + word) || "";
  $("invitation").hidden = !form;
}

async function post(path, body, headers = {}) {
  return fetch("v1/invitations/" + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Accept-Language": document.documentElement.lang, ...headers },
    body: JSON.stringify(body),
  });
}

async function outcome(response) {
  if (response.ok) return response.json();
  if (response.status === 404 || (response.status === 422 && !(await known(response)))) say("not_found");
  else if (response.status >= 500) say("failed", true);
  return null;
}

async function known(response) {
  const problem = await response.json().catch(() => ({}));
  const status = (problem.reason || "").replace("invitation_", "");
  if (!["expired", "declined", "withdrawn"].includes(status)) return false;
  say(status);
  return true;
}

async function show(token) {
  const invitation = await outcome(await post("preview", { token }));
  if (!invitation) return;
  if (invitation.status !== "open") return say(invitation.status);
  const language = english ? "en" : "zh";
  $("group").textContent = invitation.group_name[language];
  $("rules").textContent = invitation.rules[language];
  $("health").textContent = invitation.health_data[language];
  const until = new Date(invitation.expires_at);
  $("until").dateTime = invitation.expires_at;
  $("until").textContent = until.toLocaleString(document.documentElement.lang);
  $("status").textContent = "";
  $("invitation").hidden = false;
}

async function accept(token) {
  if (!$("consent-rules").checked) return say("rules_needed", true);
  const body = { token, consent_to_rules: true, consent_to_health_data: $("consent-health").checked };
  const joined = await outcome(await post("accept", body));
  if (joined) say(joined.status);
}

async function decline(token) {
  const declined = await outcome(await post("decline", { token }));
  if (declined) say(declined.status);
}

async function drawQr(token) {
  const image = $("qr").querySelector("img");
  if (image.src) return;
  const response = await post("qr", { token }, { Accept: "image/svg+xml" });
  if (response.ok) image.src = URL.createObjectURL(await response.blob());
}

function guarded(action) {
  return (event) => {
    event.preventDefault?.();
    action().catch(() => say("failed", true));
  };
}

const token = heldToken();
if (token) {
  $("invitation").addEventListener("submit", guarded(() => accept(token)));
  $("decline").addEventListener("click", guarded(() => decline(token)));
  $("qr").addEventListener("toggle", () => drawQr(token).catch(() => undefined));
  show(token).catch(() => say("failed"));
} else {
  say("no_token");
}

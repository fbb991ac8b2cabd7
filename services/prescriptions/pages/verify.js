"use strict";
// The code is in the fragment, which is sent to nobody; it goes out in a header only.
const asked = new URLSearchParams(location.hash.slice(1));
const verdict = document.getElementById("verdict");
const facts = document.getElementById("facts");

const STATUS = {
  superseded: "已被新版本取代 · replaced by another version",
  stopped: "医院已停用 · stopped by the hospital",
  effective: "已生效 · in effect",
  withheld: "已作废，请与医院联系 · withheld for good, ask the hospital",
  lapsed: "未在有效期内调配，已失效 · not dispensed while it was valid",
  dispensed: "已调配 · dispensed",
  collected: "已取药 · collected",
  delivered: "已送达 · delivered",
  returned_to_stock: "已退回药房 · returned to stock",
};
const ROLE = { doctor: "医师 · doctor", pharmacist: "药师 · pharmacist" };

function say(text, kind) {
  verdict.textContent = text;
  verdict.className = kind;
}

function add(text) {
  const line = document.createElement("li");
  line.textContent = text;
  facts.append(line);
}

// In the time of whoever holds the phone.
function at(time) {
  return new Date(time).toLocaleString("sv-SE", { dateStyle: "short", timeStyle: "short" });
}

async function verify() {
  const path = `/v1/prescriptions/${encodeURIComponent(asked.get("p"))}/verification`;
  const answer = await fetch(`${path}?hospital=${encodeURIComponent(asked.get("h"))}`, {
    headers: { "Verification-Code": asked.get("c") },
  });
  if (answer.status === 404 || answer.status === 400 || answer.status === 422) {
    say("查无此处方，请勿调配\nNo such prescription: do not dispense", "bad");
    return;
  }
  if (!answer.ok) throw new Error(String(answer.status));
  const found = await answer.json();
  const now = found.standing;
  if (!found.valid) say("签名无效，请勿调配\nThe signatures do not hold: do not dispense", "bad");
  else if (now.dispensable) say("真实有效，可以调配\nGenuine; may be dispensed", "good");
  else say("处方真实，但现在不可调配\nGenuine, but not to be dispensed now", "bad");
  add(STATUS[now.status] || now.status);
  if (now.in_part) add("只调配了一部分 · only a part of it was dispensed");
  add(`有效期至 · valid until ${now.valid_on}`);
  for (const s of found.signatures) {
    add(s.verified ? `${ROLE[s.role] || s.role}: ${s.practitioner_id}, ${at(s.signed_at)}` : `✗ ${s.reason}`);
  }
}

if (asked.get("h") && asked.get("p") && asked.get("c")) {
  verify().catch(() => say("暂时无法验证，请稍后再试\nCan't be verified now; please try again later", ""));
} else {
  say("请扫描处方上的二维码\nPlease scan the code on the prescription", "");
}

// The form of Try it: choices that fit each other, lists that grow, variants, sliders, previews, and the code as typed.
import { morph } from "./morph.js";
import { offerCopies } from "./copy.js";

const form = document.getElementById("try");
const choices = JSON.parse(form.dataset.choices);
const selects = ["provider", "model", "task_type"].map((name) => form.elements[name]);
// A request line has its limits; longer texts stay with the old fields.
const LONGEST = 2000;
let timer;
let choice = 0;

function fill(select, names) {
  const before = select.value;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  select.value = names.includes(before) ? before : names[0];
}

function fit() {
  const [provider, model, taskType] = selects;
  fill(model, Object.keys(choices[provider.value]));
  fill(taskType, Object.keys(choices[provider.value][model.value]));
}

async function choose() {
  fit();
  const mine = ++choice;
  const asked = [...new FormData(form)].filter(([name, value]) => name !== "once" && value.length < LONGEST);
  const answer = await fetch(`/try?${new URLSearchParams(asked)}`, { cache: "no-store" });
  if (answer.redirected) return location.reload();
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (mine !== choice) return;
  // Nobody waits for the answer: what was typed meanwhile goes with the fields of the same name.
  const later = changed(Object.fromEntries(asked));
  const focused = document.activeElement?.id;
  document.getElementById("fields").replaceWith(document.adoptNode(fresh.getElementById("fields")));
  morph(document.getElementById("code"), document.adoptNode(fresh.getElementById("code")));
  for (const [name, value] of later) if (form.elements[name]) form.elements[name].value = value;
  if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus();
  offerCopies();
  prepare();
  if (later.length) typed();
}

function changed(before) {
  return [...new FormData(form)].filter(([name, value]) => name !== "once" && value !== (before[name] ?? ""));
}

async function showCode() {
  const answer = await fetch("/try/code", { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (answer.redirected || !answer.ok) return;
  for (const [name, text] of Object.entries(await answer.json())) {
    const place = document.getElementById(`code-${name}`);
    if (place) place.textContent = text;
  }
}

function typed() {
  clearTimeout(timer);
  timer = setTimeout(showCode, 200);
}

function prepare() {
  for (const one of form.querySelectorAll("[data-scripted]")) one.hidden = false;
  for (const slider of form.querySelectorAll("input[data-slider]")) {
    const number = document.getElementById(slider.dataset.slider);
    if (number) slider.value = number.value || slider.min;
  }
  for (const group of form.querySelectorAll("[data-variants]")) showVariant(group);
  for (const list of form.querySelectorAll("[data-list]")) countItems(list);
}

function preview(input) {
  const image = document.getElementById(input.dataset.preview);
  const address = /^https?:\/\/\S+$/i.test(input.value.trim()) ? input.value.trim() : "";
  image.onload = () => (image.hidden = false);
  image.onerror = () => (image.hidden = true);
  if (!address) {
    image.hidden = true;
    image.removeAttribute("src");
  } else if (image.getAttribute("src") !== address) {
    image.src = address;
  }
}

function showVariant(group) {
  const chosen = group.querySelector("[data-kind]").value;
  for (const variant of group.querySelectorAll("[data-variant]")) {
    if (variant.closest("[data-variants]") === group) variant.hidden = variant.dataset.variant !== chosen;
  }
}

const items = (list) => [...list.children].filter((child) => child.classList.contains("item"));

function countItems(list) {
  const count = items(list).length;
  const actions = list.querySelector(":scope > .actions");
  actions.querySelector("[data-add]").disabled = count >= Number(list.dataset.most);
  actions.querySelector("[data-drop]").disabled = count <= 1;
}

function add(list) {
  const template = list.querySelector(":scope > template");
  const number = items(list).length;
  const holder = document.createElement("template");
  // Inner lists keep their own placeholder: only the first of each name is this list's.
  holder.innerHTML = template.innerHTML;
  for (const element of holder.content.querySelectorAll("*")) {
    for (const attribute of element.attributes) {
      attribute.value = attribute.value.replace("__N__", number);
    }
  }
  for (const label of holder.content.querySelectorAll("label, legend")) {
    if (!label.children.length) label.textContent = label.textContent.replace("__N__", number + 1);
  }
  template.before(holder.content);
  prepare();
  items(list).at(-1).querySelector("input, select, textarea")?.focus();
}

form.addEventListener("change", (event) => {
  if (selects.includes(event.target)) choose();
});
form.addEventListener("input", (event) => {
  const target = event.target;
  if (target.dataset.slider) document.getElementById(target.dataset.slider).value = target.value;
  const slider = form.querySelector(`[data-slider="${CSS.escape(target.id)}"]`);
  if (slider && target.value) slider.value = target.value;
  if (target.dataset.preview) preview(target);
  if ("kind" in target.dataset) showVariant(target.closest("[data-variants]"));
  if (!selects.includes(target)) typed();
});
form.addEventListener("click", (event) => {
  const list = event.target.closest("[data-list]");
  if ("add" in event.target.dataset) add(list);
  if ("drop" in event.target.dataset) {
    items(list).at(-1).remove();
    countItems(list);
    typed();
  }
});

for (const one of document.querySelectorAll("[data-unscripted]")) one.hidden = true;
fit();
prepare();

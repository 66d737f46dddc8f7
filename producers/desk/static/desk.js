"use strict";
// The front desk: log in, register, enter lines, quote, settle, print, discharge, refund.
// Everything from the server goes into the page as text, never as markup.

const TYPES = { 1: "住院", 2: "门诊特定项目", 3: "门诊", 4: "购药" };
const CLASSES = { 1: "甲类", 2: "乙类", 9: "全自费" };
const VISIT_STATES = {
  open: "办理中", settled: "已结算，待出院", discharged: "已出院，待结算", closed: "已办结", cancelled: "已撤销",
};
const CLAIM_STATES = {
  held: "待结算", accepted: "正在处理", totalled: "等待中心结算", settled: "已结算", returned: "明细有误，已退回",
  refused: "中心拒绝",
};
const SCHEMES = { employee: "职工医保", resident: "城乡居民医保" };
const AMOUNTS = [
  ["total_amount", "总金额"], ["fund_pay_amount", "社保支付"], ["own_pay_amount", "个人自费"],
  ["self_pay_amount", "个人自付（含起付）"], ["over_cap_amount", "超限额自付"],
  ["account_pay_amount", "个人账户支付"], ["cash_amount", "应收现金"],
];
const NAMES = {
  citizen_id_no: "公民身份号码", person_name: "姓名", visit_date: "就诊日期", admission_diagnosis: "诊断",
  admission_diagnosis_code: "诊断编码", department_code: "科室", outpatient_no: "门诊（住院）号",
  discharge_date: "出院日期", discharge_diagnosis_1: "出院诊断", discharge_diagnosis_code_1: "诊断编码",
  reason: "退费原因", unit_price: "单价", quantity: "数量", line_amount: "金额",
};
const IDLE_MINUTES = 15;
const LOOK_SECONDS = 10;
const STAYS = new Set(["1", "2"]);

const $ = (id) => document.getElementById(id);
const field = (form, name) => form.elements.namedItem(name);
const state = { visit: null, drafts: [], found: [], chosen: null, idle: 0, searching: 0, answer: Promise.resolve() };

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  for (const cell of cells) {
    if (cell instanceof Node) { made.append(cell); continue; }
    const [text, kind] = Array.isArray(cell) ? cell : [cell, ""];
    made.append(element("td", text ?? "", kind ? { class: kind } : {}));
  }
  return made;
}

function button(text, action, kind = "") {
  const made = element("button", text, { type: "button", ...(kind ? { class: kind } : {}) });
  made.addEventListener("click", () => run(action, made));
  const cell = document.createElement("td");
  cell.append(made);
  return cell;
}

function tell(error) {
  const where = $("alert");
  where.replaceChildren();
  if (!error) { where.hidden = true; return; }
  where.append(element("strong", error.message));
  const list = document.createElement("ul");
  for (const one of error.errors || []) {
    list.append(element("li", [NAMES[(one.pointer || "").split("/").pop()], one.detail].filter(Boolean).join("：")));
  }
  if (list.children.length) where.append(list);
  where.hidden = false;
  where.scrollIntoView({ block: "nearest" });
}

// Does one thing after the other: what was pressed is off until it is done, what went wrong is said.
async function run(action, pressed) {
  tell(null);
  if (pressed) pressed.disabled = true;
  try {
    await action();
  } catch (error) {
    if (error.code === "unauthorized") leave();
    tell(error);
  } finally {
    if (pressed) pressed.disabled = false;
  }
}

const today = () => new Intl.DateTimeFormat("sv-SE", { timeZone: "Asia/Shanghai" }).format(new Date());
const day = () => state.day || today();

// ── Log in ───────────────────────────────────────────────────────────────────────────────────────────────

async function enter(key) {
  api.key = key;
  const institution = await api.institution();
  sessionStorage.setItem("key", key);
  $("where").textContent = institution.name;
  $("login").hidden = true;
  $("leave").hidden = false;
  await home();
  await look();
}

// What the cashier must know of the link: said while it is not up, or our clock or key is wrong.
async function look() {
  if (!api.key) { $("link").hidden = true; return; }
  try {
    const link = await api.link();
    const waits = link.offline.unsettled_claims
      ? `；已受理未结算 ${link.offline.unsettled_claims} 笔，${link.offline.unsettled_amount} 元` : "";
    const told = { up: "", unsure: "。结算可能要等待", down: "。只受理，不结算；请如实告知参保人" }[link.state];
    $("link").textContent = `${link.detail}${waits}${told}`;
    $("link").hidden = link.state === "up" && (!link.clock || link.clock.agrees);
  } catch { /* whatever is wrong is said by what the cashier does */ }
}

function count(institution) {
  const { stays, advisory } = institution.this_month;
  $("month").textContent = `本月住院、门特 ${stays} 人次（应急前台适用于 ${advisory} 人次以内）`;
  $("month").classList.toggle("over", stays > advisory);
}

function leave() {
  sessionStorage.removeItem("key");
  api.key = "";
  api.keys.clear();
  Object.assign(state, { visit: null, drafts: [], found: [], chosen: null });
  for (const id of ["home", "visit", "leave"]) $(id).hidden = true;
  for (const id of ["where", "month", "listed"]) $(id).textContent = "";
  for (const id of ["visits", "lines", "amounts"]) $(id).tBodies[0].replaceChildren();
  $("facts").replaceChildren();
  $("register").reset();
  $("key").value = "";
  $("slip").srcdoc = "";
  for (const id of ["slip-view", "refund-form", "discharge-form"]) $(id).close();
  $("login").hidden = false;
  $("link").hidden = true;
  $("key").focus();
}

function stay() {
  clearTimeout(state.idle);
  state.idle = setTimeout(() => { if (api.key) leave(); }, IDLE_MINUTES * 60 * 1000);
}

// ── Registering, and the list ────────────────────────────────────────────────────────────────────────────

async function home() {
  state.visit = null;
  state.drafts = [];
  $("visit").hidden = true;
  $("home").hidden = false;
  await list();
  field($("register"), "visit_date").value = day();
  field($("register"), "citizen_id_no").focus();
}

async function list() {
  const institution = await api.institution();
  state.day = institution.today;
  count(institution);
  const all = $("open-only").checked;
  const { visits } = all ? await api.open() : await api.registered(day());
  $("listed").textContent = all ? `未结束 ${visits.length} 人次` : `${day()} 登记 ${visits.length} 人次`;
  $("no-visits").hidden = visits.length > 0;
  $("visits").tBodies[0].replaceChildren(...visits.map((visit) => row(
    visit.visit_no, visit.person_name, TYPES[visit.visit_type], visit.visit_date, VISIT_STATES[visit.state],
    [visit.settled_amount || "", "number"], button("打开", () => show(visit.visit_no)),
  )));
}

async function register() {
  const form = $("register");
  const visit = {};
  for (const input of form.querySelectorAll("input, select")) {
    if (input.value.trim()) visit[input.name] = input.value.trim();
  }
  const { visit_no: number } = await api.register(visit);
  form.reset();
  await show(number);
}

// ── One visit ────────────────────────────────────────────────────────────────────────────────────────────

async function show(number) {
  state.visit = await api.visit(number);
  state.drafts = state.visit.failed_lines.map((line) => ({ ...line, kept: true }));
  const { visit } = state;
  const isStay = STAYS.has(visit.visit_type);
  $("home").hidden = true;
  $("visit").hidden = false;
  $("result").hidden = true;
  $("visit-no").textContent = visit.visit_no;
  $("visit-state").textContent = VISIT_STATES[visit.state];
  const facts = [
    ["姓名", visit.person_name], ["公民身份号码", visit.citizen_id_no], ["类别", TYPES[visit.visit_type]],
    [isStay ? "入院日期" : "就诊日期", visit.visit_date], ["诊断", visit.admission_diagnosis],
    ["出院日期", visit.discharge_date],
  ].filter(([, text]) => text);
  $("facts").replaceChildren(...facts.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
  $("entry").hidden = !["open", "discharged"].includes(visit.state);
  $("settle").textContent = isStay ? "出院结算" : "结算";
  $("settle-interim").hidden = !(isStay && visit.state === "open");
  $("discharge").hidden = !(isStay && ["open", "settled"].includes(visit.state));
  $("cancel").hidden = !(visit.state === "open" && visit.lines.length === 0);
  for (const id of ["save", "quote", "settle"]) $(id).hidden = $("entry").hidden;
  $("charge-date").value = day() < visit.visit_date ? visit.visit_date : day();
  draw();
  batches();
  entitled(visit.entitlement);
  if (!$("entry").hidden) $("item").focus();
  if (!visit.entitlement && visit.state === "open") await awaitEntitlement(number);
}

function entitled(held) {
  const where = $("entitlement");
  if (!held) {
    where.textContent = "参保信息：正在向中心查询，可以先录入明细；结算以中心为准。";
    where.className = "notice";
    return;
  }
  where.className = held.entitled ? "notice" : "notice bad";
  where.textContent = held.entitled
    ? `参保：${SCHEMES[held.scheme] || held.scheme}，人员类别 ${held.category}`
      + `${held.civil_servant ? "，公务员补助" : ""}，个人账户余额 ${held.account_balance} 元`
      + `${held.as_of_lease ? "" : "（较早时的信息，以中心为准）"}`
    : "参保人待遇已暂停：不能按医保结算，请联系医保中心。";
}

// The centre answers within a second or so; the cashier goes on meanwhile.
async function awaitEntitlement(number) {
  for (const seconds of [0.5, 1, 2, 4, 8]) {
    await new Promise((done) => setTimeout(done, seconds * 1000));
    if (state.visit?.visit_no !== number) return;
    const { entitlement } = await api.visit(number);
    if (entitlement && state.visit?.visit_no === number) {
      state.visit.entitlement = entitlement;
      entitled(entitlement);
      return;
    }
  }
  if (state.visit?.visit_no === number) {
    $("entitlement").textContent = "参保信息：中心没有此人的信息，或暂时没有应答。请核对公民身份号码；可以录入，结算以中心为准。";
  }
}

// ── Lines ────────────────────────────────────────────────────────────────────────────────────────────────

function draw() {
  $("result").hidden = true;
  const saved = state.visit.lines.map((line) => {
    const made = row([line.line_no, "number"], line.charge_date, line.local_item_code, line.local_item_name,
      line.specification, [line.unit_price, "number"], [line.quantity, "number"], [line.line_amount, "number"],
      line.charge_batch_no ? [`第 ${line.charge_batch_no} 批`, "code"] : ["已保存", "code"], "");
    made.className = "good";
    return made;
  });
  const drafts = state.drafts.map((line, place) => {
    const verdict = document.createElement("td");
    const wrong = line.code && line.code !== "00";
    verdict.append(element("span", wrong ? line.code : "未保存", { class: "code" }));
    if (wrong) verdict.append(element("div", line.detail), element("div", `办法：${line.advice}`, { class: "hint" }));
    const made = row([line.line_no, "number"], line.charge_date, line.local_item_code, line.local_item_name,
      line.specification, [line.unit_price, "number"], [line.quantity, "number"], [line.line_amount, "number"],
      verdict, button("改", () => edit(place)));
    made.lastChild.append(button("删", () => { state.drafts.splice(place, 1); draw(); }).firstChild);
    if (wrong) made.className = "bad";
    return made;
  });
  $("lines").tBodies[0].replaceChildren(...saved, ...drafts);
  const open = [...state.visit.lines.filter((line) => !line.charge_batch_no), ...state.drafts];
  $("total").textContent = money.yuan(open.reduce((sum, line) => sum + money.fen(line.line_amount), 0n));
}

const PLAIN = ["line_no", "charge_date", "local_item_code", "local_item_name", "specification", "dosage_form",
  "unit_price", "quantity", "line_amount"];
const plain = (line) => Object.fromEntries(PLAIN.filter((name) => line[name]).map((name) => [name, line[name]]));

function edit(place) {
  const [line] = state.drafts.splice(place, 1);
  choose({ ...line });
  $("charge-date").value = line.charge_date;
  $("price").value = line.unit_price;
  $("quantity").value = line.quantity;
  reckon();
  draw();
}

function nextNumber() {
  return Math.max(0, ...state.visit.lines.map((line) => line.line_no), ...state.drafts.map((line) => line.line_no)) + 1;
}

function add() {
  const amount = money.amount($("price").value, $("quantity").value);
  if (!state.chosen) throw new Error("请先从本院已对应的项目中选一个");
  if (amount === null) throw new Error("单价至多四位小数，数量至多两位小数");
  state.drafts.push({
    ...state.chosen,
    line_no: nextNumber(),
    charge_date: $("charge-date").value,
    unit_price: $("price").value.trim(),
    quantity: $("quantity").value.trim(),
    line_amount: money.yuan(amount),
    code: "",
  });
  state.chosen = null;
  for (const [id, value] of [["item", ""], ["price", ""], ["quantity", "1"]]) $(id).value = value;
  search();
  reckon();
  draw();
  $("item").focus();
}

function reckon() {
  const amount = money.amount($("price").value, $("quantity").value);
  $("amount").textContent = amount === null ? "—" : money.yuan(amount);
}

// What an earlier text found is gone at once: Enter must never take an item of it.
function search() {
  const asked = ++state.searching;
  const text = $("item").value.trim();
  state.chosen = null;
  offer([], false);
  state.answer = !text ? Promise.resolve() : (async () => {
    const { matches } = await api.matches(text, $("charge-date").value || day());
    if (asked === state.searching) offer(matches, true);
  })();
  return state.answer;
}

// The marked item, once the answer to what was typed last is there.
async function take() {
  await state.answer;
  const options = [...$("found").querySelectorAll("[role=option]")];
  const place = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  if (state.found[place]) choose(state.found[place]);
}

function offer(matches, isAnswer) {
  state.found = matches;
  const list = $("found");
  list.replaceChildren(...matches.map((match, place) => {
    const item = element("li", "", { role: "option", "aria-selected": String(place === 0) });
    item.append(element("b", match.local_item_code), element("span", `${match.local_item_name} ${match.specification}`),
      element("span", `${CLASSES[match.coverage_class] || ""} ${match.unit_price ? `${match.unit_price} 元` : ""}`,
        { class: "class" }));
    item.addEventListener("mousedown", (event) => { event.preventDefault(); choose(match); });
    return item;
  }));
  if (!matches.length && isAnswer) {
    list.append(element("li", "没有审核通过的对应项目；请先做目录对应并由中心审核", { class: "hint" }));
  }
  list.hidden = !list.children.length;
  $("item").setAttribute("aria-expanded", String(!list.hidden));
}

function mark(step) {
  const options = [...$("found").querySelectorAll("[role=option]")];
  const now = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  const next = Math.min(Math.max(now + step, 0), options.length - 1);
  options.forEach((option, place) => option.setAttribute("aria-selected", String(place === next)));
  options[next]?.scrollIntoView({ block: "nearest" });
}

function choose(match) {
  state.chosen = {
    local_item_code: match.local_item_code, local_item_name: match.local_item_name,
    specification: match.specification, dosage_form: match.dosage_form,
  };
  $("item").value = `${match.local_item_code} ${match.local_item_name}`;
  if (match.unit_price) $("price").value = match.unit_price;
  $("found").hidden = true;
  $("item").setAttribute("aria-expanded", "false");
  reckon();
  ($("price").value ? $("quantity") : $("price")).focus();
}

async function save() {
  if (!state.drafts.length && !state.visit.failed_lines.length) return;
  const { verdicts } = await api.lines(state.visit.visit_no, state.drafts.map(plain));
  const drafts = state.drafts;
  const number = state.visit.visit_no;
  const failed = verdicts.filter((verdict) => verdict.code !== "00").length;
  if (failed) {
    verdicts.forEach((verdict, place) => Object.assign(drafts[place], verdict));
    draw();
    throw new Error(`${failed} 条明细有误，都没有保存：改正或删去后再保存`);
  }
  await show(number);
}

// ── Quote and settle ─────────────────────────────────────────────────────────────────────────────────────

function amounts(title, settlement, words = []) {
  $("result-title").textContent = title;
  const rows = AMOUNTS.filter(([name]) => settlement[name] !== undefined).map(([name, label]) => {
    const made = row(label, [`${settlement[name]} 元`, "number"]);
    made.id = `amount-${name}`;
    if (name === "cash_amount") made.className = "cash";
    return made;
  });
  if (words.length) {
    const cell = element("td", "", { colspan: "2" });
    const list = document.createElement("ul");
    list.append(...words.map((word) => element("li", word)));
    cell.append(list);
    rows.push(row(cell));
  }
  $("amounts").tBodies[0].replaceChildren(...rows);
  $("result").hidden = false;
}

async function quote() {
  const quoted = await api.quote(state.visit.visit_no, state.drafts.map(plain));
  amounts("试算（不入账，以结算为准）", quoted.settlement, (quoted.steps || []).map((step) => step.words).filter(Boolean));
}

async function settle(final) {
  if (state.drafts.length) await save();
  const { visit_no: number, last_batch_no: after } = state.visit;
  const claim = await api.settle(number, final && STAYS.has(state.visit.visit_type), after);
  await settled(number, claim);
}

async function settled(number, claim) {
  await show(number);
  if (claim.settlement) {
    const offline = claim.settlement.offline ? "脱机结算，待中心入账" : CLAIM_STATES[claim.state];
    amounts(`第 ${claim.charge_batch_no} 批：${offline}`, claim.settlement);
    await slip(claim.claim_no);
  } else if (claim.waiting) {
    if (claim.estimate) amounts("估算（已受理，未结算）", claim.estimate, [claim.estimate.detail]);
    await look();
    throw new Error(claim.waiting.detail);
  } else if (claim.state === "refused") {
    throw new Error(`中心没有结算：${claim.refusal.detail}`);
  } else if (claim.state === "returned") {
    throw new Error("明细有误，已退回；请改正后再结算");
  } else {
    throw new Error("已提交，等待中心结算：稍后打开本次就诊查看结果，不要重复收费");
  }
}

function batches() {
  const { visit } = state;
  $("batches").hidden = !visit.batches.length;
  $("batches").querySelector("tbody").replaceChildren(...visit.batches.map((batch) => {
    const made = row([batch.charge_batch_no, "number"], describe(batch), [batch.total_amount, "number"],
      [batch.fund_pay_amount || "", "number"], [batch.cash_amount || "", "number"], element("td"));
    if (batch.state === "settled") {
      made.lastChild.append(button("结算单", () => slip(batch.claim_no)).firstChild);
      if (batch.kind !== "contra" && !batch.refunded_by) {
        made.lastChild.append(button("退费", () => refund(batch)).firstChild);
      }
    }
    return made;
  }));
}

function describe(batch) {
  if (batch.kind === "contra") return `退费（冲第 ${batch.contra_of} 批）${CLAIM_STATES[batch.state]}`;
  return batch.refunded_by ? `已退费（第 ${batch.refunded_by} 批）` : CLAIM_STATES[batch.state];
}

async function slip(claimNo) {
  $("slip").srcdoc = await api.statement(claimNo);
  $("slip-view").showModal();
}

// The answer of a dialog's form, or null when it was closed without one.
function asked(dialog, form) {
  form.reset();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      done(dialog.returnValue === "yes" ? Object.fromEntries(new FormData(form)) : null);
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
}

async function refund(batch) {
  $("refund-what").textContent =
    `第 ${batch.charge_batch_no} 批：总金额 ${batch.total_amount} 元，社保支付 ${batch.fund_pay_amount} 元，`
    + `应退现金 ${batch.cash_amount} 元。`;
  const answer = await asked($("refund-form"), $("refund-form").querySelector("form"));
  if (!answer) return;
  const number = state.visit.visit_no;
  const { contra } = await api.refund(number, batch.charge_batch_no, answer.reason);
  await show(number);
  $("result-title").textContent = contra.state === "settled"
    ? `第 ${batch.charge_batch_no} 批已退费` : "退费已提交，等待中心";
  $("amounts").tBodies[0].replaceChildren();
  $("result").hidden = false;
}

async function discharge() {
  const form = $("discharge-form").querySelector("form");
  const pending = asked($("discharge-form"), form);
  field(form, "discharge_date").value = day();
  const answer = await pending;
  if (!answer) return;
  const number = state.visit.visit_no;
  const given = Object.fromEntries(Object.entries(answer).filter(([, value]) => value));
  await api.discharge(number, given);
  await show(number);
}

// ── Wiring ───────────────────────────────────────────────────────────────────────────────────────────────

document.addEventListener("DOMContentLoaded", () => {
  const on = (id, event, action) => $(id).addEventListener(event, (happened) => {
    if (event === "submit") happened.preventDefault();
    run(action, event === "click" ? $(id) : happened.submitter);
  });
  on("login", "submit", () => enter($("key").value.trim()));
  on("register", "submit", register);
  on("refresh", "click", list);
  on("open-only", "change", list);
  on("back", "click", home);
  on("line", "submit", add);
  on("save", "click", save);
  on("quote", "click", quote);
  on("settle", "click", () => settle(true));
  on("settle-interim", "click", () => settle(false));
  on("discharge", "click", discharge);
  on("cancel", "click", async () => {
    if (confirm("撤销这次登记？")) { await api.cancel(state.visit.visit_no); await home(); }
  });
  $("leave").addEventListener("click", leave);
  $("close-slip").addEventListener("click", () => $("slip-view").close());
  $("print").addEventListener("click", () => $("slip").contentWindow.print());
  for (const id of ["price", "quantity"]) $(id).addEventListener("input", reckon);
  $("item").addEventListener("input", () => run(search));
  $("item").addEventListener("blur", () => { $("found").hidden = true; });
  $("item").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      mark(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && !state.chosen) {
      event.preventDefault();
      run(take);
    }
  });
  for (const event of ["keydown", "pointerdown"]) document.addEventListener(event, stay);
  stay();
  setInterval(look, LOOK_SECONDS * 1000);

  const kept = sessionStorage.getItem("key");
  if (kept) run(() => enter(kept)); else $("key").focus();
});

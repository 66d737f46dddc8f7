"use strict";
// The only way from this page to the front-end server: its HTTP API, with the institution's key in a header.
// There is no cookie, so no other page can act in the cashier's name.

class Refused extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || "请求没有成功");
    this.code = problem.code || "";
    this.errors = problem.errors || [];
  }
}

const api = {
  key: "",

  async call(method, path, body, { idempotency = "", wait = 0, accept = "application/json" } = {}) {
    const headers = { Authorization: `Bearer ${api.key}`, Accept: accept };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (idempotency) headers["Idempotency-Key"] = idempotency;
    if (wait) headers.Prefer = `wait=${wait}`;
    let answer;
    try {
      answer = await fetch(path, {
        method, headers, body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer",
      });
    } catch {
      throw new Refused({ code: "unreachable", detail: "前置机没有应答，请稍后再试；已保存的数据不会丢失" });
    }
    if (!answer.ok) {
      let problem = {};
      try { problem = await answer.json(); } catch { /* no words of its own */ }
      throw new Refused({ detail: `前置机应答 ${answer.status}`, ...problem });
    }
    return accept === "application/json" ? answer.json() : answer.text();
  },

  // One key per intention: a button pressed twice, or again after a broken line, is the same request.
  keys: new Map(),
  keyFor(intention) {
    if (!api.keys.has(intention)) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      api.keys.set(intention, `desk-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`);
    }
    return api.keys.get(intention);
  },
  async once(intention, method, path, body, options = {}) {
    const answered = await api.call(method, path, body, { ...options, idempotency: api.keyFor(intention) });
    api.keys.delete(intention);
    return answered;
  },

  link: () => api.call("GET", "/v1/link"),
  institution: () => api.call("GET", "/v1/institution"),
  matches: (text, day) => api.call("GET", `/v1/matches?q=${encodeURIComponent(text)}&day=${day}`),
  registered: (day) => api.call("GET", `/v1/desk/visits?day=${day}`),
  open: () => api.call("GET", "/v1/desk/visits?state=open"),
  visit: (number) => api.call("GET", `/v1/desk/visits/${number}`),
  register: (visit) => api.once(`register ${JSON.stringify(visit)}`, "POST", "/v1/visits", visit),
  lines: (number, lines) =>
    api.once(`lines ${number} ${JSON.stringify(lines)}`, "POST", `/v1/visits/${number}/lines`, { lines }),
  quote: (number, lines) => api.call("POST", `/v1/desk/visits/${number}/quotes`, { lines }),
  settle: (number, final, after) =>
    api.once(`settle ${number} ${after} ${final}`, "POST", `/v1/visits/${number}/settlements`, { final }, { wait: 15 }),
  discharge: (number, discharge) =>
    api.once(`discharge ${number}`, "POST", `/v1/visits/${number}/discharge`, discharge),
  cancel: (number) => api.once(`cancel ${number}`, "POST", `/v1/visits/${number}/cancellation`, {}),
  refund: (number, batch, reason) =>
    api.once(`refund ${number} ${batch}`, "POST", `/v1/visits/${number}/refunds`,
      { charge_batch_no: batch, reason }, { wait: 15 }),
  claim: (number) => api.call("GET", `/v1/claims/${number}`),
  statement: (number) => api.call("GET", `/v1/claims/${number}/statement`, undefined, { accept: "text/html" }),
};

// The first page: a viewer of one room. The wire is described in docs/protocol.md.
// Whatever people wrote reaches the document as textContent only.

const query = new URLSearchParams(location.search);
const room = query.get("room") || "demo";
const $ = (id) => document.getElementById(id);

// Words.

const chinese = navigator.language.toLowerCase().startsWith("zh");
const WORDS = {
  online: ["online", "在线"], like: ["Like", "点赞"], gifts: ["Gifts", "礼物"], balance: ["Demo money", "演示余额"],
  chat: ["Danmaku", "弹幕"], say: ["Say something", "说点什么"], send: ["Send", "发送"], entered: ["came in", "进来了"],
  sent: ["sent", "送出"], stage: ["the stream plays here", "直播画面在这里"], live: ["live", "已连接"],
  connecting: ["connecting …", "连接中……"], waiting: ["connection lost, trying again …", "连接断开,正在重试……"],
  ended: ["disconnected", "已断开"], kept: ["only you see this one", "这条只有你能看到"], closed: ["closed", "已关闭"],
  shed: ["messages were not shown: the room is busy", "条弹幕没有显示:弹幕太多"],
  "gift.rose": ["Rose", "玫瑰"], "gift.heart": ["Heart", "爱心"], "gift.rocket": ["Rocket", "火箭"],
  offline: ["Not connected, nothing was sent", "未连接,没有发出"], no_room: ["There is no such room", "没有这个直播间"],
  insufficient_funds: ["Not enough demo money", "演示余额不足"], rate_limited: ["Too fast, wait a moment", "太快了,请稍等"],
  room_closed: ["The room is closed", "直播间已关闭"], not_allowed: ["The host does not allow this now", "主播暂时不允许"],
  muted: ["You are muted", "你被禁言了"], bad_token: ["The token is not valid here", "令牌在这里无效"],
  token_expired: ["The token has expired", "令牌已过期"],
};
const say = (name, fallback = name) => WORDS[name]?.[chinese ? 1 : 0] ?? fallback;
document.documentElement.lang = chinese ? "zh-CN" : "en";
for (const node of document.querySelectorAll("[data-t]")) node.textContent = say(node.dataset.t);
for (const node of document.querySelectorAll("[data-label]")) node.ariaLabel = say(node.dataset.label);
$("text").placeholder = say("say");

// The connection: comes back by itself, goes on from its position, repeats what has a key.

const GO_ON = new Set([1001, 1005, 1006, 1011, 1012, 1013]);
const RETRY = new Set(["outcome_unknown", "unavailable", "overloaded"]);
const PING_MS = 20_000, DEAD_MS = 45_000, STEADY_MS = 5_000, MAX_WAIT_MS = 30_000;

class Connection {
  #socket = null; #timer = 0; #attempts = 0; #joinedAt = 0; #heardAt = 0; #nextId = 1;
  #calls = new Map(); #versions = new Map(); #position = null; #live = false; #waiting = false;

  // on: {status(name, detail), greeting(d), event(item), state(name, d)}
  constructor(token, on) {
    this.token = token;
    this.on = on;
    setInterval(() => this.#watch(), 5_000);
    addEventListener("online", () => { if (this.#waiting) this.#connect(); });
    this.#connect();
  }

  // Send a command; resolves to `d`, rejects with `err`. With a key it outlives the connection.
  call(op, d = {}, key = undefined) {
    return new Promise((resolve, reject) => {
      const call = { op, d, key, id: this.#nextId++, done: (r) => ("err" in r ? reject(r.err) : resolve(r.d)) };
      if (!this.#live && !key) { reject({ code: "offline" }); return; }
      this.#calls.set(call.id, call);
      if (this.#live) this.#send(call);
    });
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#waiting = false;
    this.on.status("connecting");
    this.#heardAt = performance.now();
    const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/ws`, "liveroom.v1.json");
    socket.onopen = () => this.#hello("hello", { room, token: this.token, client: "page/1" }, this.#position);
    socket.onmessage = (message) => {
      this.#heardAt = performance.now();
      for (const item of JSON.parse(message.data)) this.#take(item);
    };
    socket.onclose = (closed) => this.#lost(closed.code, closed.reason);
    this.#socket = socket;
  }

  #hello(op, d, resume) {
    const id = this.#nextId++;
    const done = (reply) => ("err" in reply ? this.on.status("refused", reply.err) : this.#greeted(reply.d));
    this.#calls.set(id, { op, id, d: resume ? { ...d, resume } : d, done });
    this.#send(this.#calls.get(id));
  }

  #greeted(d) {
    this.#position = { epoch: d.epoch, seq: d.seq, sub: d.sub };
    this.#live = true;
    this.#joinedAt = performance.now();
    this.#versions.clear();
    this.on.status("live");
    this.on.greeting(d);
    for (const state of d.states) this.#take(state);
    for (const call of this.#calls.values()) if (call.key) this.#send(call);
  }

  #send({ op, id, d, key }) {
    this.#socket.send(JSON.stringify({ op, id, d, key }));
  }

  #take(item) {
    if ("re" in item) this.#answer(item);
    else if ("st" in item) {
      if (item.v <= (this.#versions.get(item.st) ?? 0)) return;
      this.#versions.set(item.st, item.v);
      this.on.state(item.st, item.d);
    } else if (item.ev === "sys.gap") this.#hello("sys.resume", {}, null);
    else if (item.ev === "sys.reconnect") this.#reconnectIn(item.d.after_ms + Math.random() * item.d.spread_ms);
    else if (this.#isNew(item)) this.on.event(item);
  }

  #isNew({ seq, sub = 0 }) {
    if (seq === undefined) return true;
    const { seq: mine, sub: mySub } = this.#position;
    if (seq < mine || (seq === mine && sub <= mySub)) return false;
    Object.assign(this.#position, { seq, sub });
    return true;
  }

  #answer(reply) {
    const call = this.#calls.get(reply.re);
    if (!call) return;
    if (call.key && RETRY.has(reply.err?.code)) { // it stays in #calls: the same key again
      const again = () => { if (this.#live && this.#calls.has(call.id)) this.#send(call); };
      setTimeout(again, (reply.err.retry_ms ?? 500) * (1 + Math.random()));
      return;
    }
    this.#calls.delete(reply.re);
    call.done(reply);
  }

  #lost(code, reason) {
    clearTimeout(this.#timer);
    if (this.#live && performance.now() - this.#joinedAt > STEADY_MS) this.#attempts = 0;
    const comeBack = code === 4001 ? this.token.startsWith("guest:") : GO_ON.has(code) || (code >= 4000 && code < 4400);
    this.#socket = null;
    this.#live = false;
    this.#waiting = comeBack;
    for (const [id, call] of this.#calls) {
      if (call.key && comeBack) continue;
      this.#calls.delete(id);
      if (!/^(hello|sys\.)/.test(call.op)) call.done({ err: { code: "offline" } });
    }
    this.on.status(comeBack ? "waiting" : "ended", { code, reason });
    if (comeBack) this.#timer = setTimeout(() => this.#connect(), Math.random() * Math.min(MAX_WAIT_MS, 500 * 2 ** this.#attempts++));
  }

  #reconnectIn(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { this.#drop(); this.#connect(); }, ms);
  }

  #drop() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onclose = socket.onmessage = null;
    socket.close(1000);
    this.#lost(1006, "");
  }

  // A dead network tells nobody; the server's own pings are not visible to scripts.
  #watch() {
    const silent = performance.now() - this.#heardAt;
    if (this.#socket && silent > DEAD_MS) this.#drop();
    else if (this.#live && silent > PING_MS) this.call("sys.ping").catch(() => {});
  }
}

// What is shown.

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const money = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2 });
const flying = $("flying"), log = $("log");
const MAX_LINES = 200, MAX_FLYING = 80, FLY_MS = 8_000;
const laneFree = [];
const combos = new Map(), giftNames = new Map();
let me = null, shown = new Set();

function make(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function icon(name) {
  const svg = document.querySelector("#like svg").cloneNode(true);
  svg.firstElementChild.setAttribute("href", $(`icon-${name}`) ? `#icon-${name}` : "#icon-gift");
  return svg;
}

function person(user) {
  const tint = [...user.id].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 9973, 7) % 6;
  return make("bdi", `name n${tint}`, user.name || user.id);
}

function addLine(className, ...parts) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const line = make("li", className);
  line.append(...parts);
  log.append(line);
  while (log.childElementCount > MAX_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  return line;
}

function launch(tag, className, ...parts) {
  if (calm.matches || document.hidden || flying.childElementCount >= MAX_FLYING) return null;
  const node = make(tag, className);
  node.append(...parts);
  flying.append(node);
  return node;
}

function fly(className, color, ...parts) {
  const node = launch("div", `fly ${className}`, ...parts);
  if (!node) return;
  if (color) node.style.color = `#${color.toString(16).padStart(6, "0")}`;
  if (/^(top|bottom)/.test(className)) { setTimeout(() => node.remove(), 4_000); return; }
  const width = flying.clientWidth, length = node.offsetWidth, now = performance.now();
  const lanePx = node.offsetHeight + 2, lanes = Math.max(1, Math.floor((flying.clientHeight - 40) / lanePx));
  const free = Array.from({ length: lanes }, (_, i) => laneFree[i] ?? 0), soonest = Math.min(...free);
  if (soonest > now && !className.endsWith("own")) { node.remove(); return; } // no room: it is in the list
  const open = free.findIndex((at) => at <= now), lane = open < 0 ? free.indexOf(soonest) : open;
  laneFree[lane] = now + (FLY_MS * (length + 24)) / (width + length);
  node.style.top = `${lane * lanePx + 6}px`;
  const path = [`translateX(${width}px)`, `translateX(${-length}px)`];
  node.animate({ transform: path }, { duration: FLY_MS }).onfinish = () => node.remove();
}

function floatHeart() {
  const node = launch("span", "float", icon("like"));
  const drift = Math.random() * 80 - 60;
  const frames = { transform: ["none", `translate(${drift}px, -220px) scale(1.5)`], opacity: [1, 0] };
  node?.animate(frames, { duration: 1_600, easing: "ease-out" }).finished.then(() => node.remove(), () => {});
}

let noteTimer = 0;
function note(text) {
  $("note").textContent = text;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => { $("note").textContent = ""; }, 5_000);
}
const complain = (err) => note(say(err.code, err.msg));

const EVENTS = {
  danmaku({ d, kept }) {
    if (shown.has(d.id)) return; // it came with the snapshot
    const line = addLine(kept ? "kept" : "", person(d.user), make("bdi", "text", d.text));
    if (kept) line.title = say("kept");
    fly(`${d.mode}${d.user.id === me.user ? " own" : ""}`, d.color === 0xffffff ? 0 : d.color, make("bdi", "", d.text));
  },
  like({ d }) { if (d.user !== me.user) floatHeart(); },
  "viewer.enter"({ d }) {
    if (d.user.id !== me.user) addLine("enter", person(d.user), make("span", "", say("entered")));
  },
  "gift.sent"({ d }) { showGift(d); },
  "sys.shed"({ d }) { if (d.danmaku) note(`${d.danmaku} ${say("shed")}`); },
};

function showGift(d) {
  const slot = `${d.user.id}|${d.gift}`, line = combos.get(slot);
  const count = `×${d.combo}`, name = giftNames.get(d.gift) ?? d.gift;
  if (line?.isConnected) line.lastChild.textContent = count;
  else if (d.n) combos.set(slot, addLine("gift", person(d.user), `${say("sent")} `, icon(d.gift), ` ${name} `, make("b", "", count)));
  if (d.combo_end) combos.delete(slot);
  if (d.n) fly("gift", undefined, make("bdi", "", d.user.name || d.user.id), " ", icon(d.gift), ` ${count}`);
}

const STATES = {
  online: (d) => { $("online").textContent = d.now; },
  likes: (d) => { $("likes").textContent = d.total; },
  gifts: (d) => showGifts(d.gifts),
  room: (d) => {
    const title = d.title || room;
    $("title").textContent = d.status === "closed" ? `${title} (${say("closed")})` : title;
    document.title = title;
  },
};

function greeting(d) {
  me = d;
  if (!d.resumed) {
    log.replaceChildren();
    combos.clear();
    const recent = (d.snapshot.danmaku ?? []).map((item) => item.d);
    shown = new Set(recent.map((old) => old.id));
    for (const old of recent) addLine("", person(old.user), make("bdi", "text", old.text));
  }
  refreshBalance();
}

function status(name, detail = {}) {
  const link = $("link");
  if (name === "refused") { link.dataset.why = detail.code; return; }
  link.dataset.state = name;
  const why = link.dataset.why || { 4001: "token_expired", 4401: "bad_token", 4404: "no_room" }[detail.code];
  link.textContent = name === "ended" ? say(why, detail.reason || say("ended")) : say(name);
  if (name === "live") delete link.dataset.why;
  if (detail.code === 4401) sessionStorage.clear(); // the next reload begins as a guest
}

// What the viewer does.

const connection = new Connection(takeToken(), {
  status, greeting,
  event: (item) => EVENTS[item.ev]?.(item),
  state: (name, d) => STATES[name]?.(d),
});

// A token in the fragment leaves the address bar at once; this tab remembers it.
function takeToken() {
  const slot = `liveroom token ${room}`, name = query.get("name");
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  const kept = given ?? sessionStorage.getItem(slot);
  if (!given && name && !kept?.includes(".")) return `guest:${[...name].slice(0, 32).join("")}`;
  const token = kept ?? `guest:${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  sessionStorage.setItem(slot, token);
  return token;
}

function showBalance(minor) { $("balance").textContent = money.format(minor / 100); }
function refreshBalance() { connection.call("wallet.get").then((d) => showBalance(d.balance)).catch(() => {}); }

function showGifts(gifts) {
  giftNames.clear();
  $("gifts").replaceChildren(...gifts.map((gift) => {
    giftNames.set(gift.id, say(`gift.${gift.id}`, gift.name));
    const button = make("button", "");
    button.type = "button";
    button.dataset.gift = gift.id;
    button.append(icon(gift.id), make("span", "", giftNames.get(gift.id)), make("span", "price", money.format(gift.price / 100)));
    button.onclick = () => {
      const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
      connection.call("gift.send", { gift: gift.id, n: 1 }, key).then(refreshBalance, complain);
    };
    return button;
  }));
}
showGifts([{ id: "rose", price: 100 }, { id: "heart", price: 990 }, { id: "rocket", price: 50_000 }]);

$("form").onsubmit = (submitted) => {
  submitted.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  connection.call("danmaku.send", { text }).catch((err) => {
    if (!$("text").value) $("text").value = text;
    complain(err);
  });
};

let taps = 0;
$("like").onclick = () => {
  floatHeart();
  if (taps++) return;
  setTimeout(() => {
    connection.call("like.send", { n: Math.min(taps, 100) }).catch(complain);
    taps = 0;
  }, 200);
};

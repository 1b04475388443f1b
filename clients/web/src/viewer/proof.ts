/**
 * Recomputes a draw from its proof: docs/draw-proof.md, with the browser's own SHA-256 and HMAC.
 *
 * It shares nothing with the engine, and compares the file with what this page was shown at the time.
 */

import { lang } from "../shared/i18n";
import { barred, bytes, canonical, each, hex, hmacWith, merkleRoot, sha256, utf8 } from "./hashes";
import type { Lottery } from "./wire";

type Both = { en: string; zh: string };

/** What is checked, as it is told when it holds. */
const STEPS = {
  file: { en: "The file is whole", zh: "文件完整" },
  published: { en: "It is the draw that this page was shown", zh: "与本页看到的抽奖一致" },
  rules: { en: "The rules are those that were hashed before the first entry", zh: "规则与开始前公布的哈希一致" },
  seed: { en: "The seed is the one that was bound before the first entry", zh: "种子与开始前的承诺一致" },
  times: { en: "Opened, frozen, sealed, drawn: in this order", zh: "开始、截止、封存、开奖顺序正确" },
  entrants: { en: "Nobody was added, left out or changed after the seal", zh: "封存后名单没有增减或改动" },
  beacon: { en: "The beacon's round is the one that the rules name", zh: "随机信标轮次与规则一致" },
  winners: { en: "The winners are the first of the order", zh: "中奖者正是排序的前几名" },
  digest: { en: "All of it is what was published with the winners", zh: "与开奖时公布的摘要一致" },
  redraws: { en: "What was not claimed went to the next of the order", zh: "未领取的奖品按顺序递补" },
} as const satisfies Record<string, Both>;

type Step = keyof typeof STEPS;

/** A step does not hold. */
export class Refuted extends Error {
  constructor(readonly step: Step) {
    super(STEPS[step][lang]);
  }
}

function expect(holds: boolean, step: Step): void {
  if (!holds) throw new Refuted(step);
}

interface Proof {
  room: string;
  lottery: string;
  rules: string;
  rules_hash: string;
  commitment: string;
  seed: string;
  entrants: [string, string][];
  root: string;
  beacon?: { round: number; randomness: string; signature: string };
  draw_key: string;
  winners: { prize: string; user: string }[];
  reserves: string[];
  redraws: { round: number; at_ms: number; given: [number, string][] }[];
  opened_ms: number;
  frozen_ms: number;
  sealed_ms: number;
  drawn_ms: number;
  digest: string;
  checksum: string;
}

interface Rules {
  method: string;
  prizes: { prize: string; n: number }[];
  seconds: number;
  claim_s: number;
  reserves: number;
  redraws: number;
  exclude: { users?: string[] };
  beacon?: { round: number; genesis: number; period: number };
}

/** What this page was shown while the draw went on. */
export type Seen = Pick<Lottery, "lottery" | "commitment" | "rules_hash" | "root" | "seed">;

/**
 * Check a proof; return what holds, for people.
 *
 * @throws Refuted with the first step that does not hold; other errors: the file cannot be read.
 */
export async function verify(text: string, seen: Seen): Promise<Both[]> {
  const proof = JSON.parse(text) as Proof;
  await checkFile(text, proof);
  checkSeen(proof, seen);
  const rules = await readRules(proof);
  await checkSeed(proof);
  checkTimes(proof, rules);
  await checkEntrants(proof, rules);
  await checkBeacon(proof, rules);
  const order = await ranked(proof);
  checkWinners(proof, rules, order);
  await checkDigest(proof);
  checkRedraws(proof, rules);
  return Object.entries(STEPS).filter(([step]) => step !== "beacon" || proof.beacon).map(([, said]) => said);
}

async function checkFile(text: string, proof: Proof): Promise<void> {
  const { checksum, ...rest } = proof;
  const body = canonical(rest);
  expect(text === `${body.slice(0, -1)},"checksum":${JSON.stringify(checksum)}}`, "file");
  expect(checksum === hex(await sha256(utf8(body))), "file");
}

function checkSeen(proof: Proof, seen: Seen): void {
  expect(proof.lottery === seen.lottery && proof.commitment === seen.commitment, "published");
  expect(proof.rules_hash === seen.rules_hash, "published");
  expect((seen.root ?? proof.root) === proof.root && (seen.seed ?? proof.seed) === proof.seed, "published");
}

async function readRules(proof: Proof): Promise<Rules> {
  expect(proof.rules_hash === hex(await sha256(utf8(proof.rules))), "rules");
  const rules = JSON.parse(proof.rules) as Rules;
  expect(canonical(rules) === proof.rules && rules.method === "liveroom-draw-1", "rules");
  return rules;
}

async function checkSeed(proof: Proof): Promise<void> {
  const parts = [utf8("liveroom-seed-1"), bytes(proof.seed), utf8(proof.room), utf8(proof.lottery), bytes(proof.rules_hash)];
  expect(proof.commitment === hex(await sha256(barred(parts))), "seed");
}

function checkTimes(proof: Proof, rules: Rules): void {
  const { opened_ms, frozen_ms, sealed_ms, drawn_ms } = proof;
  expect(opened_ms <= frozen_ms && frozen_ms <= sealed_ms && sealed_ms <= drawn_ms, "times");
  expect(rules.seconds === 0 || frozen_ms === opened_ms + 1000 * rules.seconds, "times");
}

async function checkEntrants(proof: Proof, rules: Rules): Promise<void> {
  let before = "";
  const left = new Set(rules.exclude.users ?? []);
  for (const [user] of proof.entrants) {
    expect(user > before && !left.has(user), "entrants"); // ids are ASCII: characters stand as bytes do
    before = user;
  }
  const leaves = proof.entrants.map((entrant) => utf8(JSON.stringify(entrant)));
  expect(proof.root === hex(await merkleRoot(leaves)), "entrants");
}

async function checkBeacon(proof: Proof, rules: Rules): Promise<void> {
  const { beacon: wanted } = rules;
  const { beacon: came } = proof;
  expect((wanted === undefined) === (came === undefined), "beacon");
  if (!wanted || !came) return;
  const outMs = 1000 * (wanted.genesis + (wanted.round - 1) * wanted.period);
  expect(came.round === wanted.round && outMs >= proof.frozen_ms && outMs <= proof.drawn_ms, "beacon");
  expect(came.randomness === hex(await sha256(bytes(came.signature))), "beacon");
}

/** All entrants in the order that seed, rules, entrants and beacon give. */
async function ranked(proof: Proof): Promise<string[]> {
  const parts = [utf8("liveroom-draw-1"), bytes(proof.rules_hash), bytes(proof.root), bytes(proof.beacon?.randomness ?? "")];
  const key = await hmacWith(bytes(proof.seed));
  const drawKey = await key(barred(parts));
  expect(proof.draw_key === hex(drawKey), "winners");
  const score = await hmacWith(drawKey);
  const rows = await each(proof.entrants, async ([user]) => ({ user, score: hex(await score(utf8(user))) }));
  rows.sort((a, b) => (a.score < b.score ? -1 : a.score > b.score ? 1 : a.user < b.user ? -1 : 1));
  return rows.map((row) => row.user);
}

function checkWinners(proof: Proof, rules: Rules, order: string[]): void {
  const slots = rules.prizes.flatMap((prize) => Array.from({ length: prize.n }, () => prize.prize)).slice(0, order.length);
  const due = slots.map((prize, i) => ({ prize, user: order[i] }));
  expect(canonical(proof.winners) === canonical(due), "winners");
  const reserves = order.slice(due.length, due.length * (1 + rules.reserves));
  expect(canonical(proof.reserves) === canonical(reserves), "winners");
}

async function checkDigest(proof: Proof): Promise<void> {
  const { checksum: _c, digest, redraws: _r, rules: _t, ...bound } = proof;
  const text = canonical({ ...bound, entrants: proof.entrants.length });
  expect(digest === hex(await sha256(utf8(text))), "digest");
}

function checkRedraws(proof: Proof, rules: Rules): void {
  let round = 0;
  let began = proof.drawn_ms;
  let open = proof.winners.map((_, slot) => slot);
  let given: number[] = [];
  let next = 0;
  for (const redraw of proof.redraws) {
    if (redraw.round !== round) {
      expect(redraw.round === round + 1 && redraw.round <= rules.redraws, "redraws");
      expect(redraw.at_ms >= began + 1000 * rules.claim_s, "redraws");
      if (round) open = given;
      [round, began, given] = [redraw.round, redraw.at_ms, []];
    }
    expect(redraw.at_ms === began && redraw.given.length > 0, "redraws");
    for (const [slot, user] of redraw.given) {
      expect(open.includes(slot) && slot > (given.at(-1) ?? -1), "redraws");
      expect(user === proof.reserves[next++], "redraws");
      given.push(slot);
    }
  }
}

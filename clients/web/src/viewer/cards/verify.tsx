/** The draw's proof: fetched, recomputed in this page, kept as a file. */

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { lang } from "../../shared/i18n";
import { refusal } from "../../shared/words";
import { Icon } from "../icons";
import { Refuted, verify } from "../proof";
import { isGuest, token } from "../room";
import { t } from "../texts";
import type { Lottery } from "../wire";

type Finding = { tone: "busy" | "good" | "bad"; text: string; notes?: string[] };

export function Verify({ draw }: { draw: Lottery }) {
  const found = useSignal<Finding | undefined>(undefined);
  const box = useRef<HTMLDivElement>(null);
  const check = async (): Promise<void> => {
    found.value = { tone: "busy", text: t("verifying") };
    found.value = await judge(draw);
    requestAnimationFrame(() => box.current?.scrollIntoView({ block: "nearest" }));
  };
  return (
    <div class="verify" ref={box}>
      <p class="verify-row">
        <button type="button" class="small" onClick={() => void check()} disabled={found.value?.tone === "busy"}>
          <Icon name="shield" /> {t("verify")}
        </button>
        <button type="button" class="small" onClick={() => void keep(draw)}><Icon name="link" /> {t("proof")}</button>
      </p>
      <p role="status" class={`finding ${found.value?.tone ?? ""}`} data-finding={found.value?.tone}>{found.value?.text}</p>
      {found.value?.notes && <ul class="notes">{found.value.notes.map((note) => <li key={note}>{note}</li>)}</ul>}
    </div>
  );
}

async function judge(draw: Lottery): Promise<Finding> {
  let text: string;
  try {
    text = await fetched(draw);
  } catch (error) {
    return { tone: "bad", text: t("noProof", { why: String(error instanceof Error ? error.message : error) }) };
  }
  try {
    const steps = await verify(text, draw);
    return { tone: "good", text: t("verified"), notes: steps.map((step) => step[lang]) };
  } catch (error) {
    const why = error instanceof Refuted ? error.message : String(error);
    return { tone: "bad", text: t("refuted", { why }) };
  }
}

/** The proof's text; the address is made here, not taken from what came over the wire. */
async function fetched(draw: Lottery): Promise<string> {
  const response = await fetch(address(draw), { headers: { Authorization: `Bearer ${isGuest ? "guest:reader" : token}` } });
  if (response.ok) return await response.text();
  const body = (await response.json().catch(() => ({}))) as { err?: { code?: string; msg?: string } };
  throw new Error(refusal(body.err?.code ?? "internal", body.err?.msg));
}

function address(draw: Lottery): string {
  const [, room = ""] = /^\/api\/rooms\/([^/]+)\/lotteries\//.exec(draw.proof ?? "") ?? [];
  return `/api/rooms/${encodeURIComponent(decodeURIComponent(room))}/lotteries/${encodeURIComponent(draw.lottery)}/proof`;
}

/** Hand the proof over as a file, for `verify_draw.py` or any other verifier. */
async function keep(draw: Lottery): Promise<void> {
  const text = await fetched(draw).catch(() => "");
  if (!text) return;
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = `${draw.lottery}.json`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
